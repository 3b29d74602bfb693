"""An app's bare repository: its settings and hooks, its branch and tags, its maintenance."""

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
from pushrod.system import damaged_paths, files, processes

if TYPE_CHECKING:
    from pushrod.core.limits import Limits

BRANCH = refs.BRANCH
PLACEHOLDERS = frozenset((".gitignore", ".gitkeep", ".keep", ".empty", ".placeholder"))
"""Names of files that only keep an empty directory in a repository."""

PLANS = "refs/plans"
"""Refs below it receive commits that are only to be planned: their objects are kept, and no ref is created."""

THERE = "--there"
"""The word after `git-receive-pack` from a client whose push must not create the app, because it is only planned."""

OWN_TAGS = "refs/tags/release"
"""pushrod's own tags are below it: pushed refs below it are ignored."""
# The user's settings for all repositories (signing, hooks, ignored files) do not apply to pushrod's own.
_MANY_PACKS = 20


HARMLESS = (
    "badDate", "badDateOverflow", "badEmail", "badName", "badTimezone", "missingEmail", "missingNameBeforeEmail",
    "missingSpaceBeforeDate", "missingSpaceBeforeEmail", "multipleAuthors", "zeroPaddedDate", "zeroPaddedFilemode",
)  # fmt: skip
"""Mistakes in the history of well-known repositories (git-fsck(1)): in names, addresses and dates of old commits,
which nothing here reads."""

_SERVED = {
    "receive.denyDeletes": "true",
    "receive.autogc": "false",
    # Accepted and ignored: GitLab's users may have `push.pushOption` in their settings, and Git gives up if the
    # server does not accept push options.
    "receive.advertisePushOptions": "true",
    # Git verifies the certificate of a signed push (git-push(1), --signed) even if it requested none, and runs a
    # program.
    **dict.fromkeys(("gpg.program", "gpg.openpgp.program", "gpg.x509.program", "gpg.ssh.program"), "false"),
    "receive.shallowUpdate": "true",  # so that `pre-receive` is called, and can report what is missing
    "transfer.fsckObjects": "true",
    "transfer.advertiseSID": "false",
    "uploadpack.allowFilter": "false",
    "uploadpack.allowRefInWant": "false",
    # larger objects are streamed instead of loaded into memory, and are not compared with others
    "core.bigFileThreshold": "16m",
    "core.attributesFile": "/dev/null",
    "pack.threads": "2",
    "gc.auto": "0",
    **{f"receive.fsck.{fault}": "ignore" for fault in HARMLESS},
}
"""The settings of an app's repository: what a client may ask of Git, and which objects are valid."""

_SPARE = 1 << 20  # bytes in addition to a file's contents
_SETTINGS = (
    # a file in the repository with the same settings, for a client that accesses it as a directory
    "pushrod.config"
)


def branch_commit(repository: Path) -> str:
    """The commit of the deployed branch of an app's repository; empty if there is none."""
    if at := refs.loose(str(repository), f"refs/heads/{BRANCH}"):
        return at
    argv = ["git", "-C", str(repository), "rev-parse", "--verify", "--quiet", f"refs/heads/{BRANCH}"]
    return processes.run(argv, env=environment()).stdout.strip()


def move_branch(repository: Path, commit: str) -> None:
    """Make the deployed branch point to a commit, or to the commit that a tag leads to. The caller must hold the
    app's lock: locks left by a killed command are removed.
    """
    ref = f"refs/heads/{BRANCH}"
    for name in (ref, "HEAD"):  # moving a branch that HEAD refers to takes both locks
        (repository / f"{name}.lock").unlink(missing_ok=True)
    try:
        git(repository, "update-ref", ref, commit)
    except RepositoryError:  # a branch of Git cannot point to a tag
        commit = git(repository, "rev-parse", "--verify", f"{commit}^{{commit}}").strip()
        git(repository, "update-ref", ref, commit)


def set_branch_aside(repository: Path, aside: str) -> None:
    """Rename a file that is where the deployed branch's ref should be, to `aside` beside the repository's own
    files."""
    path = repository / "refs" / "heads" / BRANCH
    if path.exists() or path.is_symlink():
        path.rename(repository / f"{BRANCH}.{aside}")


def is_whole(repository: Path, *, history: bool = True) -> bool:
    """Whether all objects of the deployed branch exist, if there is one; without `history`, only those of its last
    commit.
    """
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
    """Whether a repository names objects by SHA-256."""
    return config(directory, "extensions.objectFormat") == "sha256"


def create_bare(path: Path, *, sha256: bool = False) -> None:
    """Create a bare repository without hooks."""
    path.parent.mkdir(parents=True, exist_ok=True)
    words = ["init", "--quiet", "--bare", "--template=", f"--initial-branch={BRANCH}"]
    git(path.parent, *words, *(["--object-format=sha256"] if sha256 else []), str(path))


def create_repository(
    path: Path, hook: Sequence[str], reporting: Sequence[str] = (), *, sha256: bool = False
) -> None:
    """Create an app's bare repository. Its hooks call `hook` (an argv) with the hook's name added; `proc-receive`
    calls `reporting`.

    `pre-receive` runs the pipeline and, at its commit point, moves the branch itself; `proc-receive` (githooks(5),
    Git 2.29) then reports that to the client. So a push that waited for another is compared with the branch when its
    turn comes, not when it connected. `proc-receive` also reports pushes below PLANS and OWN_TAGS, so that Git
    creates no refs for them. A push from a shallow clone reaches `pre-receive` too, which reports what is missing;
    Git itself would refuse it with a less helpful message.
    """
    if not (path / "config").exists():
        create_bare(path, sha256=sha256)
    # or the user's own setting would take precedence
    git(path, "config", "core.hooksPath", str(path / "hooks"))
    git(path, "config", "--replace-all", "receive.procReceiveRefs", f"refs/heads/{BRANCH}")
    git(path, "config", "--add", "receive.procReceiveRefs", PLANS)
    git(path, "config", "--add", "receive.procReceiveRefs", OWN_TAGS)
    git(path, "config", "include.path", _SETTINGS)
    write_attributes(path)
    for name, text in _written(hook, reporting).items():
        files.write(path / name, text, mode=0o644 if name == _SETTINGS else 0o755)


def repair_bare(path: Path) -> list[str]:
    """Make an app's repository readable for Git again, if its own files are damaged, and remove locks of killed
    commands. The caller must hold the app's lock. Returns the names under which damaged files were set aside.
    """
    for name in ("HEAD", "config", "packed-refs", "shallow", f"refs/heads/{BRANCH}"):
        files.remove(path / f"{name}.lock")
    argv = ["git", f"--git-dir={path}", "for-each-ref", "--count=1"]
    if processes.run(argv, env=environment()).status == 0:
        return []
    damaged = [path / name for name in ("HEAD", "config") if os.path.lexists(path / name)]
    aside = [damaged_paths.set_aside(p).name for p in damaged]
    branch = path / "refs" / "heads" / BRANCH
    create_bare(path, sha256=branch.is_file() and len(branch.read_bytes().strip()) == 64)
    return aside


def is_current(path: Path, hook: Sequence[str], reporting: Sequence[str] = ()) -> bool:
    """Whether a repository is as `create_repository` creates it; false for one of an older pushrod."""
    return reports(path) and all(
        files.holds(path / name, text) for name, text in _written(hook, reporting).items()
    )


def reports(path: Path) -> bool:
    """Whether a repository's settings make Git ask pushrod where the deployed branch is."""
    with contextlib.suppress(OSError):
        config = (path / "config").read_text(errors="replace")
        return "procreceiverefs" in config.lower()
    return False


def _written(hook: Sequence[str], reporting: Sequence[str]) -> dict[str, str]:
    """The files in an app's repository that pushrod writes, in writing order."""
    called = {"pre-receive": [*hook, "pre-receive"], "proc-receive": reporting or [*hook, "proc-receive"]}
    hooks = {
        f"hooks/{n}": f"#!/bin/sh\n# written by pushrod\nexec {shlex.join(a)}\n" for n, a in called.items()
    }
    return {_SETTINGS: "".join(map(_setting, _SERVED.items())), **hooks}


def _setting(pair: tuple[str, str]) -> str:
    """A setting as a line in Git's configuration format."""
    name, value = pair
    section, _, key = name.rpartition(".")
    head, _, tail = section.partition(".")
    named = f'{head} "{tail}"' if tail else head
    return f"[{named}]\n\t{key} = {value}\n"


def served(most: "Limits") -> dict[str, str]:
    """The environment of Git's half of a push or a fetch, which accepts at most `push_size` bytes from a client.

    Git has no setting for the expanded size of a delta, but a limit on single memory allocations, which has the same
    effect. The repository's settings are passed again (git-config(1), GIT_CONFIG_COUNT), because an older repository
    may lack some.
    """
    settings = [*_SERVED.items(), ("receive.maxInputSize", str(most.push_size))]
    variables = {"GIT_CONFIG_COUNT": str(len(settings)), "GIT_ALLOC_LIMIT": str(most.file_size + _SPARE)}
    for number, (name, value) in enumerate(settings):
        variables |= {f"GIT_CONFIG_KEY_{number}": name, f"GIT_CONFIG_VALUE_{number}": value}
    return environment() | variables


def tidy(repository: Path) -> None:
    """Repack a repository with many packs, dropping unreachable objects that are older than a day."""
    if len(packs(repository)) > _MANY_PACKS:
        _collect(repository, "1.day.ago", timeout=1800)


def packs(repository: Path) -> list[Path]:
    return list((repository / "objects" / "pack").glob("*.pack"))


def size(repository: Path) -> int:
    """Bytes of a repository's objects, including those of running pushes."""
    return sum(
        (Path(directory) / name).lstat().st_size
        for directory, _, names in os.walk(repository / "objects")
        for name in names
        if (Path(directory) / name).exists()
    )


def collect(repository: Path) -> None:
    """Pack a repository and remove unreachable objects that are older than an hour: a running push may need younger
    ones. Raises RepositoryError.
    """
    _collect(repository, "1.hour.ago", timeout=600)


def _collect(repository: Path, older: str, timeout: float) -> None:
    """Pack a repository without a commit graph: Git 2.39 never ends computing one if a commit's date is beyond the
    largest number, which `badDateOverflow` accepts.
    """
    git(repository, "-c", "gc.writeCommitGraph=false", "gc", "--quiet", f"--prune={older}", timeout=timeout)


def drop_tags(repository: Path, first: int) -> None:
    """Remove the tags of releases before `first`, and pack what is left. The caller must hold the app's lock.
    Raises RepositoryError.
    """
    numbers = git(repository, "for-each-ref", "--format=%(refname:lstrip=3)", OWN_TAGS).split()
    older = [f"{OWN_TAGS}/{n}" for n in numbers if n.isdecimal() and int(n) < first]
    for name in ("packed-refs", *older):
        (repository / f"{name}.lock").unlink(missing_ok=True)
    git(repository, "update-ref", "--stdin", stdin="".join(f"delete {name}\n" for name in older))
    collect(repository)


def tag(repository: Path, name: str, commit: str, message: str) -> None:
    """Put an annotated tag on a commit, replacing one of the same name. The caller must hold the app's lock."""
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
