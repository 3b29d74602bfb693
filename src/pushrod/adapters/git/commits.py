"""Commits and their contents: names, history, files, submodules."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from pushrod.adapters.git.commands import environment, git
from pushrod.adapters.git.repositories import BRANCH
from pushrod.core.errors import HostError, RepositoryError
from pushrod.core.lines import decode
from pushrod.core.patterns import lazy
from pushrod.system import processes

PATH = 1024
"""Bytes of a path in a commit. The kernel's limit is 4,096, of which a release's own directory needs some."""

ZERO = "0" * 40
_NAME = 255  # bytes of a file name, the limit of file systems
_BLOCK = 1 << 16  # bytes
_KEPT, _LISTED = 1 << 20, 3  # bytes of a commit's listing that are kept, and how many listings
_LISTINGS: dict[tuple[str, str], bytes] = {}
_OID = lazy("[0-9a-f]{40}|[0-9a-f]{64}")
_SUBJECT = 200  # characters; Git itself advises 50


class Blob(NamedTuple):
    """A file of a tree: its path, object name and size in bytes."""

    path: str
    oid: str
    size: int


def resolve(directory: Path, ref: str, *, quarantine: Mapping[str, str] | None = None) -> str:
    """The commit that a name refers to. Raises RepositoryError if there is no such commit."""
    argv = ["git", "-C", str(directory), "rev-parse", "--verify", "--quiet", f"{ref}^{{commit}}"]
    done = processes.run(argv, env=environment(quarantine))
    if done.status == 0:
        return done.stdout.strip()
    if ref == "HEAD":
        raise RepositoryError(
            "the repository has no commit yet", where=str(directory), hint="git add -A && git commit -m first"
        )
    raise RepositoryError(
        f"no commit `{ref}`", where=str(directory), hint="`git log --oneline` lists commits"
    )


def pushed_commit(
    repository: Path, name: str, ref: str, *, quarantine: Mapping[str, str] | None = None
) -> str:
    """The commit that a pushed object is, or that its tags lead to. Raises RepositoryError for a tree or a file."""
    argv = ["git", "-C", str(repository), "rev-parse", "--verify", "--quiet", f"{name}^{{commit}}"]
    done = processes.run(argv, env=environment(quarantine))
    if done.status == 0:
        return done.stdout.strip()
    kind = git(repository, "cat-file", "-t", f"{name}^{{}}", quarantine=quarantine).strip()
    raise RepositoryError(
        f"{name[:7]} is a {kind}, and only a commit can be deployed",
        where=ref,
        hint=f"git push pushrod HEAD:{BRANCH}",
    )


def is_commit(directory: Path, name: str) -> bool:
    """Whether a repository has that commit."""
    argv = ["git", "-C", str(directory), "cat-file", "-e", f"{name}^{{commit}}"]
    return processes.run(argv, env=environment()).status == 0


def subject(repository: Path, commit: str) -> str:
    """The first line of a commit's message, shortened if it is very long."""
    argv = ["git", "-C", str(repository), "log", "-1", "--format=%s", commit]
    with processes.output_of(argv, env=environment()) as out:
        line = decode(out.read(4 * _SUBJECT + 1)).partition("\n")[0].strip()
    return line if len(line) <= _SUBJECT else f"{line[:_SUBJECT]}…"


def is_ancestor(
    repository: Path, older: str, newer: str, *, quarantine: Mapping[str, str] | None = None
) -> bool:
    """Whether `older` is in the history of `newer`."""
    argv = ["git", "-C", str(repository), "merge-base", "--is-ancestor", older, newer]
    return processes.run(argv, env=environment(quarantine)).status == 0


def mentions(repository: Path, commit: str, word: str) -> bool:
    """Whether a file of a commit contains a word in any case; texts for people and compose files do not count."""
    others = (f":(exclude,icase,glob)**/{name}" for name in ("*.md", "*.rst", "*.txt", "*compose*.y*ml"))
    options = ("--quiet", "--ignore-case", "--word-regexp", "--fixed-strings", "--text")
    argv = ["git", "-C", str(repository), "grep", *options, "-e", word, commit, "--", ".", *others]
    return processes.run(argv, env=environment(), timeout=120).status == 0


def is_zero(oid: str) -> bool:
    """Whether an object name is all zeros, in a repository of SHA-1 or of SHA-256."""
    return set(oid) == {"0"}


def links(repository: Path, commit: str) -> list[tuple[str, str]]:
    """The submodules of a commit's tree: the path of each, and its commit."""
    rows = (line.partition(b"\t") for line in _listing(repository, commit, None))
    return [(decode(path), meta.split()[2].decode()) for meta, _, path in rows if meta.startswith(b"160000 ")]


def settings(repository: Path, commit: str, name: str, section: str) -> list[tuple[str, str]]:
    """The settings in a section of one of a commit's files in Git's configuration format.

    In order; none if there is no such file, or Git cannot parse it.
    """
    argv = ["git", "-C", str(repository), "config", "--blob", f"{commit}:{name}", "--null", "--list"]
    lines = processes.run(argv, env=environment()).stdout.split("\0")[:-1]
    pairs = (line.partition("\n") for line in lines)
    return [(key, value) for key, _, value in pairs if key.startswith(section)]


def changed(repository: Path, before: str, commit: str, pattern: str) -> list[str]:
    """The files of a commit that match a pattern and differ from another commit's, or that it lacks."""
    options = ("--name-only", "-z", "--diff-filter=AM", "--no-renames", "--no-ext-diff")
    return git(repository, "diff", *options, before, commit, "--", pattern).split("\0")[:-1]


def tree(repository: Path, commit: str, *, quarantine: Mapping[str, str] | None = None) -> Iterator[Blob]:
    """Every file of a commit. Raises RepositoryError like `entries`."""
    return (e for e in entries(repository, commit, quarantine=quarantine) if isinstance(e, Blob))


def entries(
    repository: Path, commit: str, *, quarantine: Mapping[str, str] | None = None
) -> Iterator[Blob | str]:
    """Everything in a commit's tree, one entry at a time as Git lists it, so that a caller can stop early. Files come
    as values; directories and submodules as their paths, because there may be many without a file.

    Raises RepositoryError for a path of more than PATH bytes, and if Git fails.
    """
    return map(_entry, _listing(repository, commit, quarantine))


def _listing(repository: Path, commit: str, quarantine: Mapping[str, str] | None) -> Iterator[bytes]:
    """The lines of Git's listing of a commit's tree. That of a commit by its name never changes: the last few are
    kept, unless they are long.
    """
    key = str(repository), commit
    if key in _LISTINGS:
        yield from _LISTINGS[key].split(b"\0")
        return
    argv = ["git", "-C", str(repository), "ls-tree", "-r", "-t", "-z", "--long", "--full-tree", commit]
    kept = bytearray()
    try:
        with processes.output_of(argv, env=environment(quarantine), timeout=120.0) as out:
            rest = b""
            while block := out.read(_BLOCK):
                if len(kept) <= _KEPT:
                    kept += block
                *lines, rest = (rest + block).split(b"\0")
                yield from lines
                if len(rest) > _BLOCK:
                    _entry(rest)
    except HostError as e:
        raise RepositoryError(
            f"the files of {commit[:7]} cannot be listed: {e.what}",
            where=str(repository),
            hint="`git ls-tree -r` in the repository shows more",
        ) from e
    if _OID.fullmatch(commit) and kept and len(kept) <= _KEPT:
        while len(_LISTINGS) >= _LISTED:
            _LISTINGS.pop(next(iter(_LISTINGS)), None)
        _LISTINGS[key] = bytes(kept[:-1])


def _entry(entry: bytes) -> Blob | str:
    """One line of Git's listing."""
    meta, _, path = entry.partition(b"\t")
    if len(path) > PATH or any(len(name) > _NAME for name in path.split(b"/")):
        raise RepositoryError(
            f"a path of {len(path)} bytes, with names of up to {max(map(len, path.split(b'/')))}",
            where=f"{decode(path[:60])}…",
            hint=f"the kernel allows {_NAME} bytes in a name, and pushrod {PATH} in a path: use shorter ones",
        )
    words = meta.split()
    return Blob(decode(path), words[2].decode(), int(words[3])) if words[1] == b"blob" else decode(path)


def contents(
    repository: Path,
    oids: Sequence[str],
    *,
    timeout: float = 120.0,
    quarantine: Mapping[str, str] | None = None,
) -> Iterator[tuple[str, bytes]]:
    """The contents of files by their object names, one after the other; only one is in memory at a time.

    Raises RepositoryError if one cannot be read, or after `timeout` seconds.
    """
    if not oids:
        return
    argv = ["git", "-C", str(repository), "cat-file", "--batch", "--buffer"]
    asked = "".join(f"{oid}\n" for oid in oids).encode()
    with processes.output_of(argv, env=environment(quarantine), stdin=asked, timeout=timeout) as out:
        for oid in oids:
            words = out.readline(4096).split()
            size = int(words[2]) if len(words) == 3 else -1
            raw = out.read(size + 1) if size >= 0 else b""
            if size < 0 or len(raw) != size + 1:
                raise RepositoryError(
                    f"object {oid} cannot be read", where=str(repository), hint="git fsck --full shows more"
                )
            yield oid, raw[:-1]


def tree_id(repository: Path, commit: str, directory: str) -> str:
    """The object name of a directory of a commit: equal if its contents are equal."""
    path = "" if directory in ("", ".") else directory.strip("/")
    return git(repository, "rev-parse", f"{commit}:{path}").strip()


def subjects(repository: Path, before: str, commit: str, most: int = 30) -> list[tuple[str, str]]:
    """The commits that a commit has and another lacks, newest first, as (commit, subject); none if Git knows one of
    them no longer."""
    argv = [
        "git",
        "-C",
        str(repository),
        "log",
        f"--max-count={most}",
        "--format=%H %s",
        f"{before}..{commit}",
    ]
    done = processes.run(argv, env=environment(), timeout=10)
    pairs = (line.partition(" ") for line in done.stdout.split("\n") if line)
    return [(oid, text[:_SUBJECT]) for oid, _, text in pairs] if done.status == 0 else []
