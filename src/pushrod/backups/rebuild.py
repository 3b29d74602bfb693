"""Rebuilding a host from a vault: every app with its files, secrets, certificates and databases.

Images are built again from the commits. A database is restored before the first instance starts, so no app ever
serves without its data.
"""

import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from pushrod.adapters.restic import Snapshot
from pushrod.backups import staging, vaulting, wal_copies
from pushrod.backups.points import Points
from pushrod.backups.staging import Contents
from pushrod.core.errors import PushrodError, StoreError, UnknownNameError
from pushrod.core.progress import Progress
from pushrod.core.values import Value
from pushrod.engines.protocols import Engine
from pushrod.releases.app_lifecycle import make_places
from pushrod.state.apps import App, Root, check_name
from pushrod.state.records import read_json
from pushrod.state.vaults import Vault
from pushrod.system import files, signals

# This host has its own: how it was set up, and who did what on it.
_LEFT = frozenset({staging.CONTENTS, "host.json", "audit"})
_HOST = "host"  # the tag of the host's own files
_DAMAGED = "the vault returns other files than were sent: choose an older copy with restic, by hand"


class Rebuilt(Value, frozen=True):
    """An app that serves again: of which copy it is, and messages about what is left to do."""

    app: str
    at: str
    release: int
    url: str
    messages: tuple[str, ...] = ()


def newest(root: Root, vault: Vault, host: str = "", apps: Sequence[str] = ()) -> dict[str, Snapshot]:
    """The newest copy of each app, by its name; of the host's own files, by an empty name.

    Raises UnknownNameError if several hosts use the vault and `host` names none, or for an app without a copy.
    """
    snapshots = vaulting.repository(root, vault).snapshots()
    hosts = sorted({s.hostname for s in snapshots})
    if not host and len(hosts) > 1:
        raise UnknownNameError(
            "several hosts have copies in this vault",
            where=vault.url,
            hint=f"choose one with --host: {', '.join(hosts)}",
        )
    latest: dict[str, Snapshot] = {}
    for snapshot in snapshots:
        if not host or snapshot.hostname == host:
            latest |= {tag.removeprefix("app:"): snapshot for tag in snapshot.tags if tag.startswith("app:")}
            if _HOST in snapshot.tags:
                latest[""] = snapshot
    if missing := sorted(set(apps) - set(latest)):
        known = ", ".join(sorted(filter(None, latest))) or "none"
        raise UnknownNameError(f"no copy of `{missing[0]}`", where=vault.url, hint=f"apps in it: {known}")
    return {app: s for app, s in latest.items() if not apps or app in apps}


def rebuild(
    engine: Engine, vault: Vault, copies: dict[str, Snapshot], progress: Progress
) -> Iterator[Rebuilt | PushrodError]:
    """Rebuild each app from its copy. If one fails, its error is yielded, and the next follows."""
    root = engine.root
    if (own := copies.get("")) is not None:
        with vaulting.outgoing(root) as work:
            vaulting.fetch(root, vault, own.id, 0, work / "host")
            _checked(work / "host")
            for path in sorted((work / "host").iterdir()):
                if path.name not in _LEFT:
                    _place(path, root.path / path.name)
    for name in sorted(filter(None, copies)):
        app = App(root, check_name(name))
        try:
            yield _rebuilt(app, engine, vault, copies[name], progress)
        except PushrodError as e:
            yield e.of(name)
        except OSError as e:
            yield files.os_error(e, str(app.directory)).of(name)


def _rebuilt(app: App, engine: Engine, vault: Vault, snapshot: Snapshot, progress: Progress) -> Rebuilt:
    if app.exists:
        raise UnknownNameError(
            "there is such an app already",
            where=str(app.directory),
            hint=f"to replace its data: `pushrod db restore`; to replace it: `pushrod apps destroy {app.name}` first",
        )
    root = app.root
    with vaulting.outgoing(root) as work:
        returned = work / app.name
        vaulting.fetch(root, vault, snapshot.id, 0, returned)
        contents = _checked(returned)
        if contents.app != app.name:
            raise StoreError("it is the copy of another app", where=f"snapshot {snapshot.id}", hint=_DAMAGED)
        root.create()
        with signals.uninterrupted():  # what is there has to be complete, or not be there
            _place(returned / "edge", root.edge)
            source = App(Root(returned), app.name)
            # Until its databases are restored, no timer may back them up, copy their log, or start its instances.
            source.save(msgspec.structs.replace(source.settings, down=True))
            files.remove_tree(app.directory)
            shutil.copytree(source.directory, app.directory, symlinks=True)
            make_places(app)
    wal_copies.fetch(app, vault, snapshot.hostname)
    points = Points(app, engine, progress)
    messages = points.revive(contents.backup, points.catch_up)
    return Rebuilt(app.name, contents.at, *_live(app, engine, progress), tuple(messages))


def _live(app: App, engine: Engine, progress: Progress) -> tuple[int, str]:
    from pushrod.releases.pipeline import Pipeline

    line = Pipeline(app, engine, progress)
    release = line.context.live()
    return (release.number if release else 0), line.url


def _checked(place: Path) -> Contents:
    contents = read_json(place / staging.CONTENTS, Contents, restore=_DAMAGED)
    staging.compare(place, contents)
    return contents


def _place(source: Path, target: Path) -> None:
    """Copy files that are not there yet: what this machine has already stays."""
    if not source.is_dir() or source.is_symlink():
        if source.exists() and not target.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target, follow_symlinks=False)
        elif source.is_symlink() and not target.is_symlink():
            target.symlink_to(source.readlink())
        return
    if not target.exists():
        files.make_private(target)
    for path in sorted(source.iterdir()):
        _place(path, target / path.name)
