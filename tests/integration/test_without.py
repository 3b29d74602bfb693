"""Without pushrod, what runs keeps running: the package is deleted, then every process is killed.

A Python environment of the test has everything that pushrod needs and a copy of pushrod, which builds a supervisor
with an instance and nginx in front of it; then the copy is deleted. From then on only files are left.
"""

import os
import shutil
import signal
import subprocess
import tempfile
import urllib.error
import urllib.request
import venv
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import supervisor

import pushrod
from devtools.servers import free_port
from pushrod.system import tails, waits

pytestmark = pytest.mark.integration

DEADLINE = 20.0

# Runs in the test's own environment: ROOT RUNTIME PORT BACKEND-PORT.
BUILD = """
import sys
from pathlib import Path
from pushrod.system import accounts
from pushrod.adapters.binaries import Parts
from pushrod.engines.embedded.supervisor import Supervisor
from pushrod.adapters import nginx
from pushrod.core.site import Site
from pushrod.core.processes import Process

root, runtime, port, backend = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
program = Parts().nginx
account = accounts.child_account([root, Path(sys.executable).resolve(), Path(sys.executable), program, runtime])

def process(group, name, argv, **more):
    common = {"cwd": "/", "environment": {"PATH": "/usr/bin:/bin"}, "log": str(root / "logs" / f"{name}.log")}
    return Process(group=group, name=name, argv=tuple(argv), **common, **more)

edge = nginx.Edge(program, root / "edge", runtime / "edge", account)
edge.prepare()
edge.place({"shop": Site(app="shop", release=1, port=port, backends=(f"127.0.0.1:{backend}",))})
s = Supervisor(root / "supervisor", runtime, account)
serve = [sys.executable, "-I", "-m", "http.server", "--bind", "127.0.0.1", str(backend)]
s.apply("shop-r1", (process("shop-r1", "backend-1", serve, priority=20),))
s.apply("edge", (process("edge", "nginx", edge.argv(), priority=30, stop_signal="QUIT", stop_grace=35),))
"""


class Place:
    """Everything in one directory: which processes run, and whether it serves."""

    def __init__(self, path: Path, runtime: Path, python: Path) -> None:
        self.path = path
        self.runtime = runtime
        self.python = python
        self.port = free_port()
        self.backend = free_port()

    def run(self, code: str) -> subprocess.CompletedProcess[str]:
        """Run code in the environment of this test, with the arguments of BUILD."""
        arguments = [str(a) for a in (self.path, self.runtime, self.port, self.backend)]
        return subprocess.run(
            [str(self.python), "-c", code, *arguments],
            cwd="/",
            env={"PATH": "/usr/bin:/bin"},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def status(self) -> int:
        """The status of the edge's answer; 0 without one."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/", timeout=5) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as e:
            return e.code
        except OSError:
            return 0

    def pids(self) -> dict[str, int]:
        """The running main processes, by what they are."""
        directory = self.path / "supervisor"
        marks = {
            "supervisord": f"-c {directory}/supervisord.conf",
            "keeper": f"{directory}/programs/keeper.py",
            "instance": f"-m http.server --bind 127.0.0.1 {self.backend}",
            "nginx": f"-p {self.path}/edge/",
        }
        result: dict[str, int] = {}
        for process in psutil.process_iter():
            words = _words(process)
            if words.startswith("nginx: worker") or "launch.py" in words:
                continue
            for name, mark in marks.items():
                if mark in words:
                    result.setdefault(
                        name, process.pid
                    )  # the daemon before its child, which is not executed yet
        return result

    def whole(self) -> bool:
        """Whether everything runs and serves."""
        return len(self.pids()) == 4 and self.status() == 200

    def logs(self) -> str:
        """The last lines of every log, for the message of a failing test."""
        logs = [*self.path.rglob("*.log")]
        return "\n".join(f"== {f}\n" + "\n".join(tails.of_file(f, 8)) for f in logs)

    def end(self) -> None:
        """Stop all with plain signals: in order if the supervisor lives, otherwise what is left."""
        if pid := self.pids().get("supervisord"):
            os.kill(pid, signal.SIGTERM)
        waits.wait_until(lambda: not self.pids(), DEADLINE)
        for pid in self.pids().values():
            os.kill(pid, signal.SIGKILL)


def _words(process: psutil.Process) -> str:
    """The command line of a process; empty if it has ended."""
    try:
        return "" if process.status() == psutil.STATUS_ZOMBIE else " ".join(process.cmdline())
    except psutil.Error:
        return ""


def environment(path: Path) -> Path:
    """A Python environment with everything this one has, and a copy of pushrod; returns its packages' directory."""
    venv.create(path, symlinks=True, with_pip=False)
    packages = next(path.glob("lib/python*/site-packages"))
    for entry in Path(supervisor.__file__).parents[1].iterdir():
        if "pushrod" not in entry.name:
            (packages / entry.name).symlink_to(entry)
    unwanted = shutil.ignore_patterns("template", "__pycache__")
    shutil.copytree(Path(pushrod.__file__).parent, packages / "pushrod", ignore=unwanted)
    return packages


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    """All of it running, built by a pushrod that has been deleted."""
    packages = environment(tmp_path / "venv")
    runtime = Path(tempfile.mkdtemp(prefix="pr-"))
    runtime.chmod(0o711)
    made = Place(tmp_path / "a root", runtime, tmp_path / "venv" / "bin" / "python")
    try:
        done = made.run(BUILD)
        assert done.returncode == 0, done.stderr
        assert waits.wait_until(made.whole, DEADLINE), made.logs()
        shutil.rmtree(packages / "pushrod")
        assert "No module named 'pushrod'" in made.run("import pushrod").stderr
        yield made
    finally:
        made.end()
        shutil.rmtree(runtime)


def comes_back(place: Place, *names: str) -> None:
    """Kill these processes with SIGKILL, and wait until others have replaced them."""
    before = place.pids()
    for name in names:
        os.kill(before[name], signal.SIGKILL)
    killed = {before[name] for name in names}
    assert waits.wait_until(lambda: not killed & set(place.pids().values()) and place.whole(), DEADLINE), (
        place.logs()
    )


def test_each_killed_process_restarts(place: Place) -> None:
    for name in ("instance", "nginx", "keeper", "supervisord", "nginx", "instance"):
        comes_back(place, name)


def test_all_processes_start_after_an_orderly_stop(place: Place) -> None:
    os.kill(place.pids()["supervisord"], signal.SIGTERM)
    assert waits.wait_until(lambda: not place.pids(), DEADLINE), place.logs()
    assert place.status() == 0
    done = subprocess.run(
        [place.path / "supervisor" / "start"], env={}, cwd="/", capture_output=True, timeout=30, check=False
    )
    assert (done.returncode, done.stderr) == (0, b"")
    assert waits.wait_until(place.whole, DEADLINE), place.logs()
    comes_back(place, "supervisord")


def test_all_processes_start_after_all_were_killed(place: Place) -> None:
    """As in a power cut: sockets, pid files and locks are left behind."""
    pids = place.pids()
    for name in ("keeper", "supervisord", "nginx", "instance"):
        os.kill(pids[name], signal.SIGKILL)
    assert waits.wait_until(lambda: not place.pids(), DEADLINE)
    subprocess.run([place.path / "supervisor" / "start"], env={}, cwd="/", timeout=30, check=True)
    assert waits.wait_until(place.whole, DEADLINE), place.logs()
