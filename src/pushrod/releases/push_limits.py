"""How much a commit may hold, measured before any of it is written: Git's objects say it, and a few of them can name
more files than a disk has room for.
"""

import contextlib
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

from pushrod.adapters import git
from pushrod.core import limits
from pushrod.core.errors import BusyError, HostError, RepositoryError
from pushrod.core.limits import Limits, written
from pushrod.system import files

_PER_FILE = (
    8192  # bytes that a file takes beside its own: a block that is not full, and its header in the archive
)
_SPARE = 64 << 20  # bytes of a disk that a checkout leaves free


def measure(
    repository: Path,
    commit: str,
    most: Limits,
    *,
    beside: Sequence[git.Blob] = (),
    quarantine: Mapping[str, str] | None = None,
) -> list[git.Blob]:
    """The files of a commit, if it has no more of them than a host takes, nor larger ones. `beside` are those of
    other commits in the same tree: of what it is a submodule of, and of submodules before it.

    Raises RepositoryError as soon as one limit is passed; what there would be beyond it is not looked at.
    """
    found: list[git.Blob] = []
    total = sum(blob.size for blob in beside)
    for count, blob in enumerate(
        git.entries(repository, commit, quarantine=quarantine), start=1 + len(beside)
    ):
        if count > most.tree_files:
            why = "it has more files and directories than that"
            raise _beyond(commit, "tree_files", 2 * most.tree_files, most, why)
        if isinstance(blob, str):
            continue
        total += blob.size
        found.append(blob)
        check_size(commit, blob.path, blob.size, total, most)
    return found


def check_size(commit: str, path: str, size: int, total: int, most: Limits) -> None:
    """Raise RepositoryError where a file, or all files so far together, are larger than a host takes."""
    if size > most.file_size:
        raise _beyond(commit, "file_size", size, most, f"{path} has {limits.size(size)}")
    if total > most.tree_size:
        raise _beyond(
            commit, "tree_size", 2 * most.tree_size, most, "its files are larger than that together"
        )


def check_room(blobs: list[git.Blob], directory: Path) -> None:
    """Raise HostError where a file system has no room for a checkout of these files.

    They are written twice for a moment: as Git's archive, and out of it.
    """
    needed = sum(2 * blob.size + _PER_FILE for blob in blobs) + _SPARE
    free = files.free_space(directory)
    if free < needed:
        raise HostError(
            f"the commit's files need {needed >> 20} MiB for a moment, and {free >> 20} MiB are free",
            where=str(directory),
            hint="free some space on that disk, or take what is large out of the commit; then push again",
        )


def check_repository(repository: Path, most: Limits, alone: AbstractContextManager[None]) -> None:
    """Raise RepositoryError for a repository that keeps more than a host gives it.

    Before that it is cleared of what pushes that failed have left, in `alone`, in which no release may be in the
    making; where that cannot be had (BusyError) it is not.
    """
    if git.size(repository) <= most.repository_size:
        return
    with contextlib.suppress(BusyError), alone:
        git.collect(repository)
    if (found := git.size(repository)) > most.repository_size:
        raise RepositoryError(
            f"the app's repository keeps {found >> 20} MiB, beyond the limit repository-size of this host, "
            f"{written('repository_size', most.repository_size)}",
            hint="what failed pushes have left goes after an hour; large files that change often belong elsewhere; "
            f"the host's owner can raise it: {limits.option('repository_size', 2 * most.repository_size)}",
        )


def not_taken(said: str, most: Limits) -> RepositoryError:
    """The error for what Git does not take in of a push; `said` are its own words, which name no limit of ours."""
    for words, what, name in (
        ("exceeds maximum allowed size", "the push", "push_size"),
        ("over limit", "an object of the push", "file_size"),
    ):
        if words in said:
            limit = getattr(most, name)
            return RepositoryError(
                f"{what} is beyond the limit {name.replace('_', '-')} of this host, {written(name, limit)}",
                hint="take out of the commits that are new here what does not belong in Git, as in `git rebase`; "
                f"the host's owner can raise it: {limits.option(name, 2 * limit)}",
            )
    hint = "`git fsck --full` in the clone says more"
    return RepositoryError(f"Git does not take in what was sent: {said}", hint=hint)


def _beyond(commit: str, name: str, wanted: int, most: Limits, why: str) -> RepositoryError:
    return RepositoryError(
        f"the commit is beyond the limit {name.replace('_', '-')} of this host, "
        f"{written(name, getattr(most, name))}: {why}",
        where=f"commit {commit[:7]}",
        hint="take out of Git what does not belong there (node_modules, data): .gitignore, git rm --cached; "
        f"the host's owner can raise it: {limits.option(name, wanted)}",
    )
