"""gRPC through the edge: a real app and client, with and without TLS, and the effect of a switch on calls."""

import re
import time

import pytest

from devtools.apps import App, Machine
from pushrod.ingress import certificates
from tests.integration import calls
from tests.integration.calls import Caller
from tests.integration.edges import ask

pytestmark = pytest.mark.integration

WAYS = ("TLS", "without TLS")


@pytest.fixture(scope="module")
def apps(machine: Machine) -> dict[str, App]:
    for name in ("UV_OFFLINE", "UV_CACHE_DIR"):  # the library comes from this machine's usual source
        machine.env.pop(name, None)
    return {
        "TLS": machine.app("secure", calls.files(**{"x-pushrod": {"tls": {"source": "local"}}})),
        "without TLS": machine.app("plain", calls.files()),
    }


@pytest.fixture(scope="module", params=WAYS)
def app(request: pytest.FixtureRequest, apps: dict[str, App]) -> App:
    return apps[request.param]


@pytest.fixture(scope="module")
def caller(app: App) -> Caller:
    port, client = app.settings["port"], app.tree.path / "client.py"
    own = app.must("exec", "web", "--", "python", "-c", "import sys; print(sys.executable)").strip()
    if app.name == "plain":
        return Caller(own, client, f"127.0.0.1:{port}")
    trust = app.machine.root / "authority" / "chain.pem"
    return Caller(own, client, f"localhost:{certificates.tls_port(port)}", authority=str(trust))


def test_calls_of_all_four_kinds_work(caller: Caller) -> None:
    reply = caller.call("say", "hello")
    assert (reply["code"], reply["answer"], reply["trailers"]["x-version"]) == ("OK", "one:hello", "one")
    assert reply["headers"]["x-pushrod-release"]
    assert caller.call("count", "5x0") == [f"one:{n}" for n in range(5)]
    assert caller.call("total", "100", "1000") == "100000"
    assert caller.call("chat", "5", "0") == [[f"one:{n}" for n in range(5)], []]


def test_a_failed_call_has_the_apps_status(caller: Caller) -> None:
    reply = caller.call("say", "missing")
    assert (reply["code"], reply["answer"]) == ("NOT_FOUND", "no such thing")


def test_messages_are_streamed_as_they_are_sent(caller: Caller) -> None:
    began = time.monotonic()
    assert len(caller.call("count", "3x0.5")) == 3
    assert time.monotonic() - began < 10
    assert caller.call("chat", "3", "0.3")[0] == ["one:0", "one:1", "one:2"]


def test_an_app_gets_the_edges_headers_and_not_the_callers(caller: Caller) -> None:
    words = ("x-forwarded-host=evil", "x-forwarded-for=203.0.113.9", "x-real-ip=203.0.113.9", "x-mine=1")
    output = caller.call("say", "metadata", *words, "proxy=http://evil")["answer"]
    assert "'x-mine', value='1'" in output
    assert "evil" not in output
    assert re.search(r"x-forwarded-proto', value='https?'", output)
    assert "x-request-id" in output


def test_headers_of_32_kb_pass(caller: Caller) -> None:
    assert len(caller.call("say", "headers32000")["headers"]["x-large"]) == 32000


def test_a_client_may_have_more_calls_than_uploads(caller: Caller) -> None:
    assert caller.call("together", "60") == [["one:0", "one:1"]] * 60


def test_a_call_may_be_larger_than_the_body_limit(caller: Caller) -> None:
    assert caller.call("total", "80", "1000000") == "80000000"


def test_an_http_1_request_is_answered_with_an_error(app: App, apps: dict[str, App]) -> None:
    """HTTP/1.1 on the same port."""
    answer = ask(apps["without TLS"].settings["port"], "/shop.Shop/Say", "POST", "x")
    assert answer.status in (415, 502)


def test_a_switch_fails_no_call(app: App, caller: Caller) -> None:
    """Neither short calls nor a lasting one."""
    port = app.settings["port"]
    for version in ("two", "one"):
        with caller.calling("load") as load, caller.calling("chat", "12", "0.5") as chat:
            assert load.heard() == "began"
            app.tree.commit({"server.py": calls.SERVER.replace('"one"', f'"{version}"')}, version)
            done = app.tree.push()
            assert done.ok, done.err
            result = load.ended()
            heard, rest = chat.heard()
        assert result["failed"] == []
        assert result["calls"] > 50
        assert result["versions"] == ["one:x", "two:x"]
        assert ([h.partition(":")[2] for h in heard], rest) == ([str(n) for n in range(12)], [])
    assert port == app.settings["port"]


def test_an_app_under_maintenance_is_unavailable(machine: Machine, app: App, caller: Caller) -> None:
    app.must("maintenance", "on")
    try:
        assert caller.call("say", "x")["code"] == "UNAVAILABLE"
    finally:
        app.must("maintenance", "off")
    assert caller.call("say", "x")["code"] == "OK"
