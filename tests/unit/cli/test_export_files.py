"""What an export may replace in a directory: its own files as it wrote them, and nothing else."""

import hashlib
import json
from pathlib import Path

import pytest

from pushrod.cli import export_files
from pushrod.core.errors import UnknownNameError

FIRST = {"a.yaml": "one\n", "below/b.yaml": "two\n", "secrets/c": "three\n", "secrets/d/e": "four\n"}


def write(directory: Path, contents: dict[str, str]) -> None:
    export_files.write(directory, contents, "secrets")


def listed(directory: Path) -> dict[str, str]:
    return {str(p.relative_to(directory)): p.read_text() for p in sorted(directory.rglob("*")) if p.is_file()}


def test_files_are_written_replaced_and_removed(tmp_path: Path) -> None:
    write(tmp_path / "x", FIRST)
    (tmp_path / "x" / "overlay.yaml").write_text("mine")
    write(tmp_path / "x", {"a.yaml": "1\n", "new.yaml": "4\n"})
    files = listed(tmp_path / "x")
    record = json.loads(files.pop(export_files.RECORD))
    assert files == {"a.yaml": "1\n", "new.yaml": "4\n", "overlay.yaml": "mine"}
    assert set(record) == {"a.yaml", "new.yaml"}


def test_files_with_secrets_are_private(tmp_path: Path) -> None:
    write(tmp_path / "x", FIRST)
    assert (tmp_path / "x/secrets/c").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "x/secrets").stat().st_mode & 0o777 == 0o700
    assert (tmp_path / "x/secrets/d/e").stat().st_mode & 0o777 == 0o644  # mounted into containers
    assert (tmp_path / "x/a.yaml").stat().st_mode & 0o777 == 0o644


@pytest.mark.parametrize("foreign", ["a.yaml", "below/b.yaml"])
def test_a_file_of_somebody_else_stays(foreign: str, tmp_path: Path) -> None:
    (tmp_path / foreign).parent.mkdir(exist_ok=True)
    (tmp_path / foreign).write_text("mine")
    with pytest.raises(UnknownNameError, match="no export has written this file"):
        write(tmp_path, FIRST)
    assert listed(tmp_path) == {foreign: "mine"}


def test_a_changed_file_is_neither_replaced_nor_removed(tmp_path: Path) -> None:
    write(tmp_path, FIRST)
    (tmp_path / "a.yaml").write_text("mine")
    for contents in (FIRST, {"new.yaml": "x"}):
        with pytest.raises(UnknownNameError) as refused:
            write(tmp_path, contents)
        assert refused.value.where == str(tmp_path / "a.yaml")
    assert (tmp_path / "a.yaml").read_text() == "mine"
    assert not (tmp_path / "new.yaml").exists()


@pytest.mark.parametrize("link", ["below", "a.yaml", "secrets"])
def test_a_link_is_not_followed(link: str, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / link).symlink_to(outside)
    with pytest.raises(UnknownNameError):
        write(tmp_path / "x", FIRST)
    assert list(outside.iterdir()) == []


@pytest.mark.parametrize("path", ["../out", "below/../../out", "/OUT", "", ".", "below//b", "./a"])
def test_another_machine_or_a_committed_record_names_no_file_elsewhere(path: str, tmp_path: Path) -> None:
    path = path.replace("/OUT", str(tmp_path / "out"))
    digest = hashlib.sha256(b"mine").hexdigest()
    with pytest.raises(UnknownNameError, match="no file of an export has this path"):
        write(tmp_path / "x", FIRST | {path: "theirs"})
    assert not (tmp_path / "x").exists() and not (tmp_path / "out").exists()
    (tmp_path / "out").write_text("mine")
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / export_files.RECORD).write_text(json.dumps({path: digest}))
    with pytest.raises(UnknownNameError, match="no file of an export has this path"):
        write(tmp_path / "x", {})
    assert (tmp_path / "out").read_text() == "mine"


def test_a_file_that_is_already_the_same_is_taken_over(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("one\n")
    write(tmp_path, FIRST)
    write(tmp_path, {})
    assert set(listed(tmp_path)) == {export_files.RECORD}


def test_a_record_that_is_none_is_refused(tmp_path: Path) -> None:
    (tmp_path / export_files.RECORD).write_text("[]")
    with pytest.raises(UnknownNameError, match="not the record of an export"):
        write(tmp_path, FIRST)
