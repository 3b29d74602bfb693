"""What a web server which the edge replaces would have served and passed on, by its own configuration, as routes of
the edge.

    location /static/ { alias /static/; }

with `static:/static` or `./static:/static` mounted in nginx: the edge serves `/static/` from that volume or
directory. What a RUN line of the Dockerfile makes at the volume's place (`collectstatic`) comes first, from the
release's own copy: a volume keeps what the first release had there. `location /` with files is served too, if another
one leads to the entry; so that one gets a route, like those to other services.
"""

import posixpath
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from msgspec.structs import replace

from pushrod.adapters import dockerfile
from pushrod.core.errors import PushrodError
from pushrod.core.values import Manifest, Route, Service, Volume
from pushrod.engines.embedded import edge_locations, volumes
from pushrod.engines.embedded.builds import front_ends, images
from pushrod.engines.embedded.edge_locations import Location
from pushrod.state.apps import App

_CONFIGURATION = "/etc/nginx"
_LARGEST = 256 << 10  # bytes of a file that is read


class _Place(NamedTuple):
    """The app that a web server belongs to, the server, and the files of the commit."""

    app: App
    server: Service
    manifest: Manifest
    checkout: Path


def of(app: App, manifest: Manifest, checkout: Path) -> list[Route]:
    """The routes that the web servers of a manifest add to its own."""
    known = {route.prefix.rstrip("/") for route in manifest.routing.routes}
    files: dict[str, Route] = {}
    passed: dict[str, Route] = {}
    for server in (s for s in manifest.services if s.role == "edge"):
        place = _Place(app, server, manifest, checkout)
        for text in _configuration(server, checkout):
            for location in edge_locations.of(text):
                service = _service(location.host, manifest, checkout) if location.host else ""
                prefix = location.prefix.rstrip("/")
                if prefix in known:
                    continue
                if not location.directory:
                    if service:
                        passed.setdefault(prefix, Route(location.prefix, service, strip=location.strip))
                elif (service or not location.host) and (route := _route(place, location)):
                    files.setdefault(prefix, replace(route, service=service, suffixes=location.suffixes))
    return [*_together(files, passed, manifest)]


def _together(files: dict[str, Route], passed: dict[str, Route], manifest: Manifest) -> Iterator[Route]:
    """Files, and requests for services that these do not hide. An entry that no request would reach gets all."""
    page = files.get("")
    others = {prefix: route for prefix, route in passed.items() if prefix and prefix not in files}
    entry = manifest.entry.name if passed or page else ""
    hides = page is not None and not page.service
    if hides and entry not in {route.service for route in others.values()}:
        del files[""]
        hides = False
    yield from files.values()
    yield from (route for route in others.values() if hides or route.service != entry)


def _service(host: str, manifest: Manifest, checkout: Path) -> str:
    """The service at an address in the configuration, if it has instances that listen on a known port."""
    name = host.rpartition(":")[0] or host
    for service in manifest.stateless:
        if name in (service.name, *service.aliases) and service.role != "job" and service.replicas:
            return service.name if service is manifest.entry or images.port(service, checkout) else ""
    return ""


def _configuration(server: Service, checkout: Path) -> Iterator[str]:
    """The files of the commit that a web server has below its configuration directory."""
    sources = [v.source for v in server.volumes if v.bind and f"{v.target}/".startswith(f"{_CONFIGURATION}/")]
    sources += [
        path for path, target in _copied(server, checkout) if f"{target}/".startswith(f"{_CONFIGURATION}/")
    ]
    for source in sources:
        place = checkout / source
        if not place.resolve().is_relative_to(checkout.resolve()):
            continue
        for file in sorted(place.iterdir()) if place.is_dir() else [place]:
            named = file.name.endswith((".conf", ".template")) or file == place
            if named and file.is_file() and not file.is_symlink() and file.stat().st_size <= _LARGEST:
                yield file.read_text(errors="replace")


def _copied(server: Service, checkout: Path) -> list[tuple[str, str]]:
    """What the Dockerfile of a web server copies from the commit, and where to."""
    if server.build is None:
        return []
    context = server.build.context
    try:
        text = (checkout / context / server.build.dockerfile).read_text(errors="replace")
        recipe = dockerfile.read(text, target=server.build.target)
    except (OSError, PushrodError):
        return []
    return [
        (
            posixpath.normpath(posixpath.join(context, source.lstrip("/"))),
            posixpath.normpath(copy.destination),
        )
        for copy in (*recipe.copies, *recipe.made)
        for source in copy.sources
    ]


def _route(place: _Place, location: Location) -> Route | None:
    """The route to the files of a location; without the service that gets the other requests."""
    for volume in sorted(place.server.volumes, key=lambda v: -len(v.target)):
        if (inside := _below(location.directory, volume.target)) is not None:
            return _mounted(place, location, volume, inside)
    for path, target in _copied(place.server, place.checkout):
        if (inside := _below(location.directory, target)) is not None:
            return _committed(place, location, posixpath.normpath(posixpath.join(path, inside)))
    return None


def _committed(place: _Place, location: Location, files: str) -> Route | None:
    """The route to a directory of the commit, or to one that a project of it builds."""
    made = not (place.checkout / files).exists() and front_ends.makes(files, place.checkout)
    if not made and not _is_directory(place.checkout, files):
        return None
    there = made or (place.checkout / files / location.fallback).is_file()
    return Route(location.prefix, files=files, fallback=location.fallback if there else "")


def _mounted(place: _Place, location: Location, volume: Volume, inside: str) -> Route | None:
    if volume.bind:
        files = posixpath.normpath(posixpath.join(volume.source, inside))
        if files.startswith(("/", "..", "~")):
            return None
        if _is_directory(place.checkout, files) and volumes.is_tracked(place.checkout, volume.source):
            return _committed(place, location, files)
        data = volumes.data_path(place.app, volume.source)
        return Route(location.prefix, volume=_relative(place.app, data, inside))
    if not volume.source:
        return None
    data = volumes.named_path(place.app, volume.source)
    return Route(
        location.prefix,
        files=_built(volume, inside, place.manifest, place.checkout),
        volume=_relative(place.app, data, inside),
    )


def _built(volume: Volume, inside: str, manifest: Manifest, checkout: Path) -> str:
    """The directory of the checkout where a RUN line may make the files of a volume; empty if the commit has them."""
    for service in manifest.stateless:
        for own in (v for v in service.volumes if not v.bind and v.source == volume.source):
            layout = images.layout(service, checkout)
            below = layout.inside(posixpath.join(own.target, inside))
            place = layout.directory / below
            if (
                below
                and not layout.built
                and not volumes.is_tracked(checkout, str(place.relative_to(checkout)))
            ):
                return str(place.relative_to(checkout))
    return ""


def _below(path: str, above: str) -> str | None:
    """The rest of a path below another one; None if it is elsewhere."""
    relative = posixpath.relpath(path, above)
    return None if relative.split("/")[0] == ".." else relative


def _is_directory(checkout: Path, path: str) -> bool:
    return (checkout / path).is_dir() and (checkout / path).resolve().is_relative_to(checkout.resolve())


def _relative(app: App, place: Path, inside: str) -> str:
    return posixpath.normpath(posixpath.join(str(place.relative_to(app.directory)), inside))
