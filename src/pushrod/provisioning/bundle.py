"""A wheel of the running pushrod, even of an editable installation, to install on another machine.

The same files give the same bytes, so a host can tell whether it has them already. The format:
https://packaging.python.org/en/latest/specifications/binary-distribution-format/
"""

import base64
import contextlib
import hashlib
import tempfile
import zipfile
from collections.abc import Iterator, Mapping
from importlib import metadata
from io import BytesIO
from pathlib import Path
from typing import IO

import pushrod

_EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest time in a zip file
_WHEEL = "Wheel-Version: 1.0\nGenerator: pushrod\nRoot-Is-Purelib: true\nTag: py3-none-any\n"


def write(directory: Path) -> Path:
    """Write the wheel into a new directory below `directory`; returns its path."""
    place = Path(tempfile.mkdtemp(prefix="pushrod-", dir=directory))
    path = place / name()
    path.write_bytes(render(files()))
    return path


def digest() -> str:
    """The SHA-256 of the wheel's bytes, in hexadecimal, which identifies it."""
    return hashlib.sha256(render(files())).hexdigest()


def name() -> str:
    """The file name of the wheel."""
    return f"pushrod-{metadata.version('pushrod')}-py3-none-any.whl"


def files() -> dict[str, bytes]:
    """The content of the wheel by path: the package's files as they are, and the installation's metadata."""
    package = Path(pushrod.__file__).parent
    contents = {
        f"pushrod/{path.relative_to(package)}": path.read_bytes()
        for path in sorted(package.rglob("*"))
        if path.is_file() and "__pycache__" not in path.parts
    }
    about = metadata.distribution("pushrod")
    for entry in ("METADATA", "entry_points.txt"):
        contents[f"{_information()}/{entry}"] = (about.read_text(entry) or "").encode()
    contents[f"{_information()}/WHEEL"] = _WHEEL.encode()
    return contents


@contextlib.contextmanager
def spooled(raw: bytes) -> Iterator[IO[bytes]]:
    """Bytes as an open file that can be a program's standard input."""
    with tempfile.TemporaryFile() as f:
        f.write(raw)
        f.seek(0)
        yield f


def _information() -> str:
    return f"pushrod-{metadata.version('pushrod')}.dist-info"


def render(contents: Mapping[str, bytes]) -> bytes:
    """The wheel as bytes."""
    record = f"{_information()}/RECORD"
    lines = [f"{path},{_digest(raw)},{len(raw)}" for path, raw in contents.items()]
    buffer = BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as wheel:
        for path, raw in {**contents, record: "\n".join([*lines, f"{record},,", ""]).encode()}.items():
            entry = zipfile.ZipInfo(path, _EPOCH)
            entry.external_attr = 0o644 << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            wheel.writestr(entry, raw)
    return buffer.getvalue()


def _digest(raw: bytes) -> str:
    return "sha256=" + base64.urlsafe_b64encode(hashlib.sha256(raw).digest()).rstrip(b"=").decode()
