"""The cost of reading a compose file, determined before anything is expanded: its size, its depth, and its values
including repetitions by aliases. Pure.

Seven lines of YAML can stand for five million values (`&a [x, x, …]`, `&b [*a, *a, …]`, and so on). YAML's events
name an alias without repeating its value, so counting takes time proportional to the file.
"""

import contextlib
from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

from pushrod.core.errors import ManifestError
from pushrod.core.limits import MIB, Limits, option, size

_DEPTH = 64  # levels; Compose's own schema has 9
_SLOW = MIB  # bytes for Python's own parser, which takes seconds for them

T = TypeVar("T")


class Reading(NamedTuple):
    """Limits for reading one file: bytes, and values with all aliases expanded."""

    size: int = MIB
    values: int = 100_000

    @classmethod
    def of(cls, limits: Limits) -> "Reading":
        """A host's limits for an app's files."""
        return cls(limits.manifest_size, limits.manifest_values)


def check_size(length: int, most: Reading, where: str) -> None:
    """Raise ManifestError for a file that is larger than the limit."""
    if length > most.size:
        raise ManifestError(
            f"{size(length)}, and a file that is read as part of the manifest may have at most {size(most.size)}",
            where=where,
            hint=f"keep data out of it; the host's owner can raise it: {option('manifest_size', length)}",
        )


def check_yaml(data: bytes, most: Reading, where: str) -> None:
    """Raise ManifestError for YAML that is larger, deeper or, with its aliases expanded, longer than the limits.

    Invalid YAML passes: the parser reports it.
    """
    import yaml

    check_size(len(data), most, where)

    def count(loader: Any) -> None:
        counter = _Counter(most, where)
        for event in yaml.parse(data, Loader=loader):
            counter.count(event)

    with contextlib.suppress(yaml.YAMLError, UnicodeDecodeError):
        read_yaml(count, len(data))


def read_yaml(read: Callable[[Any], T], length: int) -> T:
    """Call `read` with a safe YAML loader: libyaml's, else Python's own, which is slow but accepts what Go's parser
    accepts: a block of text that begins with a tab. Raises yaml.YAMLError.
    """
    import yaml

    fast = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        return read(fast)
    except yaml.YAMLError:
        if length > _SLOW:
            raise
        return read(yaml.SafeLoader)


class _Counter:
    """Counts the values in a stream of events; an anchor's are known at its end, and count again for each alias."""

    def __init__(self, most: Reading, where: str) -> None:
        self._most = most
        self._where = where
        self._values = 0
        self._anchors: dict[str, int] = {}
        self._open: list[
            tuple[str | None, int]
        ] = []  # for each collection: its anchor, and the values before it

    def count(self, event: Any) -> None:
        import yaml

        if isinstance(event, yaml.DocumentStartEvent):
            self._anchors = {}
        elif isinstance(event, yaml.AliasEvent):
            if (values := self._anchors.get(event.anchor or "")) is None:  # unknown, or inside itself
                self._refuse("an alias of itself, or an unknown alias", event)
            self._add(values or 0, event)
        elif isinstance(event, yaml.ScalarEvent):
            self._add(1, event)
            if event.anchor:
                self._anchors[event.anchor] = 1
        elif isinstance(event, yaml.CollectionStartEvent):
            self._anchors.pop(event.anchor or "", None)
            self._open.append((event.anchor, self._values))
            if len(self._open) > _DEPTH:
                self._refuse(f"more than {_DEPTH} levels deep", event)
            self._add(1, event)
        elif isinstance(event, yaml.CollectionEndEvent):
            anchor, before = self._open.pop()
            if anchor:
                self._anchors[anchor] = self._values - before

    def _add(self, values: int, event: Any) -> None:
        self._values += values
        if self._values > self._most.values:
            most = self._most.values
            self._refuse(
                f"more than {most} values, including those that aliases repeat",
                event,
                f"make it shorter; the host's owner can raise it: {option('manifest_values', 2 * most)}",
            )

    def _refuse(self, what: str, event: Any, hint: str = "write it out, or make it flatter") -> None:
        where = f"{self._where}:{event.start_mark.line + 1}"
        raise ManifestError(what, where=where, hint=hint)
