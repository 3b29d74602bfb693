"""The units of a host: the files in `files/units`, with the values of this host. Pure.

The units run programs below ROOT/programs with the system's own Python, so that a server keeps running, and reboots,
without the pushrod package. Units that do call pushrod do not fail without it. Each is sandboxed as far as its work
allows (systemd.exec(5)); `systemd-analyze security` rates this.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from pushrod.adapters.templates import fill, read
from pushrod.core.errors import HostError
from pushrod.core.patterns import lazy
from pushrod.system import host_paths

DIRECTORY, WANTS, RUNTIME = host_paths.UNITS, host_paths.WANTS, host_paths.RUNTIME
TARGET = "pushrod.target"

VOLUMES = Path("/var/lib/docker/volumes")
"""Where Docker keeps volumes, unless its owner moved its data."""

WRITTEN = "# Written by `pushrod host init`. To change a unit, add a drop-in: systemctl edit NAME\n"
PYTHON = "/usr/bin/python3"
_FILES = Path(__file__).with_name("files")
_UNREACHABLE = "ExecStart=/usr/sbin/iptables -w -t mangle -A PUSHROD-BUILDS"
GUARD = "pushrod-guard.service"
_PLAIN = lazy(r"/[A-Za-z0-9._/-]+")


class Layout(NamedTuple):
    """The values in the units: the root, the pushrod program, the account, the argv of the edge and of its log
    rotation, the pool of addresses, the networks that no build may reach, and the numbers of connections that one
    address may have with the edge, and one release with addresses outside its network.
    """

    root: Path
    pushrod: Path
    account: str
    edge: tuple[str, ...]
    rotation: tuple[str, ...]
    pool: str
    closed: tuple[str, ...] = ()
    connections: int = 2000
    outgoing: int = 16384


def check_paths(*paths: Path) -> None:
    """Raise HostError for a path that would need quoting in a unit."""
    for path in paths:
        if not _PLAIN.fullmatch(str(path)):
            raise HostError(
                "a path in a systemd unit may hold letters, digits, dots, dashes and underscores only",
                where=str(path),
                hint="choose another place with --root",
            )


def render(layout: Layout) -> dict[str, str]:
    """Every unit by its file name. Raises HostError for a path that would need quoting in one."""
    check_paths(layout.root, layout.pushrod)
    values = _values(layout)
    units = {path.name: _unit(path, values) for path in sorted((_FILES / "units").iterdir())}
    places = mounts(layout.root)
    return units | {mount_unit(p): _unit(_FILES / "mounted.mount", {"place": str(p)}) for p in places}


def render_web(layout: Layout, port: int) -> dict[str, str]:
    """The units of the web page on a port of loopback, by their file names."""
    check_paths(layout.root, layout.pushrod)
    values = _values(layout) | {"port": str(port)}
    return {path.name: _unit(path, values) for path in sorted((_FILES / "web").iterdir())}


def render_monitor(layout: Layout, values: Mapping[str, str]) -> dict[str, str]:
    """The unit of the host's Prometheus, by its file name."""
    check_paths(layout.root)
    return {p.name: _unit(p, {**_values(layout), **values}) for p in sorted((_FILES / "monitor").iterdir())}


def render_exporters(layout: Layout, names: Sequence[str], values: Mapping[str, str]) -> dict[str, str]:
    """The units of these exporters, by their file names."""
    check_paths(layout.root)
    return {name: _unit(_FILES / "exporters" / name, {**_values(layout), **values}) for name in names}


def _unit(path: Path, values: Mapping[str, str]) -> str:
    return f"{WRITTEN}\n{fill(read(path), **values)}"


def _values(layout: Layout) -> dict[str, str]:
    from pushrod.adapters.nginx import Bounds  # commands that only need the names work without it
    from pushrod.core.site import DRAIN_BUDGET

    unreachable = (f"{_UNREACHABLE} -d {network} -j DROP\n" for network in layout.closed)
    return {
        "root": str(layout.root),
        "pushrod": str(layout.pushrod),
        "python": PYTHON,
        "account": layout.account,
        "wants": str(WANTS),
        "runtime": str(RUNTIME),
        "edge": " ".join(layout.edge),
        "rotation": " ".join(layout.rotation),
        "drained": f"{DRAIN_BUDGET + 5:g}",
        "files": str(Bounds().files),
        "pool": layout.pool,
        "unreachable": "".join(unreachable),
        "connections": str(layout.connections),
        "outgoing": str(layout.outgoing),
        "new": str(max(1, layout.outgoing // 32)),
        "burst": str(max(1, layout.outgoing // 4)),
        "closed_networks": " ".join(layout.closed),
        "closed": read(_FILES / "closed").rstrip("\n"),
    }


def mounts(root: Path) -> tuple[Path, ...]:
    """The directories that are mounted on themselves with nosuid and nodev: those that containers write into, of bind
    mounts and of volumes.
    """
    return (root / "apps", VOLUMES)


def mount_unit(place: Path) -> str:
    """The unit that mounts a directory: systemd requires a name made from the path (systemd.mount(5),
    systemd-escape(1)).
    """
    return str(place).strip("/").replace("-", r"\x2d").replace("/", "-") + ".mount"


def tmpfiles(layout: Layout) -> str:
    """The line that creates RUNTIME at every boot (tmpfiles.d(5))."""
    return f"{WRITTEN}d {RUNTIME} 0700 {layout.account} {layout.account}\n"
