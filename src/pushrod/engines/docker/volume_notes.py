"""Notes on volumes that images declare (`VOLUME`): which of them outlive the instances."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pushrod.adapters import docker, dockerfile
from pushrod.core.errors import PushrodError
from pushrod.core.values import Manifest, Service
from pushrod.engines.docker import anonymous_volumes, images
from pushrod.engines.docker.containers import Parts
from pushrod.manifest import notes
from pushrod.state.apps import App


def of(
    app: App, document: Mapping[str, Any], manifest: Manifest, checkout: Path, named: Mapping[str, str]
) -> Iterator[str]:
    """The notes on an app's services. `named` are the names of their images: of one that is not here, only what its
    Dockerfile declares is known."""
    for service in manifest.stateless:
        image = _image(app, service, named.get(service.name, ""))
        here = image is not None
        declared = image.data if image else _declared(service, checkout)
        written = anonymous_volumes.candidates(document, service, ())
        paths = anonymous_volumes.candidates(document, service, declared)
        filled = images.filled(image.name, paths) if image and service.build else frozenset()
        if kept := [p for p in paths if p not in written and p not in filled]:
            what = f"the {'volumes' if kept[1:] else 'volume'} of its image"
            yield notes.kept_volumes(service, what, kept, built=here)
        if lost := [p for p in paths if p in filled]:
            its = "anonymous volumes" if lost[1:] else "an anonymous volume"
            yield (
                f"{service.name}: its image has files in {its} ({', '.join(lost)}): each release begins with those, "
                f"without what was written there; give {'them names' if lost[1:] else 'it a name'} to keep that"
            )


def _image(app: App, service: Service, name: str) -> Parts | None:
    """The image of a service, if it is here: a pulled one under its own name too, which a plan finds."""
    if name and docker.image(name) is not None:
        return images.parts(name)
    return None if service.build or not images.existing(app, service) else images.of_pulled(app, service)


def _declared(service: Service, checkout: Path) -> tuple[str, ...]:
    """What the Dockerfile of a service declares; that of its base image is only known once it is built."""
    if service.build is None:
        return ()
    try:
        text = (checkout / service.build.context / service.build.dockerfile).read_text(errors="replace")
        arguments = {n: v for n, v in service.build.arguments.items() if v is not None}
        return dockerfile.read(text, target=service.build.target, arguments=arguments).data
    except (OSError, PushrodError):
        return ()
