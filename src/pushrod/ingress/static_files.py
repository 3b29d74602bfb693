"""Files of a commit that the edge serves itself, stored where nginx may read them.

    ROOT/edge/static/shop/
      7/0/assets/…     the files of release 7's first route; the route's prefix is part of the path
      7/data/1/media   a link to the data of the app that its second route serves
      pool/…           files of all kept releases with a content hash in their name: pages still open request them

These are copies, because a checkout belongs to the release's instances and on a Docker host is hidden from the
edge.
"""

import contextlib
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from pushrod.core.errors import ManifestError
from pushrod.core.patterns import lazy
from pushrod.core.site import DATA, POOL
from pushrod.core.values import Route, Routing
from pushrod.ingress.protocol import Places
from pushrod.state.apps import App
from pushrod.system import files

# Broader than what is cached for ever (`adapters.nginx.locations.MAPS`): some names of eight letters are hashes,
# too.
_NAMED_BY_CONTENT = lazy(r".*[.-][A-Za-z0-9_-]{8,64}\.[a-z0-9]{1,8}(?:\.map)?")
_WELL_KNOWN = ".well-known"


class Static:
    """The static files of one app. Creating the value touches no files."""

    def __init__(self, app: App, places: Places) -> None:
        self.directory = places.static / app.name
        self._app = app

    def check(self, routing: Routing, checkout: Path, made: Callable[[str], bool] = lambda _: False) -> None:
        """Raise ManifestError if the commit lacks a route's directory or fallback, or a link in it leads
        elsewhere. `made` returns whether a directory that the commit lacks will be built."""
        for route in (r for r in routing.routes if r.files and not r.volume and not made(r.files)):
            where, source = f"routes.{route.prefix}.files", checkout / route.files
            inside = source.resolve().is_relative_to(checkout.resolve())
            if not source.is_dir() or not inside:
                raise ManifestError(
                    f"the commit has no directory `{route.files}`",
                    where=where,
                    hint="build results are not in Git: commit them, or let a service serve them from its image",
                )
            for link in (p for p in source.rglob("*") if p.is_symlink()):
                if not link.is_file() or not link.resolve().is_relative_to(source.resolve()):
                    raise ManifestError(
                        f"this link does not point to a file in `{route.files}`",
                        where=str(link.relative_to(checkout)),
                        hint="commit the file itself there",
                    )
            if route.fallback and not (source / route.fallback).is_file():
                raise ManifestError(
                    f"`{route.files}` has no file `{route.fallback}`",
                    where=f"routes.{route.prefix}.try",
                    hint="expected the name of a file in that directory, such as index.html",
                )

    def publish(self, number: int, routing: Routing, checkout: Path) -> None:
        """Copy the files that a release's routes serve, except hidden ones."""
        files.remove_tree(self.directory / str(number))
        for n, route in enumerate(routing.routes):
            if route.files and (not route.volume or (checkout / route.files).is_dir()):
                files.publish(checkout, route.files, self._place(number, n, route), _hidden)
            if route.volume:
                link = self.directory / str(number) / DATA / str(n) / route.prefix.strip("/")
                files.make_open(link.parent)
                link.symlink_to(os.path.relpath(self._app.directory / route.volume, link.parent.resolve()))

    def pool(self, numbers: Iterable[int]) -> None:
        """Make the pool hold exactly the content-hashed files of these releases."""
        named = {name: path for number in numbers for name, path in self._named(number)}
        pool = self.directory / POOL
        for path in [p for p in pool.rglob("*") if p.is_file()]:
            if path.relative_to(pool) not in named:
                path.unlink()
        for name, path in named.items():
            with contextlib.suppress(
                FileExistsError, NotADirectoryError
            ):  # exists, or is below a file with that name
                files.link(path, pool / name)

    def remove(self, number: int) -> None:
        """Remove a release's own files."""
        files.remove_tree(self.directory / str(number))

    def remove_all(self) -> None:
        """Remove all static files of the app."""
        files.remove_tree(self.directory)

    def _place(self, number: int, n: int, route: Route) -> Path:
        return self.directory / str(number) / str(n) / route.prefix.strip("/")

    def _named(self, number: int) -> Iterator[tuple[Path, Path]]:
        for root in sorted((self.directory / str(number)).glob("*")):
            for path in root.rglob("*"):
                if path.is_file() and _NAMED_BY_CONTENT.fullmatch(path.name):
                    yield path.relative_to(root), path


def _hidden(name: str) -> bool:
    return name.startswith(".") and name != _WELL_KNOWN
