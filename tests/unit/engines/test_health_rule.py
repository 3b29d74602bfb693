"""The health of an instance: one rule for deployments, boots and the watchdog."""

import http.server
import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from pushrod.engines import health_rule
from pushrod.engines.health_rule import Probe


class _Answers(http.server.BaseHTTPRequestHandler):
    """Answers with the status in the path, only to the Host in it: `/200/shop.test`."""

    asked: list[str]

    def do_GET(self) -> None:
        status, _, name = self.path.strip("/").partition("/")
        self.asked.append(self.headers["Host"])
        self.send_response(int(status or 200) if name in ("", self.headers["Host"]) else 400)
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        """Log nothing."""


@pytest.fixture
def port() -> Iterator[int]:
    _Answers.asked = []
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Answers)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield server.server_port
    server.shutdown()
    server.server_close()


@pytest.fixture
def closed() -> Iterator[int]:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        yield unused.getsockname()[1]


def problem(port: int, path: str = "", host: str = "", **more: Any) -> str:
    one = health_rule.probe("127.0.0.1", port, path, host, **more)
    return health_rule.problems([one])[one]


@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("/200", ""),
        ("/204", ""),
        ("/302", ""),
        ("/401", "GET /401 answered 401"),
        ("/404", "GET /404 answered 404 (Host: localhost)"),
        ("/500", "GET /500 answered 500"),
        ("", ""),
    ],
)
def test_the_answer_to_a_path_or_port_decides_health(port: int, path: str, why: str) -> None:
    assert problem(port, path) == why


@pytest.mark.parametrize("path", ["", "/up"])
def test_a_closed_port_is_unhealthy(closed: int, path: str) -> None:
    assert problem(closed, path) == f"nothing listens on its port ({closed}, given in $PORT)"


def test_the_probe_uses_the_apps_host_name(port: int) -> None:
    assert problem(port, "/200/shop.test", "shop.test") == ""
    reason = problem(port, "/200/shop.test", "other.test")
    assert reason == "GET /200/shop.test answered 400 (Host: other.test)"
    assert _Answers.asked == ["shop.test", "other.test"]


@pytest.mark.parametrize("name", ["localhost", "127.0.0.1:{}"])
def test_a_probe_without_a_name_uses_localhost_then_the_address(port: int, name: str) -> None:
    assert problem(port, f"/200/{name.format(port)}") == ""
    assert _Answers.asked[-1] == name.format(port)


def test_any_answer_can_be_accepted(port: int, closed: int) -> None:
    assert problem(port, "/500", any_answer=True) == ""
    assert problem(closed, "/500", any_answer=True)


def test_several_probes_run_at_once_with_their_own_results(port: int, closed: int) -> None:
    probes = [
        health_rule.probe("127.0.0.1", at, path)
        for at, path in ((port, "/200"), (port, "/500"), (closed, ""), (port, "/500"))
    ]
    assert [bool(why) for why in health_rule.problems(probes).values()] == [False, True, True]


@pytest.mark.parametrize(
    "one",
    [
        health_rule.probe("10.213.0.2", 8080, "/a/b?c=d", "shop.test:8443"),
        health_rule.probe("10.213.0.2", 8080, "/"),
        health_rule.probe("10.213.0.2", 8080),
        health_rule.probe("fd00::2", 80, "/up"),
    ],
)
def test_a_probe_round_trips_through_labels(one: Probe) -> None:
    assert health_rule.of_labels(one.labels()) == one


@pytest.mark.parametrize(
    ("label", "one"),
    [
        ("http://10.213.0.2:80/up", Probe("10.213.0.2", 80, "/up", ("10.213.0.2:80",))),
        ("http://10.213.0.2:80/", Probe("10.213.0.2", 80)),
        ("tcp://10.213.0.2:80", Probe("10.213.0.2", 80)),
        ("", None),
        ("nonsense", None),
    ],
)
def test_labels_of_an_older_version_are_understood(label: str, one: Probe | None) -> None:
    """It gave `/` to an entry without a check, too, and named no hosts."""
    assert health_rule.of_labels({health_rule.PROBE: label}) == one
    assert health_rule.of_labels(None) is None


@pytest.mark.parametrize(
    ("path", "health", "way"),
    [
        ("/up", "unhealthy", "path"),
        ("/up", "", "path"),
        ("", "healthy", "check"),
        ("", "none", "port"),
        ("", "", "port"),
        (None, "starting", "check"),
        (None, "none", ""),
        (None, "", ""),
    ],
)
def test_the_way_of_checking_is_described(path: str | None, health: str, way: str) -> None:
    asked = None if path is None else health_rule.probe("10.213.0.2", 80, path)
    assert health_rule.way(asked, health) == way
