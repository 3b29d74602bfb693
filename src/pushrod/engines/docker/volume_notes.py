"""Notes on volumes that images declare (`VOLUME`): which of them outlive the instances."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pushrod.adapters import docker, dockerfile
from pushrod.core.errors import PushrodError
from pushrod.core.values import Manifest, Service
from pushrod.engines.docker import images, own_volumes
from pushrod.manifest import notes


def of(
    document: Mapping[str, Any], manifest: Manifest, checkout: Path, named: Mapping[str, str]
) -> Iterator[str]:
    """The notes on an app's services. `named` are the names of their images: of one that is not here, only what its
    Dockerfile declares is known."""
    for service in manifest.stateless:
        name = named.get(service.name, "")
        here = bool(name) and docker.image(name) is not None
        declared = images.parts(name).data if here else _declared(service, checkout)
        written = own_volumes.candidates(document, service, ())
        paths = own_volumes.candidates(document, service, declared)
        filled = images.filled(name, paths) if here and service.build else frozenset()
        if kept := [p for p in paths if p not in written and p not in filled]:
            what = f"the {'volumes' if kept[1:] else 'volume'} of its image"
            yield notes.kept_volumes(service, what, kept, built=here)
        if lost := [p for p in paths if p in filled]:
            its = "unnamed volumes" if lost[1:] else "an unnamed volume"
            yield (
                f"{service.name}: its image has files in {its} ({', '.join(lost)}): each release begins with those, "
                f"without what was written there; give {'them names' if lost[1:] else 'it a name'} to keep that"
            )


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
