"""How Git is called: its environment, and the handling of its errors.

Commands run without any inherited GIT_* variable, because a hook's environment points Git elsewhere; a hook's
quarantine of objects (gitquarantine in git-receive-pack(1)) is passed explicitly where it is needed.
"""

import errno
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from pushrod.core.errors import PushrodError, RepositoryError
from pushrod.system import processes
from pushrod.system.files import os_error

IDENTITY = ("-c", "user.name=pushrod", "-c", "user.email=pushrod@localhost")
NOWHERE = {"GIT_DIR": os.devnull}
"""Settings for the environment of a program that may start Git in a pushed tree: Docker's client asks Git for the
commit of a build's context. A tree that looks like a repository may contain a configuration that names programs; with
these settings Git does not search for a repository.
"""

PLAIN = (
    *("-c", "commit.gpgSign=false", "-c", "tag.gpgSign=false"),
    *("-c", "core.hooksPath=/dev/null", "-c", "core.excludesFile=/dev/null"),
)


def environment(quarantine: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment of Git commands: ours without GIT_*, plus a hook's object directories if given."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith("GIT_")}
    kept |= {"GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C.UTF-8"}
    kept |= {"GIT_NO_REPLACE_OBJECTS": "1", "GIT_ATTR_NOSYSTEM": "1"}
    for name in ("GIT_OBJECT_DIRECTORY", "GIT_ALTERNATE_OBJECT_DIRECTORIES"):
        if quarantine and name in quarantine:
            kept[name] = quarantine[name]
    return kept


def git(
    where: Path,
    *argv: str,
    quarantine: Mapping[str, str] | None = None,
    stdin: str | None = None,
    timeout: float = 120.0,
) -> str:
    """Run Git in a directory and return its output. Raises RepositoryError with Git's message if it fails."""
    done = processes.run(
        ["git", "-C", where, *argv], env=environment(quarantine), stdin=stdin, timeout=timeout
    )
    if done.status != 0:
        words = done.stderr.strip() or done.stdout.strip()
        raise failed(f"git {_verb(argv)}", words, where)
    return done.stdout


def _verb(argv: Sequence[str]) -> str:
    """The subcommand in an argv of Git: `tag` in `-c tag.gpgSign=false tag --force`."""
    start = 0
    while argv[start] == "-c":
        start += 2
    return argv[start]


def failed(program: str, words: str, where: Path) -> PushrodError:
    """The error for a failed program, with its message; a full disk is the machine's problem, not the
    repository's.
    """
    if re.search(r"no space left on device|out of diskspace|quota exceeded", words, re.IGNORECASE):
        return os_error(OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), str(where))
    last = " ".join(line.strip() for line in words.splitlines()[-3:])
    hint = f"run `{program}` there by hand to see more"
    return RepositoryError(f"{program} failed: {last}", where=str(where), hint=hint)


def config(directory: Path, name: str) -> str:
    """A setting of Git in a directory, from the repository or its user; empty if it is not set."""
    done = processes.run(["git", "-C", directory, "config", "--get", name], env=environment())
    return done.stdout.strip()
