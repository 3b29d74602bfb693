"""How Git is called: with what environment, and what becomes of its errors.

Commands run with every inherited GIT_* variable removed, because a hook's environment points Git elsewhere;
where a hook's quarantined objects are needed (gitquarantine in git-receive-pack(1)), that is passed on purpose.
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
"""For the environment of a program that may start Git itself, in a tree that somebody has pushed: Docker's client
asks it for the commit of a build's context. A tree that looks like a repository has a configuration, and that can
name programs; Git that is told where the repository is looks for no other."""

PLAIN = (
    *("-c", "commit.gpgSign=false", "-c", "tag.gpgSign=false"),
    *("-c", "core.hooksPath=/dev/null", "-c", "core.excludesFile=/dev/null"),
)


def environment(quarantine: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment Git commands get: ours without GIT_*, plus a hook's object directories if given."""
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
    """Run Git in a directory and return what it printed; RepositoryError with Git's own words if it fails."""
    done = processes.run(
        ["git", "-C", where, *argv], env=environment(quarantine), stdin=stdin, timeout=timeout
    )
    if done.status != 0:
        words = done.stderr.strip() or done.stdout.strip()
        raise failed(f"git {_verb(argv)}", words, where)
    return done.stdout


def _verb(argv: Sequence[str]) -> str:
    """The command of a call of Git: `tag` of `-c tag.gpgSign=false tag --force`."""
    start = 0
    while argv[start] == "-c":
        start += 2
    return argv[start]


def failed(program: str, words: str, where: Path) -> PushrodError:
    """The error of a program that failed, in its own words; a full disk is the machine's, not the repository's."""
    if re.search(r"no space left on device|out of diskspace|quota exceeded", words, re.IGNORECASE):
        return os_error(OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), str(where))
    last = " ".join(line.strip() for line in words.splitlines()[-3:])
    hint = f"run `{program}` there by hand to see more"
    return RepositoryError(f"{program} failed: {last}", where=str(where), hint=hint)


def config(directory: Path, name: str) -> str:
    """What Git is configured to there, by the repository or its user; nothing where it is not."""
    done = processes.run(["git", "-C", directory, "config", "--get", name], env=environment())
    return done.stdout.strip()
