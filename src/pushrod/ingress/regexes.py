"""Regular expressions that nginx matches for an app: parsed, and their worst-case cost computed. Pure.

nginx uses PCRE, which tries every possible way to match (pcre2perform(3)), in the one thread that serves all apps.
So expressions are parsed by a small grammar: characters, classes, `.`, anchors, groups, alternatives, lookahead and
lookbehind; a character may be repeated, a group may be optional. For each of these the maximum number of steps in
PCRE is known, and is computed from the end to the beginning:

- A repeated character is given back one at a time, and the rest is tried again each time. If the rest cannot begin
  with such a character (`[^/]+/`), each of these attempts fails at once, and the rest is matched once.
- Of several alternatives, those are tried that can begin with the character at hand.
- An expression without `^` is tried at every position of the text.
"""

import string
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

LONGEST_TEXT = 8192
"""Characters of the text that is matched: at the edge, a request line or a header has no more."""

LONGEST = 500
"""Characters of an expression."""

_DEEPEST = 8  # nested groups
_MOST = 1000  # bound of a counted repetition
_MOST_GROUPS = 8  # the same for a group
_MOST_PARTS = 1000

_END = 1 << 256  # beyond the 256 characters: the text ends here, or with a line feed here
_ALL = (1 << 257) - 1
_NEWLINE = 1 << 10


def _set(characters: str) -> int:
    return sum(1 << ord(c) for c in set(characters))


_ANY = (1 << 256) - 1
_DIGIT = _set(string.digits)
_WORD = _set(string.ascii_letters + string.digits + "_")
_SPACE = _set(" \t\n\r\x0b\x0c")
_CLASSES = {
    "d": _DIGIT, "w": _WORD, "s": _SPACE, "D": _ANY & ~_DIGIT, "W": _ANY & ~_WORD, "S": _ANY & ~_SPACE,
}  # fmt: skip
_CONTROLS = {"n": "\n", "r": "\r", "t": "\t"}
_ESCAPED = frozenset(string.punctuation)
_GROUPS = ("(?:", "(?=", "(?!", "(?<=", "(?<!")  # none is a prefix of another


class UnreadableError(ValueError):
    """An expression outside the grammar; the message names the unknown part."""


class Expression(NamedTuple):
    """The properties of an expression: the maximum number of steps of one match, and the number of groups; `nested`
    means that one group contains another."""

    steps: int
    groups: int
    nested: bool


def read(text: str) -> Expression:
    """Parse an expression. Raises UnreadableError."""
    if len(text) > LONGEST:
        raise UnreadableError(f"it has more than {LONGEST} characters")
    reader = _Reader(text)
    branches = reader.alternatives(0)
    if reader.at < len(text):
        raise UnreadableError("an unmatched `)`")
    anchored = [b for b in branches if b[:1] == [_START]]
    others = [b for b in branches if b[:1] != [_START]]
    steps = sum(_sequence(b, _DONE).steps + LONGEST_TEXT for b in anchored)
    if others:
        steps += (LONGEST_TEXT + 1) * _either(others, _DONE).steps
    return Expression(steps, reader.groups, reader.nested)


# ---- the parts of an expression ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Characters:
    """One of a set of characters, `least` to `most` times."""

    characters: int
    least: int = 1
    most: int = 1


@dataclass(frozen=True)
class _Group:
    """One of several branches; `ahead` marks a lookahead or lookbehind, which consumes no text."""

    branches: tuple[tuple["_Part", ...], ...]
    optional: bool = False
    ahead: bool = False


@dataclass(frozen=True)
class _Place:
    """A position between characters: the start or end of the text, or a word boundary."""

    kind: str


_Part = _Characters | _Group | _Place
_START, _FINISH, _EDGE = _Place("^"), _Place("$"), _Place("\\b")


def _size(part: _Part) -> int:
    inner = part.branches if isinstance(part, _Group) else ()
    return 1 + sum(_size(p) for branch in inner for p in branch)


class _Reader:
    def __init__(self, text: str) -> None:
        self.text, self.at, self.groups, self.nested, self.parts = text, 0, 0, False, 0
        self._open = 0  # capturing groups that are open

    def alternatives(self, depth: int) -> list[list[_Part]]:
        if depth > _DEEPEST:
            raise UnreadableError(f"more than {_DEEPEST} nested groups")
        branches: list[list[_Part]] = [[]]
        while self.at < len(self.text) and self.text[self.at] != ")":
            if self.text[self.at] == "|":
                self.at += 1
                branches.append([])
            elif self.text[self.at] == "(":
                branches[-1] += self._group(depth)
            else:
                branches[-1].append(self._part())
        return branches

    def _part(self) -> _Part:
        c = self.text[self.at]
        self.at += 1
        if c == "^":
            return _START
        if c == "$":
            return _FINISH
        if c == "\\" and self._next() in ("b", "B"):
            self.at += 1
            return _EDGE
        if c == ".":
            characters = _ANY & ~_NEWLINE
        elif c == "[":
            characters = self._class()
        elif c == "\\":
            characters = self._escaped()
        elif c in "*+?{}])" or not " " <= c <= "~":
            raise UnreadableError(
                f"`{c if ' ' <= c <= '~' else '�'}` must be escaped here: put a backslash before it"
            )
        else:
            characters = _set(c)
        return self._repeated(_caseless(characters))

    def _group(self, depth: int) -> list[_Part]:
        kind = next((k for k in _GROUPS if self.text.startswith(k, self.at)), "(")
        self.at += len(kind)
        if self._next() == "?" and kind == "(":
            raise UnreadableError("a group that begins with `(?` but is none of (?: (?= (?! (?<= (?<!")
        kept = kind == "("
        self.groups += kept
        self.nested = self.nested or (kept and self._open > 0)
        self._open += kept
        branches = tuple(tuple(b) for b in self.alternatives(depth + 1))
        self._open -= kept
        if self._next() != ")":
            raise UnreadableError("an unclosed `(`")
        self.at += 1
        if kind in _GROUPS[1:]:
            return [_Group(branches, ahead=True)]
        least, most = 1, 1
        if self._next() == "?":
            self.at += 1
            least = 0
        elif self._next() == "{":
            least, most = self._numbers()
        if most > _MOST_GROUPS or (self._next() and self._next() in "*+?{"):
            raise UnreadableError(
                f"a group that is repeated without limit, or more than {_MOST_GROUPS} times"
            )
        self.parts += most * (1 + sum(_size(part) for branch in branches for part in branch))
        if self.parts > _MOST_PARTS:
            raise UnreadableError(f"more than {_MOST_PARTS} parts, each repetition of a group counted")
        return [_Group(branches, optional=n >= least) for n in range(most)]

    def _next(self) -> str:
        return self.text[self.at : self.at + 1]

    def _escaped(self) -> int:
        c = self._next()
        self.at += 1
        if c in _CLASSES:
            return _CLASSES[c]
        if c in _CONTROLS or c in _ESCAPED:
            return _set(_CONTROLS.get(c, c))
        raise UnreadableError(f"`\\{c}`")

    def _class(self) -> int:
        negated = self._next() == "^"
        self.at += negated
        characters = 0
        while (c := self._next()) != "]" or not characters:
            if c in ("", "[", "]"):
                raise UnreadableError("an empty class, or a `[` in a class: put a backslash before it")
            first = self._member()
            if self._next() == "-" and self.text[self.at + 1 : self.at + 2] not in ("]", ""):
                self.at += 1
                last = self._member()
                low, high = first.bit_length(), last.bit_length()
                if first.bit_count() != 1 or last.bit_count() != 1 or low > high:
                    raise UnreadableError("a range in a class whose end precedes its beginning")
                first = (1 << high) - (1 << (low - 1))
            characters |= first
        self.at += 1
        characters = _caseless(characters)
        return _ANY & ~characters if negated else characters

    def _member(self) -> int:
        c = self._next()
        self.at += 1
        if c == "\\":
            return self._escaped()
        if c in ("", "[", "]") or not " " <= c <= "~":
            raise UnreadableError("an unescaped special character in a class: put a backslash before it")
        return _set(c)

    def _repeated(self, characters: int) -> _Characters:
        least, most = 1, 1
        c = self._next()
        if c and c in "*+?":
            self.at += 1
            least, most = (1 if c == "+" else 0), (1 if c == "?" else LONGEST_TEXT)
        elif c == "{":
            least, most = self._numbers()
        else:
            return _Characters(characters)
        if self._next() and self._next() in "?+":  # lazy or possessive: no additional steps
            self.at += 1
        if self._next() and self._next() in "*+?{":
            raise UnreadableError("a repeated repetition")
        return _Characters(characters, least, most)

    def _numbers(self) -> tuple[int, int]:
        end = self.text.find("}", self.at)
        low, comma, high = self.text[self.at + 1 : max(end, self.at + 1)].partition(",")
        numbers = [n for n in (low, high) if n]
        if not low or not all(
            n.isascii() and n.isdigit() and len(n) <= 4 and int(n) <= _MOST for n in numbers
        ):
            raise UnreadableError(f"a `{{` that is not a repetition up to {_MOST}: put a backslash before it")
        self.at = end + 1
        least = int(low)
        most = least if not comma else int(high) if high else LONGEST_TEXT
        if most < least:
            raise UnreadableError("a repetition with the larger number first")
        return least, most


def _caseless(characters: int) -> int:
    """The set with both cases of each letter, so that a case-insensitive match is never counted too low."""
    for upper, lower in zip(string.ascii_uppercase, string.ascii_lowercase, strict=True):
        both = _set(upper + lower)
        if characters & both:
            characters |= both
    return characters


# ---- what it costs ----------------------------------------------------------------------------------------------


class _Rest(NamedTuple):
    """The cost of matching the rest of an expression: at most `steps`, or `misses` if the next character is not in
    `first`, the set it can begin with. `always` means it matches any text."""

    steps: int
    first: int
    always: bool
    misses: int


_DONE = _Rest(0, _ALL, True, 0)


def _sequence(parts: Sequence[_Part], rest: _Rest) -> _Rest:
    for part in reversed(parts):
        rest = _one(part, rest)
    return rest


def _one(part: _Part, rest: _Rest) -> _Rest:
    if isinstance(part, _Place):
        first = _END if part == _FINISH else rest.first
        return _Rest(1 + rest.steps, first, False, 1 + rest.misses)
    if isinstance(part, _Characters):
        return _characters(part, rest)
    if part.ahead:
        looked = _either(part.branches, _DONE).steps
        return _Rest(1 + looked + rest.steps, rest.first, False, 1 + looked + rest.misses)
    rests = _either(part.branches, rest, *([rest] if part.optional else []))
    return rests._replace(steps=rests.steps + 1, misses=rests.misses + 1)


def _characters(part: _Characters, rest: _Rest) -> _Rest:
    spare = part.most - part.least
    if spare == 0 or rest.always:
        steps = part.most + rest.steps
    elif part.characters & rest.first:
        steps = part.most + (spare + 1) * rest.steps
    else:  # a `$` matches both before and after a final line feed
        steps = part.most + spare * rest.misses + (2 if rest.first & _END else 1) * rest.steps
    if part.least:
        return _Rest(steps, part.characters, False, 1)
    return _Rest(steps, part.characters | rest.first, rest.always, 1 + rest.misses)


def _either(branches: Sequence[Sequence[_Part]], rest: _Rest, *more: _Rest) -> _Rest:
    rests = [*(_sequence(b, rest) for b in branches), *more]
    misses = sum(f.misses for f in rests)
    first = 0
    for f in rests:
        first |= f.first
    tried = max((sum(f.steps for f in rests if f.first & bit) for bit in _kinds(rests)), default=0)
    return _Rest(tried + misses, first, any(f.always for f in rests), misses)


def _kinds(rests: Sequence[_Rest]) -> list[int]:
    """One character for each class of characters that the same branches can begin with."""
    kinds = [_ALL]
    for f in rests:
        kinds = [part for kind in kinds for part in (kind & f.first, kind & ~f.first) if part]
    return [kind & -kind for kind in kinds]
