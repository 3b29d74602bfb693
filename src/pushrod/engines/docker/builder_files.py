"""The files of a builder's container: mount points for the host's programs, and links to them."""

import io
import tarfile
from pathlib import Path

_DIRECTORIES = (
    "builder",
    "dev",
    "etc/docker",
    "etc/ssl/certs",
    "proc",
    "run",
    "sys",
    "tmp",
    "usr",
    "var/lib/docker",
)
_LINKS = {d: f"usr/{d}" for d in ("bin", "lib", "lib32", "lib64", "sbin")} | {
    "var/run": "/run",
    "var/tmp": "/tmp",  # noqa: S108 in the container
}


def archive() -> bytes:
    """The archive of the container's own files: mount points, and links to where Debian has its programs."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as packing:
        made: set[str] = set()
        for path in _DIRECTORIES:
            for part in (*reversed(Path(path).parents), Path(path)):
                if str(part) not in {".", *made}:
                    made.add(str(part))
                    info = tarfile.TarInfo(str(part))
                    info.type, info.mode = tarfile.DIRTYPE, 0o755
                    packing.addfile(info)
        for path, target in _LINKS.items():
            info = tarfile.TarInfo(path)
            info.type, info.linkname = tarfile.SYMTYPE, target
            packing.addfile(info)
    return packed.getvalue()
