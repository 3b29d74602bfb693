"""A dashboard for Grafana of pushrod's metrics: the machine, and one app. Pure.

The format is that of dashboards with `schemaVersion` 39 (Grafana 10 and later), which Grafana imports itself, or
from a provisioned directory. Only fields without a sensible default of Grafana's own are written.
"""

import json
from typing import NamedTuple

_SOURCE = {"type": "prometheus", "uid": "${source}"}
_WIDTH, _HEIGHT = 8, 7  # of a panel; a row is 24 wide
_IN = '{app="$app"}'
_RATE = "[$__rate_interval]"


class Panel(NamedTuple):
    """A plot: its title, its unit (Grafana's name of it), and its queries by their legends."""

    title: str
    unit: str
    queries: dict[str, str]


def _quantile(share: float) -> str:
    rate = f"sum by (le) (rate(pushrod_http_request_duration_seconds_bucket{_IN}{_RATE}))"
    return f"histogram_quantile({share}, {rate})"


PANELS = {
    "Machine": (
        Panel("Apps", "short", {"up": "sum(pushrod_app_up)", "all": "count(pushrod_app_readable)"}),
        Panel(
            "Disk",
            "bytes",
            {"free": "pushrod_host_disk_free_bytes", "size": "pushrod_host_disk_size_bytes"},
        ),
        Panel(
            "Memory",
            "bytes",
            {"available": "pushrod_host_memory_available_bytes", "size": "pushrod_host_memory_size_bytes"},
        ),
        Panel(
            "Requests by app",
            "reqps",
            {"{{app}}": f"sum by (app) (rate(pushrod_http_requests_total{_RATE}))"},
        ),
        Panel("Age of the metrics", "s", {"age": "time() - pushrod_collected_timestamp_seconds"}),
        Panel("Access log not counted yet", "bytes", {"unread": "pushrod_access_log_unread_bytes"}),
    ),
    "Requests of $app": (
        Panel(
            "Requests",
            "reqps",
            {"{{status}}": f"sum by (status) (rate(pushrod_http_requests_total{_IN}{_RATE}))"},
        ),
        Panel(
            "Errors",
            "percentunit",
            {
                "5xx": f'sum(rate(pushrod_http_requests_total{{app="$app",status="5xx"}}{_RATE}))'
                f" / sum(rate(pushrod_http_requests_total{_IN}{_RATE}))"
            },
        ),
        Panel("Durations", "s", {"p50": _quantile(0.5), "p95": _quantile(0.95), "p99": _quantile(0.99)}),
        Panel(
            "Requests by route",
            "reqps",
            {
                "{{route}} {{method}}": f"sum by (route, method) (rate(pushrod_http_requests_total{_IN}{_RATE}))"
            },
        ),
        Panel("Bytes sent", "Bps", {"sent": f"rate(pushrod_http_response_bytes_total{_IN}{_RATE})"}),
        Panel(
            "Instances that did not answer",
            "reqps",
            {"errors": f"rate(pushrod_http_upstream_errors_total{_IN}{_RATE})"},
        ),
    ),
    "Releases of $app": (
        Panel("Live release", "none", {"release": f"pushrod_release{_IN}"}),
        Panel(
            "Instances",
            "short",
            {
                "{{service}} running": f"pushrod_instances_running{_IN}",
                "{{service}} required": f"pushrod_instances_required{_IN}",
            },
        ),
        Panel("Steps of the last deployment", "s", {"{{step}}": f"pushrod_deployment_step_seconds{_IN}"}),
        Panel(
            "Deployments within a day",
            "short",
            {"{{result}}": f"increase(pushrod_deployments_total{_IN}[1d])"},
        ),
        Panel("Commands that wait", "short", {"waiting": f"pushrod_deployments_waiting{_IN}"}),
        Panel(
            "Repairs by the watchdog within an hour",
            "short",
            {"repairs": f"increase(pushrod_watchdog_repairs_total{_IN}[1h])"},
        ),
    ),
    "Backups and certificate of $app": (
        Panel("Age of the last backup", "s", {"age": f"time() - pushrod_backup_last_timestamp_seconds{_IN}"}),
        Panel(
            "Age of the last proof", "s", {"age": f"time() - pushrod_backup_proven_timestamp_seconds{_IN}"}
        ),
        Panel("Size of the last backup", "bytes", {"{{store}}": f"pushrod_backup_size_bytes{_IN}"}),
        Panel("Log not copied", "s", {"{{store}}": f"time() - pushrod_wal_copied_timestamp_seconds{_IN}"}),
        Panel(
            "Certificate ends in", "s", {"left": f"pushrod_certificate_end_timestamp_seconds{_IN} - time()"}
        ),
    ),
}
"""The panels of each row."""

DEPLOYMENTS = f"changes(pushrod_release{_IN}[1m]) > 0"
"""What marks deployments in every plot."""


def dashboard() -> str:
    """The dashboard as a file."""
    panels: list[dict[str, object]] = []
    y = 0
    for row, listed in PANELS.items():
        panels.append(_placed({"type": "row", "title": row, "collapsed": False}, panels, 0, y, 24, 1))
        y += 1
        for number, panel in enumerate(listed):
            column, line = number % 3, number // 3
            panels.append(_placed(_plot(panel), panels, column * _WIDTH, y + line * _HEIGHT, _WIDTH, _HEIGHT))
        y += -(-len(listed) // 3) * _HEIGHT
    document = {
        "uid": "pushrod",
        "title": "pushrod",
        "tags": ["pushrod"],
        "schemaVersion": 39,
        "editable": True,
        "refresh": "30s",
        "time": {"from": "now-6h", "to": "now"},
        "templating": {"list": [_SOURCES, _APPS]},
        "annotations": {"list": [_ANNOTATION]},
        "panels": panels,
    }
    return json.dumps(document, indent=1, ensure_ascii=False) + "\n"


_SOURCES = {"type": "datasource", "name": "source", "label": "Source", "query": "prometheus"}
_APPS = {
    "type": "query",
    "name": "app",
    "label": "App",
    "datasource": _SOURCE,
    "query": {"query": "label_values(pushrod_app_readable, app)", "refId": "apps"},
    "refresh": 2,
    "sort": 1,
}
_ANNOTATION = {
    "name": "Deployments",
    "enable": True,
    "datasource": _SOURCE,
    "iconColor": "blue",
    "expr": DEPLOYMENTS,
    "titleFormat": "release",
}


def _placed(
    panel: dict[str, object], before: list[dict[str, object]], x: int, y: int, w: int, h: int
) -> dict[str, object]:
    return {"id": len(before) + 1, **panel, "gridPos": {"x": x, "y": y, "w": w, "h": h}}


def _plot(panel: Panel) -> dict[str, object]:
    return {
        "type": "timeseries",
        "title": panel.title,
        "datasource": _SOURCE,
        "fieldConfig": {"defaults": {"unit": panel.unit, "min": 0}, "overrides": []},
        "targets": [
            {"refId": chr(ord("A") + number), "datasource": _SOURCE, "expr": query, "legendFormat": legend}
            for number, (legend, query) in enumerate(panel.queries.items())
        ],
    }
