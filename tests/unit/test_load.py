"""The load generator with servers that misbehave on purpose: it must report each failure, and invent none."""

import asyncio
import collections
import contextlib
import json
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest

from devtools.load import (
    FAILURES,
    RACE,
    Failed,
    Figures,
    Load,
    Plan,
    Report,
    Run,
    Shape,
    mixture,
    parse_head,
    percentile,
    target,
)
from devtools.load.__main__ import main

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-Pushrod-Release: 7\r\n\r\nok"
Answering = Callable[["Exchange"], Awaitable[None]]


class Exchange:
    """One request as a server sees it: `n` counts on its connection, `total` on the server, both from 1."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.n = 0
        self.total = 0
        self.head = b""
        self.body = b""

    async def read(self) -> None:
        self.head = await self.reader.readuntil(b"\r\n\r\n")
        length = [line for line in self.head.split(b"\r\n") if line.lower().startswith(b"content-length:")]
        self.body = await self.reader.readexactly(int(length[0].partition(b":")[2])) if length else b""

    def send(self, data: bytes) -> None:
        self.writer.write(data)

    def close(self) -> None:
        self.writer.close()

    def reset(self) -> None:
        """Send RST instead of FIN, by a linger time of zero."""
        raw = self.writer.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        self.writer.transport.abort()


async def ok(exchange: Exchange) -> None:
    exchange.send(OK)
    if b"Connection: close" in exchange.head:
        exchange.close()


class Server:
    """A server whose every answer comes from `answer`; `requests` are the heads it received, `opened` counts
    connections."""

    def __init__(self, answer: Answering) -> None:
        self.answer = answer
        self.requests: list[bytes] = []
        self.bodies: list[bytes] = []
        self.opened = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        exchange = Exchange(reader, writer)
        self.opened += 1
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            while not writer.is_closing():
                await exchange.read()
                exchange.n += 1
                self.requests.append(exchange.head)
                self.bodies.append(exchange.body)
                exchange.total = len(self.requests)
                await self.answer(exchange)
        writer.close()

    async def start(self) -> str:
        self.server = await asyncio.start_server(self.serve, "127.0.0.1", 0, backlog=1024)
        return f"http://127.0.0.1:{self.server.sockets[0].getsockname()[1]}/"


def drive(
    answer: Answering | Server,
    *shares: str,
    requests: int = 40,
    rate: float = 400,
    timeout: float = 5,
    connections: int = 4,
) -> Report:
    """Send `requests` with shares such as `keep=1` to a server with these answers; returns the report."""
    server = answer if isinstance(answer, Server) else Server(answer)

    async def go() -> Report:
        to = (target(await server.start()),)
        shares_by_name = dict(s.split("=") for s in shares or ("keep=1",))
        shapes = tuple(
            Shape(
                name,
                to,
                int(share),
                method="POST" if name == "post" else "GET",
                persistent=name != "close",
                body='{"id": "{id}"}',
            )
            for name, share in shares_by_name.items()
        )
        try:
            return await Run(Plan(shapes, rate, requests / rate, timeout, connections))()
        finally:
            server.server.close()

    return asyncio.run(go())


def test_counts_a_healthy_server_as_healthy() -> None:
    report = drive(ok, "keep=1", "close=1", "post=2")
    assert report.passed
    assert {name: f.sent for name, f in report.shapes.items()} == {"keep": 10, "close": 10, "post": 20}
    assert report.total.ok == 40
    assert report.total.failures == {}
    assert report.total.statuses == {"200": 40}
    assert 0 < report.total.p50 <= report.total.p99 <= report.total.max
    assert report.samples == []


def test_keeps_connections_open_and_uses_each_in_turn() -> None:
    server = Server(ok)
    assert drive(server, requests=40, connections=4).passed
    assert server.opened == 4
    assert all(b"Connection: keep-alive" in head for head in server.requests)


def test_closing_requests_open_a_connection_each() -> None:
    server = Server(ok)
    assert drive(server, "close=1", requests=20).passed
    assert server.opened == 20
    assert all(b"Connection: close" in head for head in server.requests)


def test_posts_carry_unique_ids() -> None:
    server = Server(ok)
    assert drive(server, "post=1", requests=30).passed
    assert len({json.loads(body)["id"] for body in server.bodies}) == 30
    assert all(head.startswith(b"POST / HTTP/1.1\r\n") for head in server.requests)


def test_every_shape_takes_all_addresses_in_turn() -> None:
    server = Server(ok)

    async def go() -> Report:
        url = await server.start()
        to = (target(url + "a"), target(url + "b"))
        shapes = (Shape("keep", to), Shape("close", to, persistent=False))
        try:
            return await Run(Plan(shapes, 400, 0.1))()
        finally:
            server.server.close()

    assert asyncio.run(go()).total.ok == 40
    requested = collections.Counter((head.split()[1], b"keep-alive" in head) for head in server.requests)
    assert requested == {(path, kept): 10 for path in (b"/a", b"/b") for kept in (True, False)}


async def reset_first(exchange: Exchange) -> None:
    exchange.reset() if exchange.n == 1 else await ok(exchange)


async def close_first(exchange: Exchange) -> None:
    exchange.close()


async def reset_third(exchange: Exchange) -> None:
    exchange.reset() if exchange.n == 3 else await ok(exchange)


async def close_third(exchange: Exchange) -> None:
    exchange.close() if exchange.n == 3 else await ok(exchange)


async def short(exchange: Exchange) -> None:
    exchange.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc")
    exchange.close()


async def short_reset(exchange: Exchange) -> None:
    exchange.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc")
    await exchange.writer.drain()
    await asyncio.sleep(0.02)
    exchange.reset()


async def short_chunks(exchange: Exchange) -> None:
    exchange.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n")
    exchange.close()


async def short_head(exchange: Exchange) -> None:
    exchange.send(b"HTTP/1.1 200 OK\r\nConte")
    exchange.close()


async def unended_body(exchange: Exchange) -> None:
    exchange.send(b"HTTP/1.1 200 OK\r\n\r\nabc")
    await exchange.writer.drain()
    await asyncio.sleep(0.02)
    exchange.reset()


async def too_long(exchange: Exchange) -> None:
    exchange.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nabc")


async def not_http(exchange: Exchange) -> None:
    exchange.send(b"SSH-2.0-OpenSSH_9.2\r\n\r\n")


async def bad_chunk(exchange: Exchange) -> None:
    exchange.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-3\r\nabc\r\n0\r\n\r\n")


async def bad_gateway(exchange: Exchange) -> None:
    exchange.send(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 3\r\n\r\nbad")


async def moved(exchange: Exchange) -> None:
    exchange.send(b"HTTP/1.1 301 Moved\r\nLocation: /\r\nContent-Length: 0\r\n\r\n")


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (reset_first, "reset"),
        (close_first, "unanswered"),
        (short, "truncated"),
        (short_reset, "truncated"),
        (short_chunks, "truncated"),
        (short_head, "truncated"),
        (unended_body, "truncated"),
        (too_long, "surplus"),
        (not_http, "malformed"),
        (bad_chunk, "malformed"),
        (bad_gateway, "status 502"),
        (moved, "status 301"),
    ],
)
@pytest.mark.parametrize("shape", ["keep", "close", "post"])
def test_sees_each_misbehaviour_on_every_request(answer: Answering, kind: str, shape: str) -> None:
    report = drive(answer, f"{shape}=1", requests=12)
    assert report.total.failures == {kind: 12}
    assert (report.total.sent, report.total.ok, report.total.failed) == (12, 0, 12)
    assert not report.passed
    assert kind in report.table()
    assert len(report.samples) == 12


def test_sees_one_failure_among_many() -> None:
    async def once(exchange: Exchange) -> None:
        await (bad_gateway if exchange.total == 57 else ok)(exchange)

    report = drive(once, "keep=1", "close=1", requests=100)
    assert report.total.failures == {"status 502": 1}
    assert report.total.statuses == {"200": 99, "502": 1}
    assert (report.total.ok, report.total.failed) == (99, 1)


@pytest.mark.parametrize(("answer", "detail"), [(reset_third, "reset"), (close_third, "unanswered")])
def test_a_request_lost_on_a_reused_connection_is_a_separate_failure(answer: Answering, detail: str) -> None:
    server = Server(answer)
    report = drive(server, requests=30, connections=1, rate=100)
    assert set(report.total.failures) == {RACE}
    assert report.total.failed > 0
    # Nothing is sent twice: the server saw exactly what was counted.
    assert len(server.requests) == report.total.sent == 30
    assert detail in report.samples[0]


def test_a_connection_closed_while_idle_is_replaced_without_a_failure() -> None:
    async def answer_and_close(exchange: Exchange) -> None:
        exchange.send(OK)  # keep-alive, as far as the client knows
        exchange.close()

    server = Server(answer_and_close)
    report = drive(server, requests=20, rate=50, connections=1)
    assert report.passed, report.table()
    assert server.opened == 20
    assert report.idle_closed > 0
    assert report.idle_reset == 0


def test_a_connection_reset_while_idle_is_replaced_and_counted() -> None:
    async def answer_and_reset(exchange: Exchange) -> None:
        exchange.send(OK)
        await exchange.writer.drain()
        asyncio.get_running_loop().call_later(0.005, exchange.reset)

    report = drive(answer_and_reset, requests=20, rate=20, connections=1)
    assert report.passed, report.table()
    assert report.idle_reset > 0


def test_bytes_on_an_idle_connection_are_a_failure() -> None:
    async def answer_twice(exchange: Exchange) -> None:
        exchange.send(OK)
        await exchange.writer.drain()
        asyncio.get_running_loop().call_later(0.005, exchange.send, OK)

    report = drive(answer_twice, requests=10, rate=20, connections=1)
    assert set(report.total.failures) == {"surplus"}


def test_honours_a_close_that_the_server_announces() -> None:
    async def announced(exchange: Exchange) -> None:
        exchange.send(OK.replace(b"\r\n", b"\r\nConnection: close\r\n", 1))
        exchange.close()

    report = drive(announced, requests=20)
    assert report.passed
    assert (report.idle_closed, report.idle_reset) == (0, 0)


def test_a_stalled_answer_times_out() -> None:
    async def stall(exchange: Exchange) -> None:
        if exchange.total % 2:
            await ok(exchange)
        else:
            await asyncio.sleep(30)

    report = drive(stall, "keep=1", "close=1", requests=20, timeout=0.4)
    assert report.total.failures == {"time-out": 10}
    assert report.total.ok == 10


def test_a_refused_connection_is_seen() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))  # bound but not listening: refuses, and nothing else can use it
        to = (target(f"http://127.0.0.1:{unused.getsockname()[1]}/"),)
        shapes = (Shape("keep", to), Shape("close", to, persistent=False))
        report = asyncio.run(Run(Plan(shapes, 200, 0.1))())
    assert report.total.failures == {"refused": 20}


def test_the_rate_does_not_wait_for_answers() -> None:
    """All answers are held back until the last request has arrived: a closed loop would never finish."""
    arrived = asyncio.Event()

    async def hold(exchange: Exchange) -> None:
        if exchange.total == 20:
            arrived.set()
        await arrived.wait()
        await ok(exchange)

    report = drive(hold, "keep=1", "close=1", requests=20)
    assert report.passed, report.table()


def test_latency_is_measured_from_the_scheduled_time() -> None:
    """The server blocks the whole loop once: requests due meanwhile are sent late, which must be fully visible."""

    async def freeze(exchange: Exchange) -> None:
        if exchange.total == 1:
            time.sleep(0.5)
        await ok(exchange)

    report = drive(freeze, requests=50, rate=100)
    assert report.passed
    assert report.lag > 0.3
    assert report.total.max > 0.4
    assert report.total.p50 > 0.05  # half of all requests were due during the block


def test_the_longest_gap_includes_the_silence_after_the_last_success() -> None:
    async def dies(exchange: Exchange) -> None:
        await (ok if exchange.total <= 10 else bad_gateway)(exchange)

    report = drive(dies, requests=40, rate=80)
    assert report.total.gap >= 0.2  # 30 of 40 requests, at 80/s, fail at the end.
    assert report.total.gap_at > 0.0
    assert drive(bad_gateway, requests=40, rate=80).total.gap >= 39 / 80


def test_releases_are_reported_with_their_times() -> None:
    async def switch(exchange: Exchange) -> None:
        release = b"7" if exchange.total <= 15 else b"8"
        exchange.send(OK.replace(b"Release: 7", b"release: " + release))

    seen = drive(switch, requests=40).total.releases
    assert {value: s.count for value, s in seen.items()} == {"7": 15, "8": 25}
    assert list(seen) == ["7", "8"]
    assert seen["7"].first <= seen["7"].last <= seen["8"].first <= seen["8"].last


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;x=y\r\nde\r\n0\r\nT: 1\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 204 No Content\r\n\r\n",
        b"HTTP/1.1 200 \r\nContent-length:2\r\n\r\nab",
    ],
)
def test_complete_answers_are_read_in_any_framing_and_any_pieces(answer: bytes) -> None:
    async def whole(exchange: Exchange) -> None:
        exchange.send(answer)

    async def bytewise(exchange: Exchange) -> None:
        for i in range(len(answer)):
            exchange.send(answer[i : i + 1])
            await exchange.writer.drain()

    assert drive(whole, requests=10, connections=2).passed
    assert drive(bytewise, requests=10, connections=2).passed


def test_a_body_without_a_length_lasts_until_the_close() -> None:
    async def endless(exchange: Exchange) -> None:
        exchange.send(b"HTTP/1.0 200 OK\r\n\r\nabc")
        exchange.close()

    assert drive(endless, "keep=1", "close=1", requests=10).passed


@pytest.mark.parametrize(
    "head",
    [b"", b"200 OK", b"HTTP/1.1 99 x", b"HTTP/1.1 200 OK\r\nno colon", b"HTTP/1.1 200 OK\r\n folded: 1"],
)
def test_refuses_heads_that_are_not_http(head: bytes) -> None:
    with pytest.raises(Failed, match="malformed"):
        parse_head(head)


@pytest.mark.parametrize(
    "url",
    [
        "http://192.0.2.1/",
        "http://example.com/",
        "http://0.0.0.0/",
        "http://localhost.example.com/",
        "https://127.0.0.1/",
        "http:///x",
        "file:///etc/passwd",
        "http://[2001:db8::1]/",
    ],
)
def test_refuses_everything_but_plain_http_on_loopback(url: str) -> None:
    with pytest.raises(ValueError, match=r"http://HOST|loopback|localhost"):
        target(url)


def test_reads_loopback_urls() -> None:
    shop = target("http://shop.localhost:8080/products?page=2")
    assert (shop.address, shop.port, shop.authority) == ("127.0.0.1", 8080, "shop.localhost:8080")
    assert shop.path == "/products?page=2"
    assert target("http://[::1]/").family == socket.AF_INET6
    assert target("http://127.0.0.1").path == "/"


def test_the_mixture_follows_the_shares() -> None:
    shapes = [Shape("a", (), 1), Shape("b", (), 2), Shape("none", (), 0), Shape("c", (), 1)]
    assert [s.name for s in mixture(shapes)] == ["b", "a", "c", "b"]


def test_percentiles_by_nearest_rank() -> None:
    values = [float(n) for n in range(1, 101)]
    assert [percentile(values, p) for p in (0.5, 0.99, 1.0)] == [50.0, 99.0, 100.0]
    assert percentile([7.0], 0.5) == 7.0
    assert percentile([], 0.5) == 0.0


def test_a_report_round_trips_through_json() -> None:
    report = drive(reset_third, "keep=2", "close=1", requests=30, connections=1)
    assert Report.load(report.json()) == report
    assert isinstance(report.shapes["close"], Figures)


@contextlib.contextmanager
def running(answer: Answering) -> Iterator[str]:
    """A server in a thread, for a generator in its own process."""
    loop = asyncio.new_event_loop()
    server = Server(answer)
    thread = threading.Thread(target=loop.run_forever)
    thread.start()

    async def stop() -> None:
        server.server.close()
        tasks = [t for t in asyncio.all_tasks() if t is not asyncio.current_task()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    try:
        yield asyncio.run_coroutine_threadsafe(server.start(), loop).result(5)
    finally:
        asyncio.run_coroutine_threadsafe(stop(), loop).result(5)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(5)
        loop.close()


def command(*arguments: str) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-m", "devtools.load", *arguments]
    return subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)


def test_the_command_prints_a_table_and_its_exit_status_reports_failures(tmp_path: Path) -> None:
    file = tmp_path / "load.json"
    with running(ok) as url:
        good = command("--url", url, "--rate", "100", "--seconds", "0.3", "--json", str(file))
    assert good.returncode == 0, good.stderr
    assert "longest gap" in good.stdout
    assert "release 7: 30 answers" in good.stdout
    report = Report.load(file.read_text())
    assert {name: f.ok for name, f in report.shapes.items()} == {"keep": 15, "close": 15}
    with running(reset_third) as url:
        bad = command("--url", url, "--rate", "100", "--seconds", "0.5", "--connections", "1")
    assert bad.returncode == 1
    assert f"x {RACE}" in bad.stdout


@pytest.mark.parametrize(
    "arguments",
    [
        ["--url", "http://192.0.2.1/", "--rate", "1", "--seconds", "1"],
        ["--url", "http://127.0.0.1/", "--rate", "1"],
        ["--url", "http://127.0.0.1/", "--rate", "1", "--seconds", "601"],
        ["--url", "http://127.0.0.1/", "--rate", "5001", "--seconds", "1"],
        ["--url", "http://127.0.0.1/", "--rate", "0", "--seconds", "1"],
        ["--url", "http://127.0.0.1/", "--rate", "1", "--seconds", "1", "--shape", "keep=0"],
        ["--url", "http://127.0.0.1/", "--rate", "1", "--seconds", "1", "--shape", "post=1"],
        ["--url", "http://127.0.0.1/", "--rate", "1", "--seconds", "1", "--shape", "other=1"],
    ],
)
def test_the_command_refuses_invalid_arguments(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    assert stopped.value.code == 2
    assert "error:" in capsys.readouterr().err


def test_a_signal_stops_the_sending_and_still_reports() -> None:
    with running(ok) as url:
        argv = [sys.executable, "-m", "devtools.load", "--url", url, "--rate", "100", "--seconds", "60"]
        process = subprocess.Popen(argv, cwd=ROOT, stdout=subprocess.PIPE, text=True)
        assert process.stdout
        assert process.stdout.readline() == "sending 100/s for 60 s\n"
        process.send_signal(signal.SIGINT)
        out, _ = process.communicate(timeout=30)
    assert process.returncode == 0
    assert "longest gap" in out


def test_a_load_runs_during_a_block_and_is_read_at_its_end() -> None:
    hits: dict[bytes, int] = {}

    async def count(exchange: Exchange) -> None:
        line = exchange.head.split(b" HTTP/")[0]
        hits[line] = hits.get(line, 0) + 1
        await ok(exchange)

    with running(count) as url:
        shapes = {"keep": 1, "close": 1, "post": 1, "slow": 1}
        load = Load(url, rate=200, shapes=shapes, post_url=url + "p", slow_url=url + "s", seconds=60)
        with load:
            deadline = time.monotonic() + 20
            while min(hits.get(line, 0) for line in (b"GET /", b"POST /p", b"GET /s")) < 10:
                assert time.monotonic() < deadline, hits
                time.sleep(0.01)
    assert load.report.passed, load.report.table()
    assert load.report.total.sent == sum(hits.values())
    assert set(load.report.shapes) == set(shapes)


def test_a_load_that_ended_on_its_own_is_read() -> None:
    with running(ok) as url:
        load = Load(url, rate=100, seconds=0.1)
        load.start()
        assert load._process is not None
        load._process.wait(20)
        assert load.stop().total.ok == 10


def test_a_load_that_cannot_start_reports_the_cause() -> None:
    with pytest.raises(RuntimeError, match="loopback and the lab only"):
        Load("http://192.0.2.1/", rate=1).start()
    with pytest.raises(RuntimeError, match="not been stopped"):
        _ = Load("http://127.0.0.1/", rate=1).report


def test_every_kind_of_failure_is_explained() -> None:
    assert all(FAILURES.values())
    assert RACE in FAILURES
