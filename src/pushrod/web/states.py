"""What runs, on a Docker host, where the page itself may not ask Docker: from the verb `status`, which may.

Listing containers takes longer than a page should. So an answer is kept for some seconds, an older one is shown while
a new one is fetched, and the first visitor gets a page that says so and reloads itself.
"""

import threading
import time
from collections.abc import Mapping, Sequence

import msgspec

from pushrod.core.errors import PushrodError
from pushrod.core.values import ProcessState
from pushrod.observe.status import Status
from pushrod.state.apps import App
from pushrod.web.calls import Call, Calls

FRESH = 5.0
"""Seconds for which an answer is good enough."""

PATIENCE = 0.05
"""Seconds to wait for the first answer about an app."""

_OLDEST = 120.0  # seconds after which an answer is no longer shown


class HostProcesses:
    """The processes of apps, as members may see them: an app is asked about with the rights of who asks."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls
        self._known: dict[str, tuple[float, Sequence[ProcessState]]] = {}
        self._asking: dict[tuple[str, ...], threading.Thread] = {}
        self._lock = threading.Lock()

    def __call__(self, apps: Sequence[App], call: Call) -> Mapping[str, Sequence[ProcessState]]:
        """The processes of each app; one about which nothing is known yet is missing."""
        names = [app.name for app in apps]
        if not names:
            return {}
        if self._oldest(names) > FRESH:
            asking = self._ask(call)
            if self._oldest(names) > _OLDEST:
                asking.join(PATIENCE)
        at = time.monotonic()
        return {n: known[1] for n in names if (known := self._known.get(n)) and at - known[0] <= _OLDEST}

    def _oldest(self, names: Sequence[str]) -> float:
        at = time.monotonic()
        return max(at - self._known[n][0] if n in self._known else float("inf") for n in names)

    def _ask(self, call: Call) -> threading.Thread:
        key = (call.session, *call.words)
        with self._lock:
            thread = self._asking.get(key)
            if thread is None or not thread.is_alive():
                self._asking = {k: t for k, t in self._asking.items() if t.is_alive()}
                thread = threading.Thread(target=self._fetch, args=(call,), daemon=True)
                self._asking[key] = thread
                thread.start()
            return thread

    def _fetch(self, call: Call) -> None:
        try:
            answer = msgspec.json.decode(self._calls(call).stdout or "[]", type=list[Status])
        except (PushrodError, msgspec.DecodeError):
            return
        at = time.monotonic()
        self._known |= {status.app: (at, status.processes) for status in answer}
