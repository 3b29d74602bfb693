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

    monkeypatch.setattr(signals, "end_after", lambda _seconds, _on_end: None)
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
def test_a_local_change_is_recorded_with_its_user(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SUDO_USER", "ada")
    monkeypatch.setenv("LOGNAME", "root")
    here(app, "secret", "set", "TOKEN", stdin="hush-hush")
    here(app, "secret", "import", "-", stdin="A=of-a\nB=of-b\n")
    here(app, "secret", "unset", "NOTHING")
    here(app, "status")
    here(app, "secret", "list")
    actual = acts(app)
    assert [(a.by, a.app, a.what, a.words, a.result, a.code, a.detail) for a in actual] == [
        ("root (ada)", "shop", "secret set", "TOKEN", "done", 0, ""),
        ("root (ada)", "shop", "secret import", "-", "done", 0, "A, B"),
        ("root (ada)", "shop", "secret unset", "NOTHING", "failed", 12, "no secret `NOTHING`"),
    ]
    assert not any(word in Audit(app.root).log.read_text() for word in ("hush-hush", "of-a", "of-b"))


def test_every_call_through_the_gate_is_recorded(app: App, through: list[list[str]]) -> None:
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
    lines = [(a.by, a.address, a.what, a.app, a.result, a.code) for a in acts(app)]
    who = ("alice", "192.0.2.7")
    assert lines == [
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


def test_a_push_is_one_record_of_the_gate_and_the_hook(app: App, through: list[list[str]]) -> None:
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


def test_command_lines_are_recorded_without_secrets(app: App, through: list[list[str]]) -> None:
    here(app, "secret", "set", "TOKEN", stdin="hush-hush")
    for options in ("", "--app zoo ", "--root x "):
        ask(app, f"run {options}-- curl -H hush-hush http://x", "shop")
        assert acts(app)[-1].words == f"run {options}-- curl -H *** http://x"


@pytest.mark.slow
def test_calls_by_a_timer_are_not_recorded(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    here(app, "db", "backup", "--all")
    monkeypatch.setenv("INVOCATION_ID", "0123")
    here(app, "db", "backup", "--all")
    here(app, "down")
    assert [a.what for a in acts(app)] == ["db backup", "down"]


@pytest.mark.parametrize(
    "command", ["status \udcff\udcfe", "\udcff", "git-receive-pack '\udcff'", "run \udcff"]
)
def test_invalid_bytes_are_recorded_as_question_marks(
    command: str, app: App, through: list[list[str]]
) -> None:
    done = ask(app, command, "shop")
    assert isinstance(done.exception, PushrodError | click.ClickException), done.exc_info
    assert acts(app)[-1].words == command.replace("\udcff", "?").replace("\udcfe", "?")


def test_a_key_sees_only_the_records_of_its_apps(app: App, through: list[list[str]]) -> None:
    log = Audit(app.root)
    log.end(log.begin(Who("bob", "SHA256:b"), "rollback", "zoo"), "done")
    log.end(log.begin(Who("bob", "SHA256:b"), "rollback", "shop"), "done")
    log.note(Who("root"), "host init", "done")
    output = ask(app, "audit", "shop").output
    assert ("bob" in output, "zoo" in output, "host init" in output) == (True, False, False)
    assert all(word in ask(app, "audit").output for word in ("zoo", "host init"))
    assert "this key is not for `zoo`" in str(ask(app, "audit --app zoo", "shop").exception)
    assert "needs a key for all apps" in str(ask(app, "audit verify", "shop").exception)
    assert ": unchanged" in ask(app, "audit verify").output


def test_the_list_can_be_filtered(app: App) -> None:
    log = Audit(app.root)
    for who, what, result in (("bob", "push", "failed"), ("eve", "push", "done"), ("eve", "exec", "done")):
        log.end(log.begin(Who(who, f"SHA256:{who}"), what, "shop"), result)  # type: ignore[arg-type]
    assert here(app, "audit", "--key", "eve", "--verb", "push").output.count("eve") == 1
    assert here(app, "audit", "--result", "failed", "-n", "1").output.count("\n") == 2
    assert here(app, "audit", "--since", "1h").output.count("\n") == 4
    assert here(app, "audit", "--since", "2999-01-01").output == "no matching entries\n"
    assert isinstance(here(app, "audit", "--since", "soon").exception, click.BadParameter)


def test_a_changed_line_is_reported_with_its_number(app: App) -> None:
    log = Audit(app.root)
    log.end(log.begin(Who("eve", "SHA256:e"), "push", "shop"), "done")
    log.log.write_text(log.log.read_text().replace("eve", "bob"))
    done = here(app, "audit", "verify")
    assert isinstance(done.exception, PushrodError)
    assert (done.exception.exit_code, done.exception.what) == (11, "line 1 was changed")


def test_an_unwritable_audit_log_blocks_keys_but_not_the_owner(app: App, through: list[list[str]]) -> None:
    """A key's call is refused, because it would leave no record."""
    (app.root.path / "audit").write_text("no directory")
    done = here(app, "secret", "set", "TOKEN", stdin="x")
    assert (done.exception, "not recorded in the audit log" in done.output) == (None, True)
    assert isinstance(ask(app, "secret set OTHER", "shop", stdin="y").exception, PushrodError)
    assert "TOKEN\n" in here(app, "secret", "list").output
    assert "OTHER" not in here(app, "secret", "list").output


def test_only_read_only_verbs_are_not_recorded() -> None:
    """A read-only verb says so in its rule; all others are recorded, including new ones."""
    left_out = [path for path in COMMANDS if not verbs.find(path).recorded]
    assert sorted(left_out) == [
        "audit",
        "gate",
        "hook",
        "host edge",
        "host notify check",
        "metrics",
        "new",
        "recover",
        "web call",
        "web door",
        "web serve",
    ]
    for verb, rule in gate.VERBS.items():
        assert rule.read_only == ("as_json" in rule.parameters and "repair" not in rule.parameters), verb


@pytest.mark.parametrize("verb", [("notify", "add", "team"), ("alarm", "set")])
@pytest.mark.parametrize(
    ("target", "recorded"),
    [
        ("https://hooks.example.com/services/T0/token", "https://hooks.example.com/…"),
        ("https://ann:token@hooks.example.com", "https://hooks.example.com/…"),
        ("/bin/true --key token", "/bin/true"),
        ("mailto:ann@example.com", "mailto:ann@example.com"),
    ],
)
def test_the_address_of_a_webhook_is_not_recorded(
    app: App, verb: tuple[str, ...], target: str, recorded: str
) -> None:
    """Whoever knows it can write to the channel, and keys for all apps may read the log."""
    here(app, "host", *verb, target)
    (act,) = acts(app)
    assert act.words.endswith(recorded)
    assert "token" not in (app.root.path / "audit" / "log").read_text()
