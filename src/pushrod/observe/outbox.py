"""Notices wait here until each recipient has accepted them.

    ROOT/alarm/waiting.json     the notices that wait, oldest first (0600)
    ROOT/alarm/log              what was sent, and what could not be, as JSON lines

Alarms and announcements only add notices here. Sending takes as long as the recipient does, so it happens in
a process of its own, never within a deployment. A recipient gets its notices in order: after a failure the rest waits
too. The next run tries again.
"""

import contextlib
import math
import secrets
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

import msgspec

from pushrod.adapters import channels
from pushrod.core.errors import BusyError, HostError, PushrodError, contained
from pushrod.core.times import now, seconds_since
from pushrod.core.values import Value
from pushrod.manifest import grants
from pushrod.observe.recipients import Recipients
from pushrod.state import releases
from pushrod.state.apps import App, Root
from pushrod.state.records import read_json
from pushrod.state.secrets import Secrets
from pushrod.system import files, locks, signals, tails

KEPT = 86400.0
"""Seconds after which a notice that nobody accepts is given up."""

_MOST = 50  # notices that wait for one recipient
_LINES = 1000  # of the log
_SENDING = 60.0  # seconds for one delivery, whatever the recipient does
_PATIENCE = 30.0  # seconds for the lock of the file


class Notice(Value, frozen=True):
    """A message to one recipient: `to` is the name of one of the machine's recipients, or with `app` the variable of
    that app that contains a webhook's address."""

    id: str
    at: str
    to: str
    facts: dict[str, str]
    app: str = ""
    tries: int = 0
    problem: str = ""

    @property
    def recipient(self) -> str:
        """The recipient as it is shown."""
        return f"{self.app}: {self.to}" if self.app else self.to


class Sent(Value, frozen=True):
    """One delivery, or one that failed (`problem`)."""

    at: str
    state: str
    what: str
    detail: str
    problem: str = ""
    to: str = ""


class Outbox:
    """The notices of a root."""

    def __init__(self, root: Root) -> None:
        self._root = root
        self._directory = root.path / "alarm"
        self._path = self._directory / "waiting.json"
        self._log = self._directory / "log"
        self._recipients = Recipients(root)

    def put(self, facts: Mapping[str, str], app: str = "") -> int:
        """Add a notice for every recipient of an app's notices, or with an empty name of the machine's; returns for
        how many. The fact `text` is the whole in one line."""
        deployment = facts.get("kind") == "deployment"
        heard = (one for one in self._recipients.all() if one.deployments or not deployment)
        to = [("", one.name) for one in heard if one.hears(app)]
        to += [(app, name) for name in named_by(App(self._root, app))] if app else []
        added = [Notice(secrets.token_hex(8), now(), name, dict(facts), whose) for whose, name in to]
        if added:
            with self._changing() as waiting:
                waiting += added
                for one in added:
                    self._drop_oldest(waiting, one.recipient)
        return len(added)

    def waiting(self) -> list[Notice]:
        """What waits, oldest first."""
        if not self._path.exists():
            return []
        return read_json(self._path, list[Notice], restore="remove that file")

    def deliver(self) -> list[PushrodError]:
        """Send what waits; returns what could not be delivered. If another process is sending, it is left to that
        one."""
        failed: dict[str, PushrodError] = {}
        taken = Counter[str]()  # seconds of this run, by app
        files.make_private(self._directory)
        with (
            contextlib.suppress(BusyError),
            locks.lock(self._directory / "sending", purpose="sending notices", timeout=0),
        ):
            while (
                notice := next(
                    (n for n in _in_order(self.waiting(), taken) if n.recipient not in failed), None
                )
            ) is not None:
                began = time.monotonic()
                problem = self._send(notice)
                taken[notice.app] += math.ceil(time.monotonic() - began)
                if problem:
                    failed[notice.recipient] = problem
                with self._changing() as waiting:
                    waiting[:] = [left for n in waiting for left in _left(n, notice.id, problem)]
        return list(failed.values())

    def send(self, to: str, facts: Mapping[str, str]) -> None:
        """Send a notice to one of the machine's recipients at once. Raises HostError unless it was accepted."""
        if problem := self._send(Notice("", now(), to, dict(facts))):
            raise problem

    def deliveries(self) -> list[Sent]:
        """The last deliveries, oldest first."""
        return [msgspec.json.decode(line, type=Sent) for line in tails.of_file(self._log, 50)]

    def _send(self, notice: Notice) -> PushrodError | None:
        problem: PushrodError | None = None
        try:
            with contained(), signals.deadline(_SENDING, f"sending a notice to {notice.recipient}"):
                if notice.app:
                    self._send_for(App(self._root, notice.app), notice)
                elif one := self._recipients.named(notice.to):
                    channels.send(one.target, notice.facts, one.style)
                else:
                    return None  # removed meanwhile
        except PushrodError as e:
            problem = e
        except OSError as e:
            problem = files.os_error(e, notice.recipient)
        facts = notice.facts
        state, what, detail = (facts.get(name, "") for name in ("state", "what", "detail"))
        self._record(Sent(now(), state, what, detail, problem.what if problem else "", notice.recipient))
        return problem

    def _send_for(self, app: App, notice: Notice) -> None:
        """Send to what the app's own manifest names, which may only be a webhook that everybody can reach."""
        if not app.exists or notice.to not in named_by(app):
            return
        target = (Secrets(app).variables().get(notice.to) or "").strip()
        where = f"app {app.name}: {notice.to}"
        if not target:
            raise HostError(
                "the variable has no value",
                where=where,
                hint=f"pushrod secret set {notice.to} --app {app.name}",
            )
        channels.send_public(target, notice.facts, grants.webhooks(app.settings.allowed), where)

    @contextlib.contextmanager
    def _changing(self) -> Iterator[list[Notice]]:
        """The waiting notices, which are written back at the end of the block."""
        files.make_private(self._directory)
        with locks.lock(self._directory / "waiting", purpose="adding a notice", timeout=_PATIENCE):
            waiting = self.waiting()
            yield waiting
            files.write(self._path, msgspec.json.encode(waiting), mode=0o600)

    def _drop_oldest(self, waiting: list[Notice], recipient: str) -> None:
        """Let no more than _MOST wait for a recipient: what there is most about goes first, its deployments before
        its alarms, so that one app pushes out no alarm of another while the recipient is away."""
        mine = [n for n in waiting if n.recipient == recipient]
        while len(mine) > _MOST:
            counts = Counter(n.facts.get("what") for n in mine)
            one = min(mine, key=lambda n: (-counts[n.facts.get("what")], n.facts.get("kind") == "alarm"))
            mine.remove(one)
            waiting.remove(one)

    def _record(self, sent: Sent) -> None:
        lines = [*tails.of_file(self._log, _LINES - 1), msgspec.json.encode(sent).decode()]
        files.write(self._log, "".join(f"{line}\n" for line in lines), mode=0o600)


def _in_order(waiting: Sequence[Notice], taken: Mapping[str, int]) -> list[Notice]:
    """Notices as they are sent: to the machine's recipients first, as whoever pushes decides how slow the others are
    and how many there are; then those of the app that has had least time (`taken`), and to those that failed least.
    A recipient's own stay in their order.
    """
    tries = Counter[str]()
    for notice in waiting:
        tries[notice.recipient] = max(tries[notice.recipient], notice.tries)
    return sorted(waiting, key=lambda n: (bool(n.app), taken.get(n.app, 0), tries[n.recipient]))


def named_by(app: App) -> Sequence[str]:
    """The variables in which an app's live release has the addresses of its own webhooks; none if it cannot be
    read."""
    try:
        live = releases.live(app)
    except (PushrodError, OSError):
        return ()
    return live.notify if live else ()


def _left(notice: Notice, sent: str, problem: PushrodError | None) -> list[Notice]:
    """What is left of a notice after the one with the id `sent` was sent, or was not."""
    if notice.id != sent:
        return [notice]
    if problem is None or seconds_since(notice.at) > KEPT:
        return []
    return [msgspec.structs.replace(notice, tries=notice.tries + 1, problem=problem.what)]
