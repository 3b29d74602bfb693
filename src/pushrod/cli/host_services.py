"""host metrics, web, monitor: what a host serves on loopback besides its apps."""

from collections.abc import Callable

import click

from pushrod.cli.context import with_root
from pushrod.cli.host_context import as_root
from pushrod.cli.output import Steps
from pushrod.cli.terminal import echo
from pushrod.provisioning import metrics, monitor, units, web
from pushrod.state.apps import Monitor


def _with_port(usual: int) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """The option for the port on loopback."""
    return click.option(
        "--port",
        type=click.IntRange(1024, 65535),
        default=usual,
        show_default=True,
        help="The port on 127.0.0.1.",
    )


@click.group("metrics")
def metrics_group() -> None:
    """Serve metrics of this host to a collector on it."""


@metrics_group.command("on")
@_with_port(metrics.USUAL)
@with_root
def metrics_on(port: int, root: str | None) -> None:
    """Write metrics every 10 s and serve them on 127.0.0.1."""
    where = as_root(root, f"metrics on --port {port}")
    metrics.turn_on(where, port)
    echo(f"metrics are at http://127.0.0.1:{port}/metrics")


@metrics_group.command("off")
@with_root
def metrics_off(root: str | None) -> None:
    """Stop writing and serving metrics."""
    metrics.turn_off(as_root(root, "metrics off"))
    echo("metrics are neither written nor served")


@click.group("web")
def web_group() -> None:
    """Serve the web page of this host on loopback."""


@web_group.command("on")
@_with_port(web.USUAL)
@click.option("--domain", default="", help="Serve it at this domain too, behind the edge, with TLS.")
@click.option("--email", default="", help="Where the certificate's authority may write to.")
@click.option("--no-domain", is_flag=True, help="Serve it at no domain any more.")
@with_root
def web_on(port: int, domain: str, email: str, no_domain: bool, root: str | None) -> None:
    """Let systemd start the page at the first request; it ends after 10 minutes without one."""
    where = as_root(root, f"web on --port {port}" + (f" --domain {domain}" if domain else ""))
    if domain and no_domain:
        raise click.UsageError("--domain or --no-domain, not both")
    web.turn_on(where, port, web.Domain(domain, email) if domain or no_domain else None)
    echo(f"the page is at 127.0.0.1:{port}; from your machine: pushrod web --on root@SERVER")
    if name := where.own_domain:
        units.run_as_account(
            where, "web", "certify", failed=f"no certificate for {name}; the timer tries again"
        )
        echo(f"and at https://{name}; `pushrod web invite NAME` lets somebody in")


@web_group.command("off")
@with_root
def web_off(root: str | None) -> None:
    """End the page; members stay."""
    web.turn_off(as_root(root, "web off"))
    echo("there is no page")


@click.group("monitor")
def monitor_group() -> None:
    """Run Prometheus on this host, with its targets and alert rules."""


@monitor_group.command("on")
@_with_port(monitor.USUAL.port)
@click.option(
    "--days",
    type=click.IntRange(1, 3650),
    default=monitor.USUAL.days,
    show_default=True,
    help="Days for which samples are kept.",
)
@click.option(
    "--disk",
    type=click.IntRange(64, 1_000_000),
    default=monitor.USUAL.disk,
    show_default=True,
    help="The most megabytes of kept samples.",
)
@click.option(
    "--memory",
    type=click.IntRange(128, 1_000_000),
    default=monitor.USUAL.memory,
    show_default=True,
    help="The most megabytes of memory.",
)
@with_root
def on_command(port: int, days: int, disk: int, memory: int, root: str | None) -> None:
    """Install and start Prometheus and the node exporter, on loopback; their alerts become alarms."""
    where = as_root(root, "monitor on")
    monitor.turn_on(where, Monitor(port, days, disk, memory), Steps().line)
    echo(
        f"Prometheus is at http://127.0.0.1:{port}; from your machine: ssh -L {port}:127.0.0.1:{port} root@SERVER"
    )
    echo(
        "`pushrod host alarm set TARGET` says where its alerts go; dashboards for Grafana are in /etc/pushrod/grafana"
    )


@monitor_group.command("off")
@with_root
def off_command(root: str | None) -> None:
    """Stop Prometheus and the node exporter; the samples stay on disk."""
    monitor.turn_off(as_root(root, "monitor off"))
    echo("no Prometheus of pushrod runs; its samples are in /var/lib/private/pushrod-prometheus")
