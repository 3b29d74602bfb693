"""MariaDB as a store on a Docker host: accounts, backups, releases, power cuts, stores older than the kind."""

import json
import urllib.parse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from devtools.apps import eventually
from devtools.lab import images, mariadb_app
from devtools.lab.ground import DOCKERFILE, Ground, Shop, a_host
from tests.conftest import needs_lab

pytestmark = [pytest.mark.lab, pytest.mark.long]

COMPOSE = """\
x-pushrod: {domains: [DOMAIN]}
services:
  web:
    build: .
    ports: ["8080:8080"]
    depends_on: [db]
    x-pushrod: {release: python app.py migrate, health: {path: /healthz, deadline: 30s}}
  db:
    image: mariadb:11
    volumes: ["data:/var/lib/mysql"]
volumes:
  data:
"""
# With accounts of its own, and a volume that the image makes.
PLAIN = """\
x-pushrod: {domains: [DOMAIN]}
services:
  web:
    build: .
    ports: ["8080:8080"]
    depends_on: [db]
    environment: {APP_DATABASE: "mysql://me:mine@db:3306/things"}
  db:
    image: mariadb:11
    environment: {MARIADB_ROOT_PASSWORD: top, MARIADB_DATABASE: things, MARIADB_USER: me, MARIADB_PASSWORD: mine}
"""
NAMES = [f"good-{n}" for n in range(20)]
INSERT = "insert into goods (name) values ('NAME')"


def tree(compose: str, domain: str, version: str = "one") -> dict[str, str | bytes]:
    code = Path(mariadb_app.__file__).read_text().replace('VERSION = "one"', f'VERSION = "{version}"')
    return {"app.py": code, "Dockerfile": DOCKERFILE, "compose.yaml": compose.replace("DOMAIN", domain)}


@pytest.fixture(scope="module")
def ground(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ground]:
    """A host that has the image."""
    needs_lab(images.mariadb_problem())
    with a_host(tmp_path_factory.mktemp("desk")) as ground:
        ground.box.load([images.MARIADB])
        yield ground


@pytest.fixture(scope="module")
def shop(ground: Ground) -> Shop:
    """An app with some goods."""
    app = ground.app("shop", tree(COMPOSE, "shop.localhost"))
    pushed = app.push()
    assert pushed.ok, pushed.err
    for name in NAMES:
        assert ask(app, INSERT.replace("NAME", name)) == []
    return app


def ask(app: Shop, statement: str) -> Any:
    """The rows that a statement of an instance gives; what the server says where it refuses it."""
    answer = app.get(f"/sql?{urllib.parse.urlencode({'q': statement})}")
    assert answer.status in (200, 409), answer
    return json.loads(answer.body)


def goods(app: Shop) -> list[str]:
    return [row[0] for row in ask(app, "select name from goods order by id")]


def answers(app: Shop) -> bool:
    return app.get("/sql?q=select+1", timeout=3.0).status == 200


def started(app: Shop) -> str:
    """Which container the store is, and since when it runs."""
    return app.box.docker("inspect", "--format={{.Id}} {{.State.StartedAt}}", app.container("db"))


def listed(app: Shop) -> list[dict[str, Any]]:
    result: list[dict[str, Any]] = json.loads(app.ssh("db", "backups", "--json").stdout)
    return result


def test_the_app_has_its_own_account_and_no_root_password(shop: Shop) -> None:
    environment = json.loads(shop.get("/environment").body)
    at = urllib.parse.urlsplit(environment["DATABASE_URL"])
    assert (at.scheme, at.username, at.hostname, at.path) == ("mysql", "shop_app", "db", "/shop")
    assert "denied" in ask(shop, "drop table goods")
    assert "denied" in ask(shop, "select * from mysql.user")
    variables = shop.inspect("db")["Config"]["Env"]
    (root,) = [v.partition("=")[2] for v in variables if v.startswith("MARIADB_ROOT_PASSWORD=")]
    assert len(root) == 48
    assert root not in json.dumps(environment)
    eventually(lambda: shop.inspect("db")["State"]["Health"]["Status"] == "healthy", "its own check is good")
    assert "Access denied for user 'root'" not in shop.box.exec("docker", "logs", shop.container("db")).stderr


def test_lost_rows_are_restored(shop: Shop) -> None:
    shop.ssh("db", "backup")
    (backup,) = listed(shop)
    (file,) = backup["files"]
    assert (file["name"], file["rows"]) == ("db.sql.gz", {"goods": len(NAMES)})
    assert file["version"].startswith("11.")
    assert f"{backup['name']} db: 1 tables, {len(NAMES)} rows" in shop.ssh("db", "verify").stdout
    ask(shop, "delete from goods where id > 2")
    before = started(shop)
    done = shop.ssh("db", "restore", backup["name"], "--yes")
    assert "database shop_before_restore" in done.stdout
    eventually(lambda: answers(shop) and goods(shop) == NAMES, "the rows are back", 30)
    assert ask(shop, "insert into goods (name) values ('after')") == []
    assert "denied" in ask(shop, "drop table goods")
    assert ask(shop, "delete from goods where name = 'after'") == []
    assert started(shop) == before


def test_a_backup_that_was_damaged_is_not_restored(shop: Shop) -> None:
    name = listed(shop)[-1]["name"]
    path = f"{shop.directory}/backups/{name}/db.sql.gz"
    shop.box.exec("truncate", "--size=-9", path)
    done = shop.box.ssh("db", "restore", name, "--yes", "--app", "shop", user="pushrod", check=False)
    assert (done.status, path in done.stderr) == (6, True), done.stderr
    assert goods(shop) == NAMES


def test_releases_and_power_cuts_do_not_affect_the_data(shop: Shop) -> None:
    before = started(shop)
    shop.tree.commit(tree(COMPOSE, shop.domain, "two"), "say two")
    pushed = shop.push()
    assert pushed.ok, pushed.err
    assert (started(shop), goods(shop)) == (before, NAMES)
    shop.ssh("rollback", "1")
    assert json.loads(shop.get("/healthz").body) == "one"
    assert (started(shop), goods(shop)) == (before, NAMES)
    shop.box.power_cut()
    eventually(lambda: answers(shop), "the app is back", 90)
    assert goods(shop) == NAMES


def test_another_major_version_is_refused_for_existing_data(shop: Shop) -> None:
    build = "FROM mariadb:11\nENV MARIADB_VERSION=1:12.0.2\n"
    shop.box.exec("docker", "build", "--tag=mariadb:12", "-", stdin=build)
    shop.tree.commit(tree(COMPOSE.replace("mariadb:11", "mariadb:12"), shop.domain), "a newer one")
    pushed = shop.push()
    assert not pushed.ok
    assert "its data is from MariaDB 11, and the manifest names MariaDB 12" in pushed.err
    assert goods(shop) == NAMES


def test_a_store_from_an_older_version_keeps_its_data(ground: Ground) -> None:
    """The kind is taken out of the installed pushrod for the first push."""
    box = ground.box
    place = box.exec("sh", "-c", _PLACE).stdout.strip()
    paths = [f"{place}/stores/registry.py", f"{place}/manifest/image_refs.py"]
    registry, refs = (box.get(path) for path in paths)
    unknown = registry.replace(b"    *mariadb.KINDS,\n", b"")
    box.put(paths[0], unknown)
    box.put(paths[1], refs.replace(b'"percona",', b'"mariadb", "percona",'))
    app = ground.app("plain", tree(PLAIN, "plain.localhost"))
    try:
        pushed = app.push()
    finally:
        box.put(paths[0], registry)
        box.put(paths[1], refs)
    assert pushed.ok, pushed.err
    assert unknown != registry
    assert not app.release(1)["stores"][0].get("store")
    eventually(lambda: answers(app), "its database is there", 60)  # nobody has waited for it
    ask(app, mariadb_app.TABLE)
    ask(app, "insert into goods (name) values ('old')")
    volume = app.inspect("db")["Mounts"][0]["Name"]
    app.tree.commit(tree(PLAIN, app.domain, "two"), "say two")
    pushed = app.push()
    assert pushed.ok, pushed.err
    assert app.release(2)["stores"][0]["store"] == "mariadb"
    environment = json.loads(app.get("/environment").body)
    assert environment["APP_DATABASE"] == "mysql://me:mine@db:3306/things"
    assert "@db:3306/things" in environment["DATABASE_URL"]
    assert (goods(app), app.inspect("db")["Mounts"][0]["Name"]) == (["old"], volume)
    app.ssh("db", "backup")
    assert "db: 1 tables, 1 rows" in app.ssh("db", "verify").stdout


_PLACE = """\
python=$(sed -n '1s/^#!//p' "$(readlink -f "$(command -v pushrod)")")
"$python" -c 'import pushrod; print(pushrod.__path__[0])'
"""
