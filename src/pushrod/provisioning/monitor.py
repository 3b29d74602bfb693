"""A host's own Prometheus, from the distribution's packages, under systemd and on loopback: on or off."""

from collections.abc import Callable

import msgspec

from pushrod.adapters import systemd
from pushrod.core.errors import HostError
from pushrod.provisioning import exporters, host_settings, metrics, units
from pushrod.state.apps import Monitor, Root
from pushrod.system import files, probing, processes, waits

USUAL = Monitor(port=9090, days=15, disk=1024, memory=512)
"""What it gets unless the owner says otherwise."""

UNITS = (units.PROMETHEUS, "pushrod-node-exporter.service")
_CHECK = "/usr/bin/promtool"
_PATIENCE = 60.0  # seconds until Prometheus has read what it stored before


_PACKAGE = exporters.Package("prometheus", "/usr/bin/prometheus")


def address(monitor: Monitor) -> str:
    """The URL of the Prometheus."""
    return f"http://127.0.0.1:{monitor.port}"


def turn_on(root: Root, chosen: Monitor, on_line: Callable[[str], None]) -> None:
    """Install Prometheus and the node exporter if they are missing, and start them with this host's targets and
    rules. The alarm reports the alerts. Metrics are turned on too.

    Raises HostError if this machine is not a host, another program has a port, the packages cannot be installed, or
    Prometheus does not start.
    """
    settings = host_settings.read(root)
    ours = settings.monitor
    host_settings.check_port(
        chosen.port, ours.port if ours else 0, "choose another: pushrod host monitor on --port N"
    )
    host_settings.check_port(
        units.NODE_PORT,
        units.NODE_PORT if ours or settings.exporters else 0,
        "stop it: the machine's figures are served there",
    )
    exporters.install((_PACKAGE, exporters.NODE), on_line)
    metrics.turn_on(root, settings.metrics or metrics.USUAL)
    settings = msgspec.structs.replace(host_settings.read(root), monitor=chosen)
    for item in (*units.monitor(root, settings), *units.exporters(root, settings)):
        if item.change.pending:
            item.carry_out()
    done = processes.run([_CHECK, "check", "config", units.MONITOR / "prometheus.yml"], timeout=60)
    if done.status != 0:
        raise HostError(
            "Prometheus refuses its configuration",
            where=str(units.MONITOR),
            log=tuple((done.stdout + done.stderr).splitlines()[-20:]),
        )
    host_settings.write(root, settings)
    systemd.call("daemon-reload")
    systemd.call("enable", *UNITS)
    systemd.call("restart", *UNITS)
    if not waits.wait_until(lambda: _ready(chosen.port), _PATIENCE, 0.2):
        raise HostError("Prometheus does not come up", log=systemd.journal(UNITS[0]))
    _report(root, address(chosen))


def turn_off(root: Root) -> None:
    """Stop both, unless the owner wants the exporters, and report no alerts of a Prometheus; its samples stay in
    /var/lib/private/pushrod-prometheus, and metrics stay on. Raises HostError if this machine is not a host."""
    settings = host_settings.read(root)
    if settings.monitor is None:
        return
    _report(root, "off")
    gone = UNITS[:1] if settings.exporters else UNITS
    systemd.call("disable", "--now", *gone)
    for name in gone:
        files.remove(systemd.DIRECTORY / name)
    for place in (units.MONITOR, units.GRAFANA):
        files.remove_tree(place)
    systemd.call("daemon-reload")
    host_settings.write(root, msgspec.structs.replace(settings, monitor=None))


def _report(root: Root, url: str) -> None:
    words = ("host", "alarm", "prometheus", url)
    units.run_as_account(root, *words, failed="the alarm cannot report the alerts")


def _ready(port: int) -> bool:
    (answer,) = probing.ask([probing.Question("127.0.0.1", port, "/-/ready")])
    return answer.status == 200
