"""The alarm: reports to a person what must not go unnoticed, when it begins, daily while it lasts, and when it ends.

    ROOT/alarm/open.json        what is wrong now, since when, and what was sent

A timer checks; nothing stays in memory. What it finds is what `pushrod doctor` finds in apps, backups, certificates
and on the disk. A problem counts once two checks have seen it, so that a deployment in progress raises no alarm.
"""

import os
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import msgspec

from pushrod.core.errors import HostError, PushrodError
from pushrod.core.times import is_ahead, now, seconds_since, to_the_minute
from pushrod.core.values import Diagnostic, Value
from pushrod.observe.outbox import Outbox
from pushrod.observe.recipients import ALARM, Recipient, Recipients
from pushrod.state.apps import Root
from pushrod.state.records import read_json
from pushrod.system import files, locks

_AGAIN = 86400.0 - 600  # seconds after which an alarm is sent again while it lasts
_FIGURES = re.compile(r"[0-9][0-9.]*[dhms]?( [0-9][0-9.]*[dhms])*")  # a duration counts as one: 1h 3m 20s
_PATIENCE = 120.0  # seconds to wait for another check


class Open(Value, frozen=True):
    """Something that is wrong. `seen` counts the checks that saw it; `sent` is when it was last reported, empty
    if not yet; `over` means that it has ended, which is yet to be reported."""

    key: str
    what: str
    detail: str
    remedy: str
    since: str
    seen: int = 1
    sent: str = ""
    over: bool = False


class Message(NamedTuple):
    """What is to be sent about one thing."""

    state: str
    about: Open


def compare(known: Sequence[Open], diagnostics: Iterable[Diagnostic], at: str) -> list[Open]:
    """What is wrong now, given what was known and what a check has found. Pure."""
    present = {_key(d): d for d in diagnostics if d.state != "ok"}
    before = {o.key: o for o in known}
    after = [
        msgspec.structs.replace(
            o, detail=present[k].detail, remedy=present[k].remedy, seen=o.seen + 1, over=False
        )
        if k in present
        else msgspec.structs.replace(o, over=True)
        for k, o in before.items()
        if k in present or o.sent
    ]
    fresh = [Open(k, d.what, d.detail, d.remedy, at) for k, d in present.items() if k not in before]
    return after + fresh


def messages(known: Sequence[Open]) -> Iterator[Message]:
    """What has to be sent now. Pure, except for the time."""
    for one in known:
        if one.over:
            yield Message("over", one)
        elif one.seen > 1 and (not one.sent or is_ahead(one.sent) or seconds_since(one.sent) > _AGAIN):
            yield Message("still wrong" if one.sent else "wrong", one)


def _key(diagnostic: Diagnostic) -> str:
    """What identifies a diagnostic while its figures change."""
    return f"{diagnostic.what}: {_FIGURES.sub('#', diagnostic.detail)}"


class Alarm:
    """The alarm of a root."""

    def __init__(self, root: Root) -> None:
        self._path = root.path / "alarm"
        self._recipients = Recipients(root)
        self._outbox = Outbox(root)

    @property
    def target(self) -> str:
        """Where `set` has it sent to; empty if nowhere."""
        one = self._recipients.named(ALARM)
        return one.target if one else ""

    def set(self, target: str) -> None:
        """Set where it is sent to; empty for nowhere. Raises HostError for what cannot be a target."""
        if target:
            self._recipients.add(Recipient(ALARM, target, deployments=False))
        else:
            self._recipients.remove(ALARM)

    def open(self) -> list[Open]:
        """What is wrong according to the last check."""
        path = self._path / "open.json"
        return read_json(path, list[Open], restore="remove that file") if path.exists() else []

    def test(self) -> None:
        """Send a test. Raises HostError unless it was accepted."""
        if not self.target:
            raise HostError("no alarm is set", hint="`pushrod host alarm set https://…`")
        self._outbox.send(ALARM, test_facts())

    def check(self, diagnostics: Iterable[Diagnostic]) -> list[PushrodError]:
        """Compare diagnostics with what is known, and send what has to be sent; returns what could not be delivered,
        which the next check tries again."""
        files.make_private(self._path)
        with locks.lock(self._path / "lock", purpose="checking for alarms", timeout=_PATIENCE):
            known = compare(self.open(), diagnostics, now())
            self._write(known)
            for message in messages(known):
                about = message.about
                recipients = self._outbox.put(facts(message), _app(about.what))
                if not recipients and not about.over:
                    continue
                done = None if about.over else msgspec.structs.replace(about, sent=now())
                known = [k for o in known if (k := done if o.key == about.key else o) is not None]
                self._write(known)
        return self._outbox.deliver()

    def examine(self) -> Iterator[Diagnostic]:
        """A diagnostic for each recipient that the last delivery did not reach."""
        failed = {n.recipient: n for n in reversed(self._outbox.waiting()) if n.problem}
        for name, notice in failed.items():
            detail = f"{name} could not be reached since {to_the_minute(notice.at)}: {notice.problem}"
            yield Diagnostic("alarm", "broken", detail, "`pushrod host notify test` tries again")

    def _write(self, known: Sequence[Open]) -> None:
        files.write(self._path / "open.json", msgspec.json.encode(known), mode=0o600)


def facts(message: Message) -> dict[str, str]:
    """The facts of a notice of an alarm."""
    about, host = message.about, os.uname().nodename
    return {
        "kind": "alarm",
        "host": host,
        "state": message.state,
        "what": about.what,
        "detail": about.detail,
        "remedy": about.remedy,
        "since": about.since,
        "text": f"[{host}] {about.what}: {message.state}: {about.detail}",
    }


def test_facts() -> dict[str, str]:
    """The facts of a test."""
    return facts(Message("test", Open("", "test", "this is a test", "nothing is to be done", now())))


def _app(what: str) -> str:
    """The app that a problem is about; empty for the machine."""
    return what.removeprefix("app ") if what.startswith("app ") else ""
