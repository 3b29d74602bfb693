"""Standard input of a client: unchanged, up to a limit that no client can exceed."""

import io
from collections.abc import Callable

import pytest

from pushrod.cli import sent
from pushrod.core.errors import HostError


def send(monkeypatch: pytest.MonkeyPatch, raw: bytes) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(raw), encoding="utf-8"))


def test_standard_input_is_read_completely(monkeypatch: pytest.MonkeyPatch) -> None:
    send(monkeypatch, "größe\n".encode())
    assert sent.text() == "größe\n"
    send(monkeypatch, b"A=1\r\n\xff")
    assert sent.exactly() == b"A=1\r\n\xff"


@pytest.mark.parametrize("read", [sent.text, sent.exactly])
def test_input_beyond_the_limit_is_refused(
    read: Callable[[], object], monkeypatch: pytest.MonkeyPatch
) -> None:
    send(monkeypatch, b"x" * sent.MOST)
    assert len(read()) == sent.MOST  # type: ignore[arg-type]
    send(monkeypatch, b"x" * (sent.MOST + 1))
    with pytest.raises(HostError, match="longer than 1 MiB"):
        read()
