"""What sshd runs: Git is started, verbs run for the key's apps only, everything else ends with 12."""

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import msgspec
import pytest
from click.testing import CliRunner

from pushrod.cli import cli
from pushrod.cli import gate as gate_command
from pushrod.cli.gate import parse
from pushrod.cli.host_context import Caller
from pushrod.cli.recording import Record
from pushrod.core.errors import BusyError, UnknownNameError
from pushrod.provisioning import gate, kinds, shares, verbs
from pushrod.provisioning.kinds import Reach
from pushrod.state.apps import App, HostSettings, Root
from pushrod.system import processes, signals


def ask(app: App, command: str, *options: str, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("SSH_ORIGINAL_COMMAND", command)
    monkeypatch.setenv("LOGNAME", "pushrod")  # the gate changes it: restored after the test
    monkeypatch.chdir(app.root.path)  # likewise
    argv = ["--root", str(app.root.path), "gate", "alice", *options]
    return CliRunner().invoke(cli, argv, catch_exceptions=False, standalone_mode=False).output


@pytest.fixture(autouse=True)
def endless(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time limits of calls; they do not end this process."""
    given: list[float] = []
    monkeypatch.setattr(signals, "end_after", lambda seconds, _output: given.append(seconds))
    return given


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The programs that would have been started on the client's streams."""
    seen: list[list[str]] = []

    def attach(argv: list[str], **_: object) -> int:
        seen.append(argv)
        return 0

    monkeypatch.setattr(processes, "attach", attach)
    return seen


def test_a_push_to_an_app_starts_receive_pack(
    app: App, started: list[list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    ask(app, "git-receive-pack '/shop.git'", "--app", "shop", monkeypatch=monkeypatch)
    assert started == [["git", "receive-pack", str(app.repository)]]


def test_a_first_push_makes_the_app(
    app: App, started: list[list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    ask(app, "git-receive-pack blog", monkeypatch=monkeypatch)
    made = app.root.app("blog")
    assert started == [["git", "receive-pack", str(made.repository)]]
    assert (made.repository / "hooks" / "pre-receive").exists()


@pytest.mark.parametrize("command", ["git-upload-pack blog", "git-receive-pack Blog"])
def test_no_other_command_creates_an_app(
    command: str, app: App, started: list[list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UnknownNameError):
        ask(app, command, monkeypatch=monkeypatch)
    assert (started, [a.name for a in app.root.apps()]) == ([], ["shop"])


def test_a_key_restricted_to_apps_cannot_create_one(
    app: App, started: list[list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UnknownNameError, match="no app `blog`"):
        ask(app, "git-receive-pack blog", "--app", "blog", monkeypatch=monkeypatch)
    assert started == []


def test_a_verb_is_run_for_the_apps_of_the_key(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    other = App(app.root, "zoo")
    other.save(app.settings)
    assert "zoo" in ask(app, "apps list", monkeypatch=monkeypatch)
    output = ask(app, "apps list", "--app", "shop", monkeypatch=monkeypatch)
    assert ("shop" in output, "zoo" in output) == (True, False)
    with pytest.raises(UnknownNameError, match="this key is not for `zoo`"):
        ask(app, "releases --app zoo", "--app", "shop", monkeypatch=monkeypatch)


def test_a_key_cannot_read_a_file_of_the_host(
    app: App, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    secret = tmp_path / "x.env"
    secret.write_text("A=1\n")
    with pytest.raises(UnknownNameError, match="a key cannot read files of the host"):
        ask(app, f"secret import {secret} --app shop", monkeypatch=monkeypatch)
    assert not list(app.secrets.glob("*variables*"))


def test_a_key_cannot_probe_whether_a_path_exists(app: App, tmp_path: Path) -> None:
    """Whatever a verb's parser finds out about a path before it is judged."""
    file = click.Argument(["file"], type=click.Path(exists=True, dir_okay=False))
    verbs = click.Group("secret", commands={"import": click.Command("import", params=[file])})
    for name in (".", "none"):
        with pytest.raises(UnknownNameError, match="a key cannot read files of the host"):
            parse(
                click.Group("pushrod", commands={"secret": verbs}),
                ["secret", "import", str(tmp_path / name)],
                Caller("alice", app.root, Reach(("shop",))),
                Record(),
            )


def test_an_empty_command_lists_the_permissions_of_the_key(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    output = ask(app, "", "--app", "shop", monkeypatch=monkeypatch)
    assert output.startswith("alice: you may push to shop, and run ")
    assert len(output.splitlines()) == 1


def commands(group: click.Group, path: str = "") -> Iterator[tuple[str, click.Command]]:
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        result = f"{path} {name}".strip()
        if isinstance(command, click.Group):
            assert not command.params, f"options of {result} itself are judged by nobody"
            yield from commands(command, result)
        else:
            yield result, command


COMMANDS = dict(commands(cli))


@pytest.mark.parametrize("path", COMMANDS)
def test_every_verb_and_every_parameter_is_classified(path: str) -> None:
    """A new one is refused until its kind is declared, or it is listed as forbidden to keys."""
    key = verbs.find(path).key
    assert key is gate.VERBS.get(path), f"{path}: a rule is for one verb, not for those below it"
    if key:
        assert {p.name for p in COMMANDS[path].params} == set(key.parameters)


def test_every_rule_belongs_to_an_existing_verb() -> None:
    assert all(any(f"{path} ".startswith(f"{verb} ") for path in COMMANDS) for verb in verbs.VERBS)
    assert set(gate.VERBS) <= set(COMMANDS)


@pytest.mark.parametrize("path", gate.VERBS)
def test_no_parameter_is_opened_or_read_before_the_check(path: str) -> None:
    for parameter in COMMANDS[path].params:
        assert not isinstance(parameter.type, click.File)
        assert not getattr(parameter.type, "exists", False)
        assert parameter.envvar is None
        assert not (isinstance(parameter, click.Option) and parameter.prompt)
        kind = gate.VERBS[path].parameters[str(parameter.name)]
        assert kind is not kinds.chosen or isinstance(parameter.type, click.Choice)


REFUSED = [
    *("bash", "sh -c id", "scp -t /", "rsync --server .", "/usr/lib/openssh/sftp-server", "internal-sftp"),
    *(
        "host init",
        "host keys add",
        "export kubernetes --app shop --with-secrets",
        "export kubernetes --app shop /etc",
        "export kubernetes --app shop --commit main",
        "export compose --app shop --image web=-x",
        "hook shop pre-receive",
        "gate root",
        "recover shop",
        "new x",
        "up",
        "deploy",
    ),
    *("prune", "db", "db drop", "db --help", "apps", "apps allow shop privileged", "secret", "image", "cert"),
    *("db backup --root /srv", "status --root /tmp", "status --root=/tmp", "--root /tmp status", "--version"),
    *(
        "--root=/tmp status",
        "-h",
        "",
        "pushrod pushrod status",
        "status; id",
        "git-upload-archive shop",
        "git daemon",
    ),
    *(
        "db export /tmp/x",
        "db export -- /tmp/x",
        "db import /etc/passwd --yes",
        "db import",
        "db shell --command id",
    ),
    *(
        "db shell -- -c id",
        "db shell --store ../x",
        "db size -- x",
        "db top --lines 0",
        "db export - --root /srv",
    ),
    *("secret import /etc/passwd --app shop", "secret import --app shop -- /etc/passwd"),
    *("image load /var/lib/x.tar", "down /srv", "down ..", "cert set --certificate /etc/key.pem"),
    *("cert set --certificate - --key /etc/key.pem", "cert set --key - --certificate -"),
    *("cert set --certificate - --certificate /etc/key.pem", "secret set -- --x", "secret unset ../x"),
    *(
        "plan HEAD",
        "plan --app shop -- --upload-pack=id",
        "plan ''",
        "rollback -- -1",
        "logs -n -5",
        "logs ../x",
    ),
    *(
        "logs -- --x",
        "exec -- --privileged id",
        "exec -e A=1 web id",
        "exec web -- --x",
        "run -- --rm",
        "run --rm id",
    ),
    *(
        "run --entrypoint id x",
        "run -v/:/srv id",
        "exec web -- -- id",
        "scale ../x=1",
        "scale --root=/x web=1",
    ),
    # two parsers of one line: what one takes for the end of options, the other takes for an option's value
    *("run --app -- --app shop --root /srv/r true", "exec --app -- --app shop --root /srv/r web true"),
    *(
        "run --root=/srv/r --app shop true",
        "run --service -- --root /srv/r true",
        "logs --slow -- --root=/srv/r",
    ),
    *("run --app=-- --root /srv/r true", "db verify -- x --root /srv", "exec --root -- --app shop web id"),
]


@pytest.mark.parametrize("command", REFUSED)
def test_every_other_command_is_refused(command: str, app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(App, "__init__", lambda *_: pytest.fail("an app was looked at"))
    with pytest.raises((UnknownNameError, click.UsageError)) as refused:
        ask_parsed(app, command)
    if isinstance(refused.value, UnknownNameError):
        assert refused.value.exit_code == 12


def ask_parsed(app: App, command: str, *apps: str) -> click.Context:
    words = gate.divide(command)
    assert gate.git_call(words, Reach(apps)) is None
    return parse(cli, words, Caller("alice", app.root, Reach(apps)), Record())


@pytest.mark.parametrize(
    ("command", "path", "parameters"),
    [
        ("status", "status", {"app_name": None}),
        ("pushrod logs -f backend", "logs", {"service": "backend", "follow": True}),
        ("logs --app x --app shop", "logs", {"app_name": "shop"}),  # the last one counts, and is judged
        ("exec api -- sh -c 'a b'", "exec", {"service": "api", "argv": ("sh", "-c", "a b")}),
        ("run -- tool --root /x", "run", {"argv": ("tool", "--root", "/x"), "root": None}),
        ("run tool --root /x --app zoo", "run", {"argv": ("tool", "--root", "/x", "--app", "zoo")}),
        ("run --service=web -- tool -- --x", "run", {"service": "web", "argv": ("tool", "--", "--x")}),
        ("db restore --yes 2026", "db restore", {"when": "2026", "yes": True}),
        ("db shell --read-only", "db shell", {"read_only": True, "store": ""}),
        ("db export - --app shop", "db export", {"app_name": "shop"}),
        ("db import - --yes", "db import", {"yes": True}),
        ("scale web=2 api=1", "scale", {"counts": ("web=2", "api=1")}),
        ("maintenance on --allow 203.0.113.0/24", "maintenance on", {"allow": ("203.0.113.0/24",)}),
    ],
)
def test_an_allowed_call_is_parsed(command: str, path: str, parameters: dict[str, object], app: App) -> None:
    call = ask_parsed(app, command, "shop")
    assert call.command_path == f"pushrod {path}"
    assert {name: call.params[name] for name in parameters} == parameters


def test_help_is_shown_and_no_verb_runs(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "Usage: pushrod rollback" in ask(app, "rollback -h", "--app", "shop", monkeypatch=monkeypatch)


def test_the_gate_uses_only_its_own_root(app: App, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever else names a root: a variable, the directory, a repository there with a remote."""
    other = App(Root(tmp_path / "other"), "zoo")
    other.save(msgspec.structs.replace(app.settings, name="zoo"))
    monkeypatch.setenv("PUSHROD_ROOT", str(other.root.path))
    monkeypatch.setenv("XDG_DATA_HOME", str(other.root.path))
    output = ask(app, "apps list", monkeypatch=monkeypatch)
    assert ("shop" in output, "zoo" in output) == (True, False)


def test_the_clients_environment_is_removed_on_a_host(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    before = dict(os.environ)
    try:
        for name in (
            "GIT_DIR",
            "DOCKER_HOST",
            "PUSHROD_COMPOSE",
            "PYTHONPATH",
            "LD_PRELOAD",
            "PATH",
            "TZ",
            "HTTPS_PROXY",
            "https_proxy",
            "ALL_PROXY",
        ):
            monkeypatch.setenv(name, "/srv/x")
        app.root.host_settings_path.write_bytes(msgspec.json.encode(HostSettings()))
        monkeypatch.chdir(app.root.path)
        gate_command._settle(app.root, "alice")
        left = {n for n in os.environ if os.environ[n] == "/srv/x"}
    finally:
        os.environ.clear()
        os.environ.update(before)
    assert left == set()


def test_every_call_has_a_time_limit(
    app: App, started: list[list[str]], endless: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    for command in ("git-receive-pack shop", "git-upload-pack shop", "releases"):
        ask(app, command, "--app", "shop", monkeypatch=monkeypatch)
    assert endless == [gate.PUSH_SECONDS, gate.FETCH_SECONDS, gate.VERBS["releases"].seconds]


def test_the_parallel_calls_of_a_key_are_bounded(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    with contextlib.ExitStack() as taken:
        for _ in range(shares.PARALLEL):
            taken.enter_context(shares.turn(app.root, "alice"))
        with pytest.raises(BusyError, match="the key alice has 8 running calls"):
            ask(app, "status", monkeypatch=monkeypatch)
    assert "shop" in ask(app, "status", monkeypatch=monkeypatch)


@pytest.mark.slow
def test_a_git_call_does_not_import_the_pipeline() -> None:
    """Every push and every fetch passes the gate; only the hook needs what deploys."""
    ask_for = "import sys, pushrod.cli.gate; print(*sorted(sys.modules))"
    done = subprocess.run([sys.executable, "-P", "-c", ask_for], capture_output=True, text=True, check=True)
    loaded = {*done.stdout.split()}
    assert "pushrod.provisioning.gate" in loaded
    assert (
        not {"pushrod.releases.pipeline", "pushrod.engines.protocols", "pushrod.adapters.nginx", "yaml"}
        & loaded
    )
