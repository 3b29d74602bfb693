"""Names, labels and the form of exported objects. Pure."""

import hashlib
import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from pushrod.adapters import docker
from pushrod.core.errors import ManifestError
from pushrod.engines.exported import Exported, Tree

Object = dict[str, Any]

ROLE = "pushrod.role"
"""The label that says what a pod is: `instance`, `job`, `store` or `edge`."""

_LONGEST = (
    52  # characters: a Job's and a StatefulSet's pods have names that are a little longer, of at most 63
)
_LABEL = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
_KEY = re.compile(r"[-._a-zA-Z0-9]{1,253}")
MOST = 900 << 10
"""Bytes of the files in one ConfigMap or Secret; etcd takes objects of at most 1.5 MB, the API 1 MiB of such data."""


EDGE = "nginx:1.29"
"""The image of the edge, unless another is given."""


class Cluster(NamedTuple):
    """What rendering needs to know about the cluster: its version, the app's namespace, and the image of the edge."""

    namespace: str
    version: tuple[int, int] = (1, 34)
    edge: str = EDGE

    def has(self, minor: int) -> bool:
        """Whether it is of version 1.MINOR or newer."""
        return self.version >= (1, minor)


def name(*words: str) -> str:
    """An object's name: a DNS label. One that is too long or has other characters gets a digest."""
    text = "-".join(words)
    plain = re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")
    if plain == text and len(text) <= _LONGEST:
        return text
    return f"{plain[: _LONGEST - 9].strip('-')}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"


def of_release(x: Exported, *words: str) -> str:
    """The name of an object of the release."""
    return name(x.app, x.release, *words)


def is_label(text: str) -> bool:
    """Whether a name can be one in the cluster's DNS."""
    return _LABEL.fullmatch(text) is not None


def labels(x: Exported, role: str, service: str, *, release: bool = True) -> dict[str, str]:
    """The labels of an object and its pods; they select them, too."""
    own = {docker.APP: x.app, ROLE: role, docker.SERVICE: name(service)}
    return own | ({docker.RELEASE: x.release} if release else {})


def make(
    kind: str, version: str, called: str, cluster: Cluster, labelled: Mapping[str, str], **content: Any
) -> Object:
    """An object; content that is None is left out."""
    metadata = {"name": called, "namespace": cluster.namespace, "labels": dict(labelled)}
    return {"apiVersion": version, "kind": kind, "metadata": metadata, **without_none(content)}


def without_none(value: Mapping[str, Any]) -> Object:
    """The mapping without what is None or empty."""
    return {k: v for k, v in value.items() if v is not None and v != {} and v != []}


class Mounted(NamedTuple):
    """Files in a ConfigMap or Secret: its data, and which key is which path."""

    text: dict[str, str]
    binary: dict[str, str]
    items: list[dict[str, str]]


def files(tree: Tree, where: str) -> Mounted:
    """Files as data of an object. Raises ManifestError if they are too large for one."""
    if (size := sum(map(len, tree.values()))) > MOST:
        raise ManifestError(
            f"its files take {size >> 10} KiB, and a ConfigMap holds {MOST >> 10} KiB",
            where=where,
            hint="put them into an image",
        )
    text, binary, items = dict[str, str](), dict[str, str](), list[dict[str, str]]()
    for number, (path, raw) in enumerate(sorted(tree.items())):
        base = path.rpartition("/")[2]
        key = base if _KEY.fullmatch(base) and "/" not in path else f"file-{number}"
        try:
            text[key] = raw.decode()
        except UnicodeDecodeError:
            import base64

            binary[key] = base64.b64encode(raw).decode()
        items.append({"key": key, "path": path or key})
    return Mounted(text, binary, items)


def digest(*texts: str | bytes) -> str:
    """A short name for contents."""
    whole = hashlib.sha256()
    for text in texts:
        raw = text.encode() if isinstance(text, str) else text
        whole.update(len(raw).to_bytes(8, "big") + raw)
    return whole.hexdigest()[:10]


def of_tree(tree: Tree) -> str:
    """The same for files."""
    return digest(*(part for path, raw in sorted(tree.items()) for part in (path, raw)))


def references(place: Any, kind: str) -> Iterator[str]:
    """The names of the ConfigMaps (`configMap`) or Secrets (`secret`) that an object refers to."""
    if isinstance(place, list):
        for item in place:
            yield from references(item, kind)
    elif isinstance(place, dict):
        for key, value in place.items():
            if key == f"{kind}Ref" and isinstance(value, dict):
                yield value["name"]
            elif key == kind and isinstance(value, dict):
                yield value.get("secretName") or value.get("name") or ""
            else:
                yield from references(value, kind)
