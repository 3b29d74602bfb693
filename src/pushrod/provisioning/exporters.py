"""Exporters of figures that a host's owner wants for Prometheus, from the distribution's packages: on or off."""

from collections.abc import Callable
from typing import NamedTuple

import msgspec

from pushrod.adapters import systemd
from pushrod.adapters.templates import beside, fill
from pushrod.engines.docker import exporters
from pushrod.provisioning import changes, host_settings, metrics, packages, units
from pushrod.state.apps import Root
from pushrod.system import files


class Package(NamedTuple):
    """A package of the distribution, and the program that shows that it is there."""

    name: str
    program: str


NODE = Package("prometheus-node-exporter", "/usr/bin/prometheus-node-exporter")
_NGINX = Package("prometheus-nginx-exporter", "/usr/bin/prometheus-nginx-exporter")
_STORES = (
    Package("prometheus-postgres-exporter", "/usr/bin/prometheus-postgres-exporter"),
    Package("prometheus-redis-exporter", "/usr/bin/prometheus-redis-exporter"),
)
_WATCH = "pushrod-watch.service"
_DROP_IN = systemd.DIRECTORY / f"{_WATCH}.d" / "30-exporters.conf"


def install(needed: tuple[Package, ...], on_line: Callable[[str], None]) -> None:
    """Install the packages that are missing. Each starts a server on all addresses, unless its unit, named like it,
    is masked before."""
    missing = [package for package in needed if not packages.is_there(package.program)]
    if missing:
        systemd.call("mask", *(f"{package.name}.service" for package in missing))
        packages.install([package.name for package in missing], on_line)


def turn_on(root: Root, on_line: Callable[[str], None]) -> bool:
    """Serve figures of the machine, of each store that runs and, if it has some, of the edge, each on a port of
    loopback; metrics are turned on too. Returns whether the edge has figures.

    Raises HostError if this machine is not a host, another program has a port, or the packages cannot be installed.
    """
    settings = host_settings.read(root)
    counts = units.edge_counts(root)
    for port, ours in (
        (units.NODE_PORT, settings.exporters or settings.monitor),
        (units.NGINX_PORT, settings.exporters),
    ):
        host_settings.check_port(port, port if ours else 0, "stop it: an exporter is served there")
    install((NODE, *_STORES, *((_NGINX,) if counts else ())), on_line)
    metrics.turn_on(root, settings.metrics or metrics.USUAL)
    settings = msgspec.structs.replace(host_settings.read(root), exporters=True)
    for item in (*units.exporters(root, settings), *units.monitor(root, settings), *drop_in()):
        if item.change.pending:
            item.carry_out()
    host_settings.write(root, settings)
    started = units.exporters_of_host(root, settings)
    systemd.call("daemon-reload")
    systemd.call("enable", *started)
    systemd.call("restart", *started, *(units.PROMETHEUS,) * bool(settings.monitor))
    _follow(root)
    return counts


def turn_off(root: Root) -> None:
    """End the exporters, and remove their users from the stores; the machine's figures stay if there is a Prometheus,
    and metrics stay. Raises HostError if this machine is not a host."""
    settings = host_settings.read(root)
    if not settings.exporters:
        return
    after = msgspec.structs.replace(settings, exporters=False)
    host_settings.write(root, after)
    _follow(root)
    gone = [
        name
        for name in units.exporters_of_host(root, settings)
        if name not in units.exporters_of_host(root, after)
    ]
    if gone:
        systemd.call("disable", "--now", *gone)
    kept = units.exporter_files(root, after)
    for name in units.exporter_files(root, settings):
        if name not in kept:
            files.remove(systemd.DIRECTORY / name)
    files.remove(_DROP_IN)
    for item in units.monitor(root, after):
        if item.change.pending:
            item.carry_out()
    systemd.call("daemon-reload")
    if after.monitor:
        systemd.call("restart", units.PROMETHEUS)


def follow(root: Root) -> list[str]:
    """Make the stores' exporters fit what runs; returns what failed."""
    settings = root.host_settings
    return exporters.follow(root, enabled=settings is not None and settings.exporters)


def drop_in() -> list[changes.Work]:
    """What lets the watchdog's unit start exporters."""
    text = fill(beside(systemd.__file__, "exporters/watch.conf"), wants=str(systemd.WANTS))
    return [
        changes.file(_DROP_IN.parent, None, mode=0o755),
        changes.file(_DROP_IN, text.encode()),
    ]


def _follow(root: Root) -> None:
    units.run_as_account(root, "metrics", "--write", failed="the exporters cannot follow the stores")
