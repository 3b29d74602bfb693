"""Further names by which a service is reached: `container_name`, `hostname`, aliases in networks, links. Pure."""

from collections.abc import Iterator, Mapping

from pushrod.core.patterns import lazy
from pushrod.manifest.document import Key

# A name that a line of /etc/hosts can hold.
_NAME = lazy(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,252}[A-Za-z0-9])?")
_LOCAL = ("localhost",)


def read(services: Mapping[str, Key]) -> dict[str, tuple[str, ...]]:
    """The further names of each service, without names of other services, which take precedence."""
    links = [str(link.value) for key in services.values() for link in key.get("links").sequence()]
    names: dict[str, tuple[str, ...]] = {}
    for name, key in services.items():
        linked = (alias for target, _, alias in (link.partition(":") for link in links) if target == name)
        given = (str(n) for n in (*own(key), *linked) if n)
        usable = (n for n in given if _NAME.fullmatch(n) and n not in services and n not in _LOCAL)
        names[name] = tuple(dict.fromkeys(usable))
    return names


def own(key: Key) -> Iterator[object]:
    """The names that a service gives itself, as they are in the file."""
    yield key.get("container_name").value
    yield key.get("hostname").value
    networks = key.get("networks")
    for name in networks.mapping() if isinstance(networks.value, dict) else ():
        for alias in networks.get(name).get("aliases").sequence():
            yield alias.value
