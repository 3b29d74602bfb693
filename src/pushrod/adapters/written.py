"""What a compose file itself writes, before Compose puts values in: which variables are part of a service's argv.

Read as YAML's nodes, which no tag of Compose's own (`!reset`) or anchor can make more than the text has.
"""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from pushrod.adapters import bounds

_REFERENCE = re.compile(r"\$\$|\$\{?([A-Za-z_][A-Za-z0-9_]*)")
_ARGVS = (
    ("command",),
    ("entrypoint",),
    ("healthcheck", "test"),
    ("post_start", "command"),
    ("pre_stop", "command"),
    ("x-pushrod", "release"),
    ("x-pushrod", "health"),
)
_DEEPEST = 20  # merges (`<<`) and lists within one another


def in_argvs(files: Sequence[Path]) -> dict[str, set[str]]:
    """For each service that these files write out, the variables that its commands are made of.

    A service that takes over another's definition (`extends`) is left out: what it runs is not written here.
    """
    found: dict[str, set[str]] = {}
    for path in files:
        services = _of(_node(path), "services")
        for name, service in _items(services):
            if _of(service, "extends") is None:
                texts = [t for keys in _ARGVS for node in _at(service, keys) for t in _texts(node, set(), 0)]
                found.setdefault(name, set()).update(
                    n for text in texts for n in _REFERENCE.findall(text) if n
                )
    return found


def _node(path: Path) -> Any:
    import yaml

    text = path.read_text(errors="replace")
    try:
        return bounds.read_yaml(lambda loader: yaml.compose(text, Loader=loader), len(text))
    except yaml.YAMLError:
        return None  # Compose, which has the last word, could read it


def _items(node: Any) -> Iterator[tuple[str, Any]]:
    if getattr(node, "id", "") == "mapping":
        yield from ((key.value, value) for key, value in node.value if isinstance(key.value, str))


def _of(node: Any, key: str, depth: int = 0) -> Any:
    """The value of a key, also where a mapping is merged in."""
    own = dict(_items(node))
    if key in own or "<<" not in own or depth > _DEEPEST:
        return own.get(key)
    merged = own["<<"]
    sources = merged.value if merged.id == "sequence" else [merged]
    return next((v for s in sources if (v := _of(s, key, depth + 1)) is not None), None)


def _at(node: Any, keys: Sequence[str]) -> list[Any]:
    """What is at a path of keys, which may lead through a list, one node for each of its items."""
    nodes = [node]
    for key in keys:
        items = (item for n in nodes for item in (n.value if getattr(n, "id", "") == "sequence" else [n]))
        nodes = [_of(item, key) for item in items]
    return nodes


def _texts(node: Any, seen: set[int], depth: int) -> Iterator[str]:
    if node is None or id(node) in seen or depth > _DEEPEST:
        return
    seen.add(id(node))
    if node.id == "scalar":
        yield node.value
    elif node.id == "sequence":
        for item in node.value:
            yield from _texts(item, seen, depth + 1)
    else:
        for _, value in _items(node):
            yield from _texts(value, seen, depth + 1)
