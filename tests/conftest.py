"""Fixtures for many tests: a user's Git work tree, an app's directories, and programs that run beside a test."""

import contextlib
import gc
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

from pushrod.adapters import git
from pushrod.state.apps import App, Root, Settings
from pushrod.system import files

# A test run in the background of a shell, or under nohup(1), starts with these signals ignored, and all programs it
# starts would ignore them too.
for _number, _handler in ((signal.SIGINT, signal.default_int_handler), (signal.SIGHUP, signal.SIG_DFL)):
    if signal.getsignal(_number) == signal.SIG_IGN:
        signal.signal(_number, _handler)


# Modules and collected tests are millions of objects that live to the end: the collector need not visit them again.
gc.disable()


def pytest_collection_finish() -> None:
    """From here on collect garbage, but only what tests make."""
    gc.freeze()
    gc.set_threshold(20_000)
    gc.enable()


class Durations:
    """Prints what took long as soon as it has ended: a run that is cut off then shows where its time went."""

    SECONDS = 30.0

    def __init__(self, terminal: pytest.TerminalReporter) -> None:
        self.terminal = terminal
        self.began = time.monotonic()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Print a phase of a test that took longer than `SECONDS`, and the time since the run began."""
        if report.duration > self.SECONDS:
            minutes, seconds = divmod(int(time.monotonic() - self.began), 60)
            self.terminal.ensure_newline()
            self.terminal.write_line(
                f"[{minutes}:{seconds:02}] {report.nodeid}: {report.when} took {report.duration:.0f} s"
            )


@pytest.hookimpl(trylast=True)  # the terminal is a plugin of its own
def pytest_configure(config: pytest.Config) -> None:
    """Print durations if several processes run the tests; only the one that starts them has a terminal."""
    terminal = config.pluginmanager.get_plugin("terminalreporter")
    if terminal is not None and config.getoption("numprocesses", None) and not hasattr(config, "workerinput"):
        config.pluginmanager.register(Durations(terminal))


# The duration of an example shows how busy the machine is, not whether the code is right.
settings.register_profile("tests", deadline=None)
settings.load_profile("tests")


@pytest.fixture(autouse=True)
def short_directories(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Remove the directories in /tmp that roots with long paths create during a test."""
    made: list[Path] = []
    create = Root.create

    def noted(root: Root) -> None:
        create(root)
        made.append(root.runtime)

    monkeypatch.setattr(Root, "create", noted)
    yield
    for path in made:
        if path.parent == Path("/tmp") and path.is_dir():
            files.remove_tree(path)


def spread(rows: Iterable[Any], count: int) -> list[Any]:
    """The rows of a table as parameters: `count` or so, evenly spread, for each run, and the others `long`."""
    every = list(rows)
    step = max(1, round(len(every) / count))
    return [
        pytest.param(
            *(row if type(row) is tuple else (row,)), marks=pytest.mark.long if number % step else ()
        )
        for number, row in enumerate(every)
    ]


def needs_lab(problem: str, how: str = "make lab") -> None:
    """Skip a test because of what the lab lacks, if it lacks something, and say how it is provided."""
    if problem:
        pytest.skip(f"{problem}: run `{how}` as root")


class Tree:
    """A work tree, changed and committed as a user would."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def git(self, *argv: str, check: bool = True) -> "subprocess.CompletedProcess[str]":
        """Run Git there with the user's own configuration; `check` raises if it fails."""
        done = subprocess.run(
            ["git", *argv],
            cwd=self.path,
            env=git.environment(),
            text=True,
            capture_output=True,
            timeout=60,
            check=False,
        )
        assert not check or done.returncode == 0, done.stderr
        return done

    def write(self, name: str, content: str | bytes) -> Path:
        """Write a file, making its directories."""
        path = self.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    def commit(self, message: str = "change", /, **files: str) -> str:
        """Write some files, commit everything, and return the commit."""
        for name, content in files.items():
            self.write(name, content)
        self.git("add", "--all")
        self.git("commit", "--quiet", "--allow-empty", "--message", message)
        return self.git("rev-parse", "HEAD").stdout.strip()


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home directory with only a Git identity; the machine's own configuration is not used."""
    path = tmp_path / "home"
    path.mkdir()
    (path / ".gitconfig").write_text(
        "[user]\n\tname = Ada\n\temail = ada@example.com\n[init]\n\tdefaultBranch = main\n"
    )
    monkeypatch.setenv("HOME", str(path))
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    return path


@pytest.fixture
def tree(home: Path, tmp_path: Path) -> Tree:
    """A repository without a commit."""
    path = tmp_path / "shop"
    path.mkdir()
    result = Tree(path)
    result.git("init", "--quiet")
    return result


@pytest.fixture
def root(home: Path, tmp_path: Path) -> Iterator[Root]:
    """A root that is not created yet. Its path contains a space; its sockets' directory may be outside of it."""
    result = Root(tmp_path / "push rod")
    yield result
    files.remove_tree(result.runtime)


@pytest.fixture
def app(root: Root) -> App:
    """An app with its settings and state repository; nothing deployed."""
    root.create()
    made = App(root, "shop")
    made.directory.mkdir()
    git.create_state(made.state)
    made.save(Settings(name="shop", port=8123, engine="embedded", created="2026-01-01T00:00:00.000+00:00"))
    return made


class Beside:
    """A Python program running beside the test: its output is read line by line, its input is written."""

    def __init__(self, child: "subprocess.Popen[str]") -> None:
        self.child = child
        self.pid = child.pid

    def line(self) -> str:
        """The next line of output; empty when it has ended."""
        assert self.child.stdout is not None
        return self.child.stdout.readline().rstrip("\n")

    def send_line(self, text: str = "go") -> None:
        """Write a line to it."""
        assert self.child.stdin is not None
        self.child.stdin.write(f"{text}\n")
        self.child.stdin.flush()

    def signal(self, number: int) -> None:
        """Send it a signal."""
        self.child.send_signal(number)

    def end(self) -> tuple[int, str]:
        """Wait for its end: its status and the rest of what it printed."""
        assert self.child.stdin is not None
        assert self.child.stdout is not None
        self.child.stdin.close()
        out = self.child.stdout.read()  # not communicate(), which misses what readline() has read ahead
        return self.child.wait(timeout=30), out


@contextlib.contextmanager
def beside(source: str, *arguments: str | Path) -> Iterator[Beside]:
    """Run Python source beside the test; it is killed at the end, or after a minute, if it has not ended."""
    child = subprocess.Popen(
        [sys.executable, "-c", source, *map(str, arguments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )
    deadline = threading.Timer(60, child.kill)
    deadline.start()
    try:
        with child:  # closes its streams and waits
            try:
                yield Beside(child)
            finally:
                child.kill()
    finally:
        deadline.cancel()
