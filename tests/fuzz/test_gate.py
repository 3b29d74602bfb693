"""Whatever a key for one app asks for: no call leaves the gate with another root, another app or a file of the
host.

The real gate and the real verbs run in this process. Python's own audit events (PEP 578) show which files are
opened, which directories are read, and which programs would be started; none is, except that a script answers what
verbs first ask Docker: which containers there are.
"""

import os
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import msgspec
import pytest
from click.testing import CliRunner
from hypothesis import example, given
from hypothesis import strategies as st

from pushrod.cli import cli
from pushrod.core.errors import PushrodError
from pushrod.provisioning import gate, session, shares
from pushrod.state.apps import App, HostSettings, Root, Settings
from pushrod.state.releases import Releases
from pushrod.state.secrets import Secrets
from pushrod.system import files, signals
from tests.unit import samples

PROGRAMS = {"git", "docker", "docker-compose", "nginx"}
"""The programs that a verb may start."""

ANSWERED = (("docker", "ps"), ("docker", "container"))
DOCKER = """\
#!/bin/sh
case "$*" in
"ps "*'Label "pushrod.release"'*) echo 1 ;;
"ps "*=attacker*) echo attacker ;;
"ps "*) echo victim ;;
*" inspect "*) sed "s/APP/${3:-victim}/g" "$0.json" ;;
esac
"""
"""Docker as far as it answers: an instance of the app that was asked about, or of the victim if of none."""

INSTANCE = {
    "Name": "/APP-r1-backend-1",
    "Image": "sha256:1",
    "State": {"Status": "running", "ExitCode": 0, "Pid": 0, "StartedAt": "", "FinishedAt": ""},
    "Config": {
        "Labels": {"pushrod.app": "APP", "pushrod.service": "backend", "pushrod.instance": "backend-1"}
    },
    "HostConfig": {"RestartPolicy": {"Name": "always"}},
    "NetworkSettings": {},
}


class Watch:
    """What this process accesses while it is on."""

    def __init__(self) -> None:
        self.on = False
        self.paths: list[str] = []
        self.programs: list[list[str]] = []
        sys.addaudithook(self._heard)

    def _heard(self, event: str, arguments: tuple[Any, ...]) -> None:
        if not self.on:
            return
        if event in ("open", "os.listdir", "os.scandir", "os.mkdir", "os.remove", "os.rename", "os.symlink"):
            self.paths += [os.fsdecode(a) for a in arguments if isinstance(a, str | bytes | os.PathLike)]
        elif event in ("subprocess.Popen", "os.exec", "os.posix_spawn"):
            self.programs.append([os.fsdecode(word) for word in arguments[1]])
            if tuple(self.programs[-1][:2]) in ANSWERED:
                return
            raise FileNotFoundError(2, "no program is started here", str(arguments[0]))


@pytest.fixture(scope="session")
def watch() -> Watch:
    """One for all tests: an audit hook lasts as long as the process."""
    return Watch()


class World:
    """A host's root with the apps `attacker` and `victim`, and beside it what must not be reached through the
    gate."""

    def __init__(self, top: Path, watch: Watch) -> None:
        self.watch = watch
        self.root = Root(top / "root")
        self.elsewhere = top / "elsewhere"
        self.root.create()
        self.root.host_settings_path.write_bytes(msgspec.json.encode(HostSettings()))
        files.write(self.root.programs / "docker-compose", "", mode=0o755)
        self.programs = top / "bin"
        files.write(self.programs / "docker", DOCKER, mode=0o755)
        files.write(self.programs / "docker.json", msgspec.json.encode([INSTANCE]))
        for root, name in (
            (self.root, "attacker"),
            (self.root, "victim"),
            (Root(self.elsewhere), "attacker"),
        ):
            _make(App(root, name))
        (self.elsewhere / "host.env").write_text("KEY=of the host\n")
        self.victim = self.root.apps_directory / "victim"
        self.before = _contents(self.victim), _contents(self.elsewhere)

    def ask(self, command: str) -> None:
        """Ask with the key of `attacker`; the outcome must be a documented error or success."""
        self.watch.paths, self.watch.programs = [], []
        command = command.replace("\0", "").encode(errors="replace").decode()  # what a variable can contain
        environment = {"SSH_ORIGINAL_COMMAND": command, "PUSHROD_ROOT": str(self.elsewhere)}
        before, place = dict(os.environ), Path.cwd()
        self.watch.on = True
        try:
            argv = ["--root", str(self.root.path), "gate", "mallory", "--app", "attacker"]
            done = CliRunner().invoke(cli, argv, input="A=1\n", env=environment, standalone_mode=False)
        finally:
            self.watch.on = False
            os.chdir(place)
            os.environ.clear()
            os.environ.update(before)
        expected_errors = (
            type(None),
            PushrodError,
            OSError,
            click.ClickException,
            click.exceptions.Exit,
            click.Abort,
            SystemExit,
        )
        assert isinstance(done.exception, expected_errors), (command, done.exc_info)

    def check(self, command: str) -> None:
        """Only the root's own files and those of `attacker` were accessed, and no program was given other paths."""
        top = self.root.path.parent
        for path in self.watch.paths:
            real = Path(os.path.normpath(Path("/", path)))
            if real.is_relative_to(top):
                assert real.is_relative_to(self.root.path), (command, path)
                assert not real.is_relative_to(self.victim), (command, path)
                assert not real.is_relative_to(self.root.path / "vaults" / "offsite"), (command, path)
        for argv in self.watch.programs:
            assert Path(argv[0]).name in PROGRAMS, (command, argv)
            assert Path(argv[0]).name == argv[0] or Path(argv[0]).parent == self.root.programs, (
                command,
                argv,
            )
            own = argv[: argv.index("--")] if "--" in argv else argv
            for word in own:
                assert str(self.elsewhere) not in word, (command, argv)
                assert "victim" not in word, (command, argv)
        assert (_contents(self.victim), _contents(self.elsewhere)) == self.before, command


def _make(app: App) -> None:
    app.directory.mkdir(parents=True)
    app.save(Settings(name=app.name, port=80, engine="docker", created="2026-01-01T00:00:00.000+00:00"))
    (app.repository).mkdir()
    Releases(app).seal(samples.release(engine="docker", app=app.name), {"compose.yaml": "services: {}\n"})
    Releases(app).point(1)
    environments = {name: {"A": "1"} for name in ("backend", "backend:release", "worker", "worker:release")}
    Secrets(app).seal(1, environments)
    Secrets(app).store({"PASSWORD": f"of {app.name}"})
    files.write(
        app.journal,
        '{"at":"2026-01-01T00:00:00.000+00:00","event":"live","release":1}\n'
        '{"at":"2026-01-01T00:00:00.000+00:00","event":"done","release":1}\n',
    )


def _contents(directory: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in sorted(directory.rglob("*")) if path.is_file()}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, watch: Watch) -> Iterator[World]:
    made = World(tmp_path_factory.mktemp("gate"), watch)
    record = made.root.path / "vaults" / "offsite" / "vault.json"
    record.parent.mkdir(parents=True)
    record.write_text("{}")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "geteuid", lambda: 4242)  # the account, whoever runs the tests
        patch.setattr(shares, "enter", lambda _key: None)  # this process stays where it is
        patch.setattr(session, "PATH", f"{made.programs}:{session.PATH}")
        patch.setattr(signals, "end_after", lambda _seconds, _notify: None)
        yield made


def commands(group: click.Group, path: str = "") -> Iterator[tuple[str, click.Command]]:
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if isinstance(command, click.Group):
            yield from commands(command, f"{path} {name}".strip())
        elif command is not None:
            yield f"{path} {name}".strip(), command


COMMANDS = dict(commands(cli))
ELSEWHERE = "ELSEWHERE"  # replaced by the directory that must not be reached
VALUES = (
    *("attacker", "victim", "attacker/../victim", "victim/../attacker", "../victim", "../../elsewhere", "."),
    *(ELSEWHERE, f"{ELSEWHERE}/host.env", f"{ELSEWHERE}/apps/attacker", "/", "/etc/passwd", "/dev/stdin"),
    *(
        "-",
        "--",
        "",
        "-x",
        "--root",
        f"--root={ELSEWHERE}",
        "--app",
        "--app=victim",
        "--help",
        "-h",
        "-1",
        "0",
        "1",
    ),
    *(
        "backend",
        "worker",
        "backend-1",
        "backend=2",
        "-v/:/host",
        "--privileged",
        "--entrypoint=sh",
        "victim=1",
    ),
    *(
        "HEAD",
        "--upload-pack=id",
        "--output=/tmp/x",
        samples.COMMIT,
        "a\x1b[2Jb",
        "é" * 200,
        "2026",
        "true",
        "id",
    ),
    *("$(id)", "`id`", "; id", "203.0.113.0/24", "5xx", "1s", "PASSWORD", "x" * 5000),
)


@st.composite
def calls(draw: st.DrawFn) -> str:
    """A verb with options and arguments, its own and others', in any order, as the words that a client sends."""
    path = draw(st.sampled_from([*COMMANDS, *gate.VERBS]))
    own = [o for p in COMMANDS[path].params if isinstance(p, click.Option) for o in p.opts]
    value = st.one_of(st.sampled_from(VALUES), st.text(max_size=8))
    option = st.sampled_from([*own, "--root", "--app", "--ap", "--roo", "--"])
    part = st.one_of(
        st.tuples(value),
        st.tuples(option),
        st.tuples(option, value),
        st.builds(lambda o, v: (f"{o}={v}",), option, value),
        st.builds(lambda o, v: (f"{o}{v}",), option, value),
    )
    words = [word for some in draw(st.lists(part, max_size=7)) for word in some]
    at = draw(st.integers(0, min(1, len(words))))
    line = [*words[:at], *path.split(), *words[at:]] if draw(st.booleans()) else [*path.split(), *words]
    before = draw(st.sampled_from([[], [], [], ["pushrod"], ["git"], ["--"]]))
    return shlex.join([*before, *line])


GIT = st.builds(
    lambda *words: " ".join(words),
    st.sampled_from(
        ["git-receive-pack", "git-upload-pack", "git receive-pack", "git upload-pack", "git-upload-archive"]
    ),
    st.lists(st.sampled_from(VALUES).map(shlex.quote), max_size=3).map(" ".join),
)


@given(calls())
@example("run --app -- --app attacker --root ELSEWHERE true")
@example("exec --app -- --app attacker --root ELSEWHERE backend true")
@example("run --root=ELSEWHERE --app attacker true")
@example("secret import --app attacker -- ELSEWHERE/host.env")
@example("cert set --certificate - --certificate ELSEWHERE/host.env")
@example("down ELSEWHERE --app attacker")
@example("status --app victim")
@example("run --app victim -- curl -H x")
@example("apps destroy victim --yes")
@example("run true")
@example("exec backend true")
def test_a_verb_stays_within_its_app_and_root(world: World, command: str) -> None:
    command = command.replace(ELSEWHERE, str(world.elsewhere))
    world.ask(command)
    world.check(command)


@given(GIT)
def test_a_git_call_stays_within_its_app_and_root(world: World, command: str) -> None:
    command = command.replace(ELSEWHERE, str(world.elsewhere))
    world.ask(command)
    world.check(command)
    for argv in world.watch.programs:
        if argv[0] == "git":
            assert argv[1:] in ([s, str(world.root.apps_directory / "attacker" / "repo.git")] for s in HALVES)


HALVES = ("receive-pack", "upload-pack")


@given(st.text(max_size=200))
def test_arbitrary_text_stays_within_its_app_and_root(world: World, command: str) -> None:
    world.ask(command)
    world.check(command)


@pytest.mark.parametrize(
    ("command", "program", "words"),
    [
        ("run id --x", "docker-compose", ["--no-TTY", "--", "backend.run", "id", "--x"]),
        ("exec backend id", "docker", ["--", "attacker-r1-backend-1", "id"]),
        ("logs backend", "docker", []),
        ("restart", "docker", []),
        ("git-upload-pack attacker", "git", ["upload-pack"]),
    ],
)
def test_allowed_calls_reach_their_program(
    world: World, command: str, program: str, words: list[str]
) -> None:
    world.ask(command)
    reached = [argv for argv in world.watch.programs if Path(argv[0]).name == program]
    assert any(argv[len(argv) - len(words) :] == words or argv[1:2] == words for argv in reached), reached
    world.check(command)


def test_the_test_detects_access_outside_the_app(world: World) -> None:
    """Root on the host may do all of that: the same calls without the gate are detected."""
    world.watch.paths, world.watch.programs = [], []
    world.watch.on = True
    try:
        (world.victim / "app.json").read_bytes()
        with pytest.raises(FileNotFoundError):
            os.execv("/bin/true", ["/bin/true", str(world.elsewhere)])  # noqa: S606
    finally:
        world.watch.on = False
    with pytest.raises(AssertionError):
        world.check("")
    world.watch.paths = []
    with pytest.raises(AssertionError):
        world.check("")
