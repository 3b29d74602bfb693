"""The state repository, to which pushrod itself commits."""

from collections.abc import Sequence
from pathlib import Path

from pushrod.adapters.git.commands import IDENTITY, PLAIN, environment, git
from pushrod.adapters.git.repositories import BRANCH
from pushrod.core.errors import RepositoryError
from pushrod.system import damaged_paths, files, processes


def create_state(path: Path) -> None:
    """Create an app's state repository."""
    if not (path / ".git" / "config").exists():
        damaged_paths.make_way(path, directory=True)
        path.mkdir(parents=True, exist_ok=True)
        git(path, "init", "--quiet", "--template=", f"--initial-branch={BRANCH}")


def is_sound(path: Path) -> bool:
    """Whether Git can read a repository of pushrod's own and determine changes."""
    if not (path / ".git").is_dir():
        return False
    argv = ["git", "-C", str(path), *PLAIN, "status", "--porcelain"]
    return processes.run(argv, env=environment() | {"GIT_CEILING_DIRECTORIES": str(path.parent)}).status == 0


def history(path: Path, inside: str) -> list[str]:
    """The commits of pushrod's own repository that changed a file or directory, the newest first."""
    return git(path, "log", "--format=%H", "--", inside).split()


def restore(path: Path, commit: str, inside: str) -> bool:
    """Restore a file or directory from a commit of pushrod's own repository; returns whether the commit has it."""
    (path / ".git" / "index.lock").unlink(missing_ok=True)
    argv = ["git", "-C", str(path), *PLAIN, "checkout", commit, "--", inside]
    return processes.run(argv, env=environment()).status == 0


def restore_changed(path: Path, inside: Sequence[str]) -> list[str]:
    """Restore changed or missing files of these directories to their last commit; returns their paths."""
    (path / ".git" / "index.lock").unlink(missing_ok=True)
    if not inside or not (path / ".git").is_dir():
        return []
    output = git(path, *PLAIN, "diff", "--name-only", "-z", "--no-renames", "HEAD", "--", *inside)
    changed = [name for name in output.split("\0") if name]
    for name in changed:
        damaged_paths.make_way(path / name)
    if changed:
        git(path, *PLAIN, "checkout", "HEAD", "--", *changed)
    return changed


def commit_all(path: Path, message: str) -> None:
    """Commit everything below a repository of pushrod's own, if anything changed.

    The caller must hold the app's lock: nobody else writes there, so a lock of Git's was left by a killed command.
    """
    for name in ("index.lock", "HEAD.lock", f"refs/heads/{BRANCH}.lock"):
        (path / ".git" / name).unlink(missing_ok=True)
    if not (path / ".git").is_dir():  # Git would search for one in the directories above
        raise RepositoryError("its history is gone", where=str(path), hint="pushrod doctor --repair")
    git(path, *PLAIN, "add", "--all")
    try:
        git(path, *IDENTITY, *PLAIN, "commit", "--quiet", "--no-verify", "--message", message)
    except RepositoryError:
        if git(path, *PLAIN, "status", "--porcelain"):
            raise


def shorten(path: Path, most: int) -> None:
    """Drop all but the last commits of a repository of pushrod's own, once it has twice as many, and pack the rest.

    The oldest kept commit is recorded as the end of the history, as Git does for a shallow clone.
    """
    if int(git(path, "rev-list", "--count", "HEAD")) < 2 * most:
        return
    oldest = git(path, "rev-list", f"--max-count={most}", "HEAD").split()[-1]
    files.write(path / ".git" / "shallow", f"{oldest}\n")
    git(path, "reflog", "expire", "--expire=now", "--all")
    git(path, *PLAIN, "gc", "--quiet", "--prune=now", timeout=600)
