"""No request is dropped, whatever happens to the app; and the load that says so sees it where one is.

`make soak` does the same for longer, with more requests.
"""

import time
from collections.abc import Callable, Iterator

import pytest

from pushrod import pipeline
from tests.integration import no_drop
from tests.integration.apps import App, Machine
from tests.integration.no_drop import Row

pytestmark = pytest.mark.integration

RATE = 50.0  # requests a second
LASTING = 1.0  # seconds of what lasts: short, for each step waits until the last of it has ended


@pytest.fixture(scope="module")
def app(machine: Machine) -> App:
    """The app of all of them."""
    return machine.app("steady", no_drop.FILES)


@pytest.fixture(scope="module")
def rows(app: App) -> Iterator[list[Row]]:
    """What came of each test, shown at the end with -s."""
    found: list[Row] = []
    yield found
    print("\n" + no_drop.table(found))


def under_load(app: App, rows: list[Row], step: str, does: Callable[[App], object]) -> Row:
    """One row."""
    rows.append(no_drop.under_load(app, step, does, RATE, lasting=LASTING))
    return rows[-1]


def test_nothing_is_dropped_whatever_happens(app: App, rows: list[Row]) -> None:
    def everything(app: App) -> None:
        for step in no_drop.STEPS.values():
            step(app)

    row = under_load(app, rows, "all steps, one after the other", everything)
    assert row.clean, str(row)
    assert {name for name, f in row.report.shapes.items() if f.ok} == set(no_drop.SHAPES)
    assert row.report.acknowledged, "requests that can be counted were sent"
    releases = row.report.total.releases
    assert len(releases) >= 5, f"the load saw the releases change: {releases}"


def test_only_what_cannot_be_repeated_is_lost_with_a_killed_instance(app: App, rows: list[Row]) -> None:
    app.must("scale", "web=2")
    row = under_load(app, rows, no_drop.KILL, no_drop.kill)
    app.must("scale", "web=1")
    assert row.spared(RATE, LASTING), str(row)


def test_a_websocket_that_no_drain_waits_for_is_closed_in_order(
    app: App, rows: list[Row], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert pipeline.DRAIN + 10.0 <= no_drop.DRAIN_BUDGET, (
        "the app has its grace before nginx ends its workers"
    )
    monkeypatch.setattr(pipeline, "DRAIN", 1.0)
    with no_drop.held(app, 10, 25.0) as running:
        time.sleep(1.2)
        no_drop.pipeline(app).renew()
    report = running.report
    assert report.passed, report.table()
    assert report.total.closed == report.total.ok == 10, report.table()
    assert report.shapes["websocket"].max < 25.0, "they ended with the release, and not by themselves"


@pytest.mark.parametrize("name", no_drop.SABOTAGE)
def test_the_load_sees_who_breaks_a_rule(app: App, rows: list[Row], name: str) -> None:
    row = under_load(app, rows, f"sabotage: {name}", no_drop.SABOTAGE[name])
    assert not row.clean, f"{name} was not noticed: {row}"
    assert row.report.total.failed >= 3, str(row)
    if name.startswith("killed"):
        assert row.count("cut", "truncated") > 0, str(row)
    else:
        assert row.refused > 0, str(row)


def test_what_the_idle_close_race_leaves_without_keepalive_min_timeout(app: App) -> None:
    row = no_drop.race(app, 100.0, 3, older=True)
    assert set(row.report.total.failures) <= {no_drop.RACE}, str(row)
    assert row.report.idle_closed + row.report.total.failed > 0, "an older nginx closes what is idle"
    row = no_drop.race(app, 100.0, 3, older=False)
    assert row.clean, str(row)
    assert row.report.idle_closed == 0, str(row)
