"""The dashboards' files: valid by Grafana's own types, and where Grafana looks for them."""

import json
from typing import Any

import pytest
import yaml
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models.dashboard import Dashboard

from pushrod.adapters import grafana

OF_THE_SOURCE = "titleFormat"  # of an annotation: Prometheus's plugin reads it, Grafana's types lack it


def read_by_grafana(text: str) -> Any:
    """The document as Grafana's types read and write it; they drop what they do not know."""
    register_default_plugins()
    return json.loads(JSONEncoder().encode(Dashboard.from_json(json.loads(text))))


def lost(given: Any, read: Any, place: str = "") -> list[str]:
    """What one document says and the other does not."""
    if isinstance(given, dict) and isinstance(read, dict):
        return [p for key, value in given.items() for p in lost(value, read.get(key), f"{place}.{key}")]
    if isinstance(given, list) and isinstance(read, list) and len(given) == len(read):
        pairs = enumerate(zip(given, read, strict=True))
        return [p for number, (one, other) in pairs for p in lost(one, other, f"{place}[{number}]")]
    return [] if given == read or place.endswith(OF_THE_SOURCE) else [place]


@pytest.mark.parametrize("name", grafana.DASHBOARDS)
def test_grafana_knows_every_field(name: str) -> None:
    text = grafana.dashboard(name)
    assert lost(json.loads(text), read_by_grafana(text)) == []


def test_an_unknown_field_is_seen() -> None:
    document = json.loads(grafana.dashboard("app"))
    document["panels"][1]["fieldConfig"]["defaults"]["units"] = "s"
    assert lost(document, read_by_grafana(json.dumps(document))) == [".panels[1].fieldConfig.defaults.units"]


@pytest.mark.parametrize("name", grafana.DASHBOARDS)
def test_the_file(name: str) -> None:
    document = json.loads(grafana.dashboard(name))
    shown = grafana.DASHBOARDS[name]
    panels = document["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    plots = [panel for panel in panels if panel["type"] == "timeseries"]
    queries = [query for row in shown.rows.values() for panel in row for query in panel.queries.values()]
    assert [t["expr"] for panel in plots for t in panel["targets"]] == queries
    places = [tuple(panel["gridPos"].values()) for panel in panels]
    cells = [(x + dx, y + dy) for x, y, w, h in places for dx in range(w) for dy in range(h)]
    assert len(set(cells)) == len(cells)  # no panel lies on another
    assert all(x + w <= 24 for x, _y, w, _h in places)
    variables = [v["name"] for v in document["templating"]["list"]]
    assert variables == ["source", *([shown.variable] if shown.variable else [])]
    assert all(f"${name}" not in "".join(queries) for name in {"app", "instance"} - set(variables))
    assert document["annotations"]["list"][0]["expr"] == shown.deployments


def test_grafana_provisions_the_source_and_all_dashboards() -> None:
    made = grafana.files("/etc/here", "http://127.0.0.1:9090")
    (source,) = yaml.safe_load(made["datasources/pushrod.yaml"])["datasources"]
    assert (source["type"], source["url"]) == ("prometheus", "http://127.0.0.1:9090")
    (provider,) = yaml.safe_load(made["dashboards/pushrod.yaml"])["providers"]
    assert provider["options"] == {"path": "/etc/here/dashboards"}
    documents = [json.loads(text) for name, text in made.items() if name.endswith(".json")]
    assert {one["uid"] for one in documents} == {f"pushrod-{name}" for name in grafana.DASHBOARDS}
    assert len({one["title"] for one in documents}) == len(documents)
