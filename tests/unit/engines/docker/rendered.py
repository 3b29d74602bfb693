"""Compose files rendered from a manifest, without an engine: properties of images are given."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from pushrod import manifest
from pushrod.adapters import compose
from pushrod.core.values import Image, Instance, Manifest, Release
from pushrod.engines.docker import addresses, containers, rendering
from pushrod.engines.docker.containers import Parts, Room
from pushrod.manifest import policy
from pushrod.manifest.policy import Terms
from pushrod.state.apps import App, Root
from tests.unit import samples

APP = App(Root(Path("/var/lib/pushrod")), "shop")
POSTGRES = Parts("pushrod/shop/postgres:1111", root=True, data=("/var/lib/postgresql/data",), port=5432)
REDIS = Parts("pushrod/shop/redis:2222", root=True, data=("/data",), port=6379)
NGINX = Parts("pushrod/shop/nginx:3333", root=True, port=80)
OWN = Parts("pushrod/shop/backend:0123", root=False, port=8080)


class Rendered(NamedTuple):
    """A rendered manifest."""

    release: str
    stores: str
    attachments: str
    sealed: Release
    parsed: Manifest
    document: Mapping[str, Any]

    def service(self, name: str) -> dict[str, Any]:
        """A service of the release's file, else of the stores' file."""
        result = rendering.services(self.release) | rendering.services(self.stores)
        return dict(result[name])


def render(
    directory: Path, images: Mapping[str, Parts], variables: Mapping[str, str] | None = None
) -> Rendered:
    """Read a directory's compose file as the docker engine does, place it at the start of the pool, and render it."""
    document = compose.load(directory, project="shop", variables=variables or {})
    return render_document(document, images, compose.bases(document, directory))


def render_document(
    given: Mapping[str, Any],
    images: Mapping[str, Parts],
    bases: Mapping[str, str],
    allowed: tuple[str, ...] = (),
) -> Rendered:
    """The same for a resolved document, and for an app with grants."""
    document, _ = policy.apply(given, Terms("docker", samples.LIMITS, allowed))
    parsed = manifest.read(document, engine="docker", bases=bases)
    result = {s.name: images.get(s.name, OWN) for s in parsed.services}
    network = addresses.choose(
        "10.213.0.0/16", [], sum(s.replicas for s in parsed.stateless) + len(parsed.stores)
    )
    lower, _ = addresses.halves(network)
    names = [(f"{s.name}-{n}", s) for s in parsed.stateless for n in range(1, s.replicas + 1)]
    sealed = samples.release(
        7,
        engine="docker",
        entry=parsed.entry.name,
        services=parsed.stateless,
        stores=parsed.stores,
        images={name: Image(id="sha256:0", location=parts.name) for name, parts in result.items()},
        instances=tuple(
            Instance(name, s.name, addresses.port(s, result[s.name].port, parsed), lower.address(index))
            for index, (name, s) in enumerate(names)
        ),
        network=network,
    )  # fmt: skip
    place = containers.Place(
        APP,
        lambda source: f"/bound/{source}",
        Room(samples.LIMITS, slices=True),
        file=lambda kind, name, *_: f"/private/{kind}/{name}",
    )
    return Rendered(
        rendering.release(place, sealed, document, result),
        rendering.stores(place, parsed, document, result),
        rendering.attachments(APP, sealed, document),
        sealed,
        parsed,
        document,
    )
