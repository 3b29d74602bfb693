"""Lasting connections: server-sent events and WebSockets, and whether they end properly.

Either side may end them at any moment; what counts is how. Server-sent events end with the last chunk of the body,
a WebSocket with a Close frame. A reset, or an end without these, is a failure: the client cannot tell it from a
loss.
"""

import asyncio
import base64
import contextlib
import hashlib
import re
import secrets
from typing import NamedTuple

from devtools.load.http1 import Connection
from devtools.load.http2 import Stream
from devtools.load.wire import Answer, Failed, Request

_EVERY = 0.25  # seconds between two messages on a WebSocket
_TEXT, _CLOSE, _PING, _PONG = 0x1, 0x8, 0x9, 0xA  # opcodes, RFC 6455, 11.8
_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455, 1.3
_LONGEST = 65535


async def listen(connection: Connection | Stream, request: Request) -> tuple[Answer, bool]:
    """Read server-sent events, numbered from 0, to the end of the body; returns whether the server ended them
    early.

    The last event of a complete stream is named `end`. Raises Failed.
    """
    answer = await connection.begin(request)
    text = ""
    async for part in connection.body(answer):
        text += part.decode("latin-1")
    if answer.status != 200:
        return answer, False
    numbers = [int(n) for n in re.findall(r"^data: (\d+)$", text, re.MULTILINE)]
    if numbers != list(range(len(numbers))) or not text.endswith("\n\n"):
        raise Failed("wrong", f"events {numbers[:20]}")
    return answer, "event: end\n" not in text


async def talk(connection: Connection, request: Request, seconds: float) -> tuple[Answer, bool]:
    """Hold a WebSocket for `seconds`, send numbers and expect each echoed, then close; returns whether the server
    closed first.

    Raises Failed.
    """
    key = base64.b64encode(secrets.token_bytes(16))
    answer = await connection.begin(_opening(request, key))
    if answer.status != 101:
        async for _ in connection.body(answer):
            pass
        return answer, False
    if answer.headers.get("sec-websocket-accept") != accept(key).decode():
        raise Failed("malformed", "Sec-WebSocket-Accept")
    try:
        return answer, await _conversation(connection, seconds)
    except (EOFError, ConnectionError) as e:
        raise Failed("cut", "closed" if isinstance(e, EOFError) else "reset") from e


async def _conversation(connection: Connection, seconds: float) -> bool:
    """Whether the server closed first. Raises EOFError and ConnectionError if the connection ended without a
    Close."""
    for number in range(max(1, round(seconds / _EVERY))):
        await connection.send(frame(_TEXT, str(number).encode()))
        received = await _next_frame(connection)
        if received.opcode == _CLOSE:
            return await _closed(connection, first=False)
        if received != Frame(_TEXT, str(number).encode()):
            raise Failed("wrong", f"{received.payload[:20]!r} for {number}")
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_EVERY):
                await connection.ahead()
            return await _early_close(connection)
    await connection.send(frame(_CLOSE, (1000).to_bytes(2, "big")))
    while (await _next_frame(connection)).opcode != _CLOSE:
        pass
    return await _closed(connection, first=True)


async def _early_close(connection: Connection) -> bool:
    """Accept a Close, which may come at any moment, but nothing else."""
    received = await _next_frame(connection)
    if received.opcode != _CLOSE:
        raise Failed("wrong", f"{received.payload[:20]!r} unasked")
    return await _closed(connection, first=False)


async def _closed(connection: Connection, *, first: bool) -> bool:
    """After our answer both sides have sent Close; then the server closes the connection (RFC 6455, 7.1.1)."""
    if not first:
        await connection.send(frame(_CLOSE, (1000).to_bytes(2, "big")))
    with contextlib.suppress(EOFError):
        raise Failed("surplus", repr(await connection.take(1)))
    return not first


class Frame(NamedTuple):
    """One frame, unmasked."""

    opcode: int
    payload: bytes


async def _next_frame(connection: Connection) -> Frame:
    """The next frame that is not a ping; pings are answered."""
    while True:
        first, length = await connection.take(2)
        if length == 126:
            length = int.from_bytes(await connection.take(2), "big")
        if length > _LONGEST or not first & 0x80:
            raise Failed("malformed", "a masked, split or oversized frame")
        got = Frame(first & 0x0F, await connection.take(length))
        if got.opcode != _PING:
            return got
        await connection.send(frame(_PONG, got.payload))


def frame(opcode: int, payload: bytes) -> bytes:
    """A complete frame as a client sends it: masked, at most 125 bytes."""
    mask = secrets.token_bytes(4)
    masked = bytes(b ^ mask[i % 4] for i, b in enumerate(payload))
    return bytes([0x80 | opcode, 0x80 | len(payload)]) + mask + masked


def accept(key: bytes) -> bytes:
    """A server's answer to a key (RFC 6455, 4.2.2)."""
    return base64.b64encode(hashlib.sha1(key + _GUID, usedforsecurity=False).digest())


def _opening(request: Request, key: bytes) -> Request:
    upgrade = (
        ("Upgrade", "websocket"),
        ("Connection", "Upgrade"),
        ("Sec-WebSocket-Version", "13"),
        ("Sec-WebSocket-Key", key.decode()),
    )
    others = (field for field in request.headers if field[0] != "Connection")
    return request._replace(headers=(*others, *upgrade))
