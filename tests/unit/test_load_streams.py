"""Lasting connections of the load, and the count of stored requests, with servers that misbehave on purpose."""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable

import pytest

from devtools import steady
from devtools.load import RACE, Report, Run, delivery, target
from devtools.load.shapes import Kind, Plan, Shape
from devtools.load.streams import accept
from tests.unit.test_load import OK, Answering, Exchange, Server, ok

pytestmark = pytest.mark.slow

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
END = "event: end\ndata:\n\n"


def lasting(
    kind: Kind, server: Server | None = None, *, seconds: float = 0.5, stop_after: float = 0.0, path: str = ""
) -> Report:
    """Ten streams or WebSockets to a server, or to the app of the integration tests, stopped after a while."""

    async def go() -> Report:
        app = steady.App()
        if server is None:
            listener = await asyncio.start_server(app.accept, "127.0.0.1", 0)
            url = f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}{path}"
        else:
            url, listener = await server.start() + path.removeprefix("/"), server.server
        if stop_after:
            asyncio.get_running_loop().call_later(stop_after, app.stopping.set)
        held = seconds if kind == "websocket" else 0.0
        shape = Shape(kind, (target(url),), persistent=False, kind=kind, seconds=held, lasts=True)
        try:
            return await Run(Plan((shape,), 100, 0.1, 5))()
        finally:
            listener.close()
            app.stopping.set()
            await asyncio.gather(*app.tasks)

    return asyncio.run(go())


def chunk(text: str) -> bytes:
    return f"{len(text):x}\r\n{text}\r\n".encode()


# ---- server-sent events ---------------------------------------------------------------------------------------


def test_a_stream_that_the_app_completes_is_a_success() -> None:
    report = lasting("events", path="/events?count=2")
    assert report.passed, report.table()
    assert report.total.closed == 0


def test_a_stream_that_the_app_ends_early_but_properly_counts_as_closed() -> None:
    report = lasting("events", path="/events?count=40", stop_after=0.4)
    assert report.passed, report.table()
    assert report.total.closed == 10


async def no_last_chunk(exchange: Exchange) -> None:
    exchange.send(HEAD + chunk("data: 0\n\n") + chunk(END))
    exchange.close()


async def reset_stream(exchange: Exchange) -> None:
    exchange.send(HEAD + chunk("data: 0\n\n"))
    await exchange.writer.drain()
    await asyncio.sleep(0.02)
    exchange.reset()


async def missing_event(exchange: Exchange) -> None:
    exchange.send(HEAD + chunk("data: 0\n\n") + chunk("data: 2\n\n") + chunk(END) + b"0\r\n\r\n")


async def half_an_event(exchange: Exchange) -> None:
    exchange.send(HEAD + chunk("data: 0\n\n") + chunk("data: 1\n") + b"0\r\n\r\n")


async def no_stream(exchange: Exchange) -> None:
    exchange.send(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n")


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (no_last_chunk, "truncated"),
        (reset_stream, "truncated"),
        (missing_event, "wrong"),
        (half_an_event, "wrong"),
        (no_stream, "status 502"),
    ],
)
def test_a_stream_that_ends_improperly_is_reported(answer: Answering, kind: str) -> None:
    assert lasting("events", Server(answer)).total.failures == {kind: 10}


# ---- WebSockets -----------------------------------------------------------------------------------------------


def test_a_websocket_that_the_client_closes_is_a_success() -> None:
    report = lasting("websocket", path="/socket")
    assert report.passed, report.table()
    assert (report.total.closed, report.total.statuses) == (0, {"101": 10})


def test_a_websocket_that_the_app_closes_properly_counts_as_closed() -> None:
    report = lasting("websocket", path="/socket", seconds=10, stop_after=0.6)
    assert report.passed, report.table()
    assert report.total.closed == 10
    assert report.total.max < 5


def socket_that(does: Callable[[Exchange], Awaitable[None]]) -> Answering:
    """A server that opens a WebSocket, receives the first frame and then does this."""

    async def answer(exchange: Exchange) -> None:
        key = next(line for line in exchange.head.split(b"\r\n") if line.startswith(b"Sec-WebSocket-Key: "))
        exchange.send(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n")
        exchange.send(b"Sec-WebSocket-Accept: " + accept(key.partition(b": ")[2]) + b"\r\n\r\n")
        await exchange.reader.readexactly(2 + 4 + 1)
        await does(exchange)
        exchange.close()

    return answer


async def just_closes(exchange: Exchange) -> None:
    pass


async def resets(exchange: Exchange) -> None:
    exchange.reset()


async def half_a_frame(exchange: Exchange) -> None:
    exchange.send(b"\x81\x05ab")


async def echoes_wrongly(exchange: Exchange) -> None:
    exchange.send(b"\x81\x017")


async def echoes_twice(exchange: Exchange) -> None:
    exchange.send(b"\x81\x010\x81\x010")
    await exchange.reader.read()


async def goes_on_after_close(exchange: Exchange) -> None:
    exchange.send(b"\x88\x02\x03\xe9\x81\x010")
    await exchange.reader.read()


async def closes_and_resets(exchange: Exchange) -> None:
    exchange.send(b"\x88\x02\x03\xe9")
    await exchange.reader.readexactly(2 + 4 + 2)
    exchange.reset()


async def not_the_key(exchange: Exchange) -> None:
    exchange.send(b"HTTP/1.1 101 Switching Protocols\r\nSec-WebSocket-Accept: no\r\n\r\n")


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (socket_that(just_closes), "cut"),
        (socket_that(resets), "cut"),
        (socket_that(half_a_frame), "cut"),
        (socket_that(closes_and_resets), "cut"),
        (socket_that(echoes_wrongly), "wrong"),
        (socket_that(echoes_twice), "wrong"),
        (socket_that(goes_on_after_close), "surplus"),
        (not_the_key, "malformed"),
        (no_stream, "status 502"),
        (ok, "status 200"),
    ],
)
def test_a_websocket_that_ends_improperly_is_reported(answer: Answering, kind: str) -> None:
    assert lasting("websocket", Server(answer)).total.failures == {kind: 10}


# ---- uploads, and what was stored -----------------------------------------------------------------------------


def upload(answer: Answering, *, seconds: float = 0.3) -> tuple[Report, list[str]]:
    """Ten uploads; returns the report, and the ids of the bodies that the server received completely."""
    server = Server(answer)

    async def go() -> Report:
        to = (target(await server.start()),)
        body = '{"id": "{id}", "filling": "xxxxxxxxxxxxxxxx"}'
        shape = Shape("upload", to, method="POST", persistent=False, body=body, seconds=seconds, lasts=True)
        try:
            return await Run(Plan((shape,), 100, 0.1, 5))()
        finally:
            server.server.close()

    report = asyncio.run(go())
    return report, [json.loads(body)["id"] for body in server.bodies]


def test_a_slow_upload_arrives_completely() -> None:
    start = time.monotonic()
    report, stored = upload(ok)
    assert report.passed, report.table()
    assert time.monotonic() - start >= 0.3
    assert report.shapes["upload"].p50 >= 0.3
    assert delivery(report, stored).exactly_once
    assert sorted(stored) == sorted(report.acknowledged)


def test_sees_an_upload_that_is_cut_off() -> None:
    async def cut_off(exchange: Exchange) -> None:
        exchange.reset()

    report, stored = upload(cut_off)
    assert report.total.failures == {"reset": 10}
    result = delivery(report, stored)
    assert sorted(result.late) == sorted(report.unacknowledged), "it cannot know that they were stored"
    assert result.exactly_once


def test_sees_a_post_that_was_acknowledged_and_dropped() -> None:
    report, stored = upload(ok, seconds=0)
    dropped = stored.pop(3)
    result = delivery(report, stored)
    assert result.lost == [dropped]
    assert not result.exactly_once


def test_sees_a_post_that_was_stored_twice_or_never_sent() -> None:
    report, stored = upload(ok, seconds=0)
    run = stored[0].partition("-")[0]
    result = delivery(report, [*stored, stored[5], f"{run}-999", "another-1"])
    assert result.doubled == [stored[5]]
    assert result.strange == [f"{run}-999"], "what other runs have stored is theirs"
    assert not result.exactly_once


# ---- the whole ------------------------------------------------------------------------------------------------


def test_lasting_requests_do_not_count_in_latencies_and_gaps() -> None:
    async def answer(exchange: Exchange) -> None:
        # Quick requests are refused for a while, during which slow ones succeed.
        if b"GET /slow" in exchange.head:
            await asyncio.sleep(0.3)
            exchange.send(OK)
        elif 20 <= exchange.total < 40:
            exchange.send(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n")
        else:
            exchange.send(OK)

    server = Server(answer)

    async def go() -> Report:
        url = await server.start()
        shapes = (Shape("keep", (target(url),)), Shape("slow", (target(url + "slow"),), lasts=True))
        try:
            return await Run(Plan(shapes, 50, 1.2, 5))()
        finally:
            server.server.close()

    report = asyncio.run(go())
    assert report.total.ok == report.shapes["keep"].ok + report.shapes["slow"].ok
    assert report.total.max < 0.3
    assert report.total.gap > 0.3, report.table()


def test_only_a_distant_client_meets_the_idle_close_race() -> None:
    async def answer_and_close(exchange: Exchange) -> None:
        exchange.send(OK)
        asyncio.get_running_loop().call_later(0.03, exchange.close)

    async def go(distance: float, rate: float) -> Report:
        server = Server(answer_and_close)
        shape = Shape("keep", (target(await server.start()),))
        try:
            return await Run(Plan((shape,), rate, 0.4, 5, connections=1, distance=distance))()
        finally:
            server.server.close()

    far = asyncio.run(go(0.04, 50))
    assert set(far.total.failures) == {RACE}
    near = asyncio.run(go(0.0, 20))
    assert near.passed, near.table()
