"""Looking for what is wrong, and saying how to mend it."""

import sys
from collections.abc import Iterator
from typing import Literal

from pushrod import host
from pushrod.apps import App, Root
from pushrod.engines.embedded.engine import Embedded
from pushrod.errors import PushrodError
from pushrod.gears import git
from pushrod.journal import Journal
from pushrod.releases import Releases
from pushrod.values import Value

_OLDEST_GIT = (2, 29)  # the first with the proc-receive hook (Git's release notes for 2.29)
_LOW_SPACE = 500_000_000  # bytes; an environment and a PostgreSQL cluster together take about half of it


class Finding(Value, frozen=True):
    """One thing looked at. `mend` says what to do where `state` is not `ok`."""

    what: str
    state: Literal["ok", "warning", "broken"]
    detail: str
    mend: str = ""


def examine(root: Root) -> list[Finding]:
    """Look at the machine, the engine's parts and every app of a root; changes nothing."""
    engine = Embedded(root)
    found = [*_machine(root), *_parts(engine)]
    if any(not app.settings.down for app in root.apps() if _readable(app)):
        found.append(_edge(engine))
    for app in root.apps():
        found += _app(app, engine)
    return found


def repair(app: App) -> int:
    """Begin a new journal for an app at the release its live pointer names; returns that release.

    For a journal that cannot be read: the old file is kept beside the new one.
    """
    releases = Releases(app)
    live = releases.pointed()
    commit = releases.read(live).commit if live else ""
    with host.lock(app.lock, purpose="repairing the journal", timeout=60):
        Journal(app.journal).restart(live, commit, max([0, *releases.numbers()]))
    return live


def _machine(root: Root) -> Iterator[Finding]:
    yield Finding("python", "ok", f"{sys.version.split()[0]} at {sys.executable}")
    yield _git()
    if root.path.exists():
        free = host.free_space(root.path)
        low = free < _LOW_SPACE
        yield Finding(
            "disk",
            "warning" if low else "ok",
            f"{free // 1_000_000} MB free at {root.path}",
            "free some space" if low else "",
        )
    else:
        yield Finding("root", "ok", f"{root.path} is not there yet; `pushrod up` makes it")


def _git() -> Finding:
    try:
        words = host.run(["git", "--version"], env=git.environment()).stdout.split()
    except PushrodError as e:
        return Finding("git", "broken", e.what, "install git 2.29 or newer")
    version = tuple(int(n) for n in words[2].split(".")[:2])
    if version < _OLDEST_GIT:
        return Finding("git", "broken", f"{words[2]} has no proc-receive hook", "install git 2.29 or newer")
    return Finding("git", "ok", words[2])


def _parts(engine: Embedded) -> Iterator[Finding]:
    for part in engine.parts.versions():
        if part.problem:
            yield Finding(part.name, "broken", "cannot be used", part.problem)
        else:
            yield Finding(part.name, "ok", f"{part.version} from {part.source}")
    try:
        account = engine.account
    except PushrodError as e:
        yield Finding("account", "broken", e.what, e.hint)
        return
    if account is None:
        yield Finding("account", "ok", "everything runs as you")
    elif account.reach:
        yield Finding(
            "account",
            "warning",
            f"children run as {account.name} with CAP_{account.reach.upper()}: a directory above is closed to it",
            "put the root and this installation where every user may pass, such as /opt and /var/lib",
        )
    else:
        yield Finding("account", "ok", f"children run as {account.name}")


def _readable(app: App) -> bool:
    try:
        return bool(app.settings)
    except PushrodError:
        return False


def _edge(engine: Embedded) -> Finding:
    try:
        if engine.edge.answering():
            return Finding("edge", "ok", "answers")
    except PushrodError as e:
        return Finding("edge", "broken", e.what, e.hint)
    log = host.tail(engine.root.supervisor / "nginx.log", 1)
    mend = "`pushrod up` starts it, or says why not"
    return Finding("edge", "broken", f"nginx does not answer: {' '.join(log)}", mend)


def _app(app: App, engine: Embedded) -> Iterator[Finding]:
    name = f"app {app.name}"
    try:
        settings = app.settings
        story = Journal(app.journal).story()
        releases = Releases(app)
        for number in releases.numbers():
            releases.read(number)
    except PushrodError as e:
        yield Finding(name, "broken", f"{e.where}: {e.what}", e.hint)
        return
    if story.open is not None:
        under_way = host.locked(app.lock)
        fate = "is under way" if under_way else "was cut off"
        detail = f"{story.open.event} of release {story.open.release} {fate}"
        mend = "" if under_way else "any other command (`pushrod status`) finishes or undoes it"
        yield Finding(name, "ok" if under_way else "warning", detail, mend)
        return
    if story.live and releases.pointed() != story.live:
        yield Finding(
            name, "warning", "its live pointer is not where the journal says", "`pushrod up` mends it"
        )
    if settings.down or not story.live:
        yield Finding(name, "ok", "down" if story.live else "nothing deployed yet")
        return
    try:
        yield _running(app, name, story.live, engine)
    except PushrodError as e:  # a part that the engine needs is missing
        yield Finding(name, "broken", e.what, e.hint)


def _running(app: App, name: str, live: int, engine: Embedded) -> Finding:
    states = engine.states(app)
    bad = [s for s in states if s.state not in ("running", "starting")]
    if not states or not engine.supervisor.running():
        return Finding(
            name, "broken", f"release {live} should be live, but nothing runs", "`pushrod up` starts it"
        )
    if bad:
        listed = ", ".join(f"{s.name} is {s.state}" for s in bad)
        return Finding(name, "broken", listed, f"`pushrod logs {bad[0].name.rpartition('-')[0]}` says why")
    return Finding(name, "ok", f"release {live}, {len(states)} processes run")
