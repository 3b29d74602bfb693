"""How many of each thing an app may have: services, instances, stores, volumes, files, releases. Pure."""

from typing import NoReturn

import msgspec

from pushrod.core.errors import ManifestError
from pushrod.core.limits import Limits
from pushrod.core.values import Manifest
from pushrod.manifest.document import Key
from pushrod.manifest.policy.reading import limit_option

_CHECKS = 10.0  # health checks of an app in a second


def within(manifest: Manifest, limits: Limits) -> Manifest:
    """The manifest with `keep` reduced to the host's limit. Raises ManifestError for too many instances and
    stores.
    """
    count = sum(s.replicas for s in manifest.stateless if s.role != "job") + len(manifest.stores)
    if count > limits.containers:
        too_many("containers", count, limits.containers, "services")
    if manifest.keep <= limits.releases:
        return manifest
    note = (
        f"`x-pushrod.keep` is {limits.releases}, the most that this host allows ({limit_option('releases')})"
    )
    return msgspec.structs.replace(manifest, keep=limits.releases, notes=(*manifest.notes, note))


def paced_for(limits: Limits, containers: int) -> Limits:
    """The limits with an interval that lets so many containers have no more than _CHECKS health checks a second:
    each is a process that the engine starts, which no limit of the app counts.
    """
    interval = max(limits.health_interval, containers / _CHECKS)
    return msgspec.structs.replace(limits, health_interval=interval)


def checked(top: Key) -> int:
    """The number of containers of a document with a health check."""
    services = (s for s in top.get("services").mapping().values() if isinstance(s.value, dict))
    counts = (
        (s.get("deploy").get("replicas").value, s.get("scale").value)
        for s in services
        if s.get("healthcheck").given
    )
    return sum(max((n for n in both if isinstance(n, int)), default=1) for both in counts)


def count_each(top: Key, limits: Limits) -> None:
    """Raise ManifestError if a document has more of a thing than the host allows."""
    bounds = {
        "services": limits.services,
        "networks": limits.volumes,
        "volumes": limits.volumes,
        "configs": limits.files,
        "secrets": limits.files,
    }
    for kind, most in bounds.items():
        if (count := len(top.get(kind).mapping())) > most:
            too_many(kind, count, most, kind)


def too_many(kind: str, count: int, most: int, where: str) -> NoReturn:
    """Raise ManifestError for a number of things, with the limit that would have to be raised."""
    limit = {"networks": "volumes", "configs": "files", "secrets": "files"}.get(kind, kind)
    raise ManifestError(
        f"{count} {kind}, and this host allows {most} per app",
        where=where,
        hint=f"use fewer; the host's owner can raise it: pushrod host limits {limit}={count}",
    )
