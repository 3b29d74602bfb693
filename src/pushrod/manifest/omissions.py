"""What a manifest asks for and the embedded engine does not do: the keys that `keys` calls noted. Pure."""

import posixpath
from collections.abc import Callable, Collection, Iterator
from typing import Any

from pushrod.manifest import keys
from pushrod.manifest.document import Key

_NOTHING: tuple[object, ...] = (None, [], {}, False, "", 0)
_MEMORY = {"services.*.mem_limit", "services.*.deploy.resources.limits.memory"}
_ASKS: dict[str, Callable[[Any], bool]] = {
    "services.*.build.additional_contexts": lambda value: any(
        not str(source).startswith("service:") for source in value.values()
    ),
    "services.*.deploy.mode": lambda value: value != "replicated",
    "services.*.deploy.restart_policy": lambda value: value.get("condition") in ("none", "on-failure"),
    "services.*.logging.driver": lambda value: value not in ("json-file", "local", "none"),
    "services.*.restart": lambda value: str(value).startswith(("no", "on-failure")),
    "services.*.runtime": lambda value: value != "runc",
    "services.*.stop_signal": lambda value: str(value).removeprefix("SIG") not in ("TERM", "15"),
    "services.*.user": lambda value: str(value).partition(":")[0] in ("root", "0"),
    "volumes.*.driver": lambda value: value != "local",
}
"""Whether a value asks for anything other than what the engine does anyway; for other keys each value does."""


def of_service(service: Key, *, java: bool, starts_in: str = "") -> tuple[str, ...]:
    """The noted keys of a service, in the table's order, each by its path in the service: as short as it can be
    without a key that is used. With `java` its memory is left out, because a JVM's has a note of its own, and a
    `working_dir` if that is where its programs start anyway.
    """
    asked = {*_asked(service, "services.*")} - (_MEMORY if java else set())
    if starts_in and posixpath.normpath(service.get("working_dir").text() or "/") == starts_in:
        asked -= {"services.*.working_dir"}
    return tuple(dict.fromkeys(_shown(path) for path in keys.TABLE if path in asked))


def of_volumes(volumes: Key, used: Collection[str], app: str) -> Iterator[str]:
    """The notes on the volumes in use that are elsewhere, or of another kind."""
    for name, volume in volumes.mapping().items():
        words = sorted(path.rpartition(".")[2] for path in _asked(volume, "volumes.*"))
        given = volume.get("name").text()
        if given == name or (app and given.startswith(f"{app}_")):  # the loader gives each volume a name
            words = [word for word in words if word != "name"]
        if words and name in used:
            listed = ", ".join(f"`{word}`" for word in words)
            yield (
                f"volume {name}: {listed} not applied on the embedded engine: it is a directory of the app, "
                "without the data that are elsewhere"
            )


def _asked(key: Key, path: str) -> Iterator[str]:
    """The paths, as in the table, of the noted keys that have a value."""
    row = keys.TABLE.get(path)
    if row is not None:
        if row.embedded == "noted" and key.value not in _NOTHING and _ASKS.get(path, bool)(key.value):
            yield path
    elif isinstance(key.value, list):
        for item in key.sequence():
            yield from _asked(item, path)
    elif isinstance(key.value, dict):
        for name, item in key.mapping().items():
            below = f"{path}.{name}"
            known = below in keys.TABLE or keys.holds_keys(below)
            yield from _asked(item, below if known else f"{path}.*")


def _shown(path: str) -> str:
    """A key's path in its service, or that of the keys above it of which none is used."""
    parts = path.split(".")
    for n in range(3, len(parts)):
        above = ".".join(parts[:n])
        if all(row.embedded == "noted" for p, row in keys.TABLE.items() if p.startswith(f"{above}.")):
            parts = parts[:n]
            break
    return ".".join(part for part in parts[2:] if part != "*")
