"""A service while the manifest is read, before its role is known. Pure."""

from collections.abc import Iterable
from typing import NamedTuple

import msgspec

from pushrod.core.values import Service
from pushrod.manifest import likelihood
from pushrod.manifest.document import Key
from pushrod.manifest.image_refs import Reference


class Draft(NamedTuple):
    """A service while the manifest is read: its values, its place in the file, and what its role is derived from.

    `chosen` is `x-pushrod.role`. `reference` is the image it runs or, if it is built, its base image. `listening`
    is the evidence that it answers HTTP: `published`, `exposed`, `health`, `labelled` for a proxy, `routes`, `root`
    for a route `/`. `published` is the published port's number on the host (0: none, or any). `awaits` names the
    services that must have ended before this one starts. `hint` is weaker evidence: `checked` by its health
    check or `bound` by its command, with the port `hinted`, or `image`, whose own command it runs and which exposes
    one. `shares` means that it writes data shared by all releases;
    `borrows` that its volumes are other services' too, or that it only reads them.
    """

    service: Service
    key: Key
    chosen: str
    reference: Reference
    listening: frozenset[str]
    published: int
    holds_data: bool
    awaits: tuple[str, ...]
    shares: bool = False
    borrows: bool = False
    hint: str = ""
    hinted: int = 0

    @property
    def name(self) -> str:
        """The service's name."""
        return self.service.name

    @property
    def needed(self) -> tuple[str, ...]:
        """The services that it starts after."""
        return (*self.service.depends_on, *self.awaits)

    @property
    def image_name(self) -> str:
        """The last component of the name of the image, or of the one from which it is built; empty if that one is a
        tool from which ordinary programs are built."""
        name = self.reference.name
        return "" if self.service.build and likelihood.base_of_apps(name) else name

    def with_(self, **changes: object) -> "Draft":
        """A copy of this draft with fields of its service changed."""
        return self._replace(service=msgspec.structs.replace(self.service, **changes))


def same_image(one: Service, other: Service) -> bool:
    """Whether two services run the same image."""
    if one.build and other.build:
        return msgspec.structs.replace(one.build, of="") == msgspec.structs.replace(other.build, of="")
    return one.build == other.build and one.image == other.image


def enumerated(names: Iterable[str]) -> str:
    """Names as a sentence lists them: `a, b and c`."""
    *most, last = names
    return f"{', '.join(most)} and {last}" if most else last
