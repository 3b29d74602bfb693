"""What the pages read of a root."""

import pytest

from pushrod.core.errors import UnknownNameError
from pushrod.core.values import ProcessState
from pushrod.observe import promotions
from pushrod.state.apps import App
from pushrod.state.journal import Journal
from pushrod.web import facts
from pushrod.web.access import Member
from tests.unit.samples import make_live

ANN, EVE = Member("ann", "viewer"), Member("eve", "owner", ("blog",))


def test_who_may_not_see_an_app_learns_nothing_of_it(app: App) -> None:
    assert facts.find(app.root, ANN, "shop").name == "shop"
    assert [a.name for a in facts.visible(app.root, EVE)] == []
    with pytest.raises(UnknownNameError) as there:
        facts.find(app.root, EVE, "shop")
    assert (str(there.value), there.value.hint) == ("no app `shop`", "")


def test_the_live_releases_processes_come_first_then_stores(app: App) -> None:
    make_live(app, 1, 2)
    states = [
        ProcessState("edge", "nginx", "running"),
        ProcessState("shop_postgres", "postgres", "running"),
        ProcessState("shop-r1", "backend-1", "stopping"),
        ProcessState("shop-r2", "worker-1", "running"),
    ]
    page = facts.page(app, lambda _: {"shop": states})
    assert [(i.process.group, i.service, i.store) for i in page.instances] == [
        ("shop-r2", "worker", False),
        ("edge", "", False),
        ("shop-r1", "", False),
        ("shop_postgres", "postgres", True),
    ]
    assert [(n.promotion.release, n.subject, n.live, n.kept) for n in page.history] == [
        (2, "change 2", True, True),
        (1, "change 1", False, True),
    ]


def test_the_first_page_has_the_last_promotion_alone(app: App) -> None:
    """Of an app that was rolled back, the second one of the older release."""
    make_live(app, 1, 2)
    (row,) = facts.overview(app.root, ANN, lambda _: {})
    assert row.last is not None
    assert row.last.release == 2
    journal = Journal(app.journal)
    journal.append("promote", 1, fresh=False, by="ann")
    journal.append("live", 1)
    (row,) = facts.overview(app.root, ANN, lambda _: {})
    assert row.last is not None
    assert (row.last.release, row.last.fresh, row.last.by, row.last.result) == (1, False, "ann", "live")
    assert row.last == promotions.of(journal.entries())[0]
