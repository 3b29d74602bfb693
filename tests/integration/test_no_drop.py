"""No request is dropped, whatever happens to the app; and the load detects it when one is.

`make soak` does the same for longer, with more requests.
"""

import time
from collections.abc import Callable, Iterator

import pytest

from devtools import no_drop
from devtools.apps import Machine
from devtools.load import RACE, UNPROCESSED
from devtools.no_drop import OnThisMachine, Row, Steady
from pushrod.core.site import DRAIN_BUDGET
from pushrod.releases import serving

pytestmark = pytest.mark.integration

RATE = 50.0  # requests a second
LASTING = 1.0  # seconds of lasting requests: short, because each step waits for the last one


@pytest.fixture(scope="module")
def app(machine: Machine) -> OnThisMachine:
    """The app for all tests."""
    return OnThisMachine(machine)


@pytest.fixture(scope="module")
def rows(app: OnThisMachine) -> Iterator[list[Row]]:
    """The results of the tests, shown at the end with -s."""
    result: list[Row] = []
    yield result
    print(f"\n{no_drop.table(result)}\n\n{no_drop.table_by_shape(result)}")


def under_load(
    app: OnThisMachine, rows: list[Row], step: str, does: Callable[[OnThisMachine], object]
) -> Row:
    """One row."""
    rows.append(no_drop.under_load(app, step, does, RATE, lasting=LASTING))
    return rows[-1]


def test_no_request_is_dropped_in_any_step(app: OnThisMachine, rows: list[Row]) -> None:
    def everything(app: Steady) -> object:
        """All steps; losses with a killed instance are returned, not counted."""
        return [step(app) for step in no_drop.STEPS.values()][list(no_drop.STEPS).index(no_drop.KILL)]

    row = under_load(app, rows, "all steps, one after the other", everything)
    assert row.clean, str(row)
    shapes = row.report.shapes
    assert {name for name, f in shapes.items() if f.ok} == set(shapes)
    assert {name.partition("/")[0] for name in shapes} == set(no_drop.SHAPES)
    assert set(row.report.protocols) == set(no_drop.PROTOCOLS)
    assert {i.split("-", 2)[2] for i in row.report.acknowledged} >= {"post", "post/tls", "post/h2"}
    assert row.report.goaways > 0, "HTTP/2 was led from old workers to new ones"
    releases = row.report.total.releases
    assert len(releases) >= 5, f"the load saw the releases change: {releases}"


def test_a_websocket_beyond_the_drain_time_is_closed_properly(
    app: OnThisMachine, rows: list[Row], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert serving.DRAIN + 10.0 <= DRAIN_BUDGET, "the app has its grace before nginx ends its workers"
    monkeypatch.setattr(serving, "DRAIN", 1.0)
    with no_drop.held(app, 10, 25.0) as running:
        time.sleep(1.2)
        no_drop.pipeline(app).renew()
    report = running.report
    assert report.passed, report.table()
    assert report.total.closed == report.total.ok == 10, report.table()
    assert report.total.max < 25.0, "they ended with the release, and not by themselves"


@pytest.mark.parametrize("name", no_drop.SABOTAGE)
def test_the_load_detects_every_sabotage(app: OnThisMachine, rows: list[Row], name: str) -> None:
    row = under_load(app, rows, f"sabotage: {name}", no_drop.SABOTAGE[name])
    assert not row.clean, f"{name} was not noticed: {row}"
    assert row.failed >= 3, str(row)
    kinds = row.report.total.failures
    caught = {name.partition("/")[2] for name, f in row.report.shapes.items() if f.failed}
    assert caught == {"", "tls", "h2"}, f"by each protocol: {row}"
    if name.startswith("killed"):
        assert {"cut", "truncated"} & set(kinds), str(row)
    else:
        assert any(kind.startswith("status 50") for kind in kinds), str(row)


def test_the_idle_close_race_needs_an_nginx_without_keepalive_min_timeout(app: OnThisMachine) -> None:
    row = no_drop.race(app, 100.0, 3, older=True)
    assert set(row.report.total.failures) <= {RACE, UNPROCESSED}, str(row)
    assert set(row.report.protocols["h2"].failures) <= {UNPROCESSED}, str(row)
    assert row.report.idle_closed + row.report.total.failed > 0, "an older nginx closes what is idle"
    row = no_drop.race(app, 100.0, 3, older=False)
    assert row.clean, str(row)
    assert row.report.idle_closed == 0, str(row)
