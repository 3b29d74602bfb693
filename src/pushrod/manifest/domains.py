"""`x-pushrod.domains`: the names that an app answers to. Pure."""

import re

from pushrod.errors import ManifestError
from pushrod.manifest.document import Key

_LONGEST = 253  # characters of a name as text (RFC 1035, 2.3.4: 255 octets with its lengths)
_LABEL = re.compile(r"(?!-)[a-z0-9-]{1,63}(?<!-)")
_MOST = 100  # names of an app: each is looked up by an nginx that all apps share
_EXAMPLE = "a host name such as shop.example.com, or *.example.com"


def read(key: Key) -> tuple[str, ...]:
    """The names in the form in which DNS has them (`bücher.example` is `xn--bcher-kva.example`).

    Raises ManifestError for what is no name, and for one that is there twice.
    """
    found: list[str] = []
    if len(key.sequence()) > _MOST:
        raise ManifestError(
            f"more than {_MOST} names",
            where=key.path,
            hint="`*.` in front of one stands for every name below it",
        )
    for item in key.sequence():
        name = _name(item)
        if name in found:
            raise ManifestError(f"`{item.text()}` is there twice", where=item.path, hint="name it once")
        found.append(name)
    return tuple(found)


def _name(key: Key) -> str:
    if not isinstance(key.value, str) or not key.value:
        key.wrong(_EXAMPLE)
    text = key.value
    if "/" in text or ":" in text:
        key.wrong(_EXAMPLE, hint="the name alone: no https://, no port, no path")
    if text != text.lower():
        key.wrong(_EXAMPLE, hint="write it in lower case")
    labels = text.removeprefix("*.").split(".")
    name = ".".join(_ascii(label, key) for label in labels)
    name = f"*.{name}" if text.startswith("*.") else name
    if len(name) > _LONGEST or labels[-1].isdigit():
        key.wrong(_EXAMPLE)
    return name


def _ascii(label: str, key: Key) -> str:
    try:
        found = label if label.isascii() else label.encode("idna").decode()
    except UnicodeError:
        found = ""
    if not _LABEL.fullmatch(found):
        key.wrong(_EXAMPLE)
    return found
