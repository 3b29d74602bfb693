"""What Git's half of a push says of itself: it ends well whatever it has told the client.

Git writes its events to a file (api-trace2). Of those one is looked for: that the program which takes in what a
client sends has failed, and why. No hook has run then.
"""

import contextlib
import json
from pathlib import Path
from typing import Any, NamedTuple

_TAKES_IN = ("unpack-objects", "index-pack")
_MOST = 1 << 20  # bytes that are read of the events


def told_to(path: Path) -> dict[str, str]:
    """The environment by which Git writes its events to a file."""
    return {"GIT_TRACE2_EVENT": str(path), "GIT_TRACE2_EVENT_BRIEF": "1"}


class Told(NamedTuple):
    """Why what a client sent could not be taken in, in Git's words: nothing where it could; and whether anything was,
    of which our own hook has told."""

    problem: str = ""
    taken: bool = False


def told(path: Path) -> Told:
    """What Git's events say."""
    lines: list[bytes] = []
    with contextlib.suppress(FileNotFoundError), path.open("rb") as f:  # Git says nothing where it cannot
        lines = f.read(_MOST).splitlines()
    taking: object = None
    said = "it ended without a word"
    for event in map(_event, lines):
        its_own = "/" not in str(event.get("sid"))  # and not of a program that it has started
        if event.get("event") == "error":
            said = str(event.get("msg"))
        elif its_own and event.get("hook_name") == "pre-receive":
            return Told(taken=True)
        elif its_own and event.get("event") == "child_start" and _takes_in(event):
            taking = event.get("child_id", -1)
        elif its_own and _has_failed(event, taking):
            return Told(said)
    return Told()


def _has_failed(event: dict[str, Any], child: object) -> bool:
    return event.get("event") == "child_exit" and event.get("child_id") == child and bool(event.get("code"))


def _takes_in(event: dict[str, Any]) -> bool:
    argv = event.get("argv")
    return isinstance(argv, list) and bool({*map(str, argv[1:2])} & {*_TAKES_IN})


def _event(line: bytes) -> dict[str, Any]:
    with contextlib.suppress(ValueError):
        found = json.loads(line)
        return found if isinstance(found, dict) else {}
    return {}
