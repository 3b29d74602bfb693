"""The walk through a document: `keys` has the treatment of each key, a rule reduces its value. Pure."""

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from pushrod.core.errors import ManifestError
from pushrod.core.limits import Limits, written
from pushrod.core.traits import BY_NAME
from pushrod.core.values import EngineName
from pushrod.manifest import discovery, grants, keys
from pushrod.manifest.document import Key
from pushrod.manifest.policy.refusals import Want, refuse_key

Document = dict[str, Any]
Tracked = Callable[[str], bool]
Rule = Callable[["Reading", Key], object]
"""Takes the value of a key and returns the allowed part of it, or `GONE`."""


class Terms(NamedTuple):
    """What an app may ask for: `allowed` are grants; `tracked` returns whether the commit has a path (a file, or a
    directory with files in it); `private` is the directory of pushrod's own files, which no grant opens.
    """

    engine: EngineName
    limits: Limits
    allowed: Collection[str] = ()
    tracked: Tracked = lambda _: True
    private: str = ""


class Permitted(NamedTuple):
    """The allowed part of the document, and notes about the rest."""

    document: Document
    notes: tuple[str, ...]


_OWNERS = ("services", "networks", "volumes", "configs", "secrets")

GONE = object()
"""The result of a rule that allows no part of a value."""


class Reading:
    """A document while it is reduced: the grants it needs, and notes."""

    def __init__(self, terms: Terms, app: str, rules: Mapping[str, Rule]) -> None:
        self.terms, self.limits, self.app = terms, terms.limits, app
        self.rules = rules
        self.wants: list[Want] = []
        self.owner = Key("", None)  # the service, or volume, that is being read
        self._noted: dict[str, list[str]] = {}
        self._left: dict[str, list[str]] = {}

    @property
    def notes(self) -> tuple[str, ...]:
        """The notes, each once, with all services to which it applies."""
        notes = self._noted | {f"{listed(words)} not applied": whose for words, whose in self._by_words()}
        return tuple(f"{', '.join(dict.fromkeys(whose))}: {what}" for what, whose in notes.items())

    def _by_words(self) -> Iterator[tuple[tuple[str, ...], list[str]]]:
        whose: dict[tuple[str, ...], list[str]] = {}
        for name, words in self._left.items():
            whose.setdefault(tuple(dict.fromkeys(words)), []).append(name)
        yield from whose.items()

    def note(self, what: str) -> None:
        """Note that the app gets something other than what its file asks for."""
        self._noted.setdefault(what, []).append(self._whose())

    def leave(self, key: Key) -> object:
        """Leave a key out, with a note."""
        self._left.setdefault(self._whose(), []).append(self.name(key))
        return GONE

    def name(self, key: Key) -> str:
        """A key's path within its service or volume."""
        return re.sub(r"\[[0-9]+\]", "", key.path.removeprefix(self.owner.path).lstrip("."))

    def _whose(self) -> str:
        kind, _, name = self.owner.path.partition(".")
        return name if kind == "services" else f"{kind.removesuffix('s')} {name}"

    def has(self, word: str) -> bool:
        """Whether the owner has given this grant."""
        return grants.covered(word, self.terms.allowed)

    def want(self, key: Key, word: str) -> object:
        """Keep a value that needs a grant."""
        self.wants.append(Want(key, word))
        return key.value

    def value(self, key: Key, path: str) -> object:
        """The allowed part of a value."""
        row, rule = keys.TABLE.get(path), self.rules.get(path)
        if row is not None:
            return self._ruled(key, row)
        if rule is not None and BY_NAME[self.terms.engine].containers:
            return rule(self, key)
        if isinstance(key.value, list):
            kept = (self.value(item, path) for item in key.sequence())
            return [item for item in kept if item is not GONE]
        if isinstance(key.value, dict) and keys.holds_keys(path):
            return self.mapping(key, path)
        if key.value is None or path in keys.WORDED:
            return key.value
        return key.wrong("a mapping")

    def mapping(self, key: Key, path: str) -> Document:
        """The allowed part of a mapping; a key without a row is refused by name."""
        permitted: Document = {}
        for name, item in key.mapping().items():
            if path in _OWNERS:
                self.owner = item
            if name.startswith("x-"):
                if name == "x-pushrod":
                    permitted[name] = item.value
                continue
            below = f"{path}.{name}" if path else name
            if not (below in keys.TABLE or keys.holds_keys(below)):
                below = f"{path}.*" if path else "*"
            if not (below in keys.TABLE or keys.holds_keys(below)):
                self._unknown(item, name, path)
            value = GONE if self._is_replaced(item, path) else self.value(item, below)
            if value is not GONE:
                permitted[name] = value
        return permitted

    def _is_replaced(self, key: Key, path: str) -> bool:
        """Whether the edge replaces this service, which discovers others through Docker's socket and has no grant for
        it.
        """
        named = path == "services" and BY_NAME[self.terms.engine].containers
        if not named or self.has("docker-socket") or not discovery.asks_docker(key):
            return False
        word = f"pushrod apps allow {self.app or 'APP'} docker-socket"
        self.note(
            f"the edge replaces it, because it uses Docker's socket; the host's owner can grant that: {word}"
        )
        return True

    def _ruled(self, key: Key, row: keys.Row) -> object:
        fate = row.fate(self.terms.engine)
        if fate == "refused" and key.value not in (None, [], {}, False):
            refuse_key(key)
        if not BY_NAME[self.terms.engine].containers:
            return self.rules[row.path](self, key) if fate == "bounded" else key.value
        if fate == "noted" and key.value not in (None, [], {}, False, "", 0):
            return self.leave(key)
        if fate in ("noted", "ignored"):
            return GONE
        rule = self.rules.get(row.path)
        return rule(self, key) if rule and key.value is not None else key.value

    def _unknown(self, key: Key, name: str, path: str) -> None:
        place = f"{path}." if path else ""
        known = {p.removeprefix(place).partition(".")[0] for p in keys.TABLE if p.startswith(place)} - {"*"}
        raise ManifestError(
            f"unknown key `{name}`",
            where=key.path,
            hint=f"only known keys are allowed; known here: {', '.join(sorted(known))}",
        )


def listed(words: Iterable[str]) -> str:
    """Words, formatted for a note."""
    return ", ".join(f"`{word}`" for word in words)


def at_most(on: Reading, key: Key, value: int, name: str) -> int:
    """A number, at most the limit of that name; a missing or negative value means unlimited and becomes the limit."""
    most: int = getattr(on.limits, name)
    if 0 < value <= most:
        return value
    on.note(
        f"`{on.name(key)}` is {written(name, most)}, the most that this host allows ({limit_option(name)})"
    )
    return most


def limit_option(name: str) -> str:
    """The name of the limit (`pushrod host limits`) in a note."""
    return f"limit {name.replace('_', '-')}"
