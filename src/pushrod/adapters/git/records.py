"""The state repository: what pushrod itself commits."""

from collections.abc import Sequence
from pathlib import Path

from pushrod.adapters.git.commands import IDENTITY, PLAIN, environment, git
from pushrod.adapters.git.repositories import BRANCH
from pushrod.core.errors import RepositoryError
from pushrod.system import files, processes


def create_state(path: Path) -> None:
    """Make an app's state repository."""
    if not (path / ".git").exists():
        files.make_way(path, directory=True)
        path.mkdir(parents=True, exist_ok=True)
        git(path, "init", "--quiet", "--template=", f"--initial-branch={BRANCH}")


def is_sound(path: Path) -> bool:
    """Whether Git can say what has changed in a repository of pushrod's own."""
    if not (path / ".git").is_dir():
        return False
    argv = ["git", "-C", str(path), *PLAIN, "status", "--porcelain"]
    return processes.run(argv, env=environment() | {"GIT_CEILING_DIRECTORIES": str(path.parent)}).status == 0


def history(path: Path, inside: str) -> list[str]:
    """The commits of pushrod's own repository that have changed a file or directory, the newest first."""
    return git(path, "log", "--format=%H", "--", inside).split()


def restore(path: Path, commit: str, inside: str) -> bool:
    """Have a file or directory be what it was in a commit of pushrod's own repository; whether it was there."""
    (path / ".git" / "index.lock").unlink(missing_ok=True)
    argv = ["git", "-C", str(path), *PLAIN, "checkout", commit, "--", inside]
    return processes.run(argv, env=environment()).status == 0


def restore_changed(path: Path, inside: Sequence[str]) -> list[str]:
    """Have files of these directories be as they were last committed, where they have changed or are gone; which."""
    (path / ".git" / "index.lock").unlink(missing_ok=True)
    if not inside or not (path / ".git").is_dir():
        return []
    told = git(path, *PLAIN, "diff", "--name-only", "-z", "--no-renames", "HEAD", "--", *inside)
    changed = [name for name in told.split("\0") if name]
    for name in changed:
        files.make_way(path / name)
    if changed:
        git(path, *PLAIN, "checkout", "HEAD", "--", *changed)
    return changed


def commit_all(path: Path, message: str) -> None:
    """Commit everything below a repository of pushrod's own; nothing where nothing has changed.

    Needs the app's lock: nobody else writes there, so a lock of Git's was left by a command that was killed.
    """
    for name in ("index.lock", "HEAD.lock", f"refs/heads/{BRANCH}.lock"):
        (path / ".git" / name).unlink(missing_ok=True)
    if not (path / ".git").is_dir():  # Git would look for one above it
        raise RepositoryError("its history is gone", where=str(path), hint="pushrod doctor --repair")
    git(path, *PLAIN, "add", "--all")
    try:
        git(path, *IDENTITY, *PLAIN, "commit", "--quiet", "--no-verify", "--message", message)
    except RepositoryError:
        if git(path, *PLAIN, "status", "--porcelain"):
            raise


def shorten(path: Path, most: int) -> None:
    """Forget all but the last commits of a repository of pushrod's own, once it has twice as many, and pack the rest.

    The oldest that stays is written down as the end of the history, as Git does it for a shallow clone.
    """
    if int(git(path, "rev-list", "--count", "HEAD")) < 2 * most:
        return
    oldest = git(path, "rev-list", f"--max-count={most}", "HEAD").split()[-1]
    files.write(path / ".git" / "shallow", f"{oldest}\n")
    git(path, "reflog", "expire", "--expire=now", "--all")
    git(path, *PLAIN, "gc", "--quiet", "--prune=now", timeout=600)
