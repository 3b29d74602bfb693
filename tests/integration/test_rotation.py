"""New passwords for an app's PostgreSQL: no request fails, the old ones end, and an interrupted rotation goes on."""

import json
import re
import threading
import time
from collections.abc import Iterator

import pytest

from devtools import apps
from devtools.apps import App, Machine
from pushrod.adapters import postgres
from pushrod.adapters.postgres.programs import environment
from pushrod.system import processes
from tests.conftest import spread

pytestmark = pytest.mark.integration

WHO = "/sql?q=select+session_user||'+'||current_user"
FILES = {"app.py": apps.APP, "compose.yaml": apps.manifest_with_stores(**{"x-pushrod": {
    "health": {"path": "/healthz", "deadline": "15s"}, "release": "true",
}})}  # fmt: skip


@pytest.fixture(scope="module")
def made(machine: Machine) -> App:
    return machine.app("shop", FILES)


@pytest.fixture
def shop(made: App) -> Iterator[App]:
    yield made
    made.must("db", "rotate")  # whatever a test has left


def url(shop: App) -> str:
    """The address by which the instances reach PostgreSQL."""
    return str(json.loads(shop.get("/environment").body)["DATABASE_URL"])


def lets_in(address: str) -> bool:
    """Whether PostgreSQL accepts a login."""
    argv = [apps.PSQL, "-X", "-q", "-At", "-w", address, "-c", "select 1"]
    return processes.run(argv, env=environment()).status == 0


class Load:
    """Requests that each open a session of the database, until the block ends."""

    def __init__(self, shop: App) -> None:
        self._shop, self._ended = shop, threading.Event()
        self.answers: list[tuple[int, str]] = []
        self._threads = [threading.Thread(target=self._ask) for _ in range(3)]

    def _ask(self) -> None:
        while not self._ended.is_set():
            answer = self._shop.get(WHO)
            self.answers.append((answer.status, answer.body))
            time.sleep(0.02)

    def __enter__(self) -> "Load":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        for thread in self._threads:
            thread.join()

    @property
    def failed(self) -> list[tuple[int, str]]:
        return [a for a in self.answers if a[0] != 200]


def test_no_request_fails_and_the_old_password_ends(shop: App) -> None:
    before, release = url(shop), shop.live
    with Load(shop) as load:
        first = shop.must("db", "rotate")
        between = url(shop)
        shop.must("db", "rotate")
    assert (load.failed, len(load.answers) > 100) == ([], True)
    seen = {body for _, body in load.answers}
    assert seen == {"shop_app shop_app", "shop_app2 shop_app"}, seen
    assert first == f"postgres: new passwords, in release {release + 1}\n"
    after = url(shop)
    assert len({before, between, after}) == 3
    assert [lets_in(address) for address in (before, between, after)] == [False, False, True]
    print(f"{len(load.answers)} requests, {len(load.failed)} failed")


def test_a_rollback_has_the_new_password(shop: App) -> None:
    shop.must("db", "rotate")
    shop.must("rollback")
    assert shop.get(WHO).status == 200
    assert lets_in(url(shop))
    shop.must("run", "sh", "-c", '"$PSQL" -X -q -d "$DATABASE_URL" -c "select 1"')


def test_what_the_second_role_makes_belongs_to_the_owner(shop: App) -> None:
    shop.must(
        "run", "sh", "-c", '"$PSQL" -X -q -d "$DATABASE_URL" -c "create table if not exists things (id int)"'
    )
    for _ in range(2):
        assert shop.get("/sql?q=insert+into+things+values+(1)").status == 200
        assert shop.get("/sql?q=drop+table+things").status == 409
        shop.must("db", "rotate")


@pytest.mark.parametrize(
    "step",
    spread(["rotate   new", "plan", "start", "ready", "switch", "drain", "rotate   the old"], 3),
)
def test_a_rotation_that_is_killed_goes_on(shop: App, step: str) -> None:
    before = url(shop)
    with Load(shop) as load:
        running = shop.running("db", "rotate")
        running.until(re.escape(step), otherwise_end=True)
        running.child.kill()
        running.end()
        assert lets_in(url(shop))
        if step != "rotate   new":
            shop.must("run", "sh", "-c", '"$PSQL" -X -q -d "$DATABASE_URL" -c "select 1"')
        shop.must("db", "rotate")
    assert load.failed == []
    assert (lets_in(before), lets_in(url(shop))) == (False, True)
    assert shop.get(WHO).status == 200
    roles = postgres.Roles.of("shop")
    assert re.search(f"//({roles.app}|{roles.app2}):", url(shop))
