"""Stores whose data was upgraded to another major version: what their rendered definition becomes. Pure.

Each cluster has a volume of its own, because neither version can read the other's data. The sealed files of a release
name the volume and the image of its manifest; whenever they are applied, the cluster that the app has takes their
place. So one record decides, and a return to the old cluster is a change of that record.
"""

import posixpath
import re
from collections.abc import Callable, Mapping

from pushrod.core.errors import StoreError
from pushrod.core.upgrades import Cluster
from pushrod.engines.docker import rendering
from pushrod.engines.docker.containers import Raw

Environment = Callable[[str], Mapping[str, str]]
"""The environment of an image, by its name."""

_TAG = re.compile(r"(?P<before>[a-z]*)(?P<major>[1-9][0-9]?)(?P<minor>(?:\.[0-9]+)*)(?P<after>(?:-.*)?)")


def key(store: str, major: str) -> str:
    """The key of the volume of an upgraded store, in its rendered file."""
    return f"{store}-pg{major}"


def image_of(reference: str, after: str) -> str:
    """The image of another major version: `postgres:15-alpine` → `postgres:17-alpine`. Empty if unknown.

    A minor version is left out, because it is another one.
    """
    name, colon, tag = reference.partition("@")[0].rpartition(":")
    match = _TAG.fullmatch(tag)
    if not colon or "/" in tag or not match or "@" in reference:
        return ""
    return f"{name}:{match['before']}{after}{match['after']}"


def directory(given: Mapping[str, str], image: Mapping[str, str]) -> str:
    """The directory of the cluster in a container, by its environment and its image's."""
    return posixpath.normpath(given.get("PGDATA") or image.get("PGDATA") or "/var/lib/postgresql/data")


def mount(service: Raw, data: str) -> Raw | None:
    """The mount of a rendered service that holds a directory."""
    holding = [
        v for v in service.get("volumes") or [] if isinstance(v, dict) and _within(data, str(v.get("target")))
    ]
    return max(holding, key=lambda v: len(str(v["target"])), default=None)


def _within(path: str, place: str) -> bool:
    place = posixpath.normpath(place)
    return path == place or path.startswith(f"{place}/")


def applied(
    text: str,
    number: int,
    commit: str,
    clusters: Mapping[str, Cluster],
    environment: Environment,
    given: Callable[[str], Mapping[str, str]],
) -> str:
    """The rendered file of the stores of a release, `number` of `commit`, with the clusters that the app has. `given`
    is the environment that a store has of its own, by the store.

    Raises StoreError for a release that cannot run on one of them.
    """
    whole = rendering.loaded(text)
    services = whole.get("services") or {}
    changed = [name for name in clusters if name in services]
    for name in changed:
        its = clusters[name]
        service, image = services[name], environment(str(services[name]["image"]))
        data, major = directory(given(name), image), image.get("PG_MAJOR", "")
        held = mount(service, data)
        entry = {"type": "volume", "source": key(name, its.major), "target": its.target}
        if major and major != its.major:
            _check_older(name, its, major, number, commit)
            service["image"] = its.image
        elif held is None or posixpath.relpath(data, str(held["target"])) != its.path:
            where = posixpath.normpath(posixpath.join("/", data, *[".."] * len(_parts(its.path))))
            raise StoreError(
                f"its data is at {its.path} of its volume, and the manifest mounts no volume at {where}",
                where=f"service {name}",
                hint=f"mount its volume there: `volumes: [data:{where}]`",
            )
        else:
            entry["target"] = str(held["target"])
        service["volumes"] = [*(v for v in service.get("volumes") or [] if v is not held), entry]
        whole["volumes"] = {
            **(whole.get("volumes") or {}),
            key(name, its.major): {"name": its.volume, "external": True},
        }
    return rendering.header(text) + rendering.written(whole) if changed else text


def _check_older(store: str, its: Cluster, major: str, number: int, commit: str) -> None:
    """Only what was deployed before an upgrade may still name the older version: the next commit must not."""
    if int(major) < int(its.major) and (number <= its.release or commit == its.commit):
        return
    raise StoreError(
        f"its data is from PostgreSQL {its.major}, and the manifest names PostgreSQL {major}",
        where=f"service {store}",
        hint=f"name PostgreSQL {its.major} in the compose file"
        + (f", then run `pushrod db upgrade --to {major}`" if int(major) > int(its.major) else ""),
    )


def _parts(path: str) -> list[str]:
    return [part for part in path.split("/") if part not in ("", ".")]
