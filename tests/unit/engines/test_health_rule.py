"""Whether an instance is well: one answer, whoever asks."""

import http.server
import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from pushrod.engines import health_rule
from pushrod.engines.health_rule import Probe


class _Answers(http.server.BaseHTTPRequestHandler):
    """The status that is the path's, to whom it may answer: `/200/shop.test` to that Host alone."""

    asked: list[str]

    def do_GET(self) -> None:
        status, _, name = self.path.strip("/").partition("/")
        self.asked.append(self.headers["Host"])
        self.send_response(int(status or 200) if name in ("", self.headers["Host"]) else 400)
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: the test says enough."""


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
def test_what_a_path_has_to_answer_and_a_port_alone(port: int, path: str, why: str) -> None:
    assert problem(port, path) == why


@pytest.mark.parametrize("path", ["", "/up"])
def test_nobody_listens(closed: int, path: str) -> None:
    assert problem(closed, path) == f"nothing listens on its port ({closed}, given in $PORT)"


def test_an_app_may_answer_to_its_own_name_alone(port: int) -> None:
    assert problem(port, "/200/shop.test", "shop.test") == ""
    told = problem(port, "/200/shop.test", "other.test")
    assert told == "GET /200/shop.test answered 400 (Host: other.test)"
    assert _Answers.asked == ["shop.test", "other.test"]


@pytest.mark.parametrize("name", ["localhost", "127.0.0.1:{}"])
def test_one_without_a_name_is_asked_as_localhost_then_by_its_address(port: int, name: str) -> None:
    assert problem(port, f"/200/{name.format(port)}") == ""
    assert _Answers.asked[-1] == name.format(port)


def test_any_answer_can_be_enough(port: int, closed: int) -> None:
    assert problem(port, "/500", any_answer=True) == ""
    assert problem(closed, "/500", any_answer=True)


def test_many_at_once_each_with_its_own_answer(port: int, closed: int) -> None:
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
def test_labels_say_the_same(one: Probe) -> None:
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
def test_labels_of_an_older_pushrod(label: str, one: Probe | None) -> None:
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
def test_what_says_it(path: str | None, health: str, way: str) -> None:
    asked = None if path is None else health_rule.probe("10.213.0.2", 80, path)
    assert health_rule.way(asked, health) == way
