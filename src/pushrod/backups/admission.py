"""What of a copy may come to this machine.

A vault is outside: what it returns may have been put there by whoever had its password, or root on the machine that
was lost. So nothing is used as it came back. Regular files at known places are written anew, as this account's own,
and known links are made again; all else stays behind, and is reported.
"""

import os
import re
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec

from pushrod.backups import staging
from pushrod.backups.staging import Contents
from pushrod.core.errors import StoreError, UnknownNameError
from pushrod.core.patterns import lazy
from pushrod.core.values import NO_VAULT, USUAL_VAULT, Release
from pushrod.manifest import grants
from pushrod.state.apps import App, Settings
from pushrod.state.records import read_json

DAMAGED = "the vault returns other files than were sent: choose an older copy with restic, by hand"

_MOST = 64 << 20  # bytes of a list of contents
_BLOCK = 1 << 20
_COMMIT = lazy(r"[0-9a-f]{40}|[0-9a-f]{64}")
# Of a Git repository: its objects and where refs point. Its settings and hooks name programs, alternates other
# repositories; this machine writes its own.
_GIT = r"(?:objects/(?:[0-9a-f]{2}|pack)/[^/]+|refs/.+|packed-refs|shallow|index)"
# What each copy has and this machine writes itself: worth no message. The files that are sealed with a release, and
# their history, say what the engine runs and with which rights; this machine makes its own from the commit.
_OWN = lazy(
    rf"{re.escape(staging.CONTENTS)}|apps/[^/]+/(?:state/(?:\.git|releases|stores)/.+|repo\.git/"
    r"(?:HEAD|config|pushrod\.config|gc\.pid|hooks/(?:pre|proc)-receive|(?:info|logs|objects/info)/.+))"
)


class Rules(NamedTuple):
    """The paths of files that are taken, and of links, each with its targets."""

    files: re.Pattern[str]
    links: tuple[tuple[str, str], ...] = ()


def of_app(app: str, backup: str, live: int) -> Rules:
    """What is taken of an app's copy, with the stores' backup of this name, and the record of the release that was
    live.
    """
    own = rf"app\.json|claims\.json|journal|secrets/.+|repo\.git/{_GIT}|backups/{re.escape(backup)}/[^/]+"
    return Rules(
        re.compile(
            rf"apps/{app}/(?:{own}|state/releases/{live}/release\.json)|edge/(?:certificates|passwords)/{app}/.+"
        ),
        (
            (rf"apps/{app}/state/live", rf"releases/{live}"),
            (rf"edge/certificates/{app}/current", r"[^/.][^/]*"),
        ),
    )


OF_HOST = Rules(
    re.compile(
        r"\.ssh/authorized_keys|authority/[^/]+|certbot/config/.+|host\.json|alarm/targets?\.json|web/access\.json"
    ),
    ((r"certbot/config/live/[^/]+/[^/]+", r"\.\./\.\./archive/[^/.][^/]*/[^/.][^/]*\.pem"),),
)
"""What is taken of the copy of a host's own files. It has its own settings, so those are read, and never put into
place; and its own record of who did what."""

OF_LOG = Rules(re.compile(r"[^/.][^/]*/(?:former/)?(?:state\.json|(?:bases|log)/[^/.][^/]*)"))
"""What is taken of the copy of an app's logs."""


def checked(place: Path) -> Contents:
    """The list of contents of a copy that came back. Raises StoreError unless exactly that came back."""
    path = place / staging.CONTENTS
    if not path.exists() or not _is_plain(path.lstat()) or path.lstat().st_size > _MOST:
        raise StoreError("it is not a copy that pushrod made", where=staging.CONTENTS, hint=DAMAGED)
    contents = read_json(path, Contents, restore=DAMAGED)
    staging.compare(place, contents)
    return contents


def take(source: Path, target: Path, rules: Rules) -> list[str]:
    """Move what is taken of a copy to another directory, where what is there already stays. Returns the paths of all
    else, sorted."""
    left, waiting = list[str](), [source]
    while waiting:
        with os.scandir(waiting.pop()) as entries:
            for entry in entries:
                relative, status = (
                    str(Path(entry.path).relative_to(source)),
                    entry.stat(follow_symlinks=False),
                )
                if stat.S_ISDIR(status.st_mode):
                    waiting.append(Path(entry.path))
                elif not _is_taken(entry, relative, status, rules):
                    left += [] if _OWN.fullmatch(relative) else [relative]
                elif not os.path.lexists(target / relative):
                    _make_parents(source, target, relative)
                    _move(Path(entry.path), target / relative, status)
    return sorted(left)


def _is_taken(entry: os.DirEntry[str], relative: str, status: os.stat_result, rules: Rules) -> bool:
    if stat.S_ISLNK(status.st_mode):
        leads = str(Path(entry.path).readlink())
        return any(re.fullmatch(path, relative) and re.fullmatch(to, leads) for path, to in rules.links)
    return _is_plain(status) and rules.files.fullmatch(relative) is not None


def _is_plain(status: os.stat_result) -> bool:
    """Whether it is a regular file with one name: copying each name of a file would multiply it."""
    return stat.S_ISREG(status.st_mode) and status.st_nlink == 1


def _make_parents(source: Path, target: Path, relative: str) -> None:
    target.mkdir(mode=0o700, exist_ok=True)
    for parent in reversed(Path(relative).parents[:-1]):
        if not (target / parent).exists():
            (target / parent).mkdir()
            (target / parent).chmod(0o700 | (source / parent).lstat().st_mode & 0o055)


def _move(source: Path, target: Path, status: os.stat_result) -> None:
    """Write a file or link anew, without a mode beyond reading and executing, attributes and owner; then remove the
    other, so that both take little more space than one."""
    if stat.S_ISLNK(status.st_mode):
        target.symlink_to(source.readlink())
        return
    with source.open("rb") as given, target.open("xb") as out:
        while block := given.read(_BLOCK):
            out.write(block)
        os.fchmod(out.fileno(), stat.S_IMODE(status.st_mode) & 0o755)
    os.utime(target, ns=(status.st_atime_ns, status.st_mtime_ns))
    source.unlink()


def settings(app: App, known: Settings, live: Release | None) -> Settings:
    """An app's settings as they came back, so that it is down, and may do what the manifest of its live release
    needed. Raises StoreError for those of another app."""
    own = all(not c.volume or c.volume.startswith(f"{app.name}_") for c in known.clusters.values())
    if known.name != app.name or not own:
        raise StoreError("its settings are those of another app", where="app.json", hint=DAMAGED)
    if live and not _COMMIT.fullmatch(live.commit):
        raise StoreError("its live release has no commit", where=f"release {live.number}", hint=DAMAGED)
    allowed = {word for word in known.allowed if _is_grant(word)}
    if live and live.backups.to not in ("", USUAL_VAULT, NO_VAULT):
        allowed.add(f"{grants.VAULT}{live.backups.to}")  # it may have gone live before this took a grant
    # What upgrades have left is on the lost machine; here, such a name may be another app's.
    clusters = {store: msgspec.structs.replace(c, kept=()) for store, c in known.clusters.items()}
    return msgspec.structs.replace(known, down=True, allowed=tuple(sorted(allowed)), clusters=clusters)


def _is_grant(word: str) -> bool:
    try:
        return grants.check_word(word) == word
    except UnknownNameError:
        return False


def messages(app: App, allowed: Sequence[str], left: Sequence[str]) -> list[str]:
    """What the owner has to know: which grants came with the app, and what was not taken."""
    lines = []
    if allowed:
        words = " ".join(allowed)
        lines.append(
            f"it may have, as on the lost machine: {words} (`pushrod apps allow {app.name} … --remove` revokes)"
        )
    if left:
        lines.append(f"{len(left)} files of the copy were not taken: {', '.join(left[:3])}")
    return lines
