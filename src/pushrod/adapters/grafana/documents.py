"""A dashboard as Grafana reads it, and the files with which Grafana provisions all of them. Pure.

The format is that of dashboards with `schemaVersion` 38 (Grafana 10.1 and later). Only fields without a sensible
default of Grafana's own are written.
"""

import json

from pushrod.adapters.grafana.dashboards import DASHBOARDS, Dashboard, Panel
from pushrod.adapters.templates import beside, fill

_SOURCE = {"type": "prometheus", "uid": "${source}"}
_WIDTH, _HEIGHT = 8, 7  # of a panel; a row is 24 wide


def files(directory: str, url: str) -> dict[str, str]:
    """What Grafana provisions from, by names below `directory`: its source of data, the Prometheus at `url`, and the
    dashboards (grafana.com/docs/grafana/latest/administration/provisioning)."""
    documents = {f"dashboards/{name}.json": dashboard(name) for name in DASHBOARDS}
    return {
        "datasources/pushrod.yaml": fill(beside(__file__, "datasources.yaml"), url=url),
        "dashboards/pushrod.yaml": fill(
            beside(__file__, "dashboards.yaml"), directory=f"{directory}/dashboards"
        ),
        **documents,
    }


def dashboard(name: str) -> str:
    """The dashboard of that name as a file."""
    shown = DASHBOARDS[name]
    panels: list[dict[str, object]] = []
    y = 0
    for row, listed in shown.rows.items():
        panels.append(_placed({"type": "row", "title": row, "collapsed": False}, panels, 0, y, 24, 1))
        y += 1
        for number, panel in enumerate(listed):
            column, line = number % 3, number // 3
            panels.append(_placed(_plot(panel), panels, column * _WIDTH, y + line * _HEIGHT, _WIDTH, _HEIGHT))
        y += -(-len(listed) // 3) * _HEIGHT
    document = {
        "uid": f"pushrod-{name}",
        "title": shown.title,
        "tags": ["pushrod"],
        "schemaVersion": 38,
        "editable": True,
        "refresh": "30s",
        "time": {"from": "now-6h", "to": "now"},
        "templating": {"list": [_SOURCES, *([_variable(shown)] if shown.variable else [])]},
        "annotations": {"list": [_deployments(shown)]},
        "panels": panels,
    }
    return json.dumps(document, indent=1, ensure_ascii=False) + "\n"


_SOURCES = {"type": "datasource", "name": "source", "label": "Source", "query": "prometheus"}


def _variable(shown: Dashboard) -> dict[str, object]:
    return {
        "type": "query",
        "name": shown.variable,
        "label": shown.variable.capitalize(),
        "datasource": _SOURCE,
        "query": {"query": shown.values, "refId": "values"},
        "refresh": 2,
        "sort": 1,
    }


def _deployments(shown: Dashboard) -> dict[str, object]:
    """Marks in every plot, which show the app. `expr` and `titleFormat` are fields of the data source."""
    return {
        "name": "Deployments",
        "enable": True,
        "datasource": _SOURCE,
        "iconColor": "blue",
        "expr": shown.deployments,
        "titleFormat": "{{app}} deployed",
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
