"""A developer's work tree, and the remote through which it is pushed."""

import shlex
from pathlib import Path

from pushrod.adapters.git.commands import IDENTITY, config, environment, git
from pushrod.adapters.git.repositories import BRANCH
from pushrod.core.errors import RepositoryError
from pushrod.system import processes


def toplevel(directory: Path) -> Path:
    """The work tree that contains a directory. Raises RepositoryError if there is none."""
    if not directory.is_dir():
        raise RepositoryError("no such directory", where=str(directory.absolute()), hint="check the path")
    done = processes.run(["git", "-C", directory, "rev-parse", "--show-toplevel"], env=environment())
    if done.status != 0:
        words = done.stderr.strip()
        if "dubious ownership" in words:
            raise RepositoryError(
                "the repository belongs to another user, so Git refuses it",
                where=str(directory),
                hint=f"run as its owner, or: git config --global --add safe.directory {directory}",
            )
        raise RepositoryError(
            "not a git repository",
            where=str(directory.absolute()),
            hint=f"create one: git -C {shlex.quote(str(directory))} init, then commit what should be deployed",
        )
    return Path(done.stdout.strip())


def remote_url(directory: Path, name: str = "pushrod") -> str:
    """The URL of a remote; empty if there is none."""
    return config(directory, f"remote.{name}.url")


def set_remote(directory: Path, url: str, name: str = "pushrod") -> None:
    """Add a remote, or change its URL."""
    verb = "set-url" if remote_url(directory, name) else "add"
    git(directory, "remote", verb, name, url)


def remove_remote(directory: Path, name: str = "pushrod") -> None:
    """Remove a remote from a work tree."""
    git(directory, "remote", "remove", name)


def init(directory: Path) -> None:
    """Create a repository in a directory."""
    git(directory, "init", "--quiet", f"--initial-branch={BRANCH}")


def commit_first(directory: Path, message: str) -> None:
    """Commit everything, as the user, or under a local name if Git has no identity."""
    git(directory, "add", "--all")
    known = processes.run(["git", "-C", str(directory), "config", "--get", "user.email"], env=environment())
    identity = () if known.status == 0 else IDENTITY
    git(directory, *identity, "commit", "--quiet", "--message", message)
