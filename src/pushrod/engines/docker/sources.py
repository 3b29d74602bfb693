"""The sources of a commit's mounts, and where on this host they are.

 apps/shop/data/uploads, data/media%2Fphotos    not tracked by Git: data, shared by all releases; also a directory
                                                of which Git only tracks a placeholder (`uploads/.gitkeep`)
 apps/shop/copies/7/docker%2Fnginx              tracked by Git: a copy that belongs to release 7
 apps/shop/stores/files/3f9a…/init.sql          the same for stores, named by its contents
 apps/shop/secrets/files/5b1c…                  configs and secrets that are not plain files of the commit

Docker resolves a source's path at each start of a container, and follows links. So none of these places contains
another, or lies in anything else that a container mounts: write access to one cannot change any part of another's
path. The commit's files are read from its checkout, which no container sees. If one source contains another (`.` and
`./media`), the containers of the outer one also mount the inner one at its place, so that both see the same files, as
with Compose.
"""

import contextlib
import errno
import itertools
import os
from collections.abc import Collection, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

from pushrod.adapters import docker, git, sandbox
from pushrod.core.errors import ManifestError, RepositoryError
from pushrod.engines.docker import containers, data, names, opened
from pushrod.state.apps import App
from pushrod.state.secrets import Secrets
from pushrod.system import files, trees
from pushrod.system.trees import Names, Place

Document = Mapping[str, Any]

_LARGEST = 1 << 20  # bytes of a config or secret with rights: Docker's own limit for them (Swarm)


"""Files that only exist because Git does not track empty directories."""


class _Mount(NamedTuple):
    """A bind mount of a path of the repository, by one service."""

    service: str
    place: Place
    read_only: bool


class _Rights(NamedTuple):
    """The rights of a config or secret, from its reference."""

    mode: int
    uid: int
    gid: int


class Sources:
    """The sources of one commit's mounts. Methods return paths at once; `make` creates what they returned.

    `stores` are the names of the services whose containers outlive a release.
    """

    def __init__(
        self, app: App, commit: str, checkout: Path, document: Document, stores: Collection[str]
    ) -> None:
        self._app = app
        self._commit = commit
        self._checkout = checkout
        self._document = document
        self._stores = stores
        self._secrets = Secrets(app)
        self._own = (
            app.directory / "copies" / checkout.name
        )  # as `App.copies`; a commit that is only planned has no number
        self._copies: dict[Path, Place] = {}
        self._data: dict[Path, Place] = {}
        self._texts: dict[Path, tuple[bytes, _Rights | None, str]] = {}

    # ---- paths ----------------------------------------------------------------------------------------------

    def instance(self, source: str) -> str:
        """A source's path for an instance. An absolute path is the host's own, allowed by its owner."""
        if source.startswith("/"):
            return opened.path(self._app, source)
        place = self._resolved(source)
        if place.there:
            path = self._own / data.name(place.names)
            self._copies[path] = place
        else:
            path = names.data(self._app) / data.name(place.names)
            self._data[path] = place
        return str(path)

    def store(self, source: str) -> str:
        """A source's path for a store: tracked files are copied to a place named by their contents, so that a commit
        that does not change them does not change the store.
        """
        if source.startswith("/") or not self._seen(source).there:
            return self.instance(source)
        place = self._seen(source)
        try:
            identity = git.tree_id(self._app.repository, self._commit, place.path)
        except RepositoryError:  # belongs to a submodule
            identity = trees.digest(self._checkout, place.path)
        path = self._app.stores / "files" / identity / (place.names[-1] if place.names else "tree")
        if not self._resolved(source).there and not path.exists():  # an older pushrod kept data there
            return self.instance(source)
        self._copies[path] = place
        return str(path)

    def inner(self, source: str) -> list[tuple[str, str]]:
        """The sources inside this one, each with its relative path and its path on the host.

        Only for instances, because a store's data is its own; and only for directories into one of which somebody
        writes.
        """
        if source.startswith("/"):
            return []
        outer = self._resolved(source)
        depth = len(outer.names)
        return [("/".join(p.names[depth:]), self.instance(p.path)) for p in self._in(outer)]

    def file(self, kind: str, name: str, reference: Mapping[str, Any], image: str, *, store: bool) -> str:
        """The file of a config or secret. Any account in the container can read it unless its reference sets rights.

        `image` is the service's own. Raises ManifestError if the file has no content.
        """
        declared = (self._document.get(kind) or {}).get(name) or {}
        where, rights = f"{kind}.{name}", _rights(reference)
        if "file" in declared:
            source = str(declared["file"])
            if rights is None or source.startswith("/"):
                return self.store(source) if store else self.instance(source)
            raw = self._contents(source, where)
        else:
            raw = self._text(where, declared).encode()
        digest = self._secrets.digest([raw.hex(), *(rights or ())])[:32]
        path = names.private_files(self._app) / digest
        self._texts[path] = (raw, rights, image)
        return str(path)

    # ---- creation -------------------------------------------------------------------------------------------

    def check(self, most: int) -> None:
        """Refuse copies of more than twice `most` bytes, the limit of a commit.

        A tree that is mounted together with each of its levels would be copied once per level.
        """
        places = [*self._copies.values()]
        total = sum(trees.size(self._checkout, p.path) for p in places) if len(places) > 2 else 0
        if total > 2 * most:
            raise ManifestError(
                f"the copies of the commit's mounted files take {total >> 20} MiB, of at most {2 * most >> 20}",
                where="volumes",
                hint="mount only the directories that are needed, and not their subdirectories again; "
                "the limit is twice that of `tree-size`",
            )

    def make(self, others: Collection[str]) -> None:
        """Create the returned paths that do not exist. `others` are the services that do not start as root:
        directories that they may write into become writable for any account.

        Raises HostError if data cannot be converted, OSError if the disk is full.
        """
        for path, place in self._copies.items():
            if not os.path.lexists(path):
                self._copy(place, path, shared=self._written_by(place, others))
        for place in self._data.values():
            data.make(names.data(self._app), place.names, self._directories(place))
        for path, (raw, rights, image) in self._texts.items():
            if not path.exists():
                files.make_private(self._app.secrets)
                files.make_private(path.parent)
                if rights is None:
                    files.write(path, raw, mode=0o444)
                else:
                    docker.put(path, raw, rights, image)

    def _copy(self, place: Place, path: Path, *, shared: bool) -> None:
        files.make_open(path.parent)
        temporary = path.with_name(f".{path.name[:200]}.{os.getpid()}")
        files.remove_tree(temporary)
        try:
            trees.copy(self._checkout, place.path, temporary, shared=shared)
            self._make_room(place, temporary, 0o777 if shared else 0o755)
            temporary.rename(path)
        finally:
            with contextlib.suppress(NotADirectoryError):
                files.remove_tree(temporary)
        files.sync_directory(path.parent)

    def _make_room(self, outer: Place, copy: Path, mode: int) -> None:
        """Create directories on which the inner sources are mounted: Docker would create them as root, or fail."""
        for inner in self._in(outer):
            with trees.top(copy) as top:
                trees.make_directory(top, inner.names[len(outer.names) :], mode=mode)

    # ---- the commit -----------------------------------------------------------------------------------------

    @cached_property
    def _mounts(self) -> list[_Mount]:
        return [
            _Mount(name, self._resolved(str(volume["source"])), bool(volume.get("read_only")))
            for name in self._document.get("services") or {}
            for volume in containers.mounted(self._document, name)
            if containers.is_bind(volume) and not str(volume["source"]).startswith("/")
        ]

    def _in(self, outer: Place) -> list[Place]:
        others = {m.place for m in self._mounts} - {
            m.place for m in self._mounts if m.service in self._stores
        }
        below = (p for p in others if p.names[: len(outer.names)] == outer.names and p != outer)
        return sorted(p for p in below if not self._is_file(p) and (self._written(p) or self._written(outer)))

    def _written(self, place: Place) -> bool:
        return any(m.place == place and not m.read_only for m in self._mounts)

    def _written_by(self, place: Place, services: Collection[str]) -> bool:
        """Whether one of these services mounts the place, or what contains it, for writing."""
        return any(
            m.place.names == place.names[: len(m.place.names)] and not m.read_only and m.service in services
            for m in self._mounts
        )

    def _is_file(self, place: Place) -> bool:
        return place.there and (self._checkout / place.path).is_file()  # its names contain no links

    def _directories(self, place: Place) -> list[Names]:
        """The directories that the commit has inside a place of data, which programs expect there."""
        top = self._checkout / place.path
        directories = [Path(path).parent.parts for path in trees.files(top)] if top.is_dir() else []
        return sorted({parts for parts in directories if parts})

    def _resolved(self, source: str) -> Place:
        """Where a source leads; a path with only a placeholder counts as missing."""
        place = self._seen(source)
        return place._replace(there=place.there and not is_a_place(self._checkout / place.path))

    def _seen(self, source: str) -> Place:
        try:
            return trees.resolve(self._checkout, source)
        except OSError as e:
            raise ManifestError(
                f"`{source}` is not a path inside the repository: {_why(e)}",
                where="volumes",
                hint=sandbox.HINT,
            ) from e

    def _contents(self, source: str, where: str) -> bytes:
        try:
            return trees.read(self._checkout, source, _LARGEST)
        except OSError as e:
            raise ManifestError(
                f"`{source}` cannot be given with `mode`, `uid` or `gid`: {_why(e)}",
                where=where,
                hint=f"use a file of the commit of at most {_LARGEST >> 20} MiB",
            ) from e

    def _text(self, where: str, declared: Mapping[str, Any]) -> str:
        if "content" in declared:
            return str(declared["content"])
        variables, name = self._secrets.variables(), str(declared.get("environment"))
        if name not in variables:
            raise ManifestError(
                f"{name} has no value", where=where, hint=f"set it: pushrod secret set {name}"
            )
        return variables[name]


def is_a_place(path: Path) -> bool:
    """Whether Git tracks a directory only as a place: no file in it is more than a placeholder."""
    contents = trees.files(path)
    first = next(contents, "")
    return all(Path(name).name in git.PLACEHOLDERS for name in itertools.chain([first], contents))


def tracked(checkout: Path, path: str) -> bool:
    """Whether a commit contains the file or directory at a path, and not only a place for data."""
    return (checkout / path).exists() and not is_a_place(checkout / path)


def remarks(document: Document) -> list[str]:
    """Notes on rights in references that do not apply, because a host's file has its own."""
    notes = []
    for service, raw in (document.get("services") or {}).items():
        for kind in ("configs", "secrets"):
            for item in raw.get(kind) or []:
                name = str(item.get("source")) if isinstance(item, dict) else ""
                path = str(((document.get(kind) or {}).get(name) or {}).get("file") or "")
                asked = [f"`{key}`" for key in ("mode", "uid", "gid") if name and key in item]
                if asked and path.startswith("/"):
                    whose = f"{kind.removesuffix('s')} {name}"
                    notes.append(
                        f"{service}: {', '.join(asked)} of the {whose} not applied: {path} is the host's"
                    )
    return notes


def remove_unused(app: App, needed: str) -> None:
    """Remove every private file that the text `needed`, of all kept compose files, does not name."""
    for path in names.private_files(app).glob("*"):
        if path.name not in needed:
            path.unlink(missing_ok=True)


def _rights(reference: Mapping[str, Any]) -> _Rights | None:
    """The rights in a reference; by default, as Compose documents it, root owns it and all may read it."""
    if not {"mode", "uid", "gid"} & set(reference):
        return None
    mode, uid, gid = (
        str(reference.get(key) or default) for key, default in (("mode", "0444"), ("uid", "0"), ("gid", "0"))
    )
    try:
        return _Rights(int(mode, 8) & 0o777, int(uid), int(gid))
    except ValueError as e:
        raise ManifestError(
            f"mode {mode}, uid {uid}, gid {gid}: not numbers",
            where=str(reference.get("source")),
            hint="for example 0440",
        ) from e


def _why(e: OSError) -> str:
    if e.errno == errno.EXDEV:
        return "it leads out of it"
    return (e.strerror or str(e)).lower()
