"""Which calls are recorded in the audit log, and with what content."""

import os

import click
import pytest
from click.testing import CliRunner, Result

from pushrod.cli import cli, recording
from pushrod.core.errors import PushrodError
from pushrod.provisioning import gate, verbs
from pushrod.state.apps import App
from pushrod.state.audit import Act, Audit, Filter, Who
from pushrod.system import processes, signals
from tests.unit.cli.test_gate import COMMANDS


def acts(app: App) -> list[Act]:
    return Audit(app.root).last(100, Filter())


def here(app: App, *argv: str, stdin: str = "") -> Result:
    return CliRunner().invoke(cli, ["--root", str(app.root.path), *argv], input=stdin, standalone_mode=False)


@pytest.fixture
def through(app: App, monkeypatch: pytest.MonkeyPatch) -> "list[list[str]]":
    """Calls through the gate; yields the Git calls that would have been started."""
    started: list[list[str]] = []

    def attach(argv: list[str], **_: object) -> int:
        started.append(argv)
        return 0

    monkeypatch.setattr(signals, "end_after", lambda _seconds, _told: None)
    monkeypatch.setattr(processes, "attach", attach)
    monkeypatch.setenv("LOGNAME", "pushrod")  # the gate changes it: restored after the test
    monkeypatch.setenv("SSH_CONNECTION", "192.0.2.7 50000 192.0.2.1 22")
    monkeypatch.chdir(app.root.path)
    return started


def ask(app: App, command: str, *apps: str, stdin: str = "") -> Result:
    options = [word for name in apps for word in ("--app", name)]
    os.environ["SSH_ORIGINAL_COMMAND"] = command
    try:
        return here(app, "gate", "alice", *options, stdin=stdin)
    finally:
        del os.environ["SSH_ORIGINAL_COMMAND"]


@pytest.mark.slow
def test_who_changes_something_here_is_told(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SUDO_USER", "ada")
    monkeypatch.setenv("LOGNAME", "root")
    here(app, "secret", "set", "TOKEN", stdin="hush-hush")
    here(app, "secret", "import", "-", stdin="A=of-a\nB=of-b\n")
    here(app, "secret", "unset", "NOTHING")
    here(app, "status")
    here(app, "secret", "list")
    found = acts(app)
    assert [(a.by, a.app, a.what, a.words, a.result, a.code, a.detail) for a in found] == [
        ("root (ada)", "shop", "secret set", "TOKEN", "done", 0, ""),
        ("root (ada)", "shop", "secret import", "-", "done", 0, "A, B"),
        ("root (ada)", "shop", "secret unset", "NOTHING", "failed", 12, "no secret `NOTHING`"),
    ]
    assert not any(word in Audit(app.root).log.read_text() for word in ("hush-hush", "of-a", "of-b"))


def test_what_comes_through_the_gate_is_told_whatever_it_is(app: App, through: list[list[str]]) -> None:
    for command in (
        "",
        "releases",
        "secret set TOKEN",
        "git-upload-pack shop",
        "git-receive-pack shop",
        "status --app zoo",
        "git-receive-pack zoo",
        "run --app -- --app shop --root /srv true",
        "frobnicate",
        "status --nothing",
        "host keys list",
    ):
        ask(app, command, "shop", stdin="value")
    told = [(a.by, a.address, a.what, a.app, a.result, a.code) for a in acts(app)]
    who = ("alice", "192.0.2.7")
    assert told == [
        (*who, "", "", "done", 0),
        (*who, "releases", "shop", "done", 0),
        (*who, "secret set", "shop", "done", 0),
        (*who, "fetch", "shop", "done", 0),
        (*who, "push", "shop", "done", 0),
        (*who, "status", "zoo", "refused", 12),
        (*who, "", "", "refused", 12),
        (*who, "run", "shop", "refused", 12),
        (*who, "", "", "refused", 12),
        (*who, "status", "", "refused", 2),
        (*who, "", "", "refused", 12),
    ]
    assert acts(app)[7].words == "run --app -- --app shop --root /srv true"
    assert "--root of `run`" in acts(app)[7].detail


def test_a_push_is_one_act_of_the_gate_and_the_hook(app: App, through: list[list[str]]) -> None:
    """The hook knows how it ended; the gate knows the key and the address."""
    log = Audit(app.root)

    def attach(argv: list[str], *, env: dict[str, str], **_: object) -> int:
        log.end(int(env[recording.ACT]), "failed", 8, "shop", "commit 0123; web-1 ended at boot")
        return 0

    processes.attach = attach  # type: ignore[assignment]  # `through` puts it back
    ask(app, "git-receive-pack shop", "shop")
    (act,) = acts(app)
    assert (act.by, act.what, act.result, act.code) == ("alice", "push", "failed", 8)
    assert act.detail == "commit 0123; web-1 ended at boot"


def test_words_of_a_program_are_told_without_secrets(app: App, through: list[list[str]]) -> None:
    here(app, "secret", "set", "TOKEN", stdin="hush-hush")
    for options in ("", "--app zoo ", "--root x "):
        ask(app, f"run {options}-- curl -H hush-hush http://x", "shop")
        assert acts(app)[-1].words == f"run {options}-- curl -H *** http://x"


@pytest.mark.slow
def test_what_a_timer_does_is_nobodys_doing(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    here(app, "db", "backup", "--all")
    monkeypatch.setenv("INVOCATION_ID", "0123")
    here(app, "db", "backup", "--all")
    here(app, "down")
    assert [a.what for a in acts(app)] == ["db backup", "down"]


@pytest.mark.parametrize(
    "command", ["status \udcff\udcfe", "\udcff", "git-receive-pack '\udcff'", "run \udcff"]
)
def test_bytes_that_are_no_text_are_told_too(command: str, app: App, through: list[list[str]]) -> None:
    done = ask(app, command, "shop")
    assert isinstance(done.exception, PushrodError | click.ClickException), done.exc_info
    assert acts(app)[-1].words == command.replace("\udcff", "?").replace("\udcfe", "?")


def test_a_key_sees_what_was_done_to_its_own_apps(app: App, through: list[list[str]]) -> None:
    log = Audit(app.root)
    log.end(log.begin(Who("bob", "SHA256:b"), "rollback", "zoo"), "done")
    log.end(log.begin(Who("bob", "SHA256:b"), "rollback", "shop"), "done")
    log.note(Who("root"), "host init", "done")
    told = ask(app, "audit", "shop").output
    assert ("bob" in told, "zoo" in told, "host init" in told) == (True, False, False)
    assert all(word in ask(app, "audit").output for word in ("zoo", "host init"))
    assert "this key is not for `zoo`" in str(ask(app, "audit --app zoo", "shop").exception)
    assert "needs a key for all apps" in str(ask(app, "audit verify", "shop").exception)
    assert ": unchanged" in ask(app, "audit verify").output


def test_the_list_is_narrowed_down(app: App) -> None:
    log = Audit(app.root)
    for who, what, result in (("bob", "push", "failed"), ("eve", "push", "done"), ("eve", "exec", "done")):
        log.end(log.begin(Who(who, f"SHA256:{who}"), what, "shop"), result)  # type: ignore[arg-type]
    assert here(app, "audit", "--key", "eve", "--verb", "push").output.count("eve") == 1
    assert here(app, "audit", "--result", "failed", "-n", "1").output.count("\n") == 2
    assert here(app, "audit", "--since", "1h").output.count("\n") == 4
    assert here(app, "audit", "--since", "2999-01-01").output == "no matching entries\n"
    assert isinstance(here(app, "audit", "--since", "soon").exception, click.BadParameter)


def test_a_changed_line_is_said_with_its_place(app: App) -> None:
    log = Audit(app.root)
    log.end(log.begin(Who("eve", "SHA256:e"), "push", "shop"), "done")
    log.log.write_text(log.log.read_text().replace("eve", "bob"))
    done = here(app, "audit", "verify")
    assert isinstance(done.exception, PushrodError)
    assert (done.exception.exit_code, done.exception.what) == (11, "line 1 was changed")


def test_a_log_that_cannot_be_written_keeps_no_owner_from_mending(app: App, through: list[list[str]]) -> None:
    """A key's call is refused, because it would leave no record."""
    (app.root.path / "audit").write_text("no directory")
    told = here(app, "secret", "set", "TOKEN", stdin="x")
    assert (told.exception, "not recorded in the audit log" in told.output) == (None, True)
    assert isinstance(ask(app, "secret set OTHER", "shop", stdin="y").exception, PushrodError)
    assert "TOKEN\n" in here(app, "secret", "list").output
    assert "OTHER" not in here(app, "secret", "list").output


def test_only_what_changes_nothing_is_left_out() -> None:
    """A read-only verb says so in its rule; all others are recorded, including new ones."""
    left_out = [path for path in COMMANDS if not verbs.find(path).recorded]
    assert sorted(left_out) == ["audit", "gate", "hook", "host edge", "new", "recover"]
    for verb, rule in gate.VERBS.items():
        assert rule.read_only == ("as_json" in rule.parameters and "repair" not in rule.parameters), verb
