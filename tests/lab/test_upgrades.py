"""A PostgreSQL on a Docker host, upgraded to another major version."""

import json

import pytest

from devtools.apps import eventually
from devtools.lab import ground as grounds
from devtools.lab.ground import Ground, Shop
from pushrod.system.processes import Completed

pytestmark = [pytest.mark.lab, pytest.mark.long]

ROWS = [f"row-{n}" for n in range(20)]
# The lab's `postgres:16` is PostgreSQL 17, with the volume that versions before 18 have.
OLDER = {"postgres:18": "postgres:16", 'data:/var/lib/postgresql"': 'data:/var/lib/postgresql/data"'}
PICKY = 'sql("SHOW server_version_num")[0][0] >= "18"'


def tree(*, older: bool, version: str = "one", picky: bool = False) -> dict[str, str]:
    """The app; `picky` is not healthy on PostgreSQL 18."""
    files = grounds.files("shop.localhost", version)
    if picky:
        sick = 'os.environ.get("TROUBLE") == "sick"'
        assert sick in files["app.py"]
        files["app.py"] = files["app.py"].replace(sick, PICKY)
    files["compose.yaml"] = files["compose.yaml"].replace("deadline: 20s", "deadline: 8s")
    for text, other in OLDER.items() if older else ():
        assert text in files["compose.yaml"]
        files["compose.yaml"] = files["compose.yaml"].replace(text, other)
    return files


@pytest.fixture(scope="module")
def shop(ground: Ground) -> Shop:
    """An app on PostgreSQL 17 with rows, which does not become healthy on 18."""
    app = ground.app("shop", tree(older=True, picky=True))
    pushed = app.push()
    assert pushed.ok, pushed.err
    for row in ROWS:
        app.post(row)
    sql(app, "alter system set deadlock_timeout = '7s'")
    sql(app, "create role reporter login password 'x' valid until '2099-01-01'")
    sql(app, "grant select on rows to reporter")
    return app


def sql(shop: Shop, statement: str) -> str:
    argv = ("psql", "-U", "postgres", "-d", "shop", "-AtX", "-v", "ON_ERROR_STOP=1", "-c", statement)
    return shop.box.docker("exec", shop.container("postgres"), *argv).strip()


def upgrade(shop: Shop, *argv: str, check: bool = True) -> Completed:
    return shop.at_desk("db", "upgrade", *argv, check=check)


def major(shop: Shop) -> str:
    return sql(shop, "show server_version_num")[:2]


def volumes(shop: Shop) -> set[str]:
    return {name for name in shop.box.docker("volume", "ls", "--quiet").split() if name.startswith("shop_")}


def is_as_before(shop: Shop) -> None:
    """On its old data, open, with nothing left over."""
    assert (major(shop), sorted(shop.rows())) == ("17", sorted(ROWS))
    assert volumes(shop) == {"shop_data", "shop_redis-data"}
    assert "upgrade.json" not in shop.names(".")
    assert "shop-postgres-upgrade" not in shop.box.docker("ps", "--all", "--format={{.Names}}")


def push(shop: Shop, *, older: bool, version: str) -> tuple[bool, str]:
    shop.tree.commit(tree(older=older, version=version), version)
    pushed = shop.push()
    return pushed.ok, pushed.err


def test_an_app_that_is_not_healthy_on_the_new_version_returns_to_the_old_one(shop: Shop) -> None:
    failed = upgrade(shop, "--to", "18", "--yes", check=False)
    assert (failed.status, "a copy of 2" in failed.stdout) == (8, True), failed
    assert "the upgrade failed, and is undone" in failed.stderr
    is_as_before(shop)
    shop.post("after it failed")
    sql(shop, "delete from rows where id = 'after it failed'")


def test_a_push_of_a_newer_version_is_refused(shop: Shop) -> None:
    ok, output = push(shop, older=False, version="two")
    assert not ok
    assert "its data is from PostgreSQL 17, and the manifest names PostgreSQL 18" in output
    assert "`pushrod db upgrade --to 18` upgrades the data" in output
    shop.tree.git("reset", "--quiet", "--hard", "HEAD~1")
    is_as_before(shop)


def test_an_upgrade_that_is_killed_on_the_new_data_is_undone_by_the_next_command(shop: Shop) -> None:
    """The other steps are in tests/unit/releases/test_upgrading.py."""
    begin = "setsid pushrod db upgrade --to 18 --yes --app shop >/tmp/upgrade.log 2>&1 & echo $! >/tmp/upgrade.pid"
    shop.box.exec("sh", "-c", begin)
    eventually(lambda: "  start " in shop.box.exec("cat", "/tmp/upgrade.log").stdout, "the app starts", 300)
    shop.box.exec("bash", "-c", "kill -9 -- -$(cat /tmp/upgrade.pid)")
    assert shop.get().status == 503
    done = shop.at_desk("restart")
    assert "the upgrade of postgres was interrupted: undone" in done.stderr
    is_as_before(shop)


def test_an_upgrade_carries_everything_and_a_push_then_names_the_new_version(shop: Shop) -> None:
    ok, output = push(shop, older=True, version="fit")
    assert ok, output
    done = upgrade(shop, "--to", "18", "--yes")
    assert "s of downtime" in done.stdout
    assert (major(shop), sorted(shop.rows()), shop.state()["version"]) == ("18", sorted(ROWS), "fit")
    assert sql(shop, "show deadlock_timeout") == "7s"
    assert sql(shop, "select has_table_privilege('reporter', 'rows', 'select')") == "t"
    assert sql(shop, "select count(*) from pg_stats where tablename = 'rows'") != "0"
    assert volumes(shop) == {"shop_data", "shop_postgres-pg18", "shop_redis-data"}
    shop.post("on the new version")
    shop.at_desk("restart")
    assert (major(shop), "on the new version" in shop.rows()) == ("18", True)
    ok, output = push(shop, older=True, version="unaware")
    assert (ok, "its data is from PostgreSQL 18, and the manifest names PostgreSQL 17" in output) == (
        False,
        True,
    )
    shop.tree.git("reset", "--quiet", "--hard", "HEAD~1")
    began = shop.inspect("postgres")["State"]["StartedAt"]
    ok, output = push(shop, older=False, version="aware")
    assert ok, output
    assert (major(shop), shop.inspect("postgres")["State"]["StartedAt"]) == ("18", began)
    shop.at_desk("rollback")
    assert (major(shop), shop.state()["version"], len(shop.rows())) == ("18", "fit", 21)
    assert "PostgreSQL 17 in volume shop_data" in upgrade(shop, "--remove-old").stdout
    assert volumes(shop) == {"shop_postgres-pg18", "shop_redis-data"}
    assert json.loads(shop.ssh("db", "backups", "--json").stdout) == []
