"""Checks before a commit is accepted: its size, and what it must not contain."""

import contextlib
from collections.abc import Mapping
from pathlib import Path

import msgspec

from pushrod.adapters import git
from pushrod.core.errors import PushrodError, RepositoryError, StateError
from pushrod.core.values import Value
from pushrod.engines import machine
from pushrod.releases import push_limits, secret_scan
from pushrod.state.apps import App
from pushrod.state.records import read_json
from pushrod.system import files, locks

_RECORD = "scanned.json"
_COMMITS = 20  # more than an app keeps releases by default: a rollback makes an older commit live


def check_room(app: App) -> None:
    """Refuse a push to an app whose repository exceeds the host's limit. Raises RepositoryError."""
    alone = locks.lock(app.lock, purpose="clearing its repository", timeout=0)
    push_limits.check_repository(app.repository, machine.of(app.root, app.name), alone)


def check(app: App, repository: Path, commit: str, *, quarantine: Mapping[str, str] | None = None) -> None:
    """Refuse a commit of `repository` that exceeds the host's limits or contains secrets. Raises
    RepositoryError."""
    blobs = push_limits.measure(repository, commit, machine.of(app.root, app.name), quarantine=quarantine)
    known: set[str] = set()
    passed = _passed(app)
    with contextlib.suppress(RepositoryError):  # nothing is live, or its commit is damaged: scan everything
        if (live := git.branch_commit(app.repository)) in passed:
            same = live == commit and quarantine is None
            known = {blob.oid for blob in (blobs if same else git.tree(app.repository, live))}
    secret_scan.check(repository, commit, blobs=blobs, known=known, quarantine=quarantine)


def record(app: App, commit: str) -> None:
    """Record that this version of the scanner has passed the live commit; a refused push leaves no record."""
    passed = _passed(app)
    if commit in passed:
        return
    scanned = _Scanned(secret_scan.version(), (commit, *passed)[:_COMMITS])
    with contextlib.suppress(OSError, PushrodError):  # without it the next push scans every file again
        files.write(app.directory / _RECORD, msgspec.json.encode(scanned), mode=0o600)


class _Scanned(Value, frozen=True):
    """The commits that a version of the scanner has passed, the last one first."""

    version: str = ""
    commits: tuple[str, ...] = ()


def _passed(app: App) -> tuple[str, ...]:
    """The commits that this version has passed; none if the record is damaged, so that everything is scanned."""
    try:
        record = read_json(app.directory / _RECORD, _Scanned, restore="")
    except StateError:
        return ()
    return record.commits if record.version == secret_scan.version() else ()
