"""Copies from one repository into another: a pushed commit outlives the hook's quarantine."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO

from pushrod.adapters.git.commands import environment, failed, git
from pushrod.adapters.git.commits import is_commit
from pushrod.adapters.git.repositories import HARMLESS, packs
from pushrod.core.errors import RepositoryError
from pushrod.system import processes


def transfer(
    source: Path, repository: Path, commit: str, *, quarantine: Mapping[str, str] | None = None
) -> Path | None:
    """Copy a commit and everything it needs into an app's repository, out of any quarantine; returns the new pack, if
    any.

    Git deletes objects that a hook has received if the hook fails or is killed. A release must be able to outlive
    that, so its commit is stored before anything is built from it.
    """
    if quarantine is None and is_commit(repository, commit):
        return None
    tips = git(repository, "for-each-ref", "--format=%(objectname) %(*objectname)").split()
    known = "\n".join(
        f"^{oid}" for oid in (tips if source == repository else _known(source, tips, quarantine))
    )
    _check_whole(source, commit, known, quarantine)
    pack, before = repository / f"incoming-{os.getpid()}.pack", set(packs(repository))
    try:
        with pack.open("wb") as f:
            _pack(source, f"{commit}\n{known}\n", f, quarantine)
        with pack.open("rb") as f:
            ignored = ",".join(f"{fault}=ignore" for fault in HARMLESS)
            argv = [
                "git",
                "-C",
                str(repository),
                "index-pack",
                "--stdin",
                "--fix-thin",
                f"--strict={ignored}",
            ]
            done = processes.run(argv, env=environment(), stdin=f, timeout=600)
        if done.status != 0:
            raise failed("git index-pack", done.stderr.strip(), repository)
    finally:
        pack.unlink(missing_ok=True)
    stored = repository / "objects" / "pack" / f"pack-{done.stdout.split()[-1]}.pack"
    return stored if stored not in before else None


def remove_pack(repository: Path, commit: str, pack: Path) -> None:
    """Remove the pack with a refused commit, unless a ref leads to the commit.

    Only while nothing else of the app runs: the pack may contain objects of another waiting push. That push then
    fails, with the message that its commit is missing.
    """
    if git(repository, "for-each-ref", "--count=1", f"--contains={commit}"):
        return
    for path in pack.parent.glob(f"{pack.stem}.*"):
        path.unlink(missing_ok=True)


def _check_whole(source: Path, commit: str, known: str, quarantine: Mapping[str, str] | None) -> None:
    """Refuse a commit of a shallow clone whose history ends before it reaches what the app's repository has."""
    variables, ends = environment(quarantine), (quarantine or {}).get("GIT_SHALLOW_FILE", "")
    if quarantine is not None and ends:
        variables["GIT_SHALLOW_FILE"] = ends
    if quarantine is None:
        ends = git(source, "rev-parse", "--git-path", "shallow").strip()
    path = source / (ends or "shallow")  # a hook's repository is a bare one (gitrepository-layout(5))
    if not path.is_file():
        return
    argv = ["git", "-C", str(source), "rev-list", "--stdin"]
    done = processes.run(argv, env=variables, stdin=f"{commit}\n{known}\n")
    if done.status == 0 and not {*path.read_text().split()} & {*done.stdout.split()}:
        return
    raise RepositoryError(
        "the clone is shallow: its history ends before the live commit",
        where=f"commit {commit[:7]}",
        hint="fetch all history: `git fetch --unshallow`; in CI `fetch-depth: 0` (GitHub), `GIT_DEPTH: 0` (GitLab)",
    )


def _known(source: Path, oids: Sequence[str], quarantine: Mapping[str, str] | None) -> list[str]:
    """Which of these objects a repository has, including a hook's quarantine."""
    asked = "".join(f"{oid}\n" for oid in oids)
    answer = git(source, "cat-file", "--batch-check", quarantine=quarantine, stdin=asked)
    return [line.split()[0] for line in answer.splitlines() if not line.endswith(" missing")]


def _pack(source: Path, revisions: str, target: IO[bytes], quarantine: Mapping[str, str] | None) -> None:
    argv = ["git", "-C", str(source), "pack-objects", "--quiet", "--revs", "--stdout", "--thin"]
    done = processes.run(argv, env=environment(quarantine), stdin=revisions, stdout=target, timeout=600)
    if done.status != 0:
        raise failed("git pack-objects", done.stderr.strip(), Path(target.name).parent)
