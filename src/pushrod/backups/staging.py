"""What is copied to a vault: an app's files as they were at one moment, collected in a directory.

    contents.json                     what there is: each file's SHA-256, each link's target
    apps/<app>/                       settings, journal, repository, state, secrets, the newest backup of its stores
    edge/certificates/<app>/, edge/passwords/<app>/

and the host's own files: settings, keys of people, recipients of notices, members of the web page, audit log,
accounts at certificate authorities.

Collecting takes little time and space, so the app's lock is held only for that: Git's objects and backups never
change once written, so they become hard links; the rest is small, and copied.
"""

import os
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec

from pushrod.core.errors import StoreError
from pushrod.core.times import now
from pushrod.core.values import Value
from pushrod.state.apps import App, Root
from pushrod.state.records import read_json
from pushrod.system import files

CONTENTS = "contents.json"
_APP = ("app.json", "claims.json", "journal", "repo.git", "secrets", "state")
_HOST = (
    *("host.json", ".ssh/authorized_keys", "audit", "authority", "certbot"),
    *("alarm/targets.json", "alarm/target.json", "web/access.json"),
)
_EDGE = ("certificates", "passwords")
_LINKED = frozenset({"objects", "backups"})


class Contents(Value, frozen=True):
    """What a snapshot contains; `app` is empty for the host's own files. `backup` is the name of the stores' backup
    in it, empty without one. `files` maps each path to its SHA-256, for a link `-> ` and its target."""

    app: str
    at: str
    release: int
    commit: str
    backup: str
    files: dict[str, str]


def collect(app: App, release: int, commit: str, backup: str, place: Path) -> Contents:
    """Collect an app's files in a new directory, whose earlier contents are removed."""
    _gather(app.root, _sources(app, backup), place)
    digests = dict(_digests(place))
    contents = Contents(app=app.name, at=now(), release=release, commit=commit, backup=backup, files=digests)
    return _listed(place, contents)


def collect_host(root: Root, place: Path) -> Contents:
    """Collect the host's own files in a new directory."""
    _gather(root, (root.path / name for name in _HOST), place)
    contents = Contents(app="", at=now(), release=0, commit="", backup="", files=dict(_digests(place)))
    return _listed(place, contents)


def _gather(root: Root, sources: Iterable[Path], place: Path) -> None:
    files.remove_tree(place)
    files.make_private(place)
    for source in sources:
        _take(root.path, source, place)


def _listed(place: Path, contents: Contents) -> Contents:
    files.write(place / CONTENTS, msgspec.json.format(msgspec.json.encode(contents)), mode=0o600)
    return contents


def compare(place: Path, contents: Contents) -> None:
    """Raise StoreError, naming the first paths, unless a directory holds exactly these contents."""
    hint = "the vault returns other files than were sent: take a new backup, and check its disk or server"
    if read_json(place / CONTENTS, Contents, restore=hint) != contents:
        raise StoreError("the copy's list of contents differs from the one sent", where=CONTENTS, hint=hint)
    there = dict(_digests(place))
    if differing := sorted(
        p for p in {*there, *contents.files} if there.get(p) != contents.files.get(p) and p != CONTENTS
    ):
        where = ", ".join(differing[:3]) + (f" and {len(differing) - 3} more" if len(differing) > 3 else "")
        raise StoreError("files of the copy differ from those that were sent", where=where, hint=hint)


def _sources(app: App, backup: str) -> Iterator[Path]:
    yield from (app.directory / name for name in _APP)
    if backup:
        yield app.backups / backup
    yield from (app.root.edge / kind / app.name for kind in _EDGE)


def _take(top: Path, source: Path, place: Path) -> None:
    if not os.path.lexists(source):
        return
    target = place / source.relative_to(top)
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir() and not source.is_symlink():
        linked = bool(_LINKED & set(source.relative_to(top).parts))
        shutil.copytree(source, target, symlinks=True, copy_function=_link if linked else _copy)
    else:
        _copy(source, target)


def _copy(source: str | os.PathLike[str], target: str | os.PathLike[str]) -> None:
    """A copy, or a link to a file that never changes."""
    if "objects" in Path(source).parts:
        os.link(source, target, follow_symlinks=False)
    else:
        shutil.copy2(source, target, follow_symlinks=False)


def _link(source: str | os.PathLike[str], target: str | os.PathLike[str]) -> None:
    os.link(source, target, follow_symlinks=False)


def _digests(place: Path) -> Iterator[tuple[str, str]]:
    for directory, folders, names in os.walk(place):
        for name in (*names, *(f for f in folders if (Path(directory) / f).is_symlink())):
            path = Path(directory) / name
            relative = str(path.relative_to(place))
            if path.is_symlink():
                yield relative, f"-> {path.readlink()}"
            elif not path.is_file():
                yield relative, "no file"  # a pipe or a device, which nobody may read
            elif relative != CONTENTS:
                yield relative, files.digest(path)
