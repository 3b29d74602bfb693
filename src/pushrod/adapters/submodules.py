"""The submodules of a commit: other repositories' commits that belong in its tree (gitsubmodules(7)).

Git only stores each commit's name. The commits are fetched by HTTPS from the addresses in `.gitmodules`, into one
bare repository for each address, and written into the checkout. Whoever pushes chooses the addresses, so no other
protocol is allowed (`ext::` runs a program, `file::` reads this machine's files), not even after a redirect, and the
server contacts only public addresses, not itself, apps or its own network. So a name is resolved once, Git gets the
resulting addresses, and no redirect is followed. A proxy would resolve the name itself, so where the machine has one,
only servers that the owner has allowed are asked, through it.
"""

import hashlib
import shutil
import signal
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from pushrod.adapters import git, internet
from pushrod.core import limits
from pushrod.core.errors import PushrodError, RepositoryError
from pushrod.system import files, processes

_MOST = 50  # submodules of one commit, including those of submodules
_DEEPEST = 5
_LARGEST = 1 << 30  # bytes of one pack
_LEAST = 1 << 20  # bytes, with less room than which nothing is fetched
_SPARE = 256 << 20  # bytes of the disk that stay free
_TIMEOUT = 300.0  # seconds for one fetch
_SLOWEST = ("-c", "http.lowSpeedLimit=1000", "-c", "http.lowSpeedTime=30")  # bytes a second, seconds
_STRAIGHT = ("-c", "http.followRedirects=false")
_DIRECTLY = ("-c", "http.proxy=")
_NO_PROXY = {
    "no_proxy": "*",
    "NO_PROXY": "*",
}  # for one in Git's configuration too, which may be for one address
_QUIETLY = (
    *("-c", "credential.helper=", "-c", "fetch.fsckObjects=true", "-c", "maintenance.auto=false"),
    *(word for fault in git.HARMLESS for word in ("-c", f"fetch.fsck.{fault}=ignore")),
)


class Submodule(NamedTuple):
    """A submodule: its path in the tree, its commit, and its settings in `.gitmodules`."""

    path: str
    commit: str
    url: str = ""
    update: str = ""


class _Way(NamedTuple):
    """Git's options, and its variables, for one server."""

    options: tuple[str, ...]
    variables: Mapping[str, str]


class _Room(NamedTuple):
    """The bytes that one more pack may take, what bounds them (`the disk, …`), and how to get more."""

    most: int
    bound: str
    hint: str

    def refused(self, submodule: Submodule, where: str) -> RepositoryError:
        """The error for a submodule that is larger."""
        return _refused(where, f"{submodule.url} does not fit into {self.bound}", self.hint)


class Kept:
    """The repositories of an app's submodules, below a directory, of at most `most` bytes together.

    `on_line` receives messages about long work; `fits` raises an error for a commit of a repository that is too
    large. `allowed` are servers, as `host` or `host:port`, from which the app `app` may get files wherever they are.
    """

    def __init__(
        self,
        directory: Path,
        on_line: Callable[[str], None],
        fits: Callable[[Path, str], None],
        app: str,
        allowed: Collection[str],
        most: int,
    ) -> None:
        self.directory = directory
        self._most = most
        self._used: set[str] = set()
        self.fits = fits
        self._app, self._allowed = app, allowed
        self._on_line = on_line

    def repository(self, submodule: Submodule, where: str) -> Path:
        """The repository that has the submodule's commit, fetched if necessary."""
        path = self.directory / _name(submodule.url)
        self._used.add(path.name)
        if new := not (path / "HEAD").exists():
            files.remove_tree(path)
            git.create_bare(path, sha256=len(submodule.commit) == 64)
        if not git.is_commit(path, submodule.commit):
            self._on_line(f"submodule {where}: fetching {submodule.commit[:7]} from {submodule.url}")
            try:
                _fetch(path, submodule, where, self._way(submodule, where), self._room(submodule, where))
            except BaseException:
                if new:
                    files.remove_tree(path)
                raise
        return path

    def _room(self, submodule: Submodule, where: str) -> _Room:
        """The room for one more pack. If there is none, repositories that no submodule of this commit needs are
        removed first.

        Raises RepositoryError if there is still none.
        """
        room = self._left()
        if room.most < _LEAST:
            for path in self.directory.iterdir():
                if path.name not in self._used:
                    files.remove_tree(path)
            room = self._left()
        if room.most < _LEAST:
            raise room.refused(submodule, where)
        return room

    def _left(self) -> _Room:
        """The smallest of three rooms: within the host's limit, on the disk, in one pack."""
        limit, raised = self._most, limits.option("repository_size", 2 * self._most)
        within, free = limit - self._size(), files.free_space(self.directory) - _SPARE
        return min(
            _Room(
                within,
                f"the limit repository-size of this host, {limits.written('repository_size', limit)} for all "
                f"submodules of an app: {max(within, 0) >> 20} MiB are left",
                f"use fewer or smaller submodules; the host's owner can raise it: {raised}",
            ),
            _Room(
                free,
                f"the disk, where {max(free, 0) >> 20} MiB are free besides a reserve of {_SPARE >> 20} MiB",
                "free some space on that disk, or use fewer or smaller submodules",
            ),
            _Room(
                _LARGEST,
                f"{limits.size(_LARGEST)}, a fixed limit for each submodule",
                "use a smaller repository, or fetch the files in the image's build",
            ),
        )

    def _size(self) -> int:
        return sum(git.size(path) for path in self.directory.iterdir())

    def _way(self, submodule: Submodule, where: str) -> _Way:
        """How Git contacts a server: only at the addresses checked here, or through the machine's proxy.

        Raises RepositoryError for a server that is not allowed and is not on the Internet, or only reached through a
        proxy.
        """
        server = internet.parse(submodule.url)
        assert server is not None  # noqa: S101 checked by _check
        granted = (
            f"the host's owner can allow this one: pushrod apps allow {self._app} submodules:{server.name}"
        )
        if proxy := internet.proxy(server):
            if server.name in self._allowed:
                return _Way((), {})
            why = f"this host reaches {server.name} through the proxy {proxy}, which may lead anywhere"
            raise _refused(where, why, granted)
        try:
            addresses = internet.addresses(server, self._allowed)
        except OSError as e:
            hint = "check the server's name"
            raise _refused(where, f"{submodule.url}: {e.strerror}", hint) from e
        except internet.NotPublicError as e:
            hint = f"use an address that is on the Internet; {granted}"
            why = f"it is not fetched from {server.name}, which is not on the Internet"
            raise _refused(where, why, hint) from e
        listed = ",".join(f"[{a}]" if ":" in a else a for a in addresses)
        resolved = ("-c", f"http.curloptResolve={server.host}:{server.port}:{listed}")
        return _Way(resolved, {}) if server.name in self._allowed else _Way(resolved + _DIRECTLY, _NO_PROXY)


def place(repository: Path, commit: str, target: Path, kept: Kept) -> list[str]:
    """Write the submodules of a commit into its checkout at `target`; returns notes on omitted ones.

    Raises RepositoryError, naming the submodule, if one cannot be fetched.
    """
    notes: list[str] = []
    placed: list[str] = []

    def go(repository: Path, commit: str, target: Path, above: str, depth: int) -> None:
        for submodule in of(repository, commit):
            where = f"{above}{submodule.path}"
            if submodule.update == "none":
                notes.append(f"submodule {where} is left out, because .gitmodules has `update = none` for it")
                continue
            placed.append(where)
            if depth > _DEEPEST or len(placed) > _MOST:
                why = f"there are more than {_MOST}, or more than {_DEEPEST} levels of them"
                raise _refused(where, why, "use fewer submodules")
            _check(submodule, where)
            source, inside = kept.repository(submodule, where), target / submodule.path
            kept.fits(source, submodule.commit)
            git.checkout_into(source, submodule.commit, inside)
            go(source, submodule.commit, inside, f"{where}/", depth + 1)

    go(repository, commit, target, "", 1)
    return notes


def of(repository: Path, commit: str) -> list[Submodule]:
    """The submodules of a commit, without nested ones."""
    linked = git.links(repository, commit)
    if not linked:
        return []
    known = _read(git.settings(repository, commit, ".gitmodules", "submodule."))
    return [known.get(path, Submodule(path, ""))._replace(path=path, commit=oid) for path, oid in linked]


def _check(submodule: Submodule, where: str) -> None:
    url = submodule.url
    if not url:
        raise _refused(
            where, "`.gitmodules` has no address for it", "git submodule add URL PATH, or git rm PATH"
        )
    if "@" in url.partition("://")[2].partition("/")[0]:
        raise _refused(where, "its address contains a name or a password", "use a public https:// address")
    if not internet.parse(url):
        hint = "in .gitmodules use an https:// address that the server can fetch from, or make the files part of "
        hint += "this repository (git subtree add); `update = none` there leaves it out"
        raise _refused(where, f"it cannot be fetched from {url[:200]!r}", hint)


def _fetch(path: Path, submodule: Submodule, where: str, way: _Way, room: _Room) -> None:
    """Fetch one commit or, if a server does not provide single ones, all branches and tags, into the `room`."""
    exact = ("--depth=1", submodule.url, submodule.commit)
    whole = (submodule.url, "+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*")
    problem = ""
    for words in (exact, whole):
        argv = ["git", "-C", str(path), *_SLOWEST, *_QUIETLY, *_STRAIGHT, *way.options]
        argv += ["fetch", "--quiet", "--no-tags", "--no-recurse-submodules", "--force", *words]
        environment = {**git.environment(), **way.variables}
        environment |= {"GIT_ALLOW_PROTOCOL": "https", "GIT_ASKPASS": "true"}
        try:
            done = processes.run(_bounded(argv, room.most), env=environment, timeout=_TIMEOUT)
        except PushrodError as e:
            raise _refused(where, f"{submodule.url}: {e.what}", "check whether that server answers") from e
        if done.status == 0 and git.is_commit(path, submodule.commit):
            return
        if _is_cut_off(done):
            for unfinished in (path / "objects" / "pack").glob("tmp_*"):
                files.remove(unfinished)
            raise room.refused(submodule, where)
        lines = [line for line in done.stderr.splitlines() if line.strip()]
        problem = lines[-1].strip() if lines and done.status else "that commit does not exist there"
    raise _refused(
        where,
        f"{submodule.commit[:7]} cannot be fetched from {submodule.url}: {problem}",
        "push that commit there, and make sure that it can be read without a password and without a redirect",
    )


def _bounded(argv: list[str], most: int) -> list[str]:
    """The argv, run so that it writes no file larger than a pack may be (prlimit is part of util-linux)."""
    prlimit = shutil.which("prlimit")
    return [prlimit, f"--fsize={most}", "--", *argv] if prlimit else argv


def _is_cut_off(done: processes.Completed) -> bool:
    """Whether a program was ended because a file became too large: itself, or one that it reports."""
    words = (f"died of signal {signal.SIGXFSZ.value}", "File too large")
    return done.status == -signal.SIGXFSZ or any(word in done.stderr for word in words)


def _refused(where: str, why: str, hint: str) -> RepositoryError:
    return RepositoryError(f"submodule {where}: {why}", where=".gitmodules", hint=hint)


def _name(url: str) -> str:
    return f"{hashlib.sha256(url.encode()).hexdigest()[:16]}.git"


def _read(settings: Sequence[tuple[str, str]]) -> dict[str, Submodule]:
    """The settings in `.gitmodules` by path: pairs such as `submodule.theme.url` and its value."""
    sections: dict[str, dict[str, str]] = {}
    for key, value in settings:
        name, _, what = key.removeprefix("submodule.").rpartition(".")
        sections.setdefault(name, {})[what.lower()] = value
    return {
        s["path"]: Submodule(s["path"], "", s.get("url", ""), s.get("update", ""))
        for s in sections.values()
        if "path" in s
    }
