"""The checks of `pushrod doctor`, each with its remedy."""

import sys
from collections.abc import Iterator

from pushrod.adapters import git
from pushrod.backups import catalogue, copies
from pushrod.core.errors import PushrodError, contained
from pushrod.core.values import Diagnostic
from pushrod.engines import registry
from pushrod.engines.protocols import Engine
from pushrod.ingress import certificates, claims
from pushrod.observe import alerts
from pushrod.observe.alarms import Alarm
from pushrod.provisioning import diagnostics
from pushrod.state import places
from pushrod.state.apps import App, Root
from pushrod.state.journal import Journal
from pushrod.state.releases import Releases
from pushrod.system import files, locks, processes

_OLDEST_GIT = (2, 29)  # the first with the proc-receive hook (Git's release notes for 2.29)
_LOW_SPACE = 500_000_000  # bytes; a Python environment and a PostgreSQL cluster take about half of it


def examine(root: Root) -> list[Diagnostic]:
    """Check the machine, the engine's parts and every app of a root; changes nothing."""
    engine = registry.of(root)
    results = [*_machine(root), *engine.platform.examine()]
    if engine.traits.hosted:
        results += diagnostics.examine(root)
    results += claims.examine(root)
    results += copies.examine_host(root)
    results += Alarm(root).examine()
    for app in root.apps():
        results += _app(app, engine)
    return results


def urgent(root: Root) -> Iterator[Diagnostic]:
    """What the alarm reports: problems of the disk, of copies in vaults, and of apps: their processes, stores,
    backups, certificates. An app whose files cannot be read is a problem too."""
    yield _disk(root)
    yield from copies.examine_host(root)
    yield from alerts.firing(root)
    engine = registry.of(root)
    for app in root.apps():
        try:
            with contained():
                yield from _app(app, engine)
        except (PushrodError, OSError) as e:
            yield Diagnostic(
                f"app {app.name}", "broken", str(e), f"`pushrod doctor --app {app.name}` says more"
            )


def _machine(root: Root) -> Iterator[Diagnostic]:
    yield Diagnostic("python", "ok", f"{sys.version.split()[0]} at {sys.executable}")
    yield _git()
    if root.path.exists():
        yield _disk(root)
    else:
        yield Diagnostic("root", "ok", f"{root.path} does not exist yet; `pushrod up` creates it")


def _disk(root: Root) -> Diagnostic:
    free = files.free_space(root.path)
    low = free < _LOW_SPACE
    return Diagnostic(
        "disk",
        "warning" if low else "ok",
        f"{free // 1_000_000} MB free at {root.path}",
        "free some space" if low else "",
    )


def _git() -> Diagnostic:
    try:
        words = processes.run(["git", "--version"], env=git.environment()).stdout.split()
    except PushrodError as e:
        return Diagnostic("git", "broken", e.what, "install git 2.29 or newer")
    version = tuple(int(n) for n in words[2].split(".")[:2])
    if version < _OLDEST_GIT:
        return Diagnostic(
            "git", "broken", f"{words[2]} has no proc-receive hook", "install git 2.29 or newer"
        )
    return Diagnostic("git", "ok", words[2])


def _app(app: App, engine: Engine) -> Iterator[Diagnostic]:
    name = f"app {app.name}"
    damaged = list(places.damage(app))
    for e in damaged:
        yield Diagnostic(name, "broken", f"{e.where}: {e.what}", e.hint)
    try:
        settings = app.settings
        story = Journal(app.journal).story()
        releases = Releases(app)
        for number in releases.numbers():
            releases.read(number)
    except PushrodError as e:
        if e.where not in {d.where for d in damaged}:
            yield Diagnostic(name, "broken", f"{e.where}: {e.what}", e.hint)
        return
    if story.open is not None:
        under_way = locks.locked(app.lock)
        fate = "is under way" if under_way else "was cut off"
        detail = f"{story.open.event} of release {story.open.release} {fate}"
        remedy = "" if under_way else "any other command (`pushrod status`) finishes or undoes it"
        yield Diagnostic(name, "ok" if under_way else "warning", detail, remedy)
        return
    if story.left:
        yield Diagnostic(name, "warning", f"not done: {story.left}", "`pushrod doctor --repair` tries again")
    if story.live and story.live not in releases.numbers():
        detail = f"release {story.live} is live, but not in the state repository"
        yield Diagnostic(name, "broken", detail, "`pushrod doctor --repair` restores it from its history")
        return
    if story.live and not git.is_whole(app.repository, history=False):
        detail = f"{app.repository}: objects of the live commit are missing"
        yield Diagnostic(name, "broken", detail, "`pushrod doctor --repair`, then push again")
    if story.live and not git.is_sound(app.state):
        yield Diagnostic(
            name, "broken", f"{app.state}: Git cannot read it", "`pushrod doctor --repair` fixes it"
        )
    if story.live and releases.pointed() != story.live:
        yield Diagnostic(
            name, "warning", "its live pointer differs from the journal", "`pushrod up` corrects it"
        )
    if settings.down or not story.live:
        yield Diagnostic(name, "ok", "down" if story.live else "nothing deployed yet")
        return
    try:
        release = releases.read(story.live)
        yield from catalogue.examine(app, release)
        yield from certificates.examine(app, release)
        yield _running(app, name, story.live, engine)
    except PushrodError as e:  # for example, a part the engine needs is missing
        yield Diagnostic(name, "broken", e.what, e.hint)


def _running(app: App, name: str, live: int, engine: Engine) -> Diagnostic:
    states = engine.runtime.states([app])[app.name]
    bad = [s for s in states if s.state not in ("running", "starting")]
    if all(s.state == "stopped" for s in states):
        return Diagnostic(
            name, "broken", f"release {live} should be live, but nothing runs", "`pushrod up` starts it"
        )
    if bad:
        listed = ", ".join(f"{s.name} is {s.state}" for s in bad)
        return Diagnostic(
            name, "broken", listed, f"`pushrod logs {bad[0].name.rpartition('-')[0]}` shows why"
        )
    return Diagnostic(name, "ok", f"release {live}, {len(states)} processes run")
