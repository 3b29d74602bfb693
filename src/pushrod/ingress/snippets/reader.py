"""Parses snippets into directives, with a smaller grammar than nginx's: anything that both might read differently is
refused.
"""

import re
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from pushrod.core.errors import ManifestError
from pushrod.core.patterns import lazy

_PIECE = lazy(
    r"""(?P<space>[ \t\r\n]+)|(?P<comment>\#[^\n]*)|(?P<mark>[;{}])
    |(?P<quoted>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')(?=[ \t\r\n;{)])
    |(?P<word>(?:[^\s;{}"'\\\#$]|\\\S|\$\{[A-Za-z0-9_]+\}|\$(?!\{))+)(?=[ \t\r\n;{])""",
    re.VERBOSE,
)
_CONTROL = lazy(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
_ESCAPED = lazy(r"""\\(["'\\trn])""")
_MEANT: Mapping[str, str] = {"t": "\t", "r": "\r", "n": "\n"}


class Line(NamedTuple):
    """A directive with its arguments, and where it begins; `ends` is the character after it."""

    number: int
    words: tuple[str, ...]
    ends: str


def lines(text: str, where: str) -> Iterator[Line]:
    """Every directive. Refuses anything that this parser and nginx might read in two ways."""
    words: list[str] = []
    at, began = 0, 1
    while at < len(text):
        number = text.count("\n", 0, at) + 1
        piece = _PIECE.match(text, at)
        if piece is None or _CONTROL.search(piece[0]):
            shown = text[at:].split("\n", 1)[0].strip()[:40]
            raise ManifestError(
                f"cannot be parsed with certainty: {_CONTROL.sub('�', shown)}",
                where=f"{where}:{number}",
                hint="put quotes around the whole word",
            )
        at = piece.end()
        if word := piece["quoted"] or piece["word"]:
            began = began if words else number
            words.append(_ESCAPED.sub(_unescaped, word[1:-1] if piece["quoted"] else word))
        elif piece["mark"]:
            yield Line(began if words else number, tuple(words), piece["mark"])
            words = []
    if words:
        raise ManifestError(f"`{words[0]}` does not end with `;`", where=f"{where}:{began}", hint="add it")


def _unescaped(match: re.Match[str]) -> str:
    return _MEANT.get(match[1], match[1])
