"""What a base backup says about itself, whoever made it."""

import io
import lzma
import tarfile
from pathlib import Path

import pytest

from pushrod.adapters.postgres.base_backups import inspect
from pushrod.core.errors import StoreError

LABEL = "START WAL LOCATION: 0/2000028 (file 000000010000000000000002)\nSTART TIMELINE: 3\n"


def archive(*entries: tuple[str, bytes]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for name, content in entries:
            head = tarfile.TarInfo(name)
            head.size = len(content)
            tar.addfile(head, io.BytesIO(content))
    return out.getvalue()


WHOLE = (("backup_label", LABEL.encode()), ("base/1/1", bytes(700)), ("postgresql.auto.conf", b"a = 'b'\n"))


def test_a_base_backup_has_its_position_timeline_and_settings(tmp_path: Path) -> None:
    (tmp_path / "base.tar").write_bytes(archive(*WHOLE))
    assert inspect(tmp_path / "base.tar") == (0x2000028, 3, "a = 'b'\n")


def header(size: int, kind: bytes) -> bytes:
    head = tarfile.TarInfo("x")
    head.size, head.type = size, kind
    return head.tobuf(tarfile.GNU_FORMAT)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        bytes(1024),
        b"not an archive at all" * 100,
        archive(*WHOLE)[:300],
        archive(*WHOLE[:2]),
        archive(("backup_label", b"START TIMELINE: 1\n"), *WHOLE[1:]),
        lzma.compress(archive(*WHOLE)),
        header(1 << 60, tarfile.XHDTYPE),
        header(1 << 62, tarfile.GNUTYPE_LONGNAME) + bytes(512),
        header(-1024, tarfile.REGTYPE) + archive(*WHOLE),
    ],
)
def test_anything_else_is_refused_without_reading_it_into_memory(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "base.tar").write_bytes(content)
    with pytest.raises(StoreError, match="not a base backup"):
        inspect(tmp_path / "base.tar")
