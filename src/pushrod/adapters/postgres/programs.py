"""PostgreSQL's programs: where they are, which version, and how its server is started and stopped."""

import functools
import os
import re
from dataclasses import dataclass
from pathlib import Path

from pushrod.core.errors import StoreError
from pushrod.system import processes

STOP_SIGNAL = "INT"
"""A fast shutdown: sessions are ended, what is committed is written. TERM would wait for every client to leave."""

SUPERUSER = "postgres"


@dataclass(frozen=True)
class Programs:
    """The directory PostgreSQL's programs are in."""

    bin: Path

    @property
    def initdb(self) -> str:
        """Makes a cluster."""
        return str(self.bin / "initdb")

    @property
    def postgres(self) -> str:
        """The server."""
        return str(self.bin / "postgres")

    @property
    def psql(self) -> str:
        """The client that every question of pushrod goes through."""
        return str(self.bin / "psql")

    def version(self) -> str:
        """The version as the server says it, `18.6`; HostError if it cannot be run."""
        return _version(self.postgres)

    def major(self) -> str:
        """The major version, `18`: data of one are not readable by another."""
        return self.version().partition(".")[0]


@functools.cache
def _version(program: str) -> str:
    said = processes.run([program, "--version"], env=environment(), timeout=10)
    found = re.search(r"\d+[.\w]*", said.stdout)
    if said.status != 0 or not found:
        raise StoreError(
            f"`{program} --version` ended with status {said.status}",
            hint="check that this is PostgreSQL's own program for this machine",
            log=tuple(said.stderr.splitlines()),
        )
    return found[0]


def server_argv(programs: Programs, data: Path) -> tuple[str, ...]:
    """How the server of a data directory is started, in the foreground, logging to standard error."""
    return (programs.postgres, "-D", str(data))


def environment() -> dict[str, str]:
    """The whole environment of PostgreSQL's programs: no PG* variable, locale or time zone of whoever runs us."""
    passed = {n: os.environ[n] for n in ("LD_LIBRARY_PATH",) if n in os.environ}
    return {"PATH": "/usr/local/bin:/usr/bin:/bin", "LC_ALL": "C.UTF-8", **passed}
