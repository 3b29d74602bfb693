"""What the pages show, read from the files of a root: changes nothing, and finishes no interrupted command."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol

from pushrod.core.errors import PushrodError, UnknownNameError
from pushrod.core.values import ProcessState, Release
from pushrod.observe import promotions, status
from pushrod.observe.promotions import Promotion
from pushrod.observe.status import Status
from pushrod.releases import queue
from pushrod.state.apps import App, Root
from pushrod.state.journal import Entry
from pushrod.state.releases import Releases, Snapshot
from pushrod.web.access import Member


class Processes(Protocol):
    """What runs of some apps; an app that cannot be examined is missing."""

    def __call__(self, apps: Sequence[App], /) -> Mapping[str, Sequence[ProcessState]]:
        """The processes of each app, by its name."""


class Row(NamedTuple):
    """One app on the first page: its status, or why it cannot be read; its last promotion; pushes that wait; and
    whether what runs is known."""

    name: str
    status: Status | None
    problem: str
    last: Promotion | None
    waiting: int
    known: bool = True


class Numbered(NamedTuple):
    """A promotion with what is still known of its release: its subject, and whether it is live or kept."""

    promotion: Promotion
    subject: str
    live: bool
    kept: bool


class Instance(NamedTuple):
    """A process of an app: its service (empty for the edge), whether it is a store, and its state."""

    process: ProcessState
    service: str
    store: bool


class Page(NamedTuple):
    """One app: its status, its live release, its processes, its promotions, and whether what runs is known."""

    app: App
    status: Status
    release: Release | None
    instances: list[Instance]
    history: list[Numbered]
    waiting: int
    known: bool = True


def visible(root: Root, who: Member) -> list[App]:
    """The apps that a member may see."""
    return [app for app in root.apps() if who.sees(app.name)]


def find(root: Root, who: Member, name: str) -> App:
    """An app that a member may see. UnknownNameError for any other, whether it exists or not."""
    if not who.sees(name):
        raise UnknownNameError(f"no app `{name}`")
    return root.app(name)


def overview(root: Root, who: Member, processes: Processes) -> list[Row]:
    """All apps that a member may see. One that cannot be read affects no other."""
    apps = visible(root, who)
    states = processes(apps)
    return [_row(app, states.get(app.name)) for app in apps]


def _row(app: App, states: Sequence[ProcessState] | None) -> Row:
    try:
        records = Snapshot.of(app)
        last = next(iter(promotions.of(_recent(records.entries))), None)
        return Row(
            app.name, status.of(app, states or (), records), "", last, _waiting(app), states is not None
        )
    except (PushrodError, OSError) as e:
        return Row(app.name, None, str(e), None, 0)


def _waiting(app: App) -> int:
    """How many commands wait for an app; 0 where the page may not open their locks."""
    try:
        return queue.waiting(app)
    except OSError:
        return 0


def _recent(entries: Sequence[Entry]) -> Sequence[Entry]:
    """Of the last entries those of the last one's release: enough for the last promotion."""
    return [entry for entry in entries[-60:] if entry.release == entries[-1].release]


def page(app: App, processes: Processes) -> Page:
    """Everything about one app. Raises StateError if its records cannot be read."""
    records = Snapshot.of(app)
    running = processes([app]).get(app.name)
    states = running or ()
    return Page(
        app,
        status.of(app, states, records),
        records.release,
        _instances(states, records.release),
        history(app, records),
        _waiting(app),
        running is not None,
    )


def history(app: App, records: Snapshot) -> list[Numbered]:
    """The promotions in the journal, newest first."""
    releases = Releases(app)
    subjects: dict[int, str] = {}
    for number in releases.numbers():
        try:
            subjects[number] = releases.read(number).subject
        except PushrodError:  # damaged: `pushrod doctor` reports it
            subjects[number] = ""
    live = records.story.live
    return [
        Numbered(p, subjects.get(p.release, ""), p.release == live, p.release in subjects)
        for p in promotions.of(records.entries)
    ]


def _instances(states: Sequence[ProcessState], release: Release | None) -> list[Instance]:
    """The processes: the live release's, then other releases', then stores and the edge."""
    services = {i.name: i.service for i in release.instances} if release else {}
    stores = {s.name for s in release.stores} if release else set()
    live = f"{release.app}-r{release.number}" if release else ""

    def described(state: ProcessState) -> Instance:
        if state.group == live:
            return Instance(state, services.get(state.name, ""), store=False)
        return Instance(state, state.name if state.name in stores else "", state.name in stores)

    instances = [described(s) for s in states]
    return sorted(
        instances, key=lambda i: (i.process.group != live, i.store, i.process.group, i.process.name)
    )
