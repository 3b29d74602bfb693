"""Events: live, across instances, and after an interruption."""

import json
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest

from parts import Keeper, wait_until
from servers import Postgres, Valkey
from services import Backend, Visitor, Worker, environment

STEPS = ["placed", "paid", "packed", "shipped"]


@pytest.fixture
def buyer(backend: Backend) -> Visitor:
    visitor = Visitor(backend.url)
    visitor.register()
    return visitor


class Source:
    """An EventSource: it reads on in the background, and knows the id it has seen last."""

    def __init__(self, url: str, session: str, last: str = "") -> None:
        self.last = last
        self.events: list[dict[str, Any]] = []
        self.ended = threading.Event()
        headers = {"Cookie": f"session={session}", **({"Last-Event-ID": last} if last else {})}
        self._client = httpx.Client(timeout=httpx.Timeout(10, read=60))
        self._response = self._client.send(
            self._client.build_request("GET", f"{url}/api/events", headers=headers), stream=True
        )
        self._response.raise_for_status()
        threading.Thread(target=self._read, daemon=True).start()
        wait_until(lambda: bool(self.last), "the first id")

    def steps(self, order_id: int) -> list[str]:
        return [e["status"] for e in self.events if e["order_id"] == order_id]

    def close(self) -> None:
        self._response.close()
        self._client.close()

    def _read(self) -> None:
        try:
            fields: dict[str, str] = {}
            for line in self._response.iter_lines():
                name, _, value = line.partition(": ")
                if line:
                    fields[name] = value
                    continue
                if fields.get("event") == "order":
                    self.events.append(json.loads(fields["data"]))
                self.last = fields.get("id", self.last)
                fields = {}
        except httpx.HTTPError:
            pass
        finally:
            self.ended.set()


@contextmanager
def listening(url: str, visitor: Visitor, last: str = "") -> Iterator[Source]:
    source = Source(url, visitor.cookie, last)
    try:
        yield source
    finally:
        source.close()


def test_status_comes_by_itself(backend: Backend, buyer: Visitor, worker: Worker) -> None:
    with listening(backend.url, buyer) as source:
        placed = buyer.order({backend.add(): 1}).json()["id"]
        wait_until(lambda: source.steps(placed) == STEPS, "every step told, once and in order")
        assert {"order_id", "status", "at"} == set(source.events[0])


def test_events_are_the_users_own(backend: Backend, buyer: Visitor, worker: Worker) -> None:
    other = Visitor(backend.url)
    other.register()
    with listening(backend.url, buyer) as mine, listening(backend.url, other) as theirs:
        placed = buyer.order({backend.add(): 1}).json()["id"]
        wait_until(lambda: len(mine.steps(placed)) == 4, "told")
        assert theirs.events == []


def test_browser_resumes_at_another_instance_and_misses_nothing(
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


def test_instance_that_ends_ends_its_streams_at_once(own: Keeper, backend: Backend, buyer: Visitor) -> None:
    ending = own(Backend, backend.given)
    with listening(ending.url, buyer) as source:
        ending.send(signal.SIGTERM)
        assert source.ended.wait(5)  # uvicorn alone would wait for the browser to go
        assert ending.wait() in (0, -signal.SIGTERM)


@pytest.mark.parametrize("last", ["x", "0", "9-9-9", "99999999999999999999-0", "-", "5"])
def test_id_that_is_none_is_as_good_as_none(backend: Backend, buyer: Visitor, last: str) -> None:
    with listening(backend.url, buyer, last) as source:
        assert not source.ended.is_set()


def test_redis_away_ends_the_stream_and_the_browser_comes_back(
    own: Keeper, postgres: Postgres, cache: Valkey
) -> None:
    valkey = own(Valkey)
    given = environment(postgres, valkey, cache)
    backend, _worker = own(Backend, given), own(Worker, given, valkey)
    buyer = Visitor(backend.url)
    email = buyer.register()
    with listening(backend.url, buyer) as source:
        valkey.stop()
        assert source.ended.wait(20)
    valkey.start()
    buyer = Visitor(backend.url)
    assert buyer.log_in(email).status_code == 200
    with listening(backend.url, buyer) as source:
        placed = buyer.order({backend.add(): 1}).json()["id"]
        wait_until(lambda: source.steps(placed) == STEPS, "told again")
