"""Notices of deployments: who made which commit live, or failed to, and how long it took.

    ROOT/alarm/announced.json   the last event of each app's journal for which there was a notice

A deployment sends no notice itself: its journal is read after it has ended, so there is also a notice of a deployment
that was killed, once it is undone.
"""

import contextlib
import os
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import msgspec

from pushrod.core.errors import PushrodError, contained
from pushrod.core.times import now, seconds_between
from pushrod.core.values import Value
from pushrod.observe.outbox import Outbox, named_by
from pushrod.observe.recipients import Recipients
from pushrod.state.apps import App, Root
from pushrod.state.journal import Entry, Journal
from pushrod.state.releases import Releases
from pushrod.state.secrets import Secrets
from pushrod.system import files, locks


class _Announced(Value, frozen=True):
    """The time of the last announced event of each app; `since` is when announcements began."""

    since: str
    apps: dict[str, str] = {}


class Ended(NamedTuple):
    """A deployment that has ended; `began` is its first event."""

    began: Entry
    end: Entry


def ended(entries: Sequence[Entry], after: str) -> Iterator[Ended]:
    """The deployments that went live or failed after a time. Pure."""
    began: Entry | None = None
    for entry in entries:
        if entry.event in ("prepare", "promote"):
            if began is None or began.release != entry.release or entry.event == "prepare":
                began = entry
        elif entry.event in ("live", "failed") and began and began.release == entry.release:
            if entry.at > after:
                yield Ended(began, entry)
            began = None


def has_recipients(root: Root, app: App) -> bool:
    """Whether anybody gets notices of an app's deployments."""
    return any(one.deployments and one.hears(app.name) for one in Recipients(root).all()) or bool(
        named_by(app)
    )


def collect(root: Root) -> None:
    """Add what has not been announced yet to the outbox. The first call only records the time."""
    path = root.path / "alarm" / "announced.json"
    files.make_private(path.parent)
    with locks.lock(path.with_name("announcing"), purpose="reading journals", timeout=30.0):
        try:
            announced = msgspec.json.decode(path.read_bytes(), type=_Announced)
        except (OSError, msgspec.DecodeError):
            announced = _Announced(now())
            files.write(path, msgspec.json.encode(announced), mode=0o600)
        outbox, apps = Outbox(root), {}
        for app in root.apps():
            last = announced.apps.get(app.name, announced.since)
            with contextlib.suppress(PushrodError), contained():  # damage is an alarm of its own
                for one in ended(Journal(app.journal).entries(), last):
                    outbox.put(facts(app, one), app.name)
                    last = one.end.at
            apps[app.name] = last
        if apps != announced.apps:
            files.write(path, msgspec.json.encode(_Announced(announced.since, apps)), mode=0o600)


def begin(root: Root, since: str = "") -> None:
    """Record the time from which deployments are announced, by default now, unless it is recorded."""
    path = root.path / "alarm" / "announced.json"
    if not path.exists():
        files.make_private(path.parent)
        files.write(path, msgspec.json.encode(_Announced(since or now())), mode=0o600)


def facts(app: App, one: Ended) -> dict[str, str]:
    """The facts of a notice of a deployment; nothing secret is in them."""
    began, end = one
    state = "live" if end.event == "live" else "failed"
    subject, host = "", os.uname().nodename
    with contextlib.suppress(PushrodError):  # a failed release is removed
        subject = Releases(app).read(end.release).subject
    took = round(seconds_between(began.at, end.at), 1)
    why = Secrets(app).redact(end.why)
    commit = end.commit or began.commit
    named = f"{commit[:7]} “{subject}”" if subject else commit[:7]
    by = f" by {began.by}" if began.by else ""
    detail = (
        f"release {end.release} ({named}){by} {'is live' if state == 'live' else 'failed'} after {took:g} s"
    )
    detail += f": {why}" if why else ""
    return {
        "kind": "deployment",
        "host": host,
        "state": state,
        "what": f"app {app.name}",
        "detail": detail,
        "app": app.name,
        "release": str(end.release),
        "commit": commit,
        "subject": subject,
        "by": began.by,
        "seconds": f"{took:g}",
        "why": why,
        "at": end.at,
        "text": f"[{host}] {app.name}: {detail}",
    }
