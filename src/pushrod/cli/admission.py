"""Checks before a commit is accepted: its size, and what it must not contain."""

import contextlib
from collections.abc import Mapping
from pathlib import Path

from pushrod.adapters import git
from pushrod.core.errors import RepositoryError
from pushrod.engines import machine
from pushrod.releases import push_limits, secret_scan
from pushrod.state.apps import App
from pushrod.system import locks


def check_room(app: App) -> None:
    """Refuse a push to an app whose repository exceeds the host's limit. Raises RepositoryError."""
    alone = locks.lock(app.lock, purpose="clearing its repository", timeout=0)
    push_limits.check_repository(app.repository, machine.of(app.root, app.name), alone)


def check(app: App, repository: Path, commit: str, *, quarantine: Mapping[str, str] | None = None) -> None:
    """Refuse a commit of `repository` that exceeds the host's limits or contains secrets. Raises
    RepositoryError."""
    blobs = push_limits.measure(repository, commit, machine.of(app.root, app.name), quarantine=quarantine)
    known: set[str] = set()
    with contextlib.suppress(RepositoryError):  # nothing is live, or its commit is damaged: scan everything
        if live := git.branch_commit(app.repository):
            known = {blob.oid for blob in git.tree(app.repository, live)}
    secret_scan.check(repository, commit, blobs=blobs, known=known, quarantine=quarantine)
