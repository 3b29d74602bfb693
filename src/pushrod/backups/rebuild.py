"""Rebuilding a host from a vault: every app with its files, secrets, certificates and databases.

Images are built again from the commits. A database is restored before the first instance starts, so no app ever
serves without its data. What is not known to belong into a copy is left in it (`admission`).
"""

import contextlib
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from pushrod.adapters.restic import Snapshot
from pushrod.backups import admission, vaulting, wal_copies
from pushrod.backups.point_in_time import PointInTime
from pushrod.core.errors import PushrodError, StoreError, UnknownNameError
from pushrod.core.progress import Progress
from pushrod.core.values import Value
from pushrod.engines.protocols import Engine
from pushrod.provisioning import installation, keys
from pushrod.releases.app_lifecycle import make_places
from pushrod.state import releases
from pushrod.state.apps import App, Root, check_name
from pushrod.state.vaults import Vault
from pushrod.system import files, signals

_HOST = "host"  # the tag of the host's own files
_SHA256 = 64  # digits of the name of a commit in a repository that uses it


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
    engine: Engine,
    vault: Vault,
    copies: dict[str, Snapshot],
    progress: Progress,
    settings: Callable[[Root], None],
) -> Iterator[Rebuilt | PushrodError]:
    """Rebuild each app from its copy. If one fails, its error is yielded, and the next follows.

    `settings` reads the lost host's own settings, recipients and members, in a directory that is removed after it.
    """
    root = engine.root
    if (own := copies.get("")) is not None:
        try:
            _rebuild_host(root, vault, own, progress, settings, hosted=engine.traits.hosted)
        except (PushrodError, OSError) as e:
            error = files.os_error(e, str(root.path)) if isinstance(e, OSError) else e
            error.app = "the host's own files"
            yield error
    for name in sorted(filter(None, copies)):
        try:
            yield _rebuilt(App(root, check_name(name)), engine, vault, copies[name], progress)
        except PushrodError as e:
            yield e.of(name)
        except OSError as e:
            yield files.os_error(e, str(root.apps_directory / name)).of(name)


def _rebuild_host(
    root: Root,
    vault: Vault,
    own: Snapshot,
    progress: Progress,
    settings: Callable[[Root], None],
    *,
    hosted: bool,
) -> None:
    with vaulting.outgoing(root) as work:
        vaulting.fetch(root, vault, own.id, 0, work / "host")
        admission.checked(work / "host")
        admission.take(work / "host", work / "taken", admission.OF_HOST)
        for name in ("authority", "certbot"):
            _place(work / "taken" / name, root.path / name)
        known = work / "taken" / keys.PLACE
        if hosted and known.exists():
            _take_keys(root, known.read_text(errors="replace"), progress)
        settings(Root(work / "taken"))


def _take_keys(root: Root, text: str, progress: Progress) -> None:
    """Let the same people push: with lines written anew, because a line of that file can let somebody do anything."""
    here = keys.KeyFile(root.path / keys.PLACE, (os.geteuid(), os.getegid()))
    added = []
    for line in text.splitlines():
        with contextlib.suppress(PushrodError, LookupError, ValueError):  # not ours, or it is here already
            if (key := keys.read_line(line)) is not None:
                key = keys.parse(f"{key.kind} {key.body}", name=key.name, apps=key.apps)
                here.add(key, installation.program(), root.path)
                added.append(f"{key.name} ({', '.join(key.apps) or 'every app'})")
    if added:
        progress.note(f"these keys may push again, once root has run `pushrod host init`: {', '.join(added)}")


def _rebuilt(app: App, engine: Engine, vault: Vault, snapshot: Snapshot, progress: Progress) -> Rebuilt:
    if app.exists:
        raise UnknownNameError(
            "there is such an app already",
            where=str(app.directory),
            hint=f"to replace its data: `pushrod db restore`; to replace it: `pushrod apps destroy {app.name}` first",
        )
    root = app.root
    with vaulting.outgoing(root) as work:
        returned = work / "returned"
        vaulting.fetch(root, vault, snapshot.id, 0, returned)
        contents = admission.checked(returned)
        if contents.app != app.name:
            where = f"snapshot {snapshot.id}"
            raise StoreError("it is the copy of another app", where=where, hint=admission.DAMAGED)
        rules = admission.of_app(app.name, contents.backup, contents.release)
        left = admission.take(returned, work / "taken", rules)
        source = App(Root(work / "taken"), app.name)
        # Until its databases are restored, no timer may back them up, copy their log, or start its instances.
        settings = admission.settings(app, source.settings, releases.live(source))
        source.save(settings)
        root.create()
        with signals.uninterrupted():  # what is there has to be complete, or not be there
            _place(work / "taken" / "edge", root.edge)
            files.remove_tree(app.directory)
            shutil.move(source.directory, app.directory)
            make_places(app, sha256=len(contents.commit) == _SHA256)
    messages = [
        *admission.messages(app, settings.allowed, left),
        *wal_copies.fetch(app, vault, snapshot.hostname),
    ]
    points = PointInTime(app, engine, progress)
    messages += points.revive(contents.backup, points.catch_up)
    return Rebuilt(app.name, contents.at, *_live(app, engine, progress), tuple(messages))


def _live(app: App, engine: Engine, progress: Progress) -> tuple[int, str]:
    from pushrod.releases.pipeline import Pipeline

    line = Pipeline(app, engine, progress)
    release = line.context.live()
    return (release.number if release else 0), line.url


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
