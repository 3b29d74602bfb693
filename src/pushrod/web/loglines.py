"""Log lines for the page: their level, and which of them a reader asked for. Pure."""

import re
from collections.abc import Iterable
from typing import Literal, NamedTuple

import msgspec

from pushrod.core.values import Line

Level = Literal["", "warning", "error"]

_WORDS = re.compile(
    r"\b(?P<error>ERROR|CRITICAL|FATAL|PANIC|SEVERE|Traceback)\b|\b(?P<warning>WARN|WARNING)\b"
)
_JSON = re.compile(r'"(?:level|severity|levelname)"\s*:\s*"(?P<word>\w+)"', re.IGNORECASE)
_KINDS = {"warn": "warning", "warning": "warning", "error": "error", "critical": "error", "fatal": "error"}


class Shown(NamedTuple):
    """A line with its level; empty if it names none that matters."""

    process: str
    text: str
    level: str


class Filter(NamedTuple):
    """What a reader asked for: a level and worse, and a text or a request's id that the line contains."""

    level: str = ""
    text: str = ""
    request: str = ""

    def fits(self, line: Shown) -> bool:
        """Whether a line matches."""
        return (
            (not self.level or line.level == "error" or line.level == self.level)
            and self.text.casefold() in line.text.casefold()
            and self.request in line.text
        )


def level(text: str) -> str:
    """`error`, `warning`, or empty: by a JSON key, else by the word in capitals that loggers write."""
    if match := _JSON.search(text):
        return _KINDS.get(match["word"].lower(), "")
    match = _WORDS.search(text)
    return match.lastgroup or "" if match else ""


def selected(lines: Iterable[Line], which: Filter) -> list[Shown]:
    """The lines that match."""
    shown = (Shown(line.process, line.text, level(line.text)) for line in lines)
    return [line for line in shown if which.fits(line)]


class _Printed(msgspec.Struct):
    process: str
    line: str


def parse(output: str) -> list[Line]:
    """The lines that `pushrod logs --json` printed; what is no line is left out."""
    result = []
    for text in output.split("\n"):
        try:
            printed = msgspec.json.decode(text, type=_Printed)
        except msgspec.DecodeError:
            continue
        result.append(Line(printed.process, printed.line))
    return result
