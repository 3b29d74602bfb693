"""Files of a host: created, corrected, or left alone if they are right."""

import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from pushrod.provisioning import changes


def me() -> tuple[int, int]:
    return os.geteuid(), os.getegid()


@pytest.mark.parametrize("content", [b"text\n", None])
def test_a_file_is_created_once(content: bytes | None, tmp_path: Path) -> None:
    path = tmp_path / "there"
    made = changes.file(path, content, mode=0o750, owner=me)
    assert (made.change.action, made.change.pending) == ("new", True)
    made.carry_out()
    assert stat.S_IMODE(path.stat().st_mode) == 0o750
    assert path.is_dir() if content is None else path.read_bytes() == content
    again = changes.file(path, content, mode=0o750, owner=me)
    assert (again.change.action, again.change.pending) == ("same", False)


@pytest.mark.parametrize("spoil", [lambda p: p.write_text("other"), lambda p: p.chmod(0o666)])
def test_a_changed_file_is_corrected(spoil: Callable[[Path], None], tmp_path: Path) -> None:
    path = tmp_path / "file"
    changes.file(path, b"text\n", owner=me).carry_out()
    spoil(path)
    result = changes.file(path, b"text\n", owner=me)
    assert result.change.action == "changed"
    result.carry_out()
    assert changes.file(path, b"text\n", owner=me).change.action == "same"


def test_a_plan_works_before_the_account_exists(tmp_path: Path) -> None:
    """A plan is made before the account exists; only carrying it out needs its number."""

    def nobody() -> tuple[int, int]:
        raise KeyError("pushrod")

    path = tmp_path / "file"
    assert changes.file(path, b"x", owner=nobody).change.action == "new"
    path.write_bytes(b"x")
    assert changes.file(path, b"x", owner=nobody).change.action == "changed"
