"""Roots of an older pushrod keep working: the program of an older commit makes one, this program goes on with it."""

import subprocess
import sys
import tarfile
import urllib.parse
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from devtools import apps
from devtools.apps import App, Machine

pytestmark = pytest.mark.integration

CHECKOUT = Path(__file__).resolve().parents[2]
OLD = "5d0382c7a8f1f7718604ba60cd2e2397349525b7"
"""The last commit before engines, pipeline and stores were divided into the parts they have now."""

FILES = {"app.py": apps.APP, "compose.yaml": apps.manifest_with_stores()}


@pytest.fixture(scope="module")
def old_source(place: Path) -> Path:
    """The source of that commit."""
    there = subprocess.run(["git", "cat-file", "-e", f"{OLD}^{{commit}}"], cwd=CHECKOUT, capture_output=True)
    if there.returncode != 0:
        pytest.skip(f"this clone has no commit {OLD[:7]}: git fetch --unshallow")
    target, archive = place / "old", place / "old.tar"
    subprocess.run(["git", "archive", "--output", archive, OLD, "src"], cwd=CHECKOUT, check=True)
    with tarfile.open(archive) as source:
        source.extractall(target, filter="data")
    return target / "src"


@pytest.fixture(scope="module")
def shop(new_machine: Callable[[], Machine], old_source: Path) -> Iterator[App]:
    """An app with stores, rows and a backup, deployed twice by the older program; from here on by this one."""
    machine = new_machine()
    machine.env["PYTHONPATH"] = str(old_source)
    used = apps.run(
        [sys.executable, "-P", "-c", "import pushrod; print(pushrod.__file__)"],
        machine.directory,
        machine.env,
    )
    assert Path(used.out.strip()).is_relative_to(old_source)
    made = machine.app("shop", FILES)
    made.push_change(version="of the older program")
    sql(made, "create table goods (id int primary key, name text)")
    sql(made, "insert into goods values (1, 'old')")
    made.must("db", "backup")
    del machine.env["PYTHONPATH"]
    assert made.serves(2)
    yield made


def sql(app: App, statement: str) -> str:
    answer = app.get(f"/sql?{urllib.parse.urlencode({'q': statement})}")
    assert answer.status == 200, answer.body
    return answer.body


def test_the_live_release_is_known_and_healthy(shop: App) -> None:
    (status,) = shop.json("status")
    assert (status["release"], status["warnings"]) == (2, [])
    assert {p["state"] for p in status["processes"]} == {"running"}
    assert [r["number"] for r in shop.json("releases")] == [2, 1]
    assert [f for f in shop.json("doctor") if f["state"] == "broken"] == []
    shop.settled()


def test_an_old_root_accepts_pushes_and_rollbacks(shop: App) -> None:
    shop.push_change(version="of this program")
    assert shop.live == 3
    shop.settled()
    shop.must("rollback", "2")
    assert shop.get().body == "of the older program"
    shop.settled()
    shop.must("restart")
    assert shop.live == 4
    assert sql(shop, "select name from goods") == "old"
    shop.settled()


def test_stores_and_backups_of_an_old_root_are_used(shop: App) -> None:
    (old,) = shop.json("db", "backups")
    assert old["files"][0]["rows"] == {"public.goods": 1}
    shop.must("db", "verify", old["name"])
    sql(shop, "insert into goods values (2, 'new')")
    shop.must("db", "backup")
    shop.must("db", "restore", old["name"], "--yes")
    assert sql(shop, "select count(*) from goods") == "1"


def test_an_app_of_an_old_root_stops_restarts_and_is_destroyed(shop: App) -> None:
    shop.must("down")
    assert shop.groups() == set()
    shop.must("restart")
    assert sql(shop, "select name from goods") == "old"
    shop.settled()
    shop.must("apps", "destroy", "shop", "--yes")
    assert not shop.directory.exists()
