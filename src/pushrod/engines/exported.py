"""What is exported: an app at one commit, as values. `kubernetes` and `plain_compose` render it."""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from pushrod.core.errors import ManifestError, UnknownNameError
from pushrod.core.patterns import lazy
from pushrod.core.site import Site
from pushrod.core.values import Manifest, Service
from pushrod.engines.docker import containers, names
from pushrod.engines.docker.containers import Parts as Parts
from pushrod.manifest import image_refs

Document = Mapping[str, Any]
Variables = Mapping[str, str]
Tree = Mapping[str, bytes]
"""Files by their path in a directory; a single file has the empty path."""


class Exported(NamedTuple):
    """An app at one commit.

    `release` distinguishes it from the app's other releases in names: `r7`, or the beginning of a commit. `number` is
    what programs see as their release. `environments` are the variables of each service, and under `NAME:release`
    those of its release command; `stores` those of each store, `scripts` the files by which its image makes the app's
    roles. `is_open` says whether a variable with this name and value may be shown to anybody. `images` are the images
    of all services. `tree` returns the commit's files at a path, or None for data that the commit lacks. `site` is
    what the edge serves, without addresses of instances; `passwords` the text of each of its files of passwords.
    `variables` are the app's own secrets. `inputs` is a keyed digest of what the release is made of, without the
    commit.
    """

    app: str
    release: str
    number: int
    commit: str
    manifest: Manifest
    document: Document
    environments: Mapping[str, Variables]
    stores: Mapping[str, Variables]
    scripts: Mapping[str, Variables]
    is_open: Callable[[str, str], bool]
    images: Mapping[str, Parts]
    tree: Callable[[str], Tree | None]
    site: Site
    passwords: Variables
    variables: Variables
    inputs: str

    @property
    def instances(self) -> tuple[Service, ...]:
        """The services of which a release has instances."""
        return tuple(s for s in self.manifest.stateless if s.role != "job")

    @property
    def reached(self) -> tuple[Service, ...]:
        """The services that the edge sends requests to, the entry first."""
        entry = self.manifest.entry.name
        named = dict.fromkeys((entry, *self.manifest.routing.services))
        return tuple(self.manifest.service(name) for name in named)

    def served(self, host: Callable[[Service], str]) -> Site:
        """What the edge serves, with the address of each service at its host. Raises ManifestError if the port of one
        is unknown.
        """
        addresses = {s.name: (f"{host(s)}:{self._known(s)}",) for s in self.reached}
        first, *others = addresses
        return msgspec.structs.replace(
            self.site,
            entry=first,
            backends=addresses[first],
            others={name: addresses[name] for name in others},
        )

    def _known(self, service: Service) -> int:
        if port := self.port(service):
            return port
        raise ManifestError(
            f"the port of {service.name} is unknown",
            where=f"services.{service.name}",
            hint='publish it (ports: ["8000:8000"]), `expose` it, or EXPOSE it in the Dockerfile',
        )

    def ports(self, service: Service) -> list[tuple[int, str]]:
        """Every port on which the manifest says that instances of a service listen, with its protocol."""
        raw = containers.raw_of(self.document, service.name)
        ports = [(port, "TCP")] if (port := self.port(service)) else []
        for published in raw.get("ports") or []:
            if isinstance(published, dict) and published.get("target"):
                ports.append((int(published["target"]), str(published.get("protocol") or "tcp").upper()))
        for word in raw.get("expose") or []:
            number, _, protocol = str(word).partition("/")
            if number.isdecimal():
                ports.append((int(number), (protocol or "tcp").upper()))
        return list(dict.fromkeys(ports))

    def port(self, service: Service) -> int:
        """Where instances of a service listen; 0 if nothing says so."""
        asked = service.name in (self.manifest.entry.name, *self.manifest.routing.services)
        if service.port or asked or service.health.path or not (service.command or service.entrypoint):
            return service.port or self.images[service.name].port
        return 0


_PREFIX = lazy(r"[a-z0-9](?:[a-z0-9._:/-]{0,200}[a-z0-9])?")


def image_names(
    app: str, commit: str, services: Sequence[Service], prefix: str, given: Mapping[str, str], *, built: bool
) -> dict[str, str]:
    """The reference by which each service's image is pulled: the given one, its own, or for one that is built its
    name below `prefix`. With `built` it may also be built where it runs.

    Raises UnknownNameError for an image that nobody could pull, or a name that is none.
    """
    known = {s.name for s in services}
    for name, reference in given.items():
        if name not in known:
            raise UnknownNameError(f"no service `{name}`", hint=f"services: {', '.join(sorted(known))}")
        image_refs.check(reference, f"--image {name}")
    if prefix and not _PREFIX.fullmatch(prefix):
        raise UnknownNameError(
            f"`{prefix}` is not a place in a registry",
            hint="for example --registry registry.example.com/team",
        )
    references = {
        s.name: given.get(s.name) or s.image for s in services if s.build is None or s.name in given
    }
    for service in (s for s in services if s.name not in references):
        owner = (service.build and service.build.of) or service.name
        if not prefix and built:
            references[service.name] = f"{app}-{names.path(owner)}"
            continue
        if not prefix:
            raise UnknownNameError(
                f"the image of {service.name} is built, and the cluster has to pull it from somewhere",
                where=f"services.{service.name}.build",
                hint="--registry PREFIX names the place of all of them, --image SERVICE=REFERENCE one image",
            )
        references[service.name] = f"{prefix}/{app}-{names.path(owner)}:{commit[:12]}"
    return references


def covered(path: str, targets: Collection[str]) -> bool:
    """Whether what a program keeps at a path is in something mounted at one of these."""
    path = path.rstrip("/")
    return any(f"{path}/".startswith(f"{t}/") or t.startswith(f"{path}/") for t in targets)


def is_hidden(path: str) -> bool:
    """Whether the edge serves nobody a file at a path, because a part of it is hidden."""
    return any(part.startswith(".") and part != ".well-known" for part in path.split("/"))
