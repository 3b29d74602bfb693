"""The load over TLS and HTTP/2 with servers that misbehave on purpose: it reports each failure, and invents
none."""

import asyncio
import json
import ssl
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.events import DataReceived, RequestReceived, StreamEnded, WindowUpdated
from hyperframe.frame import GoAwayFrame

from devtools.load import RACE, UNPROCESSED, Plan, Report, Run, Shape, delivery, secured, target
from devtools.load.shapes import Protocol
from pushrod.adapters import openssl
from tests.unit.test_load import Answering, Server, close_first, ok, reset_first, short, short_reset
from tests.unit.test_load_streams import END, HEAD, chunk

pytestmark = pytest.mark.slow

NAME = "load.test"


class Asked:
    """A request on a stream, as a server sees it: `n` counts on its connection, from 1."""

    def __init__(self, to: "Http2", writer: asyncio.StreamWriter, machine: H2Connection, stream: int) -> None:
        self.to, self.writer, self.machine, self.stream = to, writer, machine, stream
        self.n = (stream + 1) // 2
        self.path = ""
        self.body = b""

    def answer(
        self, status: str = "200", body: bytes = b"ok", *, end: bool = True, length: int | None = None
    ) -> None:
        headers = [(":status", status), ("x-pushrod-release", "7"), ("x-instance", "me")]
        if length is not None:
            headers.append(("content-length", str(length)))
        self.machine.send_headers(self.stream, headers)
        self.machine.send_data(self.stream, body, end_stream=end)
        self.flush()

    def reset(self, code: ErrorCodes) -> None:
        self.machine.reset_stream(self.stream, code)
        self.flush()

    def go_away(self, last: int) -> None:
        """Send GOAWAY, and continue with accepted streams, which h2 alone would not do."""
        self.flush()
        self.writer.write(GoAwayFrame(0, last_stream_id=last).serialize())

    def flush(self) -> None:
        self.writer.write(self.machine.data_to_send())


Saying = Callable[[Asked], Awaitable[None]]


class Http2:
    """A server whose every answer comes from `answer`."""

    def __init__(self, answer: Saying) -> None:
        self.answer = answer
        self.opened = 0
        self.asked: list[Asked] = []
        self.tasks: set[asyncio.Task[None]] = set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.opened += 1
        machine = H2Connection(H2Configuration(client_side=False, header_encoding="utf-8"))
        machine.initiate_connection()
        writer.write(machine.data_to_send())
        streams: dict[int, Asked] = {}
        try:
            while data := await reader.read(65536):
                for event in machine.receive_data(data):
                    if isinstance(event, RequestReceived):
                        streams[event.stream_id] = Asked(self, writer, machine, event.stream_id)
                        headers = {str(name): str(value) for name, value in event.headers}
                        streams[event.stream_id].path = headers[":path"]
                    elif isinstance(event, DataReceived):
                        streams[event.stream_id].body += event.data
                        machine.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
                    elif isinstance(event, StreamEnded):
                        self.asked.append(streams[event.stream_id])
                        task = asyncio.ensure_future(self.answer(streams[event.stream_id]))
                        self.tasks.add(task)
                        task.add_done_callback(self.tasks.discard)
                    else:
                        assert isinstance(event, WindowUpdated) or event
                writer.write(machine.data_to_send())
        except OSError:
            pass
        writer.close()


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with an authority and one of its certificates."""
    directory = tmp_path_factory.mktemp("tls")
    authority = openssl.authority("tests")
    pair = openssl.issue(authority, [NAME])
    for name, text in {"trust": authority.chain, "chain": pair.chain, "key": pair.key}.items():
        (directory / name).write_text(text)
    return directory


def drive(
    place: Path,
    server: Http2 | Server,
    *shapes: Shape,
    requests: int = 20,
    rate: float = 200,
    sessions: int = 2,
    distance: float = 0.0,
    name: str = NAME,
) -> Report:
    """Send requests over HTTP/2, or over HTTP/1.1 with TLS to a server for that; GETs by default."""
    protocol: Protocol = "h2" if isinstance(server, Http2) else "tls"
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(place / "chain", place / "key")
    context.set_alpn_protocols(["h2" if protocol == "h2" else "http/1.1"])

    async def go() -> Report:
        listener = await asyncio.start_server(server.serve, "127.0.0.1", 0, ssl=context, backlog=1024)
        port = listener.sockets[0].getsockname()[1]
        to = (secured(target("http://127.0.0.1/"), name, port, str(place / "trust")),)
        plan = Plan(
            tuple(s._replace(targets=to, protocol=protocol) for s in shapes or (Shape("keep", ()),)),
            rate,
            requests / rate,
            5,
            2,
            distance=distance,
            sessions=sessions,
        )
        try:
            return await Run(plan)()
        finally:
            listener.close()

    return asyncio.run(go())


async def fine(asked: Asked) -> None:
    asked.answer()


def test_counts_a_healthy_server_as_healthy(place: Path) -> None:
    server = Http2(fine)
    shapes = (
        Shape("keep", (), 2),
        Shape("close", (), persistent=False),
        Shape("post", (), 1, "POST", body="{id}"),
    )
    report = drive(place, server, *shapes)
    assert report.passed, report.table()
    assert {name: f.ok for name, f in report.shapes.items()} == {"keep/h2": 10, "close/h2": 5, "post/h2": 5}
    assert set(report.protocols) == {"h2"}
    assert report.total.releases["7"].count == 20
    assert server.opened == 2 + 5, "two that are shared, and one for each that wants to be alone"
    assert delivery(report, [a.body.decode() for a in server.asked if a.body]).exactly_once
    assert len(report.acknowledged) == 5


def test_an_upload_and_a_stream_share_a_connection(place: Path) -> None:
    async def answer(asked: Asked) -> None:
        if asked.body:
            asked.answer()
            return
        asked.answer(body=b"data: 0\n\n", end=False)
        await asyncio.sleep(0.1)
        asked.machine.send_data(asked.stream, END.encode(), end_stream=True)
        asked.flush()

    upload = Shape("upload", (), 1, "POST", body="x" * 200_000 + "{id}", seconds=0.2, lasts=True)
    server = Http2(answer)
    report = drive(
        place, server, upload, Shape("events", (), kind="events", lasts=True), requests=6, sessions=1
    )
    assert report.passed, report.table()
    assert server.opened == 1
    assert report.shapes["upload/h2"].p50 >= 0.2
    assert all(len(a.body) > 200_000 for a in server.asked if a.body), "more than a window, and whole"


def test_data_that_arrives_during_other_requests_is_read_in_order(place: Path) -> None:
    async def answer(asked: Asked) -> None:
        asked.answer(body=b"data: 0\n\n", end=False)
        for number in range(1, 6):
            await asyncio.sleep(0.001)
            asked.machine.send_data(asked.stream, f"data: {number}\n\n".encode())
            asked.flush()
        asked.machine.send_data(asked.stream, END.encode(), end_stream=True)
        asked.flush()

    report = drive(
        place, Http2(answer), Shape("events", (), kind="events"), requests=800, rate=1000, sessions=1
    )
    assert report.passed, report.table()


async def resets(asked: Asked) -> None:
    asked.reset(ErrorCodes.INTERNAL_ERROR)


async def refuses(asked: Asked) -> None:
    asked.reset(ErrorCodes.REFUSED_STREAM)


async def half(asked: Asked) -> None:
    asked.answer(body=b"ha", end=False)
    asked.reset(ErrorCodes.INTERNAL_ERROR)


async def half_and_closes(asked: Asked) -> None:
    asked.answer(body=b"ha", end=False)
    await asked.writer.drain()
    asked.writer.close()


async def too_short(asked: Asked) -> None:
    asked.answer(body=b"ha", length=10)


async def closes(asked: Asked) -> None:
    asked.writer.close()


async def goes_without_it(asked: Asked) -> None:
    asked.go_away(max(0, asked.stream - 2))
    asked.writer.close()


async def goes_with_it(asked: Asked) -> None:
    asked.go_away(asked.stream)
    asked.writer.close()


async def not_http(asked: Asked) -> None:
    asked.writer.write(b"HTTP/1.1 200 OK\r\n\r\n")


async def bad_gateway(asked: Asked) -> None:
    asked.answer("502")


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (resets, "reset"),
        (refuses, UNPROCESSED),
        (half, "truncated"),
        (half_and_closes, "truncated"),
        (too_short, "truncated"),
        (closes, "unanswered"),
        (goes_without_it, UNPROCESSED),
        (goes_with_it, "unanswered"),
        (not_http, "malformed"),
        (bad_gateway, "status 502"),
    ],
)
@pytest.mark.parametrize("persistent", [True, False])
def test_sees_each_misbehaviour(place: Path, answer: Saying, kind: str, persistent: bool) -> None:
    report = drive(place, Http2(answer), Shape("get", (), persistent=persistent), requests=6, rate=20)
    assert report.total.failures == {kind: 6}, report.table()
    assert report.total.failed == (0 if kind == UNPROCESSED else 6)
    assert not report.passed
    if kind in ("truncated", "status 502"):
        assert {f.instance for f in report.failures} == {"me"}, "who had begun to answer is known"


def test_after_goaway_open_requests_complete_and_new_ones_move_on(place: Path) -> None:
    async def answer(asked: Asked) -> None:
        if asked.n == 3:
            asked.go_away(asked.stream)
        await asyncio.sleep(0.05)
        asked.answer()
        if asked.n == 3:
            await asked.writer.drain()
            asked.writer.close()

    server = Http2(answer)
    report = drive(place, server, requests=12, rate=40, sessions=1)
    assert report.passed, report.table()
    assert report.total.unprocessed == 0
    assert (report.goaways, server.opened) == (4, 4) or (report.goaways, server.opened) == (3, 4)


def test_a_request_sent_after_goaway_is_unprocessed_and_not_repeated(place: Path) -> None:
    async def answer(asked: Asked) -> None:
        asked.answer()
        if asked.n == 3:
            asked.go_away(asked.stream)

    server = Http2(answer)
    report = drive(place, server, requests=30, rate=100, sessions=1, distance=0.05)
    assert set(report.total.failures) == {UNPROCESSED}, report.table()
    assert report.total.failed == 0 < report.total.unprocessed
    assert report.total.sent == report.total.ok + report.total.unprocessed == 30


def test_a_certificate_for_another_name_is_a_failure(place: Path) -> None:
    report = drive(
        place, Http2(fine), Shape("keep", ()), Shape("close", (), persistent=False), name="other.test"
    )
    assert report.total.failures == {"tls": 20}


def test_a_server_that_speaks_another_protocol_is_a_failure(place: Path) -> None:
    async def go() -> Report:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(place / "chain", place / "key")
        listener = await asyncio.start_server(Server(ok).serve, "127.0.0.1", 0, ssl=context)
        port = listener.sockets[0].getsockname()[1]
        to = (secured(target("http://127.0.0.1/"), NAME, port, str(place / "trust")),)
        try:
            return await Run(Plan((Shape("keep", to, protocol="h2"),), 100, 0.05))()
        finally:
            listener.close()

    assert asyncio.run(go()).total.failures == {"tls": 5}


# ---- HTTP/1.1 with TLS ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "kind"),
    [(reset_first, "reset"), (close_first, "unanswered"), (short, "truncated"), (short_reset, "truncated")],
)
@pytest.mark.parametrize("persistent", [True, False])
def test_sees_each_misbehaviour_through_tls(
    place: Path, answer: Answering, kind: str, persistent: bool
) -> None:
    report = drive(place, Server(answer), Shape("get", (), persistent=persistent), requests=6)
    assert report.total.failures == {kind: 6}, report.table()


def test_a_healthy_server_over_tls_passes_with_every_post_stored_once(place: Path) -> None:
    server = Server(ok)
    shapes = (
        Shape("keep", ()),
        Shape("close", (), persistent=False),
        Shape("post", (), 1, "POST", body='{"id":"{id}"}'),
    )
    report = drive(place, server, *shapes, requests=30)
    assert report.passed, report.table()
    assert set(report.shapes) == {"keep/tls", "close/tls", "post/tls"}
    assert delivery(report, [json.loads(body)["id"] for body in server.bodies if body]).exactly_once


def test_an_idle_closed_connection_is_replaced_and_one_in_use_is_a_failure(
    place: Path,
) -> None:
    async def answer(exchange: object) -> None:
        await ok(exchange)  # type: ignore[arg-type]
        asyncio.get_running_loop().call_later(0.02, exchange.close)  # type: ignore[attr-defined]

    near = drive(place, Server(answer), requests=6, rate=15)
    assert near.passed, near.table()
    assert near.idle_closed > 0
    far = drive(place, Server(answer), requests=20, rate=100, distance=0.05)
    assert set(far.total.failures) == {RACE}, far.table()


def test_events_end_in_order_through_tls(place: Path) -> None:
    async def answer(exchange: object) -> None:
        exchange.send(HEAD + chunk("data: 0\n\n") + chunk(END) + b"0\r\n\r\n")  # type: ignore[attr-defined]

    report = drive(place, Server(answer), Shape("events", (), kind="events", persistent=False), requests=6)
    assert report.passed, report.table()
