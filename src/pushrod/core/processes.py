"""A supervised process of the embedded engine, as a value."""

from pushrod.core.values import Value


class Room(Value, frozen=True):
    """The names and paths that a process of the embedded engine sees, as in its container. `hosts` is a file that is
    its /etc/hosts, `cwd` the working directory. `places` are a path of this machine, its path in the image, and
    options (`ro`); with `tmpfs` as the path of this machine, those of an empty file system in memory. If `writable`
    names paths, no other can be written to. With `address` its sockets listen on that one instead of on every
    address: `port` is the port that it is written for, `given` the one that it gets.
    """

    hosts: str
    places: tuple[tuple[str, str, str], ...]
    cwd: str
    writable: tuple[str, ...] = ()
    address: str = ""
    port: int = 0
    given: int = 0


class Process(Value, frozen=True):
    """One supervised process of the embedded engine: everything the launcher needs to run it.

    `group` and `name` are its place in the supervisor (`shop-r7`, `backend-1`). `wait_for` lists TCP addresses
    (`127.0.0.1:5432`) that must accept connections before it starts. `death_signal` is sent to it if the supervisor
    dies. `stop_group` sends the stop signal to its whole process group; a process with a `room` that has an address
    needs that. A lower `priority` starts earlier and stops later.
    """

    group: str
    name: str
    argv: tuple[str, ...]
    cwd: str
    environment: dict[str, str]
    log: str
    priority: int
    stop_signal: str = "TERM"
    stop_grace: float = 10.0
    stop_group: bool = False
    death_signal: str = "TERM"
    wait_for: tuple[str, ...] = ()
    room: Room | None = None
