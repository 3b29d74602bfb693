"""metrics: figures for Prometheus."""

import click

from pushrod.adapters import grafana, prometheus
from pushrod.cli.context import find_root, with_root
from pushrod.cli.terminal import echo
from pushrod.engines import registry
from pushrod.provisioning import exporters


@click.command("metrics")
@click.option("--write", is_flag=True, help="Write them to ROOT/edge/metrics/metrics.prom instead.")
@click.option("--rules", is_flag=True, help="Print the alert and recording rules for Prometheus instead.")
@click.option(
    "--dashboard",
    is_flag=False,
    flag_value="app",
    type=click.Choice(sorted(grafana.DASHBOARDS)),
    help="Print a dashboard for Grafana instead; by default the one about an app.",
)
@with_root
def metrics_command(root: str | None, write: bool, rules: bool, dashboard: str | None) -> None:
    """Print metrics of all apps in the OpenMetrics text format."""
    if rules or dashboard:
        for line in (grafana.dashboard(dashboard) if dashboard else prometheus.rules()).splitlines():
            echo(line)
        return
    from pushrod.observe.metrics import collector

    where = find_root(root)
    engine = registry.of(where)
    if write:
        collector.write(where, engine)
        for problem in exporters.follow(where) if engine.traits.hosted else ():
            echo(f"exporter of {problem}", err=True)
        return
    for line in collector.text(where, engine).splitlines():
        echo(line)
