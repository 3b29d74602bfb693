"""pgAdmin 4: installed into an environment of its own, and run for one person and one database."""

import contextlib
import hashlib
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import msgspec

from pushrod.core.errors import HostError
from pushrod.system import accounts, files, locks, network, processes, waits

LOCK = Path(__file__).with_name("pgadmin.lock")
"""The versions and hashes of pgAdmin and of all that it needs; `make lock` writes it."""

_START = Path(__file__).with_name("pgadmin_start.py")
_BUILDS = ("setuptools",)  # two of its packages come as source
_INSTALLING = 1800.0  # seconds
_STARTING = 180.0
_LINES = 10  # of its log, if it does not start


class Database(NamedTuple):
    """The database that is preset: a directory with the socket `.s.PGSQL.5432`, its name there, a role and its
    password, and what pgAdmin calls it.
    """

    socket: Path
    name: str
    role: str
    password: str
    title: str


def place() -> Path:
    """The directory of the environment; root's is where other accounts may read it."""
    given = os.environ.get("XDG_CACHE_HOME")
    own = Path(given) if given else Path.home() / ".cache"
    cache = Path("/var/cache") if os.geteuid() == 0 else own
    version = hashlib.sha256(LOCK.read_bytes() + sys.version.encode()).hexdigest()[:16]
    return cache / "pushrod" / f"pgadmin-{version}"


def install(directory: Path, begun: Callable[[], None]) -> None:
    """Make the environment, with `begun` called first, unless it is there. Raises HostError with pip's last lines."""
    directory.parent.mkdir(parents=True, exist_ok=True)
    with locks.lock(directory.with_name("lock"), purpose="installing pgAdmin", timeout=_INSTALLING):
        if directory.is_dir():
            return
        begun()
        made = directory.with_name(f"{directory.name}.new")
        files.remove(made)
        pip = [str(made / "bin" / "python"), "-m", "pip", "--quiet", "--disable-pip-version-check", "install"]
        hashed = [*pip, "--require-hashes", "--no-deps"]
        try:
            _run([sys.executable, "-m", "venv", str(made)])
            with tempfile.NamedTemporaryFile("w", suffix=".txt") as first:
                first.write("".join(_entries(_BUILDS)))
                first.flush()
                _run([*hashed, "--only-binary=:all:", "-r", first.name])
            _run([*hashed, "--no-build-isolation", "-r", str(LOCK)])
            made.rename(directory)
        finally:
            files.remove(made)
    for other in directory.parent.glob("pgadmin-*"):
        if other != directory:
            files.remove(other)


def _entries(names: tuple[str, ...]) -> Iterator[str]:
    """The lines of these packages in the lock."""
    inside = False
    for line in LOCK.read_text().splitlines(keepends=True):
        if not line.startswith(" "):
            inside = line.startswith(tuple(f"{name}==" for name in names))
        if inside:
            yield line


def _run(argv: list[str]) -> None:
    kept = {n: v for n, v in os.environ.items() if not n.startswith("PYTHON") and n != "VIRTUAL_ENV"}
    guarded = processes.as_account(argv, None, death_signal="KILL")
    done = processes.run(guarded, env=kept, timeout=_INSTALLING, umask=0o022)
    if done.status:
        log = tuple((done.stderr or done.stdout).strip().splitlines()[-_LINES:])
        raise HostError("pgAdmin cannot be installed", hint="the last lines above are pip's output", log=log)


@contextlib.contextmanager
def home() -> Iterator[tuple[Path, accounts.Account | None]]:
    """A directory for one run, of the account that pgAdmin runs as, and gone after it."""
    account = accounts.child_account([place(), Path(sys.base_prefix)])
    directory = Path(tempfile.mkdtemp(prefix="pushrod-admin-"))
    try:
        os.chown(directory, *owner(account))
        yield directory, account
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def owner(account: accounts.Account | None) -> tuple[int, int]:
    """The user and group of an account; None is the one who runs this command."""
    return (account.uid, account.gid) if account else (os.geteuid(), os.getegid())


@contextlib.contextmanager
def running(
    directory: Path, account: accounts.Account | None, database: Database, host: str, port: int
) -> Iterator[tuple[str, "subprocess.Popen[bytes]"]]:
    """Run pgAdmin on a port of 127.0.0.1 (0: a free one) during the block; yields its link, and its process.

    `host` is the only name that it answers to. Raises HostError with its last lines if it does not start. It ends
    with this process, however that ends.
    """
    port = port or network.free_port()
    if not network.port_is_free(port):
        raise HostError(f"port {port} of 127.0.0.1 is in use", hint="choose another with --port")
    key = secrets.token_urlsafe(32)
    given = {
        "directory": str(directory),
        "port": port,
        "host": host,
        "key": key,
        "password": database.password,
        "server": {
            "Name": database.title,
            "Group": "Servers",
            "Host": str(database.socket),
            "Port": 5432,
            "MaintenanceDB": database.name,
            "DBRestriction": database.name,
            "Username": database.role,
        },
    }
    argv = [str(place() / "bin" / "python"), "-I", str(_START)]
    environment = {"PATH": os.environ.get("PATH", "/usr/bin:/bin"), "HOME": str(directory), "LANG": "C.UTF-8"}
    with (
        tempfile.TemporaryFile() as log,
        subprocess.Popen(  # noqa: S603  an argv list
            processes.as_account(argv, account, death_signal="KILL"),
            env=environment,
            cwd=directory,
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
            start_new_session=True,
        ) as child,
    ):
        try:
            assert child.stdin is not None  # noqa: S101  it is a pipe
            with contextlib.suppress(BrokenPipeError), child.stdin:
                child.stdin.write(msgspec.json.encode(given))
            waits.wait_until(lambda: child.poll() is not None or network.accepts(port), _STARTING, 0.1)
            if child.poll() is not None or not network.accepts(port):
                log.seek(0)
                last = tuple(log.read().decode(errors="replace").strip().splitlines()[-_LINES:])
                raise HostError("pgAdmin does not start", hint="the last lines above are its own", log=last)
            if not network.belongs(port, owner(account)[0]):
                raise HostError(
                    f"another account has taken port {port} of 127.0.0.1", hint="choose another with --port"
                )
            yield f"http://{host}:{port}/?key={key}", child
        finally:
            child.terminate()
            try:
                child.wait(5)
            except subprocess.TimeoutExpired:
                child.kill()
