"""The plain files that are sealed with a release on Docker, and what they refer to: environments, volumes, copies."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pushrod.adapters import docker
from pushrod.core.errors import ManifestError
from pushrod.core.values import Manifest, Release, Service
from pushrod.engines import machine
from pushrod.engines.docker import (
    anonymous_volumes,
    containers,
    definitions,
    environment,
    hooking,
    names,
    opened,
    rendering,
)
from pushrod.engines.docker.images import filled, parts
from pushrod.engines.docker.sources import Sources
from pushrod.engines.docker.stores import Stores
from pushrod.engines.protocols import Document
from pushrod.state.apps import App
from pushrod.state.secrets import Secrets


def render(app: App, release: Release, document: Document, manifest: Manifest) -> dict[str, str]:
    """The compose files of the release and of its stores, and which store joins which network where.

    The environment files they refer to are written beside the other secrets.
    """
    _write_environments(app, release, manifest)
    image_parts = {name: parts(image.location) for name, image in release.images.items()}
    image_parts |= {s.name: _with_filled(document, s, image_parts[s.name]) for s in manifest.stateless}
    its = mounted(app, release.commit, manifest, document, app.checkout(release.number))
    rendered = {
        names.COMPOSE: rendering.release(place_of_instances(app, its), release, document, image_parts),
        names.STORES: definitions.recorded(
            rendering.stores(place_of_stores(app, its), manifest, document, image_parts),
            document,
            manifest,
            Secrets(app).digest,
        ),
        names.ATTACHMENTS: rendering.attachments(app, release, document),
        **hooking.texts(app, release, manifest, Secrets(app).variables()),
    }
    limits = machine.of(app.root, app.name)
    its.check(limits.tree_size)
    volumes = rendering.volumes(app, document, image_parts, manifest)
    _check_volumes(image_parts, len(volumes), limits.volumes)
    opened.apart(document)
    there = docker.drivers() if volumes else {}
    for name, declared in volumes.items():
        _make_volume(app, release.number, name, declared, there)
    its.make(
        {s.name for s in manifest.stateless if not containers.as_root(document, s.name, image_parts[s.name])}
    )
    return rendered


def _with_filled(document: Document, service: Service, image: containers.Parts) -> containers.Parts:
    """The same, of an image that is built here with the directories of volumes in which it has files."""
    if service.build is None:
        return image
    paths = anonymous_volumes.candidates(document, service, image.data)
    return image._replace(filled=filled(image.name, paths))


def mounted(app: App, commit: str, manifest: Manifest, document: Document, checkout: Path) -> Sources:
    """What the services of a commit mount from its tree."""
    return Sources(app, commit, checkout, document, {s.name for s in manifest.stores})


def place_of_stores(app: App, mounted: Sources) -> containers.Place:
    """The paths and limits with which an app's stores are rendered."""

    def file(kind: str, name: str, reference: Mapping[str, Any], image: str) -> str:
        return mounted.file(kind, name, reference, image, store=True)

    return containers.Place(app, mounted.store, _room(app), file=file, running=Stores(app).running())


def place_of_instances(app: App, mounted: Sources) -> containers.Place:
    """The paths and limits with which a release's instances are rendered."""

    def file(kind: str, name: str, reference: Mapping[str, Any], image: str) -> str:
        return mounted.file(kind, name, reference, image, store=False)

    return containers.Place(app, mounted.instance, _room(app), mounted.inner, file)


def _room(app: App) -> containers.Room:
    """The limits of the app's containers on this host."""
    info = docker.info()
    slices = (
        info.get("CgroupDriver") == "systemd"
    )  # with cgroupfs a slice would be a directory without limits
    return containers.Room(machine.of(app.root, app.name), slices=slices)


def _make_volume(
    app: App, number: int, name: str, declared: Mapping[str, Any], there: Mapping[str, str]
) -> None:
    """Create a volume unless it is in `there`, which maps names of existing volumes to their drivers."""
    if not declared.get("external"):
        options, driver = declared.get("driver_opts") or {}, declared.get("driver") or "local"
        if (device := str(options.get("device") or "")).startswith("/"):
            opened.path(app, device)
        if there.get(name) != driver:
            labels = {docker.APP: app.name, docker.MADE_BY: str(number)}
            docker.make_volume(name, labels, options, driver)
    elif name not in there:
        raise ManifestError(
            f"there is no volume {name} on this host",
            where="volumes",
            hint=f"docker volume create {name}",
        )


def _write_environments(app: App, release: Release, manifest: Manifest) -> None:
    directory, sealed = names.environments(app, release.number), Secrets(app).sealed(release.number)
    for service in release.services:
        environment.write(directory / f"{service.name}.env", sealed[service.name])
        environment.write(directory / f"{service.name}.release.env", sealed[f"{service.name}:release"])
    for store in manifest.stores:
        environment.write(directory / f"store.{store.name}.env", Stores(app).environment(store))


def have_environments(app: App, release: Release) -> bool:
    """Whether each service and each store of a release has its environment file."""
    directory = names.environments(app, release.number)
    expected = [f"{s.name}{kind}.env" for s in release.services for kind in ("", ".release")]
    expected += [f"store.{s.name}.env" for s in release.stores]
    return all((directory / name).is_file() for name in expected)


def write_environments(app: App, release: Release, manifest: Manifest) -> None:
    """Write the environment files of a release again, including those of its hooks."""
    _write_environments(app, release, manifest)
    hooking.texts(app, release, manifest, Secrets(app).variables())


def _check_volumes(images: Mapping[str, containers.Parts], made: int, most: int) -> None:
    """Refuse more volumes than the host allows an app: an image can declare some too, for each of its containers."""
    asked = {"volumes": made} | {f"services.{name}": len(its.data) for name, its in images.items()}
    where, count = max(asked.items(), key=lambda item: item[1])
    if count > most:
        raise ManifestError(
            f"{count} volumes, including those declared by images, and this host allows an app {most}",
            where=where,
            hint="use fewer (VOLUME lines in images count); the host's owner can raise it: "
            f"pushrod host limits volumes={count}",
        )
