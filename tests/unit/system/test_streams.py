"""Bytes that pass through are counted, and none is lost."""

import hashlib
import io

from pushrod.system import streams

TEXT = bytes(range(256)) * 1000


def test_bytes_are_copied_and_measured() -> None:
    written = io.BytesIO()
    measured = streams.Measured(written)
    streams.copy(io.BytesIO(TEXT), measured)
    assert written.getvalue() == TEXT
    assert (measured.size, measured.sha256) == (len(TEXT), hashlib.sha256(TEXT).hexdigest())
    assert streams.digest(io.BytesIO(TEXT)) == measured.sha256
    assert streams.digest(io.BytesIO()) == hashlib.sha256().hexdigest()
