"""Verbs for the page: a process for each, which decides itself what the session may do (`cli/web.py`).

The page has no other way to the effects, and none to logs: what it asks is the same as what a key asks over SSH.
"""

from collections.abc import AsyncIterator, Callable, Sequence

import msgspec

from pushrod.system import feeds, processes
from pushrod.system.processes import Completed

LONGEST = 4 * 3600.0 + 60
"""Seconds that a call may take: the longest of the gate's limits."""


class Call(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the page asks: whose session, from which address, and the words of a verb."""

    session: str
    words: tuple[str, ...]
    address: str = ""


class Calls:
    """Starts the verbs; `door` is the argv of the program that takes a call on its standard input."""

    def __init__(self, door: Sequence[str]) -> None:
        self._door = tuple(door)

    def __call__(self, call: Call, *, stdin: str = "", timeout: float = 60.0) -> Completed:
        """Run a verb to its end. `stdin` is what the verb reads. Raises HostError if it takes too long."""
        return processes.run(self._door, stdin=_given(call, stdin), timeout=timeout)

    def watched(self, call: Call, on_line: Callable[[str], None], *, stdin: str = "") -> int:
        """Run a verb to its end, with each line of its output as it appears; returns its exit status."""
        return processes.run(self._door, stdin=_given(call, stdin), timeout=LONGEST, on_line=on_line).status

    def followed(self, call: Call) -> AsyncIterator[str]:
        """The lines that a verb without end prints; it is killed when the reader stops."""
        return feeds.of(self._door, stdin=_given(call, ""))


def _given(call: Call, stdin: str) -> str:
    return f"{msgspec.json.encode(call).decode()}\n{stdin}"
