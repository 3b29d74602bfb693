"""Filtering requests, and naming the instances that answered them."""

import json

import msgspec
import pytest

from pushrod.adapters.nginx import Edge
from pushrod.core.site import Request
from pushrod.core.values import Instance
from pushrod.engines.front_gate import EdgeIngress
from pushrod.ingress import request_log
from pushrod.ingress.request_log import Filter
from pushrod.state.apps import App
from pushrod.state.releases import Releases
from tests.unit.samples import release

NOW = "2026-11-25T11:00:00+01:00"
ONE, TWO = Instance("backend-1", "backend", 20001), Instance("backend-2", "backend", 20002)


@pytest.mark.parametrize(
    ("selection", "fits"),
    [
        (Filter(), True),
        (Filter(("502",)), True),
        (Filter(("404", "5xx")), True),
        (Filter(("4xx", "50", "500")), False),
        (Filter(slow=1.25), True),
        (Filter(slow=1.26), False),
        (Filter(service="backend"), True),
        (Filter(service="backend-2"), True),
        (Filter(service="back"), False),
        (Filter(service="backend-3"), False),
        (Filter(release=7), True),
        (Filter(release=8), False),
        (Filter(("5xx",), 1.0, "backend", 7), True),
        (Filter(("2xx",), 1.0, "backend", 7), False),
    ],
)
def test_requests_are_filtered(selection: Filter, fits: bool) -> None:
    request = Request("", release=7, status=502, seconds=1.25, instance="backend-1, backend-2")
    assert selection.fits(request) is fits


def test_instances_have_the_names_of_their_own_release(app: App, edge: Edge) -> None:
    Releases(app).seal(release(1, instances=(ONE, TWO)))
    Releases(app).seal(release(2, instances=(TWO,)))
    asked = [(1, "127.0.0.1:20001"), (2, "127.0.0.1:20001"), (2, "127.0.0.1:20002"), (3, "127.0.0.1:20002")]
    lines = [
        json.dumps({"time": NOW, "app": "shop", "release": n, "upstream": at}, separators=(",", ":")) + "\n"
        for n, at in asked
    ]
    edge.logs.mkdir(parents=True)
    (edge.logs / "access.log").write_text("".join(lines))
    result = list(request_log.of(app, EdgeIngress(lambda: edge), Filter(), lines=9, follow=False))
    assert [r.instance for r in result] == ["backend-1", "127.0.0.1:20001", "backend-2", "127.0.0.1:20002"]
    one = list(
        request_log.of(app, EdgeIngress(lambda: edge), Filter(service="backend-2"), lines=9, follow=False)
    )
    assert [r.release for r in one] == [2]


def test_requests_to_an_earlier_app_of_the_same_name_are_not_shown(app: App, edge: Edge) -> None:
    app.save(msgspec.structs.replace(app.settings, created="2026-11-25T10:00:00.900+00:00"))
    edge.logs.mkdir(parents=True)
    times = ("2026-11-25T10:59:59+01:00", NOW, "2026-11-25T10:00:01+00:00")
    lines = [f'{{"time":"{t}","app":"shop"}}\n' for t in times]
    (edge.logs / "access.log").write_text("".join(lines))
    result = request_log.of(app, EdgeIngress(lambda: edge), Filter(), lines=9, follow=False)
    assert [r.time for r in result] == list(times[1:])


@pytest.fixture
def edge(app: App) -> Edge:
    return Edge(app.root.path / "no-nginx", app.root.edge, app.root.runtime)


def test_known_addresses_are_replaced_by_instance_names() -> None:
    names = {"127.0.0.1:1": "web-1", "127.0.0.1:2": "web-2"}

    def shown(upstream: str) -> str:
        return request_log._named(Request("", upstream=upstream), names)

    assert shown("127.0.0.1:2") == "web-2"
    assert shown("127.0.0.1:1, 127.0.0.1:2 : 127.0.0.1:3") == "web-1, web-2 : 127.0.0.1:3"
    assert shown("") == ""
