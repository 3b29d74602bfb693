"""Whether Git's half of a push could store the pushed objects: its exit status does not show this.

Git writes its events to a file (api-trace2). Only one kind matters here: the failure of the program that stores the
client's objects, and its reason. No hook has run then.
"""

import contextlib
import json
from pathlib import Path
from typing import Any, NamedTuple

_STORING = ("unpack-objects", "index-pack")
_MOST = 1 << 20  # bytes of the events that are read


def events_to(path: Path) -> dict[str, str]:
    """The environment that makes Git write its events to a file."""
    return {"GIT_TRACE2_EVENT": str(path), "GIT_TRACE2_EVENT_BRIEF": "1"}


class Outcome(NamedTuple):
    """The outcome of storing a client's objects: Git's error message, or empty if there was none; and whether objects
    arrived, in which case pushrod's own hook has reported.
    """

    problem: str = ""
    taken: bool = False


def outcome(path: Path) -> Outcome:
    """The outcome according to Git's events."""
    lines: list[bytes] = []
    with contextlib.suppress(FileNotFoundError), path.open("rb") as f:  # Git wrote no events
        lines = f.read(_MOST).splitlines()
    taking: object = None
    message = "it ended without a message"
    for event in map(_event, lines):
        its_own = "/" not in str(event.get("sid"))  # not of a program that it started
        if event.get("event") == "error":
            message = str(event.get("msg"))
        elif its_own and event.get("hook_name") == "pre-receive":
            return Outcome(taken=True)
        elif its_own and event.get("event") == "child_start" and _stores_objects(event):
            taking = event.get("child_id", -1)
        elif its_own and _has_failed(event, taking):
            return Outcome(message)
    return Outcome()


def _has_failed(event: dict[str, Any], child: object) -> bool:
    return event.get("event") == "child_exit" and event.get("child_id") == child and bool(event.get("code"))


def _stores_objects(event: dict[str, Any]) -> bool:
    argv = event.get("argv")
    return isinstance(argv, list) and bool({*map(str, argv[1:2])} & {*_STORING})


def _event(line: bytes) -> dict[str, Any]:
    with contextlib.suppress(ValueError):
        decoded = json.loads(line)
        return decoded if isinstance(decoded, dict) else {}
    return {}
