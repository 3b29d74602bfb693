"""What is looked at before a commit is taken in: how much it holds, and what must not be in it."""

import contextlib
from collections.abc import Mapping
from pathlib import Path

from pushrod import host, intake, leaks
from pushrod.apps import App
from pushrod.engines import machine
from pushrod.errors import RepositoryError
from pushrod.gears import git


def check_room(app: App) -> None:
    """Refuse to keep more in an app's repository than the host gives it. Raises RepositoryError."""
    alone = host.lock(app.lock, purpose="clearing its repository", timeout=0)
    intake.check_repository(app.repository, machine.of(app.root, app.name), alone)


def check(app: App, repository: Path, commit: str, *, quarantine: Mapping[str, str] | None = None) -> None:
    """Refuse a commit of `repository` that is beyond the host's limits or holds secrets. Raises RepositoryError."""
    blobs = intake.measure(repository, commit, machine.of(app.root, app.name), quarantine=quarantine)
    known: set[str] = set()
    with contextlib.suppress(RepositoryError):  # none is live, or its commit is damaged: then all is read
        if live := git.branch_commit(app.repository):
            known = {blob.oid for blob in git.tree(app.repository, live)}
    leaks.check(repository, commit, blobs=blobs, known=known, quarantine=quarantine)
