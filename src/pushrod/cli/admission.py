"""What is looked at before a commit is taken in: how much it holds, and what must not be in it."""

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
    """Refuse to keep more in an app's repository than the host gives it. Raises RepositoryError."""
    alone = locks.lock(app.lock, purpose="clearing its repository", timeout=0)
    push_limits.check_repository(app.repository, machine.of(app.root, app.name), alone)


def check(app: App, repository: Path, commit: str, *, quarantine: Mapping[str, str] | None = None) -> None:
    """Refuse a commit of `repository` that is beyond the host's limits or holds secrets. Raises RepositoryError."""
    blobs = push_limits.measure(repository, commit, machine.of(app.root, app.name), quarantine=quarantine)
    known: set[str] = set()
    with contextlib.suppress(RepositoryError):  # none is live, or its commit is damaged: then all is read
        if live := git.branch_commit(app.repository):
            known = {blob.oid for blob in git.tree(app.repository, live)}
    secret_scan.check(repository, commit, blobs=blobs, known=known, quarantine=quarantine)
