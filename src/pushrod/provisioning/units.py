"""The systemd units of a host: written, loaded and started."""

from collections.abc import Sequence
from pathlib import Path

from pushrod.adapters import grafana, prometheus, systemd
from pushrod.adapters.systemd import Layout
from pushrod.core.errors import HostError
from pushrod.engines import machine
from pushrod.engines.docker import host_edge
from pushrod.provisioning import account, changes, docker_daemon, installation
from pushrod.provisioning.changes import Action, Change, Work
from pushrod.state.apps import HostSettings, Root
from pushrod.system import network, processes, waits

MONITOR = Path("/etc/pushrod/prometheus")
GRAFANA = Path("/etc/pushrod/grafana")
"""What a Grafana of the owner's can provision itself from."""

NODE_PORT, NGINX_PORT = 9100, 9113
"""The ports on loopback of the figures of the machine and of the edge: the exporters' usual ones."""

PROMETHEUS = "pushrod-prometheus.service"
_NODE, _NGINX = "pushrod-node-exporter.service", "pushrod-nginx-exporter.service"
_OF_STORES = ("pushrod-postgres-exporter@.service", "pushrod-redis-exporter@.service")

TMPFILES = Path("/etc/tmpfiles.d/pushrod.conf")
STARTED = (
    *("pushrod-edge.service", "pushrod-apps.path", "pushrod-builds.service", systemd.GUARD),
    *("pushrod-watch.timer", "pushrod-layers.timer", "pushrod-prune.timer", "pushrod-backup.timer"),
    *("pushrod-renew.timer", "pushrod-alarm.timer", "pushrod-wal.timer", "pushrod-notify.path"),
)
_PATIENCE = 20.0  # seconds for a unit to become active


def layout(root: Root, settings: HostSettings) -> Layout:
    """The values that the units of this host contain."""
    limits = machine.limits(settings)
    closed = dict.fromkeys((settings.pool, *map(str, docker_daemon.blocks(settings))))
    return Layout(
        root.path,
        installation.program(),
        account.NAME,
        host_edge.argv(root),
        host_edge.rotation(root),
        settings.pool,
        tuple(closed),
        limits.client_connections,
        limits.app_connections,
    )


def files(root: Root, settings: HostSettings) -> list[Work]:
    """The files of the units, and the directory whose links say what starts at boot."""
    values = layout(root, settings)
    return [
        *(changes.file(systemd.DIRECTORY / n, text.encode()) for n, text in systemd.render(values).items()),
        *web(root, settings),
        *monitor(root, settings),
        *exporters(root, settings),
        changes.file(systemd.WANTS, None, mode=0o755, owner=account.owner),
        changes.file(TMPFILES, systemd.tmpfiles(values).encode()),
        *slices(settings),
    ]


def web(root: Root, settings: HostSettings) -> list[Work]:
    """The files of the web page's units, if it is on, and the one directory that the page may write."""
    if not settings.web:
        return []
    texts = systemd.render_web(layout(root, settings), settings.web)
    return [
        *(changes.file(systemd.DIRECTORY / n, text.encode()) for n, text in texts.items()),
        changes.file(root.path / "web", None, mode=0o700, owner=account.owner),
    ]


def monitor(root: Root, settings: HostSettings) -> list[Work]:
    """The files of the host's Prometheus, if it is on, the directory with its targets, and the dashboards."""
    chosen = settings.monitor
    if chosen is None:
        return []
    configuration = MONITOR / "prometheus.yml"
    values = {
        "port": chosen.port,
        "days": chosen.days,
        "disk": chosen.disk,
        "memory": chosen.memory,
        "soft_memory": chosen.memory * 4 // 5,
        "configuration": configuration,
    }
    rules = MONITOR / "rules.yml"
    texts = systemd.render_monitor(layout(root, settings), {name: str(v) for name, v in values.items()})
    nginx = NGINX_PORT if _NGINX in exporters_of_host(root, settings) else 0
    text = prometheus.configuration(
        str(rules), chosen.port, settings.metrics, NODE_PORT, nginx, stores=settings.exporters
    )
    return [
        changes.file(MONITOR.parent, None, mode=0o755),
        changes.file(MONITOR, None, mode=0o755),
        changes.file(rules, prometheus.rules().encode()),
        changes.file(configuration, text.encode()),
        *dashboards(chosen.port),
        *(changes.file(systemd.DIRECTORY / n, text.encode()) for n, text in texts.items()),
        changes.file(root.path / "targets", None, mode=0o755, owner=account.owner),
    ]


def exporters_of_host(root: Root, settings: HostSettings) -> tuple[str, ...]:
    """The exporters that run as long as the host: of the machine and, if it has figures, of the edge."""
    edge = (_NGINX,) if settings.exporters and edge_counts(root) else ()
    return ((_NODE,) if settings.exporters or settings.monitor else ()) + edge


def edge_counts(root: Root) -> bool:
    """Whether the edge has figures; not before its program is there."""
    try:
        return host_edge.of(root).counts
    except (HostError, OSError):
        return False


def exporter_files(root: Root, settings: HostSettings) -> tuple[str, ...]:
    """The files of all units of exporters."""
    return exporters_of_host(root, settings) + (_OF_STORES if settings.exporters else ())


def exporters(root: Root, settings: HostSettings) -> list[Work]:
    """The files of the exporters' units."""
    ports = {"node_port": NODE_PORT, "nginx_port": NGINX_PORT, "metrics_port": settings.metrics}
    values = {name: str(port) for name, port in ports.items()}
    texts = systemd.render_exporters(layout(root, settings), exporter_files(root, settings), values)
    return [changes.file(systemd.DIRECTORY / n, text.encode()) for n, text in texts.items()]


def dashboards(port: int) -> list[Work]:
    """The dashboards for Grafana with their source, the Prometheus on that port."""
    texts = grafana.files(str(GRAFANA), f"http://127.0.0.1:{port}")
    places = dict.fromkeys((GRAFANA / name).parent for name in texts)
    return [
        changes.file(GRAFANA, None, mode=0o755),
        *(changes.file(place, None, mode=0o755) for place in places),
        *(changes.file(GRAFANA / name, text.encode()) for name, text in texts.items()),
    ]


def guard(root: Root, settings: HostSettings) -> Work:
    """The file of the unit that makes the kernel count connections."""
    text = systemd.render(layout(root, settings))[systemd.GUARD]
    return changes.file(systemd.DIRECTORY / systemd.GUARD, text.encode())


def slices(settings: HostSettings) -> list[Work]:
    """The files with which systemd limits what apps use together, each with its directory."""
    limits = machine.limits(settings)
    apps = {name: machine.limits(settings, name) for name in settings.app_limits}
    texts = {systemd.DIRECTORY / name: text for name, text in systemd.slices(limits, apps).items()}
    places = dict.fromkeys(path.parent for path in texts if path.parent != systemd.DIRECTORY)
    made = [changes.file(place, None, mode=0o755) for place in places]
    return [*made, *(changes.file(path, text.encode()) for path, text in texts.items())]


def start(root: Root, *, load: bool, restart_edge: bool, gates: Sequence[str] = ()) -> list[Work]:
    """Make systemd load the files and start the units.

    `load` means that a unit has changed, `restart_edge` that nginx or its unit has. `gates` are the keys' units.
    """
    started = (*STARTED, *gates)
    mounts = [systemd.mount_unit(place) for place in systemd.mounts(root.path)]
    active = all(map(systemd.is_active, (systemd.TARGET, *started)))
    enabled = all(map(systemd.is_enabled, (systemd.TARGET, *mounts)))
    if active and enabled and not load and not restart_edge:
        return [Work(Change(systemd.TARGET, "same"))]
    action: Action = "changed" if enabled else "new"
    detail = "starts at boot; runs the edge, the watchdog, daily pruning, backups, renewals"
    if active and restart_edge:
        detail = "the edge (nginx) is restarted: it accepts no connection for an instant"
    return [Work(Change(systemd.TARGET, action, detail), lambda: _start(root, restart_edge, started, mounts))]


def check_port(root: Root) -> None:
    """Raise HostError, before anything is changed, if something else uses the edge's port."""
    port = host_edge.of(root).port
    if not systemd.is_active(STARTED[0]) and not network.port_is_free(port, "0.0.0.0"):
        raise HostError(
            f"port {port}, which the edge needs, is in use",
            hint=f"`ss -ltnp sport = :{port}` shows the process that uses it: stop or move it, then run this again",
        )


def _start(root: Root, restart_edge: bool, started: Sequence[str], mounts: Sequence[str]) -> None:
    processes.run(["systemd-tmpfiles", "--create", TMPFILES], timeout=60)
    systemd.call("daemon-reload")
    systemd.call("enable", systemd.TARGET, *mounts)
    systemd.call("start", *mounts)
    systemd.call("restart", systemd.GUARD)
    prepare_edge(root)
    if restart_edge and systemd.is_active(STARTED[0]):
        systemd.call("restart", STARTED[0])
    systemd.call("start", systemd.TARGET, *started)
    for unit in started:
        if not waits.wait_until(lambda unit=unit: systemd.is_active(unit), _PATIENCE, 0.1):  # type: ignore[misc]
            raise HostError(f"{unit} does not come up", log=systemd.journal(unit))
    if not waits.wait_until(host_edge.of(root).answering, _PATIENCE, 0.1):
        raise HostError("the edge (nginx) does not answer", log=systemd.journal(STARTED[0]))


def prepare_edge(root: Root) -> None:
    """Create the edge's first tree, without sites, as the account that owns it."""
    run_as_account(root, "host", "edge", failed="the edge's files could not be created")


def run_as_account(root: Root, *words: str, failed: str) -> None:
    """Run a command of pushrod as the account that owns its files. Raises HostError if it fails."""
    argv = ["setpriv", f"--reuid={account.NAME}", f"--regid={account.NAME}", "--init-groups", "--"]
    words = (*argv, str(installation.program()), "--root", str(root.path), *words)
    done = processes.run(words, cwd=root.path, timeout=300)
    if done.status != 0:
        raise HostError(failed, log=tuple(done.stderr.splitlines()[-10:]))
