"""`x-pushrod.domains`: the names an app answers to. Pure."""

from collections.abc import Sequence

from pushrod.core.errors import ManifestError
from pushrod.core.patterns import lazy
from pushrod.manifest.document import Key

_LONGEST = 253  # characters of a name as text (RFC 1035, 2.3.4: 255 octets including the lengths)
_LONGEST_LABEL = 63  # characters between two dots, from the same place
_LABEL = lazy(r"(?!-)[a-z0-9-]{1,63}(?<!-)")
_MOST = 100  # names of an app: the nginx that looks them up is shared by all apps
_DEVIATING = frozenset("\u00df\u03c2\u200c\u200d")  # Unicode Technical Standard 46, table 2
_EXAMPLE = "a host name such as shop.example.com, or *.example.com"


def read(key: Key) -> tuple[str, ...]:
    """The names in DNS form (`bücher.example` becomes `xn--bcher-kva.example`).

    Raises ManifestError for an invalid name and for a duplicate.
    """
    names: list[str] = []
    if len(key.sequence()) > _MOST:
        raise ManifestError(
            f"more than {_MOST} names",
            where=key.path,
            hint="a leading `*.` covers every name below it",
        )
    for item in key.sequence():
        name = _name(item)
        if name in names:
            raise ManifestError(f"`{item.text()}` is listed twice", where=item.path, hint="name it once")
        names.append(name)
    return tuple(names)


def one(names: Sequence[str]) -> str:
    """A name to use in the Host header of health checks: the first that is not a wildcard, else one a wildcard
    covers."""
    return next((n for n in names if not n.startswith("*.")), "") or next(
        (n.replace("*", "any", 1) for n in names), ""
    )


def redirects(key: Key, names: tuple[str, ...]) -> dict[str, str]:
    """`x-pushrod.redirects`: names that redirect to one of `names`.

    Raises ManifestError for an invalid name, and for a target that is not a name of the app or redirects itself.
    """
    targets: dict[str, str] = {}
    if len(key.mapping()) > _MOST:
        key.wrong(f"at most {_MOST} names")
    for source, item in key.mapping().items():
        name, target = _name(Key(item.path, source)), _name(item)
        if name in names or name in targets:
            item.wrong(
                "a name that is listed only once, in `domains` or here",
                hint=f"remove `{source}` from `domains`",
            )
        if target not in names or target.startswith("*."):
            item.wrong("one of the names in `domains`", hint="the name that the app answers to, without `*.`")
        targets[name] = target
    return targets


def _name(key: Key) -> str:
    if not isinstance(key.value, str) or not key.value:
        key.wrong(_EXAMPLE)
    try:
        return normal(key.value)
    except ValueError as e:
        key.wrong(_EXAMPLE, hint=str(e))


def normal(text: str) -> str:
    """A name in the one form that all of pushrod compares; raises ValueError, with what to do, if it is invalid.

    Names that DNS considers equal must be the same text, so no other form is accepted. A Unicode name becomes its
    `xn--` form; letters that browsers and the older rules (RFC 3490) map differently must be written in that form.
    """
    if "/" in text or ":" in text:
        raise ValueError("only the name: no https://, no port, no path")
    if text != text.lower():
        raise ValueError("write it in lower case")
    if set(text) & _DEVIATING:
        raise ValueError("write that label in its xn-- form: programs disagree on it")
    labels = text.removeprefix("*.").split(".")
    name = ".".join(map(_ascii, labels))
    name = f"*.{name}" if text.startswith("*.") else name
    if len(name) > _LONGEST:
        raise ValueError(f"a name has at most {_LONGEST} characters")
    if labels[-1].isdigit():
        raise ValueError("")
    return name


def _ascii(label: str) -> str:
    try:
        encoded = label if label.isascii() else label.encode("idna").decode()
    except UnicodeError:
        encoded = ""
    if not _LABEL.fullmatch(encoded):
        raise ValueError(
            f"each part has at most {_LONGEST_LABEL} characters" if len(encoded) > _LONGEST_LABEL else ""
        )
    return encoded
