"""The output of `pushrod new --stack spring`: its own tests pass with a real PostgreSQL and two real Valkey, and it
is built, deployed and used on the embedded engine. `make soak STACK=spring` has the long version.
"""

from collections.abc import Callable
from pathlib import Path

import pytest

from devtools import java
from devtools import shop as shops
from devtools.apps import Machine, eventually
from devtools.load import Load
from devtools.shop import Killer, OnThisMachine
from devtools.shop_page import CHROMIUM, buy_across_a_push, visits

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(bool(java.lacking()), reason=java.lacking()),
]
KILLED = ("backend-1", "worker-1")


@pytest.mark.long
def test_the_tests_of_a_new_repository_pass(tmp_path: Path) -> None:
    """With the account of the release command, because they migrate too."""
    tmp_path.chmod(0o755)
    repository = java.repository(tmp_path / "shop")
    place = tmp_path / "stores"
    place.mkdir()
    with java.stores(place) as variables:
        output = java.maven(repository, "verify", JAVA_TOOL_OPTIONS=java.QUICK, **variables)
    assert "BUILD SUCCESS" in output


@pytest.fixture(scope="module")
def shop(new_machine: Callable[[], Machine]) -> OnThisMachine:
    """The shop, built from its sources and live."""
    return OnThisMachine(new_machine(), "spring", workers=1)


def test_every_acknowledged_order_exists_and_is_done_once_whatever_is_killed(shop: OnThisMachine) -> None:
    crowd = shops.crowd(shop, 4)
    placed: dict[str, int] = {}
    with Killer(shop, KILLED) as killer:
        while killer.trouble is None and len(killer.kills) < len(KILLED):
            placed |= shops.buy(crowd, orders=20, at_once=2).orders
    assert killer.trouble is None, killer.trouble
    assert shops.wrong(placed, shops.settled(shop)) == []


@pytest.mark.long
@pytest.mark.skipif(not CHROMIUM, reason="no Chromium on this machine (Debian: chromium)")
def test_buying_across_a_deployment(shop: OnThisMachine) -> None:
    """The same page and API as those of the Python shop, and no dropped request. The jar is not built again."""
    app = shop.app
    app.tree.commit({"README.md": "changed"}, "change nothing that is built")
    with visits(app.url) as visit, Load(f"{app.url}/api/products/2", rate=50) as load:
        buy_across_a_push(app, visit(), f"Hello from shop · release {app.live + 1}")
    assert load.report.total.failed == 0, load.report.table()
    assert load.report.total.sent > 0
    first, second = (app.release(number)["images"] for number in (app.live - 1, app.live))
    assert first == second
    assert len({image["location"] for image in second.values()}) == 1, "backend and worker share a build"
    eventually(lambda: app.groups() == {app.live}, "the old release has ended")
