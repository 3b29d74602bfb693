"""Roots for end-to-end tests, and the check that nothing of any of them survives."""

import contextlib
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from devtools.apps import Machine, processes_below
from devtools.servers import free_port
from pushrod.adapters import nginx
from pushrod.adapters.nginx import Edge
from tests.integration.edges import Backend, Started, an_edge


@pytest.fixture(scope="session")
def place() -> Iterator[Path]:
    """One directory for all roots of this run: short enough for sockets, open to the account of child processes."""
    directory = Path(tempfile.mkdtemp(prefix="pushrod-", dir="/tmp"))
    directory.chmod(0o755)
    yield directory
    left = [f"{p.pid}: {' '.join(p.cmdline())}" for p in processes_below(directory)]
    shutil.rmtree(directory, ignore_errors=True)
    assert not left, f"processes survived the tests: {left}"


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The certificate of 127.0.0.1, with its key in the same file, and alone with the suffix .crt."""
    path = tmp_path_factory.mktemp("tls") / "server.pem"
    argv = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    argv += ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1", "-days", "2"]
    subprocess.run(
        [*argv, "-keyout", path, "-out", path.with_suffix(".crt")], check=True, capture_output=True
    )
    path.write_text(path.read_text() + path.with_suffix(".crt").read_text())
    return path


@pytest.fixture(scope="module")
def new_machine(place: Path) -> Iterator[Callable[[], Machine]]:
    """Makes separate roots; everything in them is stopped at the end, whatever the tests do."""
    made: list[Machine] = []

    def make() -> Machine:
        directory = Path(tempfile.mkdtemp(prefix="m", dir=place))
        directory.chmod(0o755)
        made.append(Machine(directory))
        return made[-1]

    yield make
    problems = [problem for machine in made for problem in machine.close()]
    assert not problems, "\n".join(problems)


@pytest.fixture(scope="module")
def machine(new_machine: Callable[[], Machine]) -> Machine:
    """The root that the tests of a module share."""
    return new_machine()


@pytest.fixture
def backend() -> Iterator[Callable[[str], Backend]]:
    with contextlib.ExitStack() as stack:

        def start(name: str) -> Backend:
            made = Backend(name)
            stack.callback(made.server_close)
            stack.callback(made.shutdown)
            stack.callback(made.may_answer.set)
            return made

        yield start


@pytest.fixture
def started(tmp_path: Path) -> Iterator[Started]:
    with an_edge(tmp_path) as made:
        yield made


@pytest.fixture
def shared(tmp_path: Path) -> Iterator[Started]:
    """The edge of a Docker host: at every address, with one port for all apps, running and without any app."""
    with an_edge(tmp_path, addresses=nginx.everywhere(), port=free_port()) as made:
        made.start()
        yield made


@pytest.fixture
def running(started: Started) -> Started:
    started.start()
    return started


@pytest.fixture
def edge(running: Started) -> Edge:
    return running.edge
