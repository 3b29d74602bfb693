"""PostgreSQL's programs: their path, their version, and how its server is started and stopped."""

import functools
import os
from dataclasses import dataclass
from pathlib import Path

from pushrod.adapters import versions

STOP_SIGNAL = "INT"
"""A fast shutdown: ends sessions and writes what is committed. TERM would wait for every client to disconnect."""

SUPERUSER = "postgres"


@dataclass(frozen=True)
class Programs:
    """The directory of PostgreSQL's programs."""

    bin: Path

    @property
    def initdb(self) -> str:
        """Creates a cluster."""
        return str(self.bin / "initdb")

    @property
    def postgres(self) -> str:
        """The server."""
        return str(self.bin / "postgres")

    @property
    def psql(self) -> str:
        """The client for all of pushrod's queries."""
        return str(self.bin / "psql")

    def version(self) -> str:
        """The version as the server prints it, `18.6`. Raises HostError if it cannot be run."""
        return _version(self.postgres)

    def has_library(self, name: str) -> bool:
        """Whether the server can load this library: in `lib` beside `bin`, as the wheel, Debian and the PostgreSQL
        project's own packages have it.
        """
        return (self.bin.parent / "lib" / f"{name}.so").exists()

    def major(self) -> str:
        """The major version, `18`: another one cannot read its data."""
        return self.version().partition(".")[0]


@functools.cache
def _version(program: str) -> str:
    hint = "check that this is PostgreSQL's own program for this machine"
    return versions.of(program, r"(\d+[.\w]*)", hint, environment())


def server_argv(programs: Programs, data: Path) -> tuple[str, ...]:
    """The argv of the server of a data directory: in the foreground, logging to standard error."""
    return (programs.postgres, "-D", str(data))


def environment() -> dict[str, str]:
    """The whole environment of PostgreSQL's programs: no PG* variable, locale or time zone of our caller."""
    passed = {n: os.environ[n] for n in ("LD_LIBRARY_PATH",) if n in os.environ}
    return {"PATH": "/usr/local/bin:/usr/bin:/bin", "LC_ALL": "C.UTF-8", **passed}
