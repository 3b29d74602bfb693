"""`pushrod logs --edge`: the requests of one app, from the log of all; and the logs are kept small."""

import json
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from devtools import apps
from devtools.apps import App, Machine, eventually
from pushrod.adapters.nginx import Edge, rotation
from pushrod.core.values import Rate, Route
from tests.integration.edges import PATIENCE, Backend, Started, ask
from tests.integration.test_routes import serve

pytestmark = pytest.mark.integration

Make = Callable[[str], Backend]


# ---- what nginx writes ----------------------------------------------------------------------------------------


def logged(edge: Edge) -> list[dict[str, Any]]:
    log = edge.logs / "access.log"
    return [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []


def send(port: int, raw: bytes) -> bytes:
    """Send what no client library would, and return the beginning of the answer."""
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as s:
        s.sendall(raw)
        return s.recv(65536)


REFUSED = {
    "a header of 100 KB": (b"GET /big HTTP/1.1\r\nHost: x\r\nX-Big: " + b"a" * 100_000 + b"\r\n\r\n", 400),
    "two framings": (
        b"POST /two HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        400,
    ),
    "a bad chunk": (b"POST /small/ HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", 400),
    "a body that is too large": (
        b"POST /small/ HTTP/1.1\r\nHost: x\r\nContent-Length: 2000000000\r\n\r\n",
        413,
    ),
    "no HTTP": (b"\x16\x03\x01 nonsense\r\n\r\n", 400),
}


@pytest.mark.parametrize("what", REFUSED)
def test_requests_refused_by_the_edge_are_logged_for_the_app(edge: Edge, backend: Make, what: str) -> None:
    raw, status = REFUSED[what]
    web = backend("web")
    port = serve(edge, web, Route("/small/", service="web", max_body=10))
    assert f" {status} ".encode() in send(port, raw)
    eventually(lambda: logged(edge) != [], "it is in the log")
    (line,) = logged(edge)
    assert (line["app"], line["release"], line["status"], len(line["request"])) == ("shop", 1, status, 32)


def test_rate_limited_requests_are_logged(edge: Edge, backend: Make) -> None:
    port = serve(edge, backend("web"), Route("/api/", service="web", rate=Rate(1, 60)))
    assert [ask(port, "/api/x").status for _ in range(2)] == [200, 429]
    eventually(lambda: len(logged(edge)) == 2, "both are in the log")
    rows = {
        (r["path"], r["status"], r["upstream"] != "") for r in logged(edge)
    }  # each worker's at its own time
    assert rows == {("/api/x", 200, True), ("/api/x", 429, False)}


def test_the_query_string_is_never_logged(edge: Edge, backend: Make) -> None:
    """Not even when the edge's own error page answers, where nginx no longer knows the original request."""
    port = serve(edge, backend("web"), Route("/api/", service="web", rate=Rate(1, 60)))
    assert [ask(port, "/api/x?token=hidden").status for _ in range(2)] == [200, 429]
    eventually(lambda: len(logged(edge)) == 2, "both are in the log")
    assert {(r["path"], r["status"]) for r in logged(edge)} == {("/api/x", 200), ("/api/x", 429)}
    assert "hidden" not in (edge.logs / "access.log").read_text()


def test_requests_without_an_app_are_logged_without_a_name(shared: Started) -> None:
    assert ask(shared.edge.port, "/a", Host="nobody.example").status == 404
    assert b" 400 " in send(shared.edge.port, b"nonsense\r\n\r\n")
    eventually(lambda: len(logged(shared.edge)) == 2, "both are in the log")
    assert {(r["app"], r["path"], r["status"]) for r in logged(shared.edge)} == {
        ("", "/a", 404),
        ("", "", 400),
    }


# ---- what is shown --------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def shop(machine: Machine) -> App:
    return machine.app("shop")


@pytest.fixture(scope="module")
def other(machine: Machine) -> App:
    """An app whose requests only its owner may see."""
    return machine.app("other")


def shown(app: App, *words: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in app.must("logs", "--json", *words).splitlines()]


def send_requests(app: App, *paths: str) -> None:
    """Request each path once the previous one is in the log: two workers may log in another order."""
    for path in paths:
        app.get(path)
        written(app, f'{path}"')


def written(app: App, path: str) -> None:
    """Wait until a path with this beginning is in the log."""
    log = app.machine.root / "edge" / "logs" / "access.log"
    eventually(lambda: f'"path":"{path}' in log.read_text(errors="replace"), "it is in the log")


def test_only_the_requests_of_one_app_are_shown(shop: App, other: App) -> None:
    send_requests(other, "/others-1")
    send_requests(shop, "/", "/missing")
    send_requests(other, "/others-2")
    mine = shown(shop, "--edge")
    assert [(r["path"], r["status"]) for r in mine[-2:]] == [("/", 200), ("/missing", 404)]
    assert {r["app"] for r in mine} == {"shop"}
    assert {r["instance"] for r in mine[-2:]} == {"web-1"}
    assert {r["release"] for r in mine[-2:]} == {shop.live}
    assert "others" not in shop.must("logs", "--edge", "-n", "1000000")
    last = shop.must("logs", "--edge", "-n", "1")
    assert last.split() == [
        *mine[-1]["time"][:19].split("T"),
        *("404", f"{mine[-1]['seconds']:.3f}", "s", "GET", "/missing", "web-1", "-", mine[-1]["request"]),
    ]


def test_requests_are_filtered_by_status_time_and_instance(shop: App) -> None:
    send_requests(shop, "/", "/nowhere", "/slow")
    assert {r["status"] for r in shown(shop, "--status", "404")} == {404}
    assert {r["status"] for r in shown(shop, "--status", "2xx", "--status", "404")} == {200, 404}
    assert shown(shop, "--status", "5xx") == []
    assert {r["path"] for r in shown(shop, "--slow", "350ms", "--status", "200")} == {"/slow"}
    assert shown(shop, "web", "--edge") == shown(shop, "web-1", "--edge") == shown(shop, "--edge")
    assert shown(shop, "worker", "--edge") == []
    for words in (("--status", "6xx"), ("--status", "all"), ("--slow", "fast")):
        done = shop.pushrod("logs", *words)
        assert (done.status, words[1] in done.err) == (2, True)


def test_answers_of_the_edge_are_shown(shop: App) -> None:
    shop.must("maintenance", "on")
    send_requests(shop, "/closed")
    shop.must("maintenance", "off")
    (line,) = shop.must("logs", "--status", "503", "-n", "1").splitlines()
    assert "/closed" in line
    assert " edge " in line


def test_rotated_files_are_read_if_needed(shop: App) -> None:
    send_requests(shop, "/before-1", "/before-2")
    assert rotation.rotate(shop.machine.root / "edge", max_bytes=1)[0] == "access.log"
    eventually((shop.machine.root / "edge" / "logs" / "access.log").exists, "nginx has opened a new one")
    send_requests(shop, "/after")
    assert [r["path"] for r in shown(shop, "--edge", "-n", "3")] == ["/before-1", "/before-2", "/after"]


def test_control_characters_in_a_request_do_not_reach_the_terminal(shop: App) -> None:
    """A path may contain any byte from 128 on, including those that reverse the direction of text."""
    port = shop.settings["port"]
    assert b" 404 " in send(port, "GET /a%1b%0d%0ab\u202ec\x9b31m HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    written(shop, "/a%1b")
    send_requests(shop, "/end")
    first, _ = shop.must("logs", "--edge", "-n", "2").splitlines()
    assert " /a%1b%0d%0ab\\u202ec\\x9b31m " in first
    assert shown(shop, "--edge", "-n", "2")[0]["path"] == "/a%1b%0d%0ab\u202ec\x9b31m"


@pytest.fixture
def followed(shop: App, tmp_path: Path) -> Iterator[Path]:
    """`logs --edge -f` beside the test; yields the file with its output."""
    out = tmp_path / "followed"
    with out.open("w") as f:
        child = subprocess.Popen(
            [*apps.PUSHROD, "logs", "--edge", "-f", "-n", "1"],
            cwd=shop.tree.path,
            env={**shop.machine.env, "PYTHONUNBUFFERED": "1"},
            stdin=subprocess.DEVNULL,
            stdout=f,
        )
    try:
        yield out
    finally:
        child.terminate()
        child.wait()


def test_requests_are_followed_into_the_next_release_and_file(shop: App, other: App, followed: Path) -> None:
    def printed(path: str) -> bool:
        shop.get(path)
        return f" {path} " in followed.read_text()

    eventually(lambda: printed("/first"), "a request is followed")
    shop.push_change()
    rotation.rotate(shop.machine.root / "edge", max_bytes=1)
    eventually(lambda: printed("/second"), "those of the next release too, in another file")
    other.get("/others")
    eventually(lambda: printed("/third"), "and so on")
    assert "/others" not in followed.read_text()


# ---- their size -----------------------------------------------------------------------------------------------


def test_logs_are_rotated_without_a_command(shop: App) -> None:
    log = shop.machine.root / "edge" / "logs" / "access.log"
    moved = log.with_name("access.log.1")
    before = moved.stat().st_ino if moved.exists() else 0
    with log.open("ab") as f:
        f.truncate(rotation.MAX_BYTES + 1)
    eventually(lambda: moved.stat().st_ino != before, "the log was moved aside", timeout=30)
    eventually(log.exists, "nginx writes to a new one")
    send_requests(shop, "/small-again")
    assert log.stat().st_size < rotation.MAX_BYTES
