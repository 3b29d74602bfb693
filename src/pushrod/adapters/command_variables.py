"""What a manifest's author wrote, before Compose inserts values: the variables in a service's argv."""

from collections.abc import Iterator, Mapping
from typing import Any

from pushrod.core.patterns import lazy

_REFERENCE = lazy(r"\$\$|\$\{?([A-Za-z_][A-Za-z0-9_]*)")
_ARGVS = (
    ("command",),
    ("entrypoint",),
    ("healthcheck", "test"),
    ("post_start", "command"),
    ("pre_stop", "command"),
    ("x-pushrod", "release"),
    ("x-pushrod", "health"),
)


def in_argvs(document: Mapping[str, Any]) -> dict[str, set[str]]:
    """For each service, the variables in its commands; the document contains references, not values."""
    services = document.get("services")
    return {
        str(name): {n for keys in _ARGVS for text in _texts(service, keys) for n in _REFERENCE.findall(text)}
        - {""}
        for name, service in (services.items() if isinstance(services, dict) else ())
    }


def argvs_with(document: Mapping[str, Any], word: str) -> set[str]:
    """The services that have a word in one of their commands."""
    services = document.get("services")
    return {
        str(name)
        for name, service in (services.items() if isinstance(services, dict) else ())
        if any(word in text for keys in _ARGVS for text in _texts(service, keys))
    }


def _texts(value: Any, keys: tuple[str, ...]) -> Iterator[str]:
    """All text at a path of keys, which may lead through lists."""
    if isinstance(value, list):
        for item in value:
            yield from _texts(item, keys)
    elif isinstance(value, dict):
        for item in value.values() if not keys else (value.get(keys[0]),):
            yield from _texts(item, keys[1:])
    elif isinstance(value, str) and not keys:
        yield value
