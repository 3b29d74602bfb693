"""What an app is doing now, read without taking its lock."""

from collections.abc import Sequence
from typing import Literal

from pushrod.backups import catalogue, copies
from pushrod.core.values import Maintenance, ProcessState, Value
from pushrod.ingress import certificates, claims
from pushrod.ingress.certificates import Certificates
from pushrod.state.apps import App
from pushrod.state.journal import Entry, Journal
from pushrod.state.releases import Releases, Snapshot

Condition = Literal["live", "degraded", "down", "new"]


class Status(Value, frozen=True):
    """One app at a glance. `under_way` is what an unfinished command is doing or has left behind; `allowed` what
    the host's owner permits its manifest to ask for. `warnings` are problems that will matter later, such as a late
    backup. If `maintenance` is set, the edge answers instead of the app, except for the addresses it names. `names`
    are the app's own, even while it is down (`:80`: every other name on that port). `file` is its compose file, if
    that is not at the top. `proved` is when the last copy in a vault was proved by a restore."""

    app: str
    condition: Condition
    url: str
    release: int
    commit: str
    subject: str
    since: str
    under_way: str
    processes: tuple[ProcessState, ...]
    allowed: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    maintenance: Maintenance | None = None
    names: tuple[str, ...] = ()
    file: str = ""
    proved: str = ""


class Row(Value, frozen=True):
    """One release in the list."""

    number: int
    state: Literal["live", "kept", "pruned", "failed", "under way"]
    commit: str
    subject: str
    at: str
    why: str = ""


def of(app: App, processes: Sequence[ProcessState], records: Snapshot | None = None) -> Status:
    """The status of an app, given the processes its engine reports, and its records if they have been read."""
    settings = app.settings
    entries, story, release = records or Snapshot.of(app)
    warnings = [*catalogue.examine(app, release), *certificates.examine(app, release)]
    since = next((e.at for e in reversed(entries) if e.event == "live"), "")
    return Status(
        app=app.name,
        condition=_condition(settings.down, story.live, processes),
        url=Certificates(app).url(release),
        release=story.live,
        commit=release.commit if release else "",
        subject=release.subject if release else "",
        since=since,
        under_way=f"{story.open.event} of release {story.open.release}" if story.open else "",
        processes=tuple(processes),
        allowed=settings.allowed,
        warnings=tuple(f"{d.detail}: {d.remedy}" for d in warnings),
        maintenance=settings.maintenance,
        names=claims.of(app),
        file=settings.file,
        proved=copies.proved(app),
    )


def history(app: App) -> list[Row]:
    """Every release in the journal, newest first."""
    releases = Releases(app)
    entries, story = Journal(app.journal).read()
    kept = set(releases.numbers())
    ended: dict[int, Entry] = {}
    commits: dict[int, str] = {}
    for entry in entries:
        commits[entry.release] = entry.commit or commits.get(entry.release, "")
        if entry.event in ("live", "failed"):
            first_failure = entry.event == "failed" and entry.release in ended
            ended[entry.release] = ended[entry.release] if first_failure else entry
    return [
        _row(n, ended.get(n), story.live, kept, commits[n], releases) for n in sorted(commits, reverse=True)
    ]


def _row(number: int, entry: Entry | None, live: int, kept: set[int], commit: str, releases: Releases) -> Row:
    subject = releases.read(number).subject if number in kept else ""
    if entry is None:
        return Row(number, "under way", commit, subject, "")
    if entry.event == "failed":
        return Row(number, "failed", commit, subject, entry.at, entry.why)
    return Row(
        number,
        "live" if number == live else "kept" if number in kept else "pruned",
        commit,
        subject,
        entry.at,
    )


def _condition(down: bool, live: int, processes: Sequence[ProcessState]) -> Condition:
    if not live:
        return "new"
    if down:
        return "down"
    return "live" if processes and all(p.state in ("running", "starting") for p in processes) else "degraded"
