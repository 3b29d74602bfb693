"""Limits on a commit's size, checked against Git's objects before any file is written: a few objects can name more
files than a disk has room for.
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
    # bytes a file takes besides its content: the partly filled last block, and its header in the archive
    8192
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
    """The files of a commit, if they are within the host's limits on number and size.

    `beside` are files of other commits in the same tree: a submodule's parent, and submodules before it. Raises
    RepositoryError as soon as one limit is exceeded, without reading further.
    """
    accepted: list[git.Blob] = []
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
        accepted.append(blob)
        check_size(commit, blob.path, blob.size, total, most)
    return accepted


def check_size(commit: str, path: str, size: int, total: int, most: Limits) -> None:
    """Raise RepositoryError if a file, or all files so far together, exceed the host's limits."""
    if size > most.file_size:
        raise _beyond(commit, "file_size", size, most, f"{path} has {limits.size(size)}")
    if total > most.tree_size:
        raise _beyond(
            commit, "tree_size", 2 * most.tree_size, most, "its files are larger than that together"
        )


def check_room(blobs: list[git.Blob], directory: Path) -> None:
    """Raise HostError if a file system has no room for a checkout of these files.

    For a moment they are stored twice: in Git's archive, and extracted.
    """
    needed = sum(2 * blob.size + _PER_FILE for blob in blobs) + _SPARE
    free = files.free_space(directory)
    if free < needed:
        raise HostError(
            f"the commit's files need {needed >> 20} MiB for a moment, and {free >> 20} MiB are free",
            where=str(directory),
            hint="free some space on that disk, or remove large files from the commit; then push again",
        )


def check_repository(repository: Path, most: Limits, alone: AbstractContextManager[None]) -> None:
    """Raise RepositoryError if a repository is larger than the host's limit.

    A repository that is too large is first cleared of leftovers of failed pushes. This happens inside `alone`, while
    no release is being made, and is skipped if that lock is busy (BusyError).
    """
    if git.size(repository) <= most.repository_size:
        return
    with contextlib.suppress(BusyError), alone:
        git.collect(repository)
    if (kept_bytes := git.size(repository)) > most.repository_size:
        raise RepositoryError(
            f"the app's repository keeps {kept_bytes >> 20} MiB, beyond the limit repository-size of this host, "
            f"{written('repository_size', most.repository_size)}",
            hint="leftovers of failed pushes are removed after an hour; large files that change often belong "
            f"elsewhere; the host's owner can raise it: {limits.option('repository_size', 2 * most.repository_size)}",
        )


def not_taken(git_output: str, most: Limits) -> RepositoryError:
    """The error for a push that Git refuses. Git's own output does not name pushrod's limit."""
    for words, what, name in (
        ("exceeds maximum allowed size", "the push", "push_size"),
        ("over limit", "an object of the push", "file_size"),
    ):
        if words in git_output:
            limit = getattr(most, name)
            return RepositoryError(
                f"{what} is beyond the limit {name.replace('_', '-')} of this host, {written(name, limit)}",
                hint="remove what does not belong in Git from the new commits, for example with `git rebase`; "
                f"the host's owner can raise it: {limits.option(name, 2 * limit)}",
            )
    hint = "`git fsck --full` in the clone shows more"
    return RepositoryError(f"Git refuses the pushed objects: {git_output}", hint=hint)


def _beyond(commit: str, name: str, required: int, most: Limits, why: str) -> RepositoryError:
    return RepositoryError(
        f"the commit is beyond the limit {name.replace('_', '-')} of this host, "
        f"{written(name, getattr(most, name))}: {why}",
        where=f"commit {commit[:7]}",
        hint="remove from Git what does not belong there (node_modules, data): .gitignore, git rm --cached; "
        f"the host's owner can raise it: {limits.option(name, required)}",
    )
