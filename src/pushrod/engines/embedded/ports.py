"""Ports on this machine: which are free, and which belong to an app although nothing listens on them now."""

import contextlib
import re
import zlib
from collections.abc import Iterator

from pushrod.core.errors import HostError, StateError
from pushrod.core.values import StoreKind, Value
from pushrod.state.apps import App, Root, read_json
from pushrod.state.releases import Releases
from pushrod.system import locks, network

# Below the ports the kernel hands to clients (net.ipv4.ip_local_port_range, 32768 and up), so that none of them
# is taken by an outgoing connection.
INSTANCES = range(20000, 27000)
STORES = range(27000, 30000)
EDGE = range(8000, 9000)

SHARE = len(INSTANCES) // 8
"""Ports that the instances of one app's releases may have, those of the next one among them."""

MOST_STORES = 32
"""Stores of one app: each has a port for good, also one that no release has any more."""


class StoreRecord(Value, frozen=True):
    """A store this app has: decided when it is first seen, kept for good."""

    name: str
    kind: StoreKind
    port: int


def store_records(app: App) -> list[StoreRecord]:
    """The stores of an app, running or not: as they are written down, or else as their own configuration says."""
    with contextlib.suppress(StateError):
        return read_json(app.stores / "stores.json", list[StoreRecord], restore="")
    return list(_found(app))


def _found(app: App) -> Iterator[StoreRecord]:
    """The stores that have data here, each with its kind and port."""
    kinds: list[tuple[StoreKind, str, str]] = [
        ("postgres", "data/postgresql.conf", r"^port = (\d+)$"),
        ("redis", "valkey.conf", r"^port (\d+)$"),
    ]
    for directory in sorted(app.stores.iterdir()) if app.stores.is_dir() else ():
        for kind, file, pattern in kinds:
            with contextlib.suppress(OSError):
                text = (directory / file).read_text(errors="replace")
                if found := re.search(pattern, text, re.MULTILINE):
                    yield StoreRecord(directory.name, kind, int(found[1]))


def choosing(root: Root) -> contextlib.AbstractContextManager[None]:
    """Hold this while a port is chosen and until it is written down."""
    return locks.lock(root.ports_lock, purpose="choosing ports", timeout=60)


def free(root: Root, among: range) -> int:
    """One port, as `several`."""
    return several(root, among, 1)[0]


def several(root: Root, among: range, count: int) -> list[int]:
    """Ports of a range that nobody listens on and that belong to nobody; HostError if there are not as many.

    At the edge it is the first. Elsewhere each root begins at a place of its own: the ports of another root on
    this machine that are kept but not listened on, such as those of an older release, cannot be seen from here.
    """
    used, found = taken(root), list[int]()
    begin = 0 if among == EDGE else zlib.crc32(str(root.path).encode()) % len(among)
    order: list[int] = [*among[begin:], *among[:begin]]
    for port in order:
        if len(found) == count:
            break
        if port not in used and network.port_is_free(port):
            found.append(port)
    if len(found) < count:
        raise HostError(
            f"no free port from {among.start} to {among.stop - 1}", hint="destroy an app that is not used"
        )
    return found


def for_edge(root: Root, wanted: int = 0) -> int:
    """A port for an app at the edge; HostError if the one wanted is taken."""
    if not wanted:
        return free(root, EDGE)
    if wanted in taken(root):
        raise HostError(f"port {wanted} belongs to another app", hint="choose another one with --port")
    check(wanted, "the app", "choose another one with --port")
    return wanted


def check(port: int, whose: str, hint: str) -> None:
    """Raise HostError, naming who has it, if a port cannot be bound."""
    if not network.port_is_free(port):
        raise HostError(f"port {port} of {whose} is taken{_holder(port)}", hint=hint)


def taken(root: Root) -> set[int]:
    """Every port that belongs to an app: at the edge, of its stores, of the instances of each kept release."""
    found: set[int] = set()
    for app in root.apps():
        with contextlib.suppress(StateError):  # a damaged app must not stop the others; it says so itself
            found.add(app.settings.port)
        with contextlib.suppress(StateError):
            found.update(r.port for r in store_records(app))
        for path in Releases(app).placed():
            with contextlib.suppress(FileNotFoundError):  # it has just been sealed
                # Not decoded: what can be read of a damaged file still counts.
                found.update(
                    map(int, re.findall(r'"port": ?([0-9]{1,5})\b', path.read_text(errors="replace")))
                )
    return found


def _holder(port: int) -> str:
    """` by NAME (process PID)` for whoever listens on a port, where that can be seen."""
    import psutil

    try:
        for c in psutil.net_connections("tcp"):
            if c.status == psutil.CONN_LISTEN and c.pid and c.laddr and c.laddr.port == port:
                return f" by {psutil.Process(c.pid).name()} (process {c.pid})"
    except psutil.Error:
        pass
    return ""
