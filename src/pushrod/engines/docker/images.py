"""Images of an app: built from a commit's checkout, or existing ones, under names of pushrod's own.

A name of its own keeps a release's image fixed (`nginx:latest` is another image tomorrow), and shows what may be
removed with the release.
"""

import contextlib
import functools
import graphlib
import posixpath
import tarfile
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

import msgspec

from pushrod.adapters import docker, dockerfile, git
from pushrod.adapters.docker import OnLine
from pushrod.core.errors import BuildError
from pushrod.core.values import Build, Image, Manifest, Service
from pushrod.engines import health_rule
from pushrod.engines.docker import names
from pushrod.engines.docker.builders import Builder, carrying
from pushrod.engines.docker.containers import Parts
from pushrod.manifest import image_refs
from pushrod.state.apps import App
from pushrod.system import processes, trees

_CHECK = {
    "interval": "Interval",
    "timeout": "Timeout",
    "start_period": "StartPeriod",
    "start_interval": "StartInterval",
}  # a health check's times, as Compose and Docker name them

_READ = {docker.RELEASE, docker.INSTANCE, health_rule.PROBE, health_rule.HOSTS}
"""Labels that identify containers but are not set on each of them: an image could supply them."""

_REGISTRY = "host-registry"  # the grant
_LONGEST = 256 << 10  # bytes of a Dockerfile
_SYNTAX = "BUILDKIT_SYNTAX"  # the build argument that goes before a Dockerfile's own `# syntax=`
# Docker repeats an image's labels and ports in every list of containers, which programs for all apps ask for.
_MOST_DESCRIBED = 256 << 10  # bytes of an image's configuration
_MOST_VOLUMES = 50  # of an image; each container has them
_READING = 60.0  # seconds to find a file in a directory of an image
_INDEX = 12  # digits of an image's ID in the name of a pulled image


def build(app: App, commit: str, service: Service, checkout: Path, on_line: OnLine) -> Image:
    """A service's image: built, unless the commit's image exists; or the one it names, pulled if missing.

    The app's builder pulls it, because the manifest chooses the registry, which may redirect anywhere.

    Raises BuildError if it cannot be built or pulled.
    """
    if service.build is None:
        return _existing_or_pulled(app, service, on_line)
    name = identify(app, commit, service)
    if docker.image(name) is None:
        context, path, where = _sources(service, checkout)
        builder = Builder(app)
        siblings = {
            n: _of_sibling(app, commit, other, service.build) for n, other in service.build.siblings.items()
        }
        with builder.awake(), _lent(siblings, builder.engine):
            builder.build(
                context,
                dockerfile=path,
                name=name,
                labels=_labels(app, commit, service),
                arguments=service.build.arguments,
                target=service.build.target,
                named=[i.reference for i in _named(service, path) if i.reference not in siblings],
                where=where,
                on_line=on_line,
            )
    return Image(id=_inspected(name)["Id"], location=name)


@contextlib.contextmanager
def _lent(siblings: Mapping[str, str], engine: Path) -> Iterator[None]:
    """Images of the app under the names that a Dockerfile has for them, in the builder's engine during the block."""
    for reference, own in siblings.items():
        docker.copy(own, source=None, target=engine)
        docker.tag(own, reference, at=engine)
    try:
        yield
    finally:
        for name in {*siblings, *siblings.values()}:
            docker.untag(name, at=engine)


def in_order(services: Sequence[Service]) -> Sequence[Service]:
    """The services, each after those that build what it is built from."""
    after = {s.name: set(s.build.siblings.values()) if s.build else set() for s in services}
    by_name = {s.name: s for s in services}
    try:
        return [by_name[name] for name in graphlib.TopologicalSorter(after).static_order() if name in by_name]
    except graphlib.CycleError as e:
        raise BuildError(
            f"{' and '.join(dict.fromkeys(e.args[1]))} are built from each other's images",
            where="services",
            hint="build one of them from another image",
        ) from e


def check(service: Service, checkout: Path, allowed: Collection[str] = ()) -> None:
    """Refuse a Dockerfile that names an image which no app may name, or a frontend that this one may not.

    Raises ManifestError, or BuildError if the file is missing. `allowed` is what the host's owner has granted.
    """
    if service.build is None:
        return
    _, path, where = _sources(service, checkout)
    named = _named(service, path)
    if image_refs.FRONTEND not in allowed:
        # Decoded as the builder reads it: it takes a lone carriage return for a space, not for the end of a line.
        for image in dockerfile.frontends(path.read_bytes().decode(errors="replace")):
            image_refs.check_frontend(image.reference, f"{where}:{image.line}")
        if given := (service.build.arguments.get(_SYNTAX) or "").split():
            image_refs.check_frontend(given[0], f"services.{service.name}.build.args.{_SYNTAX}")
    for image in named:
        image_refs.check(image.reference, f"{where}:{image.line}")


def _sources(service: Service, checkout: Path) -> tuple[Path, Path, str]:
    """The context of a build, its Dockerfile, and the Dockerfile's path in the commit."""
    assert service.build is not None  # noqa: S101 checked by the caller
    dockerfile = posixpath.join(service.build.context, service.build.dockerfile)
    where = posixpath.normpath(dockerfile)
    hint = f"see services.{service.name}.build"
    # Docker's program follows links and would read pushrod's or another app's files, so it gets none.
    try:
        context = checkout / trees.resolve(checkout, service.build.context).path
        path = checkout / trees.resolve(checkout, dockerfile).path
        if (ignored := context / ".dockerignore").is_symlink():
            trees.resolve(checkout, str(ignored.relative_to(checkout)))
    except OSError as e:
        what = "the build leads out of the commit, through a link"
        raise BuildError(what, where=where, hint=hint) from e
    if not path.is_file():
        raise BuildError("no such Dockerfile in the commit", where=where, hint=hint)
    return context, path, where


def _named(service: Service, path: Path) -> list[dockerfile.Named]:
    """The images that a Dockerfile names. Raises BuildError if it is too long."""
    assert service.build is not None  # noqa: S101 checked by the caller
    if path.stat().st_size > _LONGEST:
        raise BuildError(
            f"the Dockerfile is longer than {_LONGEST >> 10} KiB",
            where=service.build.dockerfile,
            hint="move commands into scripts in the repository",
        )
    arguments = {n: v for n, v in service.build.arguments.items() if v is not None}
    return dockerfile.images(path.read_text(errors="replace"), arguments=arguments)


def identify(app: App, commit: str, service: Service) -> str:
    """The name of the image that a service of a commit runs."""
    if service.build is None:
        image = existing(app, service)
        return image.name if image else service.image
    if service.role == "store":
        return _of_store(app, commit, service.build.of or service.name, service.build.context)
    return _of_sibling(app, commit, service.build.of or service.name, service.build)


def _of_sibling(app: App, commit: str, name: str, build: Build) -> str:
    """The name of the image that a service, which may be a store, builds for this one."""
    if name in build.stores:
        return _of_store(app, commit, name, build.stores[name])
    return names.image(app, name, commit)


def _of_store(app: App, commit: str, name: str, context: str) -> str:
    """Only other contents give another name; otherwise each commit would restart the store."""
    return names.image(app, name, git.tree_id(app.repository, commit, context))


def here(reference: str) -> dict[str, Any] | None:
    """What the engine knows of the image with this reference; None if the engine finds it only by ID."""
    image = docker.image(reference)
    return image if image is not None and carrying([reference], [image]) else None


class Existing(NamedTuple):
    """An existing image that a service names: the name pushrod gives it, and what the engine knows of it."""

    name: str
    known: Mapping[str, Any]


def existing(app: App, service: Service) -> Existing | None:
    """The image that a service names, if it exists here."""
    if image := here(service.image):
        return Existing(_own_name(app, service, image["Id"]), image)
    name = _by_digest(app, service)
    given = docker.image(name) if name else None
    return Existing(name, given) if given else None


def prefetch(app: App, commit: str, manifest: Manifest, checkout: Path) -> None:
    """Query all images of a deployment, and those they are built from, in one call, so that later single queries are
    answered from its result."""
    services = (*manifest.stateless, *manifest.stores)
    images = [s.image if s.build is None else identify(app, commit, s) for s in services]
    bases = [i.reference for s in services if s.build for i in _named(s, _sources(s, checkout)[1])]
    docker.images([*docker.tags(names.images(app)), *images, *bases])


def is_here(app: App, commit: str, service: Service) -> bool:
    """Whether a service's image exists, so that it need be neither built nor pulled."""
    if service.build is None:
        return existing(app, service) is not None
    return docker.image(identify(app, commit, service)) is not None


def parts(name: str) -> Parts:
    """What rendering needs to know about an existing image."""
    return _parts(name, _inspected(name))


def of_pulled(app: App, service: Service) -> Parts:
    """The same for an existing image that still has the manifest's name for it, under the name it will get."""
    image = existing(app, service) or _gone(service.image)
    return _parts(image.name, image.known)


def filled(name: str, paths: Sequence[str]) -> frozenset[str]:
    """Those of these directories in which an existing image has a file, other than one that only keeps an empty
    directory in Git. Raises HostError if an image cannot be read.
    """
    return frozenset(path for path in paths if _has_files(_inspected(name)["Id"], path))


@functools.lru_cache(maxsize=256)
def _has_files(image: str, directory: str) -> bool:
    made = docker.docker("create", "--network=none", "--entrypoint=none", image).strip()
    argv = ["docker", "cp", "--follow-link", f"{made}:{directory}", "-"]
    try:
        with (
            processes.output_of(argv, env=docker.environment(), timeout=_READING) as archive,
            tarfile.open(fileobj=archive, mode="r|") as tar,
        ):
            return any(not m.isdir() and posixpath.basename(m.name) not in git.PLACEHOLDERS for m in tar)
    except tarfile.ReadError:  # no such directory: Docker writes nothing
        return False
    finally:
        docker.remove([made])


def _parts(name: str, image: Mapping[str, Any]) -> Parts:
    config = image["Config"]
    _check_size(name, config)
    user = str(config.get("User") or "").split(":")[0]
    ports = [p.partition("/") for p in config.get("ExposedPorts") or {}]
    exposed = sorted(int(number) for number, _, protocol in ports if protocol in ("", "tcp"))
    data = tuple(sorted(config.get("Volumes") or {}))
    check = config.get("Healthcheck") or {}
    # Docker gives times in nanoseconds.
    times = {name: (check.get(known) or 0) / 1e9 for name, known in _CHECK.items()}
    _check_labels(name, config.get("Labels") or {})
    return Parts(
        name,
        root=user in ("", "0", "root"),
        data=data,
        port=exposed[0] if exposed else 0,
        check={**times, "retries": check.get("Retries") or 0} if check.get("Test") else {},
    )


def _check_size(name: str, config: Mapping[str, Any]) -> None:
    """Refuse an image whose description alone would make Docker slow for every app."""
    size, volumes = len(msgspec.json.encode(config)), len(config.get("Volumes") or {})
    if size > _MOST_DESCRIBED:
        what = f"the image's labels, ports and variables have {size >> 10} KiB, and may have {_MOST_DESCRIBED >> 10}"
        raise BuildError(what, where=name, hint="remove some of LABEL, EXPOSE and ENV from its Dockerfile")
    if volumes > _MOST_VOLUMES:
        what = f"the image has {volumes} volumes, and may have {_MOST_VOLUMES}"
        raise BuildError(what, where=name, hint="remove some of VOLUME from its Dockerfile")


def _check_labels(name: str, labels: Mapping[str, str]) -> None:
    """Refuse an image with the labels by which pushrod identifies containers: a container inherits its image's
    labels.
    """
    if taken := sorted(_READ & {*labels}):
        raise BuildError(
            f"the image has the label `{taken[0][:60]}`, which is pushrod's own",
            where=name,
            hint="remove the LABEL from its Dockerfile",
        )


def remove_unused(app: App, kept: Sequence[str], named: str = "") -> None:
    """Remove every name of the app's images except those in `kept` and in the text `named`, and images without
    names.
    """
    for name in docker.tags(names.images(app)):
        if name not in kept and name not in named:
            docker.untag(name)
    docker.prune_images(app.name)


def _existing_or_pulled(app: App, service: Service, on_line: OnLine) -> Image:
    image = existing(app, service)
    if image is None:
        on_line(f"pulling {service.image}")
        if _REGISTRY in app.settings.allowed:
            docker.pull(service.image, on_line)
        else:
            _pull(app, service, on_line)
        image = existing(app, service) or _gone(service.image)
    identity = image.known["Id"]
    if (docker.image(image.name) or {}).get("Id") != identity:
        docker.tag(identity, image.name)
    return Image(id=identity, location=image.name)


def _pull(app: App, service: Service, on_line: OnLine) -> None:
    """Pull an image in the app's builder, in its own network, and load the result into the host's engine."""
    builder, asked, name = Builder(app), service.image, _by_digest(app, service)
    hint = f"; a registry of the host's own network needs: pushrod apps allow {app.name} {_REGISTRY}"
    with builder.awake():
        had = bool(carrying([asked], docker.images([asked], at=builder.engine)))
        docker.pull(asked, on_line, at=builder.engine, hint=hint)
        if name:
            docker.tag(asked, name, at=builder.engine)
        docker.copy(name or asked, source=builder.engine, target=None)
        for one in filter(None, (name, "" if had else asked)):
            docker.untag(one, at=builder.engine)


def _by_digest(app: App, service: Service) -> str:
    """The name for an image that the manifest names by digest, which engines do not transfer; empty for others."""
    digest = service.image.partition("@")[2]
    return _own_name(app, service, digest) if digest else ""


def _own_name(app: App, service: Service, identity: str) -> str:
    return names.image(app, service.name, identity.partition(":")[2][:_INDEX])


def _inspected(name: str) -> dict[str, Any]:
    return docker.image(name) or _gone(name)


def _gone(name: str) -> NoReturn:
    raise BuildError("the image is gone", where=name, hint="`pushrod restart` builds or fetches it again")


def _labels(app: App, commit: str, service: Service) -> dict[str, str]:
    return {docker.APP: app.name, docker.SERVICE: service.name, docker.REVISION: commit}
