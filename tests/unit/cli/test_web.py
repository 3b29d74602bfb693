"""Invitations, and the calls of the page: a session has the rights of its member, through the gate's own checks."""

import json
import os
from collections.abc import Callable

import msgspec
import pytest
from click.testing import CliRunner

from pushrod.cli import cli
from pushrod.cli.gate import parse
from pushrod.cli.host_context import Caller
from pushrod.cli.recording import Record
from pushrod.core.errors import HostError, PushrodError, UnknownNameError
from pushrod.provisioning.kinds import Reach
from pushrod.state.apps import App
from pushrod.state.audit import Act, Audit
from pushrod.system import signals
from pushrod.web.access import Access, Member
from pushrod.web.actions import ACTIONS
from pushrod.web.calls import Call
from pushrod.web.roles import Role
from tests.unit.samples import make_live


@pytest.fixture(autouse=True)
def settled(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a call changes in its own process is restored after the test, and no time limit is set."""
    monkeypatch.setattr(signals, "end_after", lambda _seconds, _output: None)
    monkeypatch.setenv("LOGNAME", "root")
    monkeypatch.chdir(app.root.path)


def run(app: App, *argv: str) -> str:
    argv = ("--root", str(app.root.path), "web", *argv)
    return CliRunner().invoke(cli, argv, catch_exceptions=False, standalone_mode=False).stdout


def call(app: App, monkeypatch: pytest.MonkeyPatch, session: str, *words: str) -> str:
    """What the verb printed."""
    reading, writing = os.pipe()
    os.write(writing, msgspec.json.encode(Call(session, words, "192.0.2.1")) + b"\n")
    os.close(writing)
    read = os.read
    monkeypatch.setattr(os, "read", lambda fd, n: read(reading if fd == 0 else fd, n))
    try:
        return run(app, "call")
    finally:
        os.close(reading)


@pytest.fixture
def session(app: App) -> Callable[..., str]:
    def made(role: Role = "viewer", *apps: str) -> str:
        who = Access(app.root)
        return who.enter(who.invite("ann", role, apps))

    return made


def acts(app: App) -> list[Act]:
    return list(Audit(app.root).acts())


def test_an_invitation_is_a_link_and_is_recorded_without_it(app: App) -> None:
    printed = run(app, "invite", "ann", "--app", "shop", "--role", "deployer").strip()
    who = Access(app.root)
    assert who.members() == [Member("ann", "deployer", ("shop",))]
    assert who.enter(printed.removeprefix("/enter?link="))
    act = next(act for act in acts(app) if act.what == "web invite")
    assert act.detail == "deployer of shop"
    assert printed.partition("=")[2] not in Audit(app.root).log.read_text()
    assert run(app, "members").split() == ["NAME", "ROLE", "APPS", "ann", "deployer", "shop"]
    run(app, "remove", "ann")
    assert "nobody" in run(app, "members")


def test_nobody_is_invited_to_an_app_that_does_not_exist(app: App) -> None:
    with pytest.raises(UnknownNameError):
        run(app, "invite", "ann", "--app", "blog")
    assert Access(app.root).members() == []


def test_a_call_runs_a_verb_and_is_recorded_with_its_member(
    app: App, session: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    make_live(app, 1)
    printed = call(app, monkeypatch, session("viewer", "shop"), "releases", "--json")
    assert [row["number"] for row in json.loads(printed)] == [1]
    (act,) = acts(app)
    assert (act.by, act.key, act.address, act.what, act.result) == (
        "ann",
        "web",
        "192.0.2.1",
        "releases",
        "done",
    )


@pytest.mark.parametrize(
    ("role", "apps", "words"),
    [
        ("viewer", (), ("rollback", "--app", "shop")),
        ("viewer", (), ("secret", "set", "NAME=value")),
        ("deployer", (), ("down", "--app", "shop")),
        ("owner", (), ("exec", "backend", "sh")),
        ("owner", (), ("web", "invite", "eve", "--role", "owner")),
        ("owner", (), ("web", "call")),
        ("owner", (), ("gate", "root")),
        ("owner", (), ("host", "init")),
        ("owner", (), ("--root", "/tmp", "releases")),
        ("owner", (), ("releases", "--root", "/tmp")),
        ("owner", ("blog",), ("releases", "--app", "shop")),
        ("owner", ("blog",), ("releases", "--app", "../shop")),
        ("viewer", (), ("logs", "--follow", "--", "-x")),
    ],
)
def test_what_a_member_may_not_do_is_refused_and_recorded(
    role: Role,
    apps: tuple[str, ...],
    words: tuple[str, ...],
    app: App,
    session: Callable[..., str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with pytest.raises(PushrodError) as refused:
        call(app, monkeypatch, session(role, *apps), *words)
    assert refused.value.exit_code == 12
    (act,) = acts(app)
    assert (act.by, act.key, act.result) == ("ann", "web", "refused")
    assert "value" not in Audit(app.root).log.read_text()


def test_an_ended_session_calls_nothing(
    app: App, session: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    ended = session("owner")
    Access(app.root).remove("ann")
    with pytest.raises(UnknownNameError, match="session has ended"):
        call(app, monkeypatch, ended, "releases")
    assert acts(app) == []


@pytest.mark.slow
@pytest.mark.parametrize("line", [b"", b"{}\n", b"not JSON\n", b'{"session":1,"words":[]}\n', b"x" * 70_000])
def test_what_is_no_call_is_refused(line: bytes, app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    given = iter([*(bytes([b]) for b in line), b""])
    monkeypatch.setattr(os, "read", lambda _fd, _n: next(given))
    with pytest.raises(UnknownNameError):
        run(app, "call")


def test_a_port_that_is_taken_is_named(app: App) -> None:
    from pushrod.web import server

    with server.on_loopback() as taken, pytest.raises(HostError, match="port"):
        run(app, "--port", str(taken.getsockname()[1]))


@pytest.mark.parametrize("key", ACTIONS)
def test_every_button_leads_to_a_call_that_the_gate_accepts(key: str, app: App) -> None:
    form = {
        "release": "1",
        "across_migrations": "yes",
        "service": "backend",
        "count": "2",
        "allow": "192.0.2.1",
    }
    asked = ACTIONS[key].call("shop", form | {"retry_after": "60", "name": "KEY", "value": "x"})
    caller = Caller("ann", app.root, Reach(("shop",)))
    parsed = parse(cli, list(asked.words), caller, Record())
    assert parsed.command_path.removeprefix("pushrod ") == ACTIONS[key].verb
    assert parsed.params["app_name"] == "shop"
