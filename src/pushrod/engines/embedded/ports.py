"""Ports on this machine: which are free, and which belong to an app although nothing listens on them now."""

import contextlib
import ipaddress
import re
import zlib
from collections.abc import Iterator
from pathlib import Path

import msgspec

from pushrod.core.errors import HostError, StateError
from pushrod.core.patterns import lazy
from pushrod.core.values import StoreKind, Value
from pushrod.state.apps import App, Root
from pushrod.state.records import read_json
from pushrod.state.releases import Releases
from pushrod.stores import registry
from pushrod.system import files, locks, network

# Below the ports the kernel gives to clients (net.ipv4.ip_local_port_range, 32768 and up), so that no outgoing
# connection can take one.
INSTANCES = range(20000, 27000)
STORES = range(27000, 30000)
EDGE = range(8000, 9000)

SHARE = len(INSTANCES) // 8
"""Ports that the instances of one app's releases may have, including those of the next one."""

MOST_STORES = 32
"""Stores of one app: each keeps its port forever, even if no release uses it any more."""


SHARED = "127.0.0.1"
"""The address of stores and instances that have none of their own."""

_PORTS = lazy(r'"port": ?([0-9]{1,5})\b(?:,\s*"address": ?"([^"]*)")?')
_RECORD = "record.json"
_OWN = (127 << 24) + (64 << 16)  # 127.64.0.0, and as many addresses from there
_OWN_COUNT = 1 << 21


class StoreRecord(Value, frozen=True):
    """A store of this app: decided when it is first used, kept forever. `user` and `database` are those that the
    manifest names, empty if none.
    """

    name: str
    kind: StoreKind
    port: int
    address: str = SHARED
    user: str = ""
    database: str = ""


def store_records(app: App) -> list[StoreRecord]:
    """The stores of an app, running or not: from the record, else from their own configuration files."""
    with contextlib.suppress(StateError):
        return read_json(app.stores / "stores.json", list[StoreRecord], restore="")
    return list(_from_configuration(app))


def _from_configuration(app: App) -> Iterator[StoreRecord]:
    """The stores that have data here: from their own records, else by their configuration."""
    kinds = [
        (kind.name, *registry.embedded(kind.name).configured) for kind in registry.KINDS if kind.embeddable
    ]
    for directory in sorted(app.stores.iterdir()) if app.stores.is_dir() else ():
        with contextlib.suppress(StateError, FileNotFoundError):
            yield read_json(directory / _RECORD, StoreRecord, restore="")
            continue
        for kind, file, pattern in kinds:
            with contextlib.suppress(OSError):
                text = (directory / file).read_text(errors="replace")
                if match := re.search(pattern, text, re.MULTILINE):
                    yield StoreRecord(directory.name, kind, int(match[1]))


def write_record(directory: Path, record: StoreRecord) -> None:
    """Keep a copy of a store's record beside its data."""
    text = msgspec.json.format(msgspec.json.encode(record), indent=2).decode()
    if not files.holds(directory / _RECORD, text):
        files.write(directory / _RECORD, text)


def address(root: Root) -> str:
    """A loopback address that no store and no instance of this root has."""
    return next(addresses(root))


def addresses(root: Root) -> Iterator[str]:
    """Such addresses. Each root begins at a place of its own, like `several`."""
    used = _addresses(root)
    begin = zlib.crc32(str(root.path).encode()) % _OWN_COUNT
    for step in range(_OWN_COUNT):
        number = (begin + step) % _OWN_COUNT
        address = str(ipaddress.IPv4Address(_OWN + number))
        if number & 255 not in (0, 255) and address not in used:
            yield address


def _addresses(root: Root) -> set[str]:
    """Every address of a store, or of an instance of a kept release, of any app."""
    used = set[str]()
    for app in root.apps():
        with contextlib.suppress(StateError):
            used.update(r.address for r in store_records(app))
        for path in Releases(app).placed():
            with contextlib.suppress(FileNotFoundError):
                used.update(re.findall(r'"address": ?"(127\.[0-9.]+)"', path.read_text(errors="replace")))
    return used


def choosing(root: Root) -> contextlib.AbstractContextManager[None]:
    """Hold this lock while a port is chosen and until it is written down."""
    return locks.lock(root.ports_lock, purpose="choosing ports", timeout=60)


def free(root: Root, among: range) -> int:
    """One port, like `several`."""
    return several(root, among, 1)[0]


def several(root: Root, among: range, count: int) -> list[int]:
    """Ports of a range on which nobody listens and which belong to nobody. Raises HostError if there are too few.

    At the edge the search begins with the first. Elsewhere each root begins at a place of its own: ports that another
    root on this machine keeps without listening, such as those of an older release, cannot be seen from here.
    """
    used, ports = taken(root), list[int]()
    begin = 0 if among == EDGE else zlib.crc32(str(root.path).encode()) % len(among)
    order: list[int] = [*among[begin:], *among[:begin]]
    for port in order:
        if len(ports) == count:
            break
        if port not in used and network.port_is_free(port):
            ports.append(port)
    if len(ports) < count:
        raise HostError(
            f"no free port from {among.start} to {among.stop - 1}", hint="destroy an app that is not used"
        )
    return ports


def for_edge(root: Root, requested: int = 0) -> int:
    """A port for an app at the edge. Raises HostError if the requested one is taken."""
    if not requested:
        return free(root, EDGE)
    if requested in taken(root):
        raise HostError(f"port {requested} belongs to another app", hint="choose another one with --port")
    check(requested, "the app", "choose another one with --port")
    return requested


def check(port: int, whose: str, hint: str, at: str = SHARED) -> None:
    """Raise HostError, naming the process that has it, if a port cannot be bound."""
    if not network.port_is_free(port, at):
        raise HostError(f"port {port} of {whose} is taken{_holder(port, at)}", hint=hint)


def taken(root: Root) -> set[int]:
    """Every port that belongs to an app: at the edge, of its stores, of the instances of each kept release."""
    ports: set[int] = set()
    for app in root.apps():
        # a damaged app must not stop the others; it reports the damage itself
        with contextlib.suppress(StateError):
            ports.add(app.settings.port)
        with contextlib.suppress(StateError):
            ports.update(r.port for r in store_records(app) if r.address == SHARED)
        for path in Releases(app).placed():
            with contextlib.suppress(FileNotFoundError):  # it has just been sealed
                # Not decoded: the readable part of a damaged file still counts.
                numbers = _PORTS.findall(path.read_text(errors="replace"))
                ports.update(int(port) for port, at in numbers if at in ("", SHARED))
    return ports


def _holder(port: int, at: str) -> str:
    """` by NAME (process PID)` for the process that listens on a port of an address, or of all, if that can be
    seen."""
    import psutil

    try:
        for c in psutil.net_connections("tcp"):
            if c.status != psutil.CONN_LISTEN or not c.pid or not c.laddr or c.laddr.port != port:
                continue
            if c.laddr.ip == at or ipaddress.ip_address(c.laddr.ip).is_unspecified:
                return f" by {psutil.Process(c.pid).name()} (process {c.pid})"
    except psutil.Error:
        pass
    return ""
