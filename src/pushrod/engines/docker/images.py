"""Images of an app: built from a commit's checkout, or taken from what is there, under names of pushrod's own.

A name of its own keeps what a release runs from moving under it (`nginx:latest` is another image tomorrow), and
says what may be removed with it.
"""

import posixpath
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

from pushrod.adapters import docker, dockerfile, git
from pushrod.adapters.docker import Say
from pushrod.core.errors import BuildError
from pushrod.core.values import Image, Manifest, Service
from pushrod.engines import health_rule
from pushrod.engines.docker import names
from pushrod.engines.docker.builders import Builder, carrying
from pushrod.engines.docker.containers import Parts
from pushrod.manifest import image_refs
from pushrod.state.apps import App
from pushrod.system import trees

_CHECK = {
    "interval": "Interval",
    "timeout": "Timeout",
    "start_period": "StartPeriod",
    "start_interval": "StartInterval",
}  # a health check's times, as Compose and as Docker call them

_READ = {docker.RELEASE, docker.INSTANCE, health_rule.PROBE, health_rule.HOSTS}
"""Labels that tell containers apart and that not each of them is given: an image could stand in for them."""

_REGISTRY = "host-registry"  # the word of `grants`
_LONGEST = 256 << 10  # bytes of a Dockerfile
_INDEX = 12  # digits of an image's id in the name of one that was pulled


def build(app: App, commit: str, service: Service, checkout: Path, say: Say) -> Image:
    """A service's image: built, unless that commit's is there; or the one it names, pulled if it is absent.

    The app's builder pulls it: a registry is whatever the manifest says, and leads on to wherever it likes.

    Raises BuildError when it cannot be built or pulled.
    """
    if service.build is None:
        return _taken(app, service, say)
    name = identify(app, commit, service)
    if docker.image(name) is None:
        context, path, where = _sources(service, checkout)
        Builder(app).build(
            context,
            dockerfile=path,
            name=name,
            labels=_labels(app, commit, service),
            arguments=service.build.arguments,
            target=service.build.target,
            named=[found.reference for found in _named(service, path)],
            where=where,
            say=say,
        )
    return Image(id=_found(name)["Id"], location=name)


def check(service: Service, checkout: Path) -> None:
    """Refuse a Dockerfile that names an image which no app may name. Raises ManifestError, or BuildError where it
    is not there."""
    if service.build is not None:
        _, path, where = _sources(service, checkout)
        for found in _named(service, path):
            image_refs.check(found.reference, f"{where}:{found.line}")


def _sources(service: Service, checkout: Path) -> tuple[Path, Path, str]:
    """The context of a build, its Dockerfile, and what that is called."""
    assert service.build is not None  # noqa: S101  whoever asks has seen to it
    wanted = posixpath.join(service.build.context, service.build.dockerfile)
    where = posixpath.normpath(wanted)
    hint = f"see services.{service.name}.build"
    # Docker's program follows links, and would read what is ours, or another app's: so it is given none.
    try:
        context = checkout / trees.resolve(checkout, service.build.context).path
        path = checkout / trees.resolve(checkout, wanted).path
    except OSError as e:
        what = "the build leads out of the commit, through a link"
        raise BuildError(what, where=where, hint=hint) from e
    if not path.is_file():
        raise BuildError("no such Dockerfile in the commit", where=where, hint=hint)
    return context, path, where


def _named(service: Service, path: Path) -> list[dockerfile.Named]:
    """The images that a Dockerfile names. Raises BuildError for one that is too long to be read."""
    assert service.build is not None  # noqa: S101  likewise
    if path.stat().st_size > _LONGEST:
        raise BuildError(
            f"the Dockerfile is longer than {_LONGEST >> 10} KiB",
            where=service.build.dockerfile,
            hint="put what it does into files of the repository",
        )
    arguments = {n: v for n, v in service.build.arguments.items() if v is not None}
    return dockerfile.images(path.read_text(errors="replace"), arguments=arguments)


def identify(app: App, commit: str, service: Service) -> str:
    """The name of the image that a service of a commit runs."""
    if service.build is None:
        found = present(app, service)
        return found.name if found else service.image
    version = commit
    if (
        service.role == "store"
    ):  # only other contents make another one: each commit would restart it otherwise
        version = git.tree_id(app.repository, commit, service.build.context)
    return names.image(app, service.build.of or service.name, version)


def here(reference: str) -> dict[str, Any] | None:
    """What the engine knows of the image that carries this name; what it finds only by an ID is not here."""
    found = docker.image(reference)
    return found if found is not None and carrying([reference], [found]) else None


class Present(NamedTuple):
    """An image that a service names and that is here: its name of the app's own, and what the engine knows of it."""

    name: str
    known: Mapping[str, Any]


def present(app: App, service: Service) -> Present | None:
    """The image that a service names, where it is here."""
    if found := here(service.image):
        return Present(_own_name(app, service, found["Id"]), found)
    name = _by_digest(app, service)
    given = docker.image(name) if name else None
    return Present(name, given) if given else None


def look(app: App, commit: str, manifest: Manifest) -> None:
    """Ask for all images at once that a deployment will ask for one by one."""
    services = (*manifest.stateless, *manifest.stores)
    images = [s.image if s.build is None else identify(app, commit, s) for s in services]
    docker.images([*docker.tags(names.images(app)), *images])


def is_here(app: App, commit: str, service: Service) -> bool:
    """Whether a service's image need be neither built nor pulled."""
    if service.build is None:
        return present(app, service) is not None
    return docker.image(identify(app, commit, service)) is not None


def parts(name: str) -> Parts:
    """What rendering needs to know of an image that is there."""
    return _parts(name, _found(name))


def of_pulled(app: App, service: Service) -> Parts:
    """The same for an image that is here under the name the manifest gives it, as it will be named."""
    found = present(app, service) or _gone(service.image)
    return _parts(found.name, found.known)


def _parts(name: str, found: Mapping[str, Any]) -> Parts:
    config = found["Config"]
    user = str(config.get("User") or "").split(":")[0]
    ports = [p.partition("/") for p in config.get("ExposedPorts") or {}]
    exposed = sorted(int(number) for number, _, protocol in ports if protocol in ("", "tcp"))
    data = tuple(sorted(config.get("Volumes") or {}))
    check = config.get("Healthcheck") or {}
    # Docker has times in nanoseconds.
    times = {name: (check.get(known) or 0) / 1e9 for name, known in _CHECK.items()}
    _check_labels(name, config.get("Labels") or {})
    return Parts(
        name,
        root=user in ("", "0", "root"),
        data=data,
        port=exposed[0] if exposed else 0,
        check={**times, "retries": check.get("Retries") or 0} if check.get("Test") else {},
    )


def _check_labels(name: str, labels: Mapping[str, str]) -> None:
    """Refuse an image that calls itself what pushrod calls containers: those have the labels of their image."""
    if taken := sorted(_READ & {*labels}):
        raise BuildError(
            f"the image has the label `{taken[0][:60]}`, which is pushrod's own",
            where=name,
            hint="take the LABEL out of its Dockerfile",
        )


def prune(app: App, kept: Sequence[str], named: str = "") -> None:
    """Take away every name of the app's images but those kept, and with it the image if that was its last. `named` is
    a text in which others stand that are kept too."""
    for name in docker.tags(names.images(app)):
        if name not in kept and name not in named:
            docker.untag(name)
    docker.prune_images(app.name)


def _taken(app: App, service: Service, say: Say) -> Image:
    found = present(app, service)
    if found is None:
        say(f"pulling {service.image}")
        if _REGISTRY in app.settings.allowed:
            docker.pull(service.image, say)
        else:
            _pull(app, service, say)
        found = present(app, service) or _gone(service.image)
    identity = found.known["Id"]
    if (docker.image(found.name) or {}).get("Id") != identity:
        docker.tag(identity, found.name)
    return Image(id=identity, location=found.name)


def _pull(app: App, service: Service, say: Say) -> None:
    """Have the app's builder pull an image, in its own network, and the host's engine know what has come."""
    builder, asked, name = Builder(app), service.image, _by_digest(app, service)
    hint = f"; a registry of the host's own network needs: pushrod apps allow {app.name} {_REGISTRY}"
    with builder.awake():
        had = bool(carrying([asked], docker.images([asked], at=builder.engine)))
        docker.pull(asked, say, at=builder.engine, hint=hint)
        if name:
            docker.tag(asked, name, at=builder.engine)
        docker.copy(name or asked, source=builder.engine, target=None)
        for one in filter(None, (name, "" if had else asked)):
            docker.untag(one, at=builder.engine)


def _by_digest(app: App, service: Service) -> str:
    """What an image is called that is asked for by its digest, which no engine tells another; empty otherwise."""
    digest = service.image.partition("@")[2]
    return _own_name(app, service, digest) if digest else ""


def _own_name(app: App, service: Service, identity: str) -> str:
    return names.image(app, service.name, identity.partition(":")[2][:_INDEX])


def _found(name: str) -> dict[str, Any]:
    return docker.image(name) or _gone(name)


def _gone(name: str) -> NoReturn:
    raise BuildError("the image is gone", where=name, hint="`pushrod restart` builds or fetches it again")


def _labels(app: App, commit: str, service: Service) -> dict[str, str]:
    return {docker.APP: app.name, docker.SERVICE: service.name, docker.REVISION: commit}
