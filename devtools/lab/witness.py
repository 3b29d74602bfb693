"""Clients that send requests all the time, whatever happens to the server, and record answers and acknowledged
rows."""

import collections
import http.client
import itertools
import json
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import NamedTuple

from devtools.apps import eventually
from devtools.lab.ground import Shop

_ERRORS = (
    OSError,
    AssertionError,
    ValueError,
    http.client.HTTPException,
)  # what a client of a stopped server sees


class Identity(NamedTuple):
    """An answer with status 200: when, the requested app, the app that answered, and its release."""

    at: float
    app: str
    answered_by: str
    release: int


class Witness:
    """Requests each app's identity, and stores rows in it, until the end of the block. Ignores answers other than
    200."""

    def __init__(self, *shops: Shop) -> None:
        self._shops = shops
        self._stop = threading.Event()
        self._threads = [
            threading.Thread(target=self._until_stopped, args=(act, shop))
            for shop in shops
            for act in (self._ask, self._write)
        ]
        self.answers: list[Identity] = []
        self.promised: dict[str, list[str]] = {shop.name: [] for shop in shops}

    def __enter__(self) -> "Witness":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            for shop in self._shops:
                self._wait_for_answer(shop)
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _wait_for_answer(self, shop: Shop) -> None:
        """Wait for one more answer, so that the silence before it counts."""
        now = time.monotonic()
        eventually(
            lambda: any(h.app == shop.name and h.at > now for h in list(self.answers)), "an answer", 60.0
        )

    def _until_stopped(self, act: Callable[[Shop], None], shop: Shop) -> None:
        while not self._stop.wait(0.02):
            try:
                act(shop)
            except _ERRORS:
                self._stop.wait(0.1)

    def _ask(self, shop: Shop) -> None:
        answer = shop.get(timeout=2.0)
        if answer.status == 200:
            identity = json.loads(answer.body)
            self.answers.append(Identity(time.monotonic(), shop.name, identity["app"], identity["release"]))

    def _write(self, shop: Shop) -> None:
        row = f"{shop.name} {time.monotonic_ns()}"
        shop.post(row, timeout=2.0)
        self.promised[shop.name].append(row)

    def silence(self, shop: Shop) -> float:
        """The longest time in seconds between two answers of an app."""
        times = [h.at for h in self.answers if h.app == shop.name]
        return max(later - before for before, later in itertools.pairwise(times))

    def check(self) -> None:
        """Assert that no app has answered under another's name, and that every acknowledged row is stored."""
        wrong = [h for h in self.answers if h.app != h.answered_by]
        assert not wrong, wrong
        for shop in self._shops:
            promised = self.promised[shop.name]
            lost = set(promised) - set(shop.rows())
            assert promised
            assert not lost, f"{len(lost)} of {len(promised)} rows are lost"


class Outcome(NamedTuple):
    """Any answer; status 0 if none arrived."""

    status: int
    retry_after: str = ""
    body: str = ""


class Listener:
    """Requests an app's page all the time, each time on a new connection, and records every kind of answer."""

    def __init__(self, shop: Shop) -> None:
        self._shop = shop
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._until_stopped)
        self.answers: list[Outcome] = []

    def __enter__(self) -> "Listener":
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()

    def _until_stopped(self) -> None:
        while not self._stop.wait(0.01):
            self.answers.append(self._ask())

    def _ask(self) -> Outcome:
        try:
            answer = self._shop.get(timeout=2.0)
        except _ERRORS:
            return Outcome(0)
        body = answer.body.decode() if answer.status != 200 else ""
        return Outcome(answer.status, answer.headers.get("retry-after", ""), body)

    @property
    def statuses(self) -> dict[int, int]:
        """How often each status was received."""
        return dict(collections.Counter(answer.status for answer in self.answers))
