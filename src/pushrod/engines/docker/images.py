"""Images of an app: built from a commit's checkout, or taken from what is there, under names of pushrod's own.

A name of its own keeps what a release runs from moving under it (`nginx:latest` is another image tomorrow), and
says what may be removed with it.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pushrod.apps import App
from pushrod.engines.docker import names
from pushrod.engines.docker.rendering import Parts
from pushrod.errors import BuildError
from pushrod.gears import docker, git
from pushrod.gears.docker import Say
from pushrod.values import Image, Service

SLICE = "pushrodbuild.slice"
"""The systemd slice whose limits every build shares (gears.systemd). Its name has no dash: BuildKit takes it for a
path, and only a slice at the top is at that path (systemd.slice(5): `a-b.slice` is in `a.slice`)."""

_BOUNDS = ("--cgroup-parent", SLICE)
"""How a build is kept from starving the server."""

_CHECK = {
    "interval": "Interval",
    "timeout": "Timeout",
    "start_period": "StartPeriod",
    "start_interval": "StartInterval",
}  # a health check's times, as Compose and as Docker call them

_READ = {docker.RELEASE, docker.INSTANCE, "pushrod.probe"}
"""Labels that tell containers apart and that not each of them is given: an image could stand in for them."""

_INDEX = 12  # digits of an image's id in the name of one that was pulled


def build(app: App, commit: str, service: Service, checkout: Path, say: Say) -> Image:
    """A service's image: built, unless that commit's is there; or the one it names, pulled if it is absent.

    Raises BuildError when it cannot be built or pulled.
    """
    if service.build is None:
        return _taken(app, service, say)
    name = identify(app, commit, service)
    if docker.image(name) is None:
        context = checkout / service.build.context
        path = context / service.build.dockerfile
        where = f"{service.build.context}/{service.build.dockerfile}".removeprefix("./")
        # Docker's program follows links, and would read what is ours, or another app's.
        if not path.is_file() or not path.resolve().is_relative_to(checkout.resolve()):
            raise BuildError(
                "no such Dockerfile in the commit", where=where, hint=f"see services.{service.name}.build"
            )
        if not context.resolve().is_relative_to(checkout.resolve()):
            raise BuildError(
                "the build's context leads out of the commit, through a link",
                where=service.build.context,
                hint=f"see services.{service.name}.build",
            )
        docker.build(
            context,
            dockerfile=path,
            name=name,
            labels=_labels(app, commit, service),
            arguments=service.build.arguments,
            target=service.build.target,
            bounds=_BOUNDS,
            where=where,
            say=say,
        )
    return Image(id=_found(name)["Id"], location=name)


def identify(app: App, commit: str, service: Service) -> str:
    """The name of the image that a service of a commit runs."""
    if service.build is None:
        found = docker.image(service.image)
        return _own_name(app, service, found["Id"]) if found else service.image
    version = commit
    if (
        service.role == "store"
    ):  # only other contents make another one: each commit would restart it otherwise
        version = git.tree_id(app.repository, commit, service.build.context)
    return names.image(app, service.name, version)


def is_here(app: App, commit: str, service: Service) -> bool:
    """Whether a service's image need be neither built nor pulled."""
    return docker.image(identify(app, commit, service) if service.build else service.image) is not None


def parts(name: str) -> Parts:
    """What rendering needs to know of an image that is there."""
    config = _found(name)["Config"]
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


def of_pulled(app: App, service: Service) -> Parts:
    """The same for an image that is here under the name the manifest gives it, as it will be named."""
    return parts(service.image)._replace(name=_own_name(app, service, _found(service.image)["Id"]))


def prune(app: App, kept: Sequence[str]) -> None:
    """Take away every name of the app's images but those kept, and with it the image if that was its last."""
    for name in docker.tags(names.images(app)):
        if name not in kept:
            docker.untag(name)
    docker.prune_images(app.name)


def _taken(app: App, service: Service, say: Say) -> Image:
    found = docker.image(service.image)
    if found is None:
        say(f"pulling {service.image}")
        docker.pull(service.image, say)
        found = _found(service.image)
    name = _own_name(app, service, found["Id"])
    docker.tag(service.image, name)
    return Image(id=found["Id"], location=name)


def _own_name(app: App, service: Service, identity: str) -> str:
    return names.image(app, service.name, identity.partition(":")[2][:_INDEX])


def _found(name: str) -> dict[str, Any]:
    found = docker.image(name)
    if found is None:
        raise BuildError("the image is gone", where=name, hint="`pushrod restart` builds or fetches it again")
    return found


def _labels(app: App, commit: str, service: Service) -> dict[str, str]:
    return {docker.APP: app.name, docker.SERVICE: service.name, docker.REVISION: commit}
