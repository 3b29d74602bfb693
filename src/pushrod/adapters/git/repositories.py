"""An app's bare repository: its settings and hooks, its branch and tags, its upkeep."""

import contextlib
import os
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pushrod.adapters import refs
from pushrod.adapters.git.checkouts import write_attributes
from pushrod.adapters.git.commands import IDENTITY, PLAIN, config, environment, git
from pushrod.core.errors import RepositoryError
from pushrod.system import files, processes

if TYPE_CHECKING:
    from pushrod.core.limits import Limits

BRANCH = refs.BRANCH
PLANS = "refs/plans"
"""Below it commits can be pushed that are only to be planned: their objects are kept, and no ref is made."""

THERE = "--there"
"""What a client says after `git-receive-pack` whose push must not make the app, because it is only to be planned."""

OWN_TAGS = "refs/tags/release"
"""Below it are the tags that pushrod itself makes: what is pushed there is not taken."""
# What the user has configured for all repositories (signing, hooks, ignored files) is not meant for pushrod's own.
_MANY_PACKS = 20


_SERVED = {
    "receive.denyDeletes": "true",
    "receive.autogc": "false",
    "receive.advertisePushOptions": "false",
    # Git looks at the certificate of a push (git-push(1), --signed) also where it asked for none, and runs a program.
    **dict.fromkeys(("gpg.program", "gpg.openpgp.program", "gpg.x509.program", "gpg.ssh.program"), "false"),
    "receive.shallowUpdate": "true",  # so that `pre-receive` hears of it, and says what is missing
    "transfer.fsckObjects": "true",
    "transfer.advertiseSID": "false",
    "uploadpack.allowFilter": "false",
    "uploadpack.allowRefInWant": "false",
    "core.bigFileThreshold": "16m",  # what is larger goes past memory in pieces, and is not compared with others
    "core.attributesFile": "/dev/null",
    "pack.threads": "2",
    "gc.auto": "0",
    # Mistakes in the history of well-known repositories, which harm nobody (git-fsck(1)).
    **{
        f"receive.fsck.{fault}": "ignore"
        for fault in ("badTimezone", "missingSpaceBeforeDate", "zeroPaddedFilemode", "missingEmail")
    },
}
"""What an app's repository is configured to: what a client may ask of Git, and what an object may be."""

_SPARE = 1 << 20  # bytes beside a file's contents
_SETTINGS = (
    "pushrod.config"  # a repository's file of the same, for a client that has the repository as a directory
)


def branch_commit(repository: Path) -> str:
    """What the deployed branch of an app's repository points to, or nothing."""
    if at := refs.loose(str(repository), f"refs/heads/{BRANCH}"):
        return at
    argv = ["git", "-C", str(repository), "rev-parse", "--verify", "--quiet", f"refs/heads/{BRANCH}"]
    return processes.run(argv, env=environment()).stdout.strip()


def move_branch(repository: Path, commit: str) -> None:
    """Make the deployed branch point to a commit, or to the commit that a tag leads to. Needs the app's lock: what a
    killed command has left of this is taken away."""
    ref = f"refs/heads/{BRANCH}"
    for name in (ref, "HEAD"):  # a branch that HEAD leads to is moved under both locks
        (repository / f"{name}.lock").unlink(missing_ok=True)
    try:
        git(repository, "update-ref", ref, commit)
    except RepositoryError:  # Git leads no branch to a tag
        commit = git(repository, "rev-parse", "--verify", f"{commit}^{{commit}}").strip()
        git(repository, "update-ref", ref, commit)


def clear_branch(repository: Path, aside: str) -> None:
    """Take what is in the deployed branch's place out of the way, as `aside` beside the repository's own files."""
    path = repository / "refs" / "heads" / BRANCH
    if path.exists() or path.is_symlink():
        path.rename(repository / f"{BRANCH}.{aside}")


def is_whole(repository: Path, *, history: bool = True) -> bool:
    """Whether all objects are there that the deployed branch leads to, if there is one, or those of its last commit
    alone."""
    if not (repository / "objects").is_dir():
        return False
    if not branch_commit(repository):
        return True
    walk = [] if history else ["--no-walk"]
    argv = [
        "git",
        "-C",
        str(repository),
        "rev-list",
        "--objects",
        "--quiet",
        *walk,
        f"refs/heads/{BRANCH}",
        "--",
    ]
    return processes.run(argv, env=environment(), timeout=600).status == 0


def uses_sha256(directory: Path) -> bool:
    """Whether the objects of a repository are named by SHA-256."""
    return config(directory, "extensions.objectFormat") == "sha256"


def create_bare(path: Path, *, sha256: bool = False) -> None:
    """Make a bare repository without hooks."""
    path.parent.mkdir(parents=True, exist_ok=True)
    words = ["init", "--quiet", "--bare", "--template=", f"--initial-branch={BRANCH}"]
    git(path.parent, *words, *(["--object-format=sha256"] if sha256 else []), str(path))


def create_repository(
    path: Path, hook: Sequence[str], reporting: Sequence[str] = (), *, sha256: bool = False
) -> None:
    """Make an app's bare repository whose hooks call `hook` (an argv) with the hook's name added, or `reporting` for
    `proc-receive`.

    `pre-receive` runs the pipeline and, at its commit point, moves the branch itself; `proc-receive`
    (githooks(5), Git 2.29) then reports that to the client, so that a push that waited for another is judged
    by where the branch is when its turn comes, not by where it was when it connected. It reports what is pushed
    below PLANS and OWN_TAGS too, so that nothing is made of it. A push from a shallow clone comes to `pre-receive` as
    well, which says what it lacks; Git itself would refuse it in words of its own.
    """
    if not path.exists():
        create_bare(path, sha256=sha256)
    git(path, "config", "core.hooksPath", str(path / "hooks"))  # or the user's own setting would go before it
    git(path, "config", "--replace-all", "receive.procReceiveRefs", f"refs/heads/{BRANCH}")
    git(path, "config", "--add", "receive.procReceiveRefs", PLANS)
    git(path, "config", "--add", "receive.procReceiveRefs", OWN_TAGS)
    git(path, "config", "include.path", _SETTINGS)
    write_attributes(path)
    for name, text in _written(hook, reporting).items():
        files.write(path / name, text, mode=0o644 if name == _SETTINGS else 0o755)


def mend_bare(path: Path) -> list[str]:
    """Have Git be able to read an app's repository again whose own files are damaged, and take away the locks that
    killed commands have left. Needs the app's lock; says what is set aside."""
    for name in ("HEAD", "config", "packed-refs", "shallow", f"refs/heads/{BRANCH}"):
        files.remove(path / f"{name}.lock")
    argv = ["git", f"--git-dir={path}", "for-each-ref", "--count=1"]
    if processes.run(argv, env=environment()).status == 0:
        return []
    found = [path / name for name in ("HEAD", "config") if os.path.lexists(path / name)]
    aside = [files.set_aside(p).name for p in found]
    branch = path / "refs" / "heads" / BRANCH
    create_bare(path, sha256=branch.is_file() and len(branch.read_bytes().strip()) == 64)
    return aside


def is_current(path: Path, hook: Sequence[str], reporting: Sequence[str] = ()) -> bool:
    """Whether a repository is what `create_repository` would make of it; not one that an older pushrod has made."""
    return reports(path) and all(
        files.holds(path / name, text) for name, text in _written(hook, reporting).items()
    )


def reports(path: Path) -> bool:
    """Whether a repository's settings have Git ask pushrod where the deployed branch is."""
    with contextlib.suppress(OSError):
        config = (path / "config").read_text(errors="replace")
        return "procreceiverefs" in config.lower()
    return False


def _written(hook: Sequence[str], reporting: Sequence[str]) -> dict[str, str]:
    """The files of an app's repository that are pushrod's own, the last that are made of it."""
    called = {"pre-receive": [*hook, "pre-receive"], "proc-receive": reporting or [*hook, "proc-receive"]}
    hooks = {
        f"hooks/{n}": f"#!/bin/sh\n# written by pushrod\nexec {shlex.join(a)}\n" for n, a in called.items()
    }
    return {_SETTINGS: "".join(map(_setting, _SERVED.items())), **hooks}


def _setting(pair: tuple[str, str]) -> str:
    """A setting as a file of Git's configuration has it."""
    name, value = pair
    section, _, key = name.rpartition(".")
    head, _, tail = section.partition(".")
    named = f'{head} "{tail}"' if tail else head
    return f"[{named}]\n\t{key} = {value}\n"


def served(most: "Limits") -> dict[str, str]:
    """The environment of Git's half of a push or a fetch, which takes at most `push_size` bytes from a client.

    What a delta grows to is not made where it would be larger than a file may be: Git has no setting for that, but a
    bound on what it asks of memory at once.

    What an app's repository is configured to is said once more (git-config(1), GIT_CONFIG_COUNT): it may be older
    than a setting.
    """
    settings = [*_SERVED.items(), ("receive.maxInputSize", str(most.push_size))]
    said = {"GIT_CONFIG_COUNT": str(len(settings)), "GIT_ALLOC_LIMIT": str(most.file_size + _SPARE)}
    for number, (name, value) in enumerate(settings):
        said |= {f"GIT_CONFIG_KEY_{number}": name, f"GIT_CONFIG_VALUE_{number}": value}
    return environment() | said


def tidy(repository: Path) -> None:
    """Pack a repository anew that has come to many packs, without what no ref leads to and is older than a day."""
    if len(packs(repository)) > _MANY_PACKS:
        git(repository, "gc", "--quiet", "--prune=1.day.ago", timeout=1800)


def packs(repository: Path) -> list[Path]:
    return list((repository / "objects" / "pack").glob("*.pack"))


def size(repository: Path) -> int:
    """Bytes of the objects that a repository keeps, those of pushes under way among them."""
    return sum(
        (Path(directory) / name).lstat().st_size
        for directory, _, names in os.walk(repository / "objects")
        for name in names
        if (Path(directory) / name).exists()
    )


def collect(repository: Path) -> None:
    """Pack what a repository keeps, and remove what no ref leads to, once it is an hour old: a push that is under way
    may need what is younger. Raises RepositoryError."""
    git(repository, "gc", "--quiet", "--prune=1.hour.ago", timeout=600)


def tag(repository: Path, name: str, commit: str, message: str) -> None:
    """Put an annotated tag on a commit, replacing one of the same name. Needs the app's lock."""
    (repository / f"refs/tags/{name}.lock").unlink(missing_ok=True)
    git(
        repository,
        *IDENTITY,
        *PLAIN,
        "tag",
        "--annotate",
        "--force",
        "--message",
        message,
        name,
        f"{commit}^{{commit}}",
    )
