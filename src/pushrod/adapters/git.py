"""Git as pushrod drives it: the app's bare repository and its hooks, checkouts, tags and the state repository.

Commands run with every inherited GIT_* variable removed, because a hook's environment points Git elsewhere;
where a hook's quarantined objects are needed (gitquarantine in git-receive-pack(1)), that is passed on purpose.
"""

import errno
import os
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING, NamedTuple

from pushrod.adapters import refs
from pushrod.core.errors import HostError, PushrodError, RepositoryError
from pushrod.core.lines import decode
from pushrod.system import files, processes
from pushrod.system.files import os_error

if TYPE_CHECKING:
    from pushrod.core.limits import Limits

BRANCH = refs.BRANCH
PLANS = "refs/plans"
"""Below it commits can be pushed that are only to be planned: their objects are kept, and no ref is made."""

THERE = "--there"
"""What a client says after `git-receive-pack` whose push must not make the app, because it is only to be planned."""

OWN_TAGS = "refs/tags/release"
"""Below it are the tags that pushrod itself makes: what is pushed there is not taken."""

PATH = 1024
"""Bytes of a path in a commit. The kernel takes 4,096, of which a release's own directory needs some."""

ZERO = "0" * 40
_NAME = 255  # bytes of a name in a directory, as file systems take them
_BLOCK = 1 << 16  # bytes
_SUBJECT = 200  # characters; Git itself advises 50
_IDENTITY = ("-c", "user.name=pushrod", "-c", "user.email=pushrod@localhost")
# What the user has configured for all repositories (signing, hooks, ignored files) is not meant for pushrod's own.
_MANY_PACKS = 20
_PLAIN = (
    *("-c", "commit.gpgSign=false", "-c", "tag.gpgSign=false"),
    *("-c", "core.hooksPath=/dev/null", "-c", "core.excludesFile=/dev/null"),
)


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
_ATTRIBUTES = "* -export-ignore -export-subst -filter -text -eol -ident -working-tree-encoding -diff -merge\n"


class Blob(NamedTuple):
    """A file of a tree: its path, object name and size in bytes."""

    path: str
    oid: str
    size: int


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
        raise _failed(f"git {_verb(argv)}", words, where)
    return done.stdout


def _verb(argv: Sequence[str]) -> str:
    """The command of a call of Git: `tag` of `-c tag.gpgSign=false tag --force`."""
    start = 0
    while argv[start] == "-c":
        start += 2
    return argv[start]


def _failed(program: str, words: str, where: Path) -> PushrodError:
    """The error of a program that failed, in its own words; a full disk is the machine's, not the repository's."""
    if re.search(r"no space left on device|out of diskspace|quota exceeded", words, re.IGNORECASE):
        return os_error(OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), str(where))
    last = " ".join(line.strip() for line in words.splitlines()[-3:])
    hint = f"run `{program}` there by hand to see more"
    return RepositoryError(f"{program} failed: {last}", where=str(where), hint=hint)


def toplevel(directory: Path) -> Path:
    """The work tree that a directory belongs to; RepositoryError if it belongs to none."""
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
            hint=f"make one: git -C {shlex.quote(str(directory))} init, then commit what should be deployed",
        )
    return Path(done.stdout.strip())


def resolve(directory: Path, ref: str, *, quarantine: Mapping[str, str] | None = None) -> str:
    """The commit that a name means; RepositoryError if there is no such commit."""
    argv = ["git", "-C", str(directory), "rev-parse", "--verify", "--quiet", f"{ref}^{{commit}}"]
    done = processes.run(argv, env=environment(quarantine))
    if done.status == 0:
        return done.stdout.strip()
    if ref == "HEAD":
        raise RepositoryError(
            "the repository has no commit yet", where=str(directory), hint="git add -A && git commit -m first"
        )
    raise RepositoryError(
        f"no commit `{ref}`", where=str(directory), hint="`git log --oneline` shows what there is"
    )


def pushed_commit(
    repository: Path, name: str, ref: str, *, quarantine: Mapping[str, str] | None = None
) -> str:
    """The commit that a pushed object is, or that its tags lead to; RepositoryError for a tree or a file."""
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
    """The first line of a commit's message, or the beginning of one that is longer than anybody reads."""
    argv = ["git", "-C", str(repository), "log", "-1", "--format=%s", commit]
    with processes.output_of(argv, env=environment()) as out:
        said = decode(out.read(4 * _SUBJECT + 1)).partition("\n")[0].strip()
    return said if len(said) <= _SUBJECT else f"{said[:_SUBJECT]}…"


def config(directory: Path, name: str) -> str:
    """What Git is configured to there, by the repository or its user; nothing where it is not."""
    done = processes.run(["git", "-C", directory, "config", "--get", name], env=environment())
    return done.stdout.strip()


def remote_url(directory: Path, name: str = "pushrod") -> str:
    """The URL of a remote, or nothing."""
    return config(directory, f"remote.{name}.url")


def set_remote(directory: Path, url: str, name: str = "pushrod") -> None:
    """Create a remote or move it to a new URL."""
    verb = "set-url" if remote_url(directory, name) else "add"
    git(directory, "remote", verb, name, url)


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
    (repository / f"{ref}.lock").unlink(missing_ok=True)
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


def is_ancestor(
    repository: Path, older: str, newer: str, *, quarantine: Mapping[str, str] | None = None
) -> bool:
    """Whether `older` is in the history of `newer`."""
    argv = ["git", "-C", str(repository), "merge-base", "--is-ancestor", older, newer]
    return processes.run(argv, env=environment(quarantine)).status == 0


def is_zero(oid: str) -> bool:
    """Whether an object name is that of nothing, in a repository of SHA-1 or of SHA-256."""
    return set(oid) == {"0"}


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
    _as_committed(path)
    for name, text in _written(hook, reporting).items():
        files.write(path / name, text, mode=0o644 if name == _SETTINGS else 0o755)


def is_current(path: Path, hook: Sequence[str], reporting: Sequence[str] = ()) -> bool:
    """Whether a repository is what `create_repository` would make of it; not one that an older pushrod has made."""
    return all(
        (path / name).exists() and (path / name).read_text() == text
        for name, text in _written(hook, reporting).items()
    )


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


def _as_committed(repository: Path) -> None:
    """Have a checkout's files be those of the commit: no `.gitattributes` of it leaves any out, changes their text,
    or calls a program (gitattributes(5): what stands here goes first)."""
    path = repository / "info" / "attributes"
    if not path.exists() or path.read_text() != _ATTRIBUTES:
        files.write(path, _ATTRIBUTES)


def transfer(
    source: Path, repository: Path, commit: str, *, quarantine: Mapping[str, str] | None = None
) -> Path | None:
    """Copy a commit and all it needs into an app's repository, past any quarantine; the new pack, where one was made.

    Objects that a hook has received are thrown away if the hook fails or is killed; a release must be able to
    outlive that, so its commit is stored before anything is built from it.
    """
    if quarantine is None and is_commit(repository, commit):
        return None
    tips = git(repository, "for-each-ref", "--format=%(objectname) %(*objectname)").split()
    known = "\n".join(
        f"^{oid}" for oid in (tips if source == repository else _known(source, tips, quarantine))
    )
    _check_whole(source, commit, known, quarantine)
    pack, before = repository / f"incoming-{os.getpid()}.pack", set(_packs(repository))
    try:
        with pack.open("wb") as f:
            _pack(source, f"{commit}\n{known}\n", f, quarantine)
        with pack.open("rb") as f:
            argv = ["git", "-C", str(repository), "index-pack", "--stdin", "--fix-thin", "--strict"]
            done = processes.run(argv, env=environment(), stdin=f, timeout=600)
        if done.status != 0:
            raise _failed("git index-pack", done.stderr.strip(), repository)
    finally:
        pack.unlink(missing_ok=True)
    stored = repository / "objects" / "pack" / f"pack-{done.stdout.split()[-1]}.pack"
    return stored if stored not in before else None


def forget(repository: Path, commit: str, pack: Path) -> None:
    """Remove the pack in which a commit came that was refused; nothing where a ref leads to the commit.

    Only while nothing else of the app is under way: what somebody pushes who waits may be in it, too. That push then
    fails, and says that its commit is not there.
    """
    if git(repository, "for-each-ref", "--count=1", f"--contains={commit}"):
        return
    for path in pack.parent.glob(f"{pack.stem}.*"):
        path.unlink(missing_ok=True)


def tidy(repository: Path) -> None:
    """Pack a repository anew that has come to many packs, without what no ref leads to and is older than a day."""
    if len(_packs(repository)) > _MANY_PACKS:
        git(repository, "gc", "--quiet", "--prune=1.day.ago", timeout=1800)


def _packs(repository: Path) -> list[Path]:
    return list((repository / "objects" / "pack").glob("*.pack"))


def _check_whole(source: Path, commit: str, known: str, quarantine: Mapping[str, str] | None) -> None:
    """Refuse a commit of a shallow clone whose history ends before it comes to what the app's repository has."""
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
        "the clone is shallow: its history ends before what is live",
        where=f"commit {commit[:7]}",
        hint="fetch all of it: `git fetch --unshallow`; in CI `fetch-depth: 0` (GitHub), `GIT_DEPTH: 0` (GitLab)",
    )


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


def _known(source: Path, oids: Sequence[str], quarantine: Mapping[str, str] | None) -> list[str]:
    """Those of some objects that a repository, with a hook's quarantine, has."""
    asked = "".join(f"{oid}\n" for oid in oids)
    answer = git(source, "cat-file", "--batch-check", quarantine=quarantine, stdin=asked)
    return [line.split()[0] for line in answer.splitlines() if not line.endswith(" missing")]


def _pack(source: Path, revisions: str, target: IO[bytes], quarantine: Mapping[str, str] | None) -> None:
    argv = ["git", "-C", str(source), "pack-objects", "--quiet", "--revs", "--stdout", "--thin"]
    done = processes.run(argv, env=environment(quarantine), stdin=revisions, stdout=target, timeout=600)
    if done.status != 0:
        raise _failed("git pack-objects", done.stderr.strip(), Path(target.name).parent)


def checkout(repository: Path, commit: str, target: Path) -> None:
    """Write the tree of a commit below `target`, from the repository alone: never a work tree someone edits.

    Whoever an instance runs as can read it, whatever the umask. Raises FileExistsError where `target` is.
    """
    files.make_open(target.parent)
    target.mkdir()
    target.chmod(0o755)
    _extract(repository, commit, target, _archive(target))


def checkout_into(repository: Path, commit: str, target: Path) -> None:
    """Write the tree of a submodule's commit below `target`, the empty directory that its own tree has there.

    Raises RepositoryError where something else is in that place.
    """
    if target.is_symlink() or not target.is_dir() or any(target.iterdir()):
        raise RepositoryError("something else is in a submodule's place", where=str(target))
    _extract(repository, commit, target, repository / f"checkout-{os.getpid()}.tar")


def _extract(repository: Path, commit: str, target: Path, archive: Path) -> None:
    _as_committed(repository)
    try:
        git(repository, "-c", "tar.umask=0022", "archive", "--format=tar", f"--output={archive}", commit)
        done = processes.run(["tar", "-xf", archive, "-C", target], timeout=300, umask=0o022)
        if done.status != 0:
            raise _failed("tar", done.stderr.strip(), target)
    finally:
        archive.unlink(missing_ok=True)


def remove_checkout(target: Path) -> None:
    """Take a checkout away, also one that was cut off before it was whole."""
    remove_archive(target)
    files.remove_tree(target)


def remove_archive(target: Path) -> None:
    """Take away what a checkout that was cut off was written from."""
    _archive(target).unlink(missing_ok=True)


def _archive(target: Path) -> Path:
    return target.with_name(f"{target.name}.tar")


def links(repository: Path, commit: str) -> list[tuple[str, str]]:
    """The submodules of a commit's tree: the path of each, and the commit that belongs there."""
    listing = git(repository, "ls-tree", "-r", "-z", "--full-tree", commit)
    rows = (line.split("\t", 1) for line in listing.split("\0")[:-1])
    return [(path, meta.split()[2]) for meta, path in rows if meta.startswith("160000 ")]


def modules(repository: Path, commit: str) -> list[tuple[str, str]]:
    """The settings in a commit's `.gitmodules`, in order; none where it has none or one that Git cannot read."""
    argv = ["git", "-C", str(repository), "config", "--blob", f"{commit}:.gitmodules", "--null", "--list"]
    lines = processes.run(argv, env=environment()).stdout.split("\0")[:-1]
    found = (line.partition("\n") for line in lines)
    return [(key, value) for key, _, value in found if key.startswith("submodule.")]


def tree(repository: Path, commit: str, *, quarantine: Mapping[str, str] | None = None) -> Iterator[Blob]:
    """Every file of a commit. Raises RepositoryError as `entries` does."""
    return (e for e in entries(repository, commit, quarantine=quarantine) if isinstance(e, Blob))


def entries(
    repository: Path, commit: str, *, quarantine: Mapping[str, str] | None = None
) -> Iterator[Blob | str]:
    """All that a commit names, one after the other as Git lists it: who has seen enough need not hear the rest. Files
    come with what Git knows of them; directories and submodules as their paths, for there may be many without a file.

    Raises RepositoryError for a path of more than PATH bytes, and where Git cannot go on.
    """
    argv = ["git", "-C", str(repository), "ls-tree", "-r", "-t", "-z", "--long", "--full-tree", commit]
    try:
        with processes.output_of(argv, env=environment(quarantine), timeout=120.0) as out:
            rest = b""
            while block := out.read(_BLOCK):
                *lines, rest = (rest + block).split(b"\0")
                yield from map(_entry, lines)
                if len(rest) > _BLOCK:
                    _entry(rest)
    except HostError as e:
        raise RepositoryError(
            f"the files of {commit[:7]} cannot be listed: {e.what}",
            where=str(repository),
            hint="`git ls-tree -r` in the repository shows more",
        ) from e


def _entry(entry: bytes) -> Blob | str:
    """A line of Git's listing."""
    meta, _, path = entry.partition(b"\t")
    if len(path) > PATH or any(len(name) > _NAME for name in path.split(b"/")):
        raise RepositoryError(
            f"a path of {len(path)} bytes, with names of up to {max(map(len, path.split(b'/')))}",
            where=f"{decode(path[:60])}…",
            hint=f"the kernel takes {_NAME} bytes of a name, and pushrod {PATH} of a path: give it shorter ones",
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
    """The contents of files by their object names, one after the other; none is kept.

    Raises RepositoryError where one cannot be read, or where `timeout` seconds were not enough.
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
                    f"object {oid} cannot be read", where=str(repository), hint="git fsck --full says more"
                )
            yield oid, raw[:-1]


def tag(repository: Path, name: str, commit: str, message: str) -> None:
    """Put an annotated tag on a commit, replacing one of the same name. Needs the app's lock."""
    (repository / f"refs/tags/{name}.lock").unlink(missing_ok=True)
    git(
        repository,
        *_IDENTITY,
        *_PLAIN,
        "tag",
        "--annotate",
        "--force",
        "--message",
        message,
        name,
        f"{commit}^{{commit}}",
    )


def create_state(path: Path) -> None:
    """Make an app's state repository."""
    if not (path / ".git").exists():
        path.mkdir(parents=True, exist_ok=True)
        git(path, "init", "--quiet", "--template=", f"--initial-branch={BRANCH}")


def is_sound(path: Path) -> bool:
    """Whether Git can say what has changed in a repository of pushrod's own."""
    if not (path / ".git").is_dir():
        return False
    argv = ["git", "-C", str(path), *_PLAIN, "status", "--porcelain"]
    return processes.run(argv, env=environment() | {"GIT_CEILING_DIRECTORIES": str(path.parent)}).status == 0


def history(path: Path, inside: str) -> list[str]:
    """The commits of pushrod's own repository that have changed a file or directory, the newest first."""
    return git(path, "log", "--format=%H", "--", inside).split()


def restore(path: Path, commit: str, inside: str) -> bool:
    """Have a file or directory be what it was in a commit of pushrod's own repository; whether it was there."""
    (path / ".git" / "index.lock").unlink(missing_ok=True)
    argv = ["git", "-C", str(path), *_PLAIN, "checkout", commit, "--", inside]
    return processes.run(argv, env=environment()).status == 0


def commit_all(path: Path, message: str) -> None:
    """Commit everything below a repository of pushrod's own; nothing where nothing has changed.

    Needs the app's lock: nobody else writes there, so a lock of Git's was left by a command that was killed.
    """
    for name in ("index.lock", "HEAD.lock", f"refs/heads/{BRANCH}.lock"):
        (path / ".git" / name).unlink(missing_ok=True)
    if not (path / ".git").is_dir():  # Git would look for one above it
        raise RepositoryError("its history is gone", where=str(path), hint="pushrod doctor --repair")
    git(path, *_PLAIN, "add", "--all")
    try:
        git(path, *_IDENTITY, *_PLAIN, "commit", "--quiet", "--no-verify", "--message", message)
    except RepositoryError:
        if git(path, *_PLAIN, "status", "--porcelain"):
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
    git(path, *_PLAIN, "gc", "--quiet", "--prune=now", timeout=600)


def remove_remote(directory: Path, name: str = "pushrod") -> None:
    """Take a remote out of a work tree."""
    git(directory, "remote", "remove", name)


def init(directory: Path) -> None:
    """Make a repository of a folder."""
    git(directory, "init", "--quiet", f"--initial-branch={BRANCH}")


def commit_first(directory: Path, message: str) -> None:
    """Commit everything; as the user, or as a plain local name where Git has not been told who that is."""
    git(directory, "add", "--all")
    known = processes.run(["git", "-C", str(directory), "config", "--get", "user.email"], env=environment())
    identity = () if known.status == 0 else _IDENTITY
    git(directory, *identity, "commit", "--quiet", "--message", message)


def tree_id(repository: Path, commit: str, directory: str) -> str:
    """The object name of a directory of a commit: equal where its contents are."""
    path = "" if directory in ("", ".") else directory.strip("/")
    return git(repository, "rev-parse", f"{commit}:{path}").strip()
