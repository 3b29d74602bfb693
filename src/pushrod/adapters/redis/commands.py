"""Commands to a running server, in RESP 2."""

import socket
import time
from pathlib import Path
from typing import BinaryIO, TypeAlias

from pushrod.core.errors import StoreError
from pushrod.system import tails

_POLL = 0.02  # seconds between two queries while a server starts

Reply: TypeAlias = str | int | list["Reply"] | None


def ready(
    port: int, user: str, password: str, deadline: float, log: Path, address: str = "127.0.0.1"
) -> None:
    """Wait until the server has loaded its data and answers PING. Raises StoreError after `deadline` seconds.

    A server that refuses the user fails at once. The error contains the end of `log`.
    """
    end = time.monotonic() + deadline
    while True:
        try:
            command(port, user, password, "PING", address=address)
            return
        except StoreError as e:
            if e.what.startswith(("WRONGPASS", "NOPERM", "NOAUTH")) or time.monotonic() >= end:
                raise StoreError(
                    f"Redis is not ready: {e.what}", where=e.where, hint=e.hint, log=tails.of_file(log)
                ) from e
        time.sleep(_POLL)


def command(
    port: int, user: str, password: str, *words: str, timeout: float = 5.0, address: str = "127.0.0.1"
) -> Reply:
    """Run one command as a user and return its reply. `timeout` is in seconds, for each step.

    Raises StoreError with the server's message if it refuses, or with the system's if it cannot be reached.
    """
    where = f"Redis on port {port}"
    try:
        with socket.create_connection((address, port), timeout=timeout) as s, s.makefile("rb") as replies:
            s.sendall(_request("AUTH", user, password) + _request(*words))
            _reply(replies, where)
            return _reply(replies, where)
    except OSError as e:
        raise StoreError(
            f"does not answer: {(e.strerror or str(e)).lower()}",
            where=where,
            hint="check whether the server runs, and read the end of its log",
        ) from e


def _request(*words: str) -> bytes:
    """A command in RESP: an array of strings, each with its length in bytes."""
    parts = [w.encode() for w in words]
    return b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%s\r\n" % (len(p), p) for p in parts)


def _reply(replies: BinaryIO, where: str) -> Reply:
    """Read one reply of RESP 2. Raises StoreError for an error reply and ConnectionError at the end."""
    line = replies.readline()
    if not line.endswith(b"\r\n"):
        raise ConnectionResetError("the server closed the connection")
    kind, text = line[:1], line[1:-2].decode(errors="replace")
    if kind == b"-":
        raise StoreError(text, where=where, hint=_hint(text))
    if kind == b":":
        return int(text)
    if kind == b"$":
        return None if text == "-1" else _bulk(replies, int(text))
    if kind == b"*":
        return None if text == "-1" else [_reply(replies, where) for _ in range(int(text))]
    return text


def _bulk(replies: BinaryIO, length: int) -> str:
    raw = replies.read(length + 2)
    if len(raw) != length + 2:
        raise ConnectionResetError("the server closed the connection")
    return raw[:length].decode(errors="replace")


def _hint(message: str) -> str:
    if message.startswith("WRONGPASS"):
        return "the store was created with another password: restart it, or restore the app's secrets"
    return ""
