"""Metrics of a host, written by the watchdog's timer and served on loopback: on or off."""

import msgspec

from pushrod.adapters import systemd
from pushrod.adapters.templates import beside, fill
from pushrod.provisioning import changes, host_settings, installation, units
from pushrod.state.apps import HostSettings, Root
from pushrod.system import files

USUAL = 9180
"""The port on 127.0.0.1 that serves metrics unless the owner chooses another."""

_WATCH = "pushrod-watch.service"
_DROP_IN = systemd.DIRECTORY / f"{_WATCH}.d" / "20-metrics.conf"


def turn_on(root: Root, port: int) -> None:
    """Write metrics at each run of the watchdog, and serve them at http://127.0.0.1:PORT/metrics.

    Raises HostError if this machine is not a host or another program has the port; then nothing has changed.
    """
    settings = host_settings.read(root)
    host_settings.check_port(port, settings.metrics, "choose another: pushrod host metrics on --port N")
    _change(root, settings, port)
    text = fill(
        beside(systemd.__file__, "metrics/watch.conf"),
        pushrod=str(installation.program()),
        root=str(root.path),
    )
    for item in (
        changes.file(_DROP_IN.parent, None, mode=0o755),
        changes.file(_DROP_IN, text.encode()),
    ):
        if item.change.pending:
            item.carry_out()
    systemd.call("daemon-reload")
    systemd.call("start", _WATCH)


def turn_off(root: Root) -> None:
    """Neither write metrics nor serve them. Raises HostError if this machine is not a host."""
    settings = host_settings.read(root)
    _change(root, settings, 0)
    if _DROP_IN.exists():
        files.remove(_DROP_IN)
        systemd.call("daemon-reload")


def _change(root: Root, settings: HostSettings, port: int) -> None:
    """Store the port and let the edge follow; the old port stays if it cannot."""
    if port == settings.metrics:
        return
    host_settings.write(root, msgspec.structs.replace(settings, metrics=port))
    try:
        units.prepare_edge(root)
    except BaseException:
        host_settings.write(root, settings)
        raise
