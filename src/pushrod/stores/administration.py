"""What an administrator does with a store, wherever its server runs."""

from typing import NamedTuple, Protocol

from pushrod.adapters.dumps import Rows
from pushrod.adapters.postgres.figures import Size as Size
from pushrod.adapters.postgres.figures import Statement as Statement
from pushrod.core.values import Program, Value
from pushrod.system.streams import Source


class Imported(NamedTuple):
    """The rows of each table of an imported database, and the name of the database with the previous data."""

    rows: Rows
    kept: str


class Login(Value, frozen=True):
    """How a client of this machine reaches a database, and the role and password that it logs in with."""

    host: str
    port: int
    database: str
    role: str
    password: str


class Administration(Protocol):
    """The database of one store. Every method may raise StoreError."""

    database: str

    def shell(self, *, read_only: bool, terminal: bool) -> Program:
        """The store's own client on the database: as the role that may only read, or as the one that migrates."""

    def login(self, *, write: bool) -> Login:
        """That of the role which may only read, or with `write` of the one that migrates."""

    def size(self, most: int) -> Size:
        """What the database takes, with its `most` largest tables."""

    def statements(self, most: int) -> list[Statement]:
        """The `most` statements that took most time."""

    def load(self, dump: Source, *, ddl: bool) -> Imported:
        """Replace the database by a dump from any source; if it cannot be restored completely, nothing changes.
        `ddl` is as for `Server.ensure`.
        """


class Slow(Value, frozen=True):
    """A command of the slow log: when it ran (seconds since 1970), how long it took (microseconds), its name, and the
    number of its arguments.
    """

    at: int
    took: int
    command: str
    arguments: int


class Stats(Value, frozen=True):
    """Figures of a Redis or Valkey. Memory is in bytes (`limit` 0: none), `uptime` in seconds; `hit_rate` is from 0
    to 1, None if nothing was looked up.
    """

    version: str
    uptime: int
    memory: int
    peak: int
    limit: int
    policy: str
    keys: int
    clients: int
    hits: int
    misses: int
    hit_rate: float | None
    evicted: int
    expired: int
    append_only: bool
    slow: tuple[Slow, ...]


class Inspection(Protocol):
    """A Redis or Valkey. Every method may raise StoreError."""

    def shell(self, *, terminal: bool) -> Program:
        """A client of the server, as the user that the app is."""

    def stats(self, most: int) -> Stats:
        """Its figures, with the `most` newest entries of its slow log."""
