"""Collecting metrics: every app is read once, and one that cannot be read does not affect others."""

from pushrod.observe.metrics import collector
from pushrod.state.apps import App, Root
from tests.unit import reads
from tests.unit.engines.memory import Memory
from tests.unit.samples import make_live


def test_an_apps_records_are_read_once(root: Root, app: App) -> None:
    make_live(app, 7)
    engine = Memory(root).engine
    with reads.counted() as paths:
        text = collector.text(root, engine)
    assert 'pushrod_release{app="shop"} 7.0' in text
    assert paths.count(str(app.journal)) == 1
    assert sum(path.endswith("/7/release.json") for path in paths) == 1


def test_an_app_that_cannot_be_read_is_reported(root: Root, app: App) -> None:
    make_live(app, 7)
    app.journal.write_text("garbage\n")
    text = collector.text(root, Memory(root).engine)
    assert 'pushrod_app_readable{app="shop"} 0.0' in text
    assert "pushrod_release{" not in text
