"""A browser's EventSource."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx

from parts import wait_until
from services import Visitor

STEPS = ["placed", "paid", "packed", "shipped"]


class Source:
    """An EventSource: reads in the background, and remembers the last event id."""

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
