"""Archives of volumes, however many files there are, and what is said when files cannot be replaced.

Docker itself is in tests/lab/test_backups.py.
"""

import json
import os
import tarfile
from io import BytesIO
from pathlib import Path

import pytest

from pushrod.core.errors import StoreError
from pushrod.stores import volumes
from pushrod.stores.volumes import Volumes

DOCKER = """#!/bin/sh
echo "$1" >> "{record}"
case $1 in
container) case "$*" in *Mounts*) echo '[[]]' ;; *) echo '[]' ;; esac ;;
cp) echo 'no space left on device' >&2; exit 1 ;;
esac
"""


def many(count: int) -> bytes:
    out = BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for number in range(count):
            tar.addfile(tarfile.TarInfo(f"data/{number}"))
    return out.getvalue()


@pytest.fixture
def remembered(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many members each archive remembers, after each one."""
    counts: list[int] = []
    forget = volumes._forget

    def watched(*archives: tarfile.TarFile) -> None:
        forget(*archives)
        counts.extend(len(archive.members) for archive in archives)  # type: ignore[attr-defined]

    monkeypatch.setattr(volumes, "_forget", watched)
    return counts


def test_files_of_an_archive_are_counted_without_remembering_them(remembered: list[int]) -> None:
    assert Volumes("db", "shop-db", "live").rehearse(BytesIO(many(300))) == {"files": 300}
    assert (len(remembered), {*remembered}) == (300, {0})


def test_files_of_a_volume_are_copied_without_remembering_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, remembered: list[int]
) -> None:
    (tmp_path / "archive").write_bytes(many(300))
    mounts = json.dumps([[{"Type": "volume", "Destination": "/data", "RW": True}]])
    program = tmp_path / "docker"
    program.write_text(f"#!/bin/sh\ncase $1 in cp) exec cat {tmp_path}/archive;; *) echo '{mounts}';; esac\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    out = BytesIO()
    assert Volumes("db", "shop-db", "live").save(out) == {"files": 300}
    assert (len(remembered), {*remembered}) == (600, {0})
    with tarfile.open(fileobj=BytesIO(out.getvalue())) as copied:
        assert len(copied.getnames()) == 300


def test_files_that_could_not_be_replaced_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    record = tmp_path / "record"
    program = tmp_path / "docker"
    program.write_text(DOCKER.format(record=record))
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setattr(Volumes, "_inspected", lambda _: type("Container", (), {"image": "sha256:1"}))
    with pytest.raises(StoreError, match="may be incomplete now") as caught:
        Volumes("mongo", "shop-mongo", "stop").restore(BytesIO(b"x"), {})
    assert "has what was there" in caught.value.hint
    calls = record.read_text().split()
    assert (calls[0], calls[-1]) == ("stop", "start")
