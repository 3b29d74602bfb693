"""Events: live, across instances, and after an interruption."""

import signal

import pytest

from parts import Keeper, wait_until
from servers import Postgres
from services import Backend, Visitor, Worker
from sources import STEPS, listening


@pytest.fixture
def buyer(backend: Backend) -> Visitor:
    return backend.user()


def test_status_events_are_sent_live(
    backend: Backend, buyer: Visitor, worker: Worker, postgres: Postgres
) -> None:
    with listening(backend.url, buyer) as source:
        placed = buyer.order({backend.add(): 1}).json()["id"]
        wait_until(lambda: source.steps(placed) == STEPS, "every step told, once and in order")
        assert {"order_id", "status", "at"} == set(source.events[0])
        wait_until(lambda: postgres.execute("SELECT count(*) FROM outbox") == [(0,)], "handed on once more")
        with listening(backend.url, buyer, "0-1") as again:
            wait_until(lambda: len(again.events) >= 4, "all of them")
            assert again.steps(placed) == source.steps(placed) == STEPS


def test_a_user_receives_only_own_events(backend: Backend, buyer: Visitor, worker: Worker) -> None:
    other = backend.user()
    with listening(backend.url, buyer) as mine, listening(backend.url, other) as theirs:
        placed = buyer.order({backend.add(): 1}).json()["id"]
        wait_until(lambda: len(mine.steps(placed)) == 4, "told")
        assert theirs.events == []


def test_a_browser_resumes_at_another_instance_without_losing_events(
    own: Keeper, backend: Backend, buyer: Visitor, worker: Worker
) -> None:
    other = own(Backend, backend.given)
    with listening(backend.url, buyer) as source:
        last = source.last
    first = buyer.order({backend.add(): 1}).json()["id"]
    wait_until(lambda: buyer.get(f"/api/orders/{first}").json()["status"] == "shipped", "shipped meanwhile")
    wait_until(lambda: bool(backend.figure("outbox_due") == 0), "told meanwhile")
    with listening(other.url, buyer, last) as source:
        wait_until(lambda: source.steps(first) == STEPS, "what was missed")
        second = buyer.order({backend.add(): 1}).json()["id"]
        wait_until(lambda: source.steps(second) == STEPS, "and what comes")
        seen = source.events
    with listening(backend.url, buyer, last) as source:
        wait_until(lambda: source.events == seen, "the same from the other instance")


def test_an_instance_that_stops_ends_its_streams_at_once(
    own: Keeper, backend: Backend, buyer: Visitor
) -> None:
    ending = own(Backend, backend.given)
    with listening(ending.url, buyer) as source:
        ending.send(signal.SIGTERM)
        assert source.ended.wait(5)  # uvicorn alone would wait for the browser to disconnect
        assert ending.wait() in (0, -signal.SIGTERM)


@pytest.mark.parametrize("last", ["x", "0", "9-9-9", "99999999999999999999-0", "-", "5"])
def test_an_invalid_last_event_id_is_ignored(backend: Backend, buyer: Visitor, last: str) -> None:
    with listening(backend.url, buyer, last) as source:
        assert not source.ended.is_set()
