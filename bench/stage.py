"""The stage of the measurements: one app from the template, in a root that is removed afterwards."""

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

import psutil

APP = "shop"
BIN = Path(sys.executable).parent
PUSHROD = str(BIN / "pushrod")
PYTHON = sys.executable
TIMEOUT = 300.0  # seconds for any one command: the first deployment installs the app's dependencies

_LIVE = re.compile(r"remote:\s+live\b")


class BenchError(Exception):
    """A step of a measurement failed."""


class Push(NamedTuple):
    """One `git push`: seconds from its start to its `live` line and to its end, and its output."""

    live: float
    end: float
    lines: tuple[tuple[float, str], ...]


class Stage:
    """The template's app, deployed by `pushrod up`; leaving the block stops it and everything else of its root."""

    def __init__(self) -> None:
        self.top = Path(tempfile.mkdtemp(prefix="pushrod-bench-"))
        self.top.chmod(0o755)  # the account of children, under root, must be able to pass
        self.root = self.top / "root"
        self.tree = self.top / APP
        self.environment = _environment(self.root)
        self.url = ""
        self._changes = 0

    def __enter__(self) -> "Stage":
        try:
            self.run([PUSHROD, "new", APP, "--directory", str(self.tree)], cwd=self.top)
            self.run([PUSHROD, "up"])
            self.url = self.status()["url"].rstrip("/")
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def run(self, argv: list[str], *, cwd: Path | None = None) -> str:
        """Run a command to its end and return its output; BenchError with its last lines if it fails."""
        done = subprocess.run(
            argv,
            cwd=cwd or self.tree,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=TIMEOUT,
            check=False,
        )
        if done.returncode != 0:
            raise _failed(argv, done.returncode, done.stdout.splitlines())
        return done.stdout

    def timed(self, argv: list[str]) -> tuple[float, str]:
        """Run a command and return how long it took, and its output."""
        started = time.perf_counter()
        output = self.run(argv)
        return time.perf_counter() - started, output

    def status(self) -> dict[str, Any]:
        """The app's entry in `pushrod status --json`."""
        apps: list[dict[str, Any]] = json.loads(self.run([PUSHROD, "status", "--json"]))
        return apps[0]

    def change(self) -> None:
        """Commit a change of one line of code that leaves the dependencies unchanged."""
        self._changes += 1
        file = self.tree / "backend" / "app" / "main.py"
        file.write_text(file.read_text() + f"\n# change {self._changes}\n")
        self.run(["git", "commit", "--quiet", "--all", "-m", f"Change {self._changes}"])

    def push(self) -> Push:
        """`git push`, with a time for every line of output; BenchError unless it went live."""
        return timed_push(self.tree, self.environment)

    def close(self) -> None:
        """Stop the app and its stores, then everything else of this root that still runs, and remove it all."""
        with contextlib.suppress(BenchError, subprocess.TimeoutExpired):
            if (self.root / "apps" / APP).exists():
                self.run([PUSHROD, "apps", "destroy", APP, "--yes"], cwd=self.top)
        left = self._processes()
        for process in left:
            print(f"bench: still running at the end: {process}", file=sys.stderr)
            with contextlib.suppress(psutil.NoSuchProcess):
                process.terminate()
        for process in psutil.wait_procs(left, timeout=10)[1]:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        shutil.rmtree(self.top, ignore_errors=True)

    def _processes(self) -> list[psutil.Process]:
        """The processes whose command line or directory is below this stage's temporary directory."""
        mine = str(self.top)
        processes = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                if mine in " ".join(process.cmdline()) or process.cwd().startswith(mine):
                    processes.append(process)
        return processes


def timed_push(tree: Path, environment: dict[str, str]) -> Push:
    """`git push` of a work tree, with a time for every line of output; BenchError unless it went live."""
    argv = ["git", "push", "pushrod", "HEAD:main"]
    started = time.perf_counter()
    child = subprocess.Popen(
        argv,
        cwd=tree,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,
    )
    expiry = threading.Timer(TIMEOUT, _interrupt, [child.pid])
    expiry.start()
    lines = []
    try:
        for line in child.stdout or ():
            lines.append((time.perf_counter() - started, line.rstrip()))
        status = child.wait()
    finally:
        expiry.cancel()
        if child.poll() is None:
            _interrupt(child.pid)
            child.wait()
    end = time.perf_counter() - started
    live = [at for at, line in lines if _LIVE.match(line)]
    if status != 0 or not live:
        raise _failed(argv, status, [line for _, line in lines])
    return Push(live[0], end, tuple(lines))


def _environment(root: Path) -> dict[str, str]:
    """Our environment without the user's Git configuration, and with Python's bytecode enabled."""
    passed = {
        k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE" and not k.startswith("GIT_")
    }
    identity = {f"GIT_{who}_{what}": v for who in ("AUTHOR", "COMMITTER") for what, v in _IDENTITY}
    path = f"{BIN}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
    return {**passed, **identity, "GIT_CONFIG_GLOBAL": os.devnull, "PUSHROD_ROOT": str(root), "PATH": path}


_IDENTITY = (("NAME", "bench"), ("EMAIL", "bench@localhost"))


def _interrupt(session: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(session, signal.SIGTERM)


def _failed(argv: list[str], status: int, lines: list[str]) -> BenchError:
    tail = "\n".join(f"  | {line}" for line in lines[-20:])
    return BenchError(f"`{' '.join(argv[:6])}` ended with status {status}\n{tail}")
