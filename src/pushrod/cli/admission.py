"""What is looked at before a commit is taken in: how much it holds, and what must not be in it."""

from collections.abc import Mapping
from pathlib import Path

from pushrod import intake, leaks
from pushrod.apps import App
from pushrod.engines import machine


def check(app: App, repository: Path, commit: str, *, quarantine: Mapping[str, str] | None = None) -> None:
    """Refuse a commit of `repository` that is beyond the host's limits or holds secrets. Raises RepositoryError."""
    blobs = intake.measure(repository, commit, machine.of(app.root, app.name), quarantine=quarantine)
    leaks.check(repository, commit, blobs=blobs, quarantine=quarantine)
