"""The one door to whoever reads: every line that pushrod prints goes through `say`, which makes it harmless.

Subjects of commits, names of branches and files, logs, what builds and release commands print, and other programs'
errors are chosen by whoever may push, and read on the terminal of the server's owner. So a line is text alone: what
would steer a terminal (escape sequences and other C0 and C1 controls), reorder what is read (bidirectional controls)
or end the line is shown as an escape such as `\\x1b`. What stays is listed (`plain`), not what goes.

Sequences that only choose a colour (SGR, ECMA-48 8.3.117) are left out; in an app's own log those that can hide
nothing stay on a terminal: bold, dim, italic, underlined, and the six colours that are neither black nor white.
`--json` is for programs: the values are what they are, and JSON's own escapes keep them off a terminal.
"""

import json
import os
import re
import sys
from typing import Any, NamedTuple, TextIO

import click
import msgspec

_SPACES = "\t\xa0\u2009\u202f\u3000"  # a tab, and what some languages have in the place of a space
_JOINERS = "\u200c\u200d"  # Persian and several Indic scripts need them, and emoji of several people
_KEPT = frozenset(_SPACES + _JOINERS)
_SGR = re.compile("\x1b\\[([0-9;:]*)m")
_HARMLESS = frozenset(("", *map(str, (0, 1, 2, 3, 4, 22, 23, 24, 39, *range(31, 37), *range(91, 97)))))
_RESET = "\x1b[0m"


class Styled(NamedTuple):
    """A part of a line in a style of ours; without a terminal it is plain text."""

    text: str
    bold: bool = False
    dim: bool = False
    fg: str | None = None


def plain(text: str, *, colours: bool = False) -> str:
    """What came from others, as one line that does nothing but be read; with `colours` those that hide nothing stay.

    Kept are characters that Unicode calls printable, tabs, a few spaces and the two joiners. A carriage return at the
    end belongs to a line's end and goes with it.
    """
    if text.isprintable():
        return text
    text = text.rstrip("\r")
    parts: list[str] = []
    start, coloured = 0, False
    for found in _SGR.finditer(text):
        parts.append(_escaped(text[start : found.start()]))
        start = found.end()
        if colours and _HARMLESS.issuperset(found[1].split(";")):
            parts.append(found[0])
            coloured = True
    parts.append(_escaped(text[start:]))
    return "".join(parts) + (_RESET if coloured else "")


def _escaped(text: str) -> str:
    if text.isprintable():
        return text
    return "".join(
        c if c.isprintable() or c in _KEPT else c.encode("unicode_escape").decode("ascii") for c in text
    )


def say(
    *parts: str | Styled, err: bool = False, newline: bool = True, colours: bool = False, clear: bool = False
) -> None:
    """Print a line, made harmless part by part. `clear` first clears the line that the cursor is on.

    A reader of stderr that has gone away (a client that hung up), or a stream that is closed, must not end a
    deployment. For stdout that raises, as everywhere.
    """
    line = "".join(_rendered(part, colours) for part in parts)
    _write(f"\r\x1b[K{line}" if clear else line, err=err, newline=newline)


def _rendered(part: str | Styled, colours: bool) -> str:
    if isinstance(part, str):
        return plain(part, colours=colours)
    return click.style(plain(part.text), bold=part.bold or None, dim=part.dim or None, fg=part.fg)


def say_json(value: Any, *, indent: int | None = 2) -> None:
    """Print a value of ours, or one made of them, as JSON; without `indent` on one line."""
    text = json.dumps(msgspec.to_builtins(value), indent=indent, ensure_ascii=False)
    _write(re.sub(r"[^\n]", _json_escaped, text) if not text.isascii() or "\x7f" in text else text)


def _json_escaped(found: re.Match[str]) -> str:
    return found[0] if found[0].isprintable() else json.dumps(found[0])[1:-1].replace("\x7f", "\\u007f")


def ask(question: str, *, hidden: bool = False) -> str:
    """What a person answers. Raises click.Abort where nobody does."""
    answer: str = click.prompt(plain(question), hide_input=hidden)
    return answer


def is_terminal(stream: TextIO | None) -> bool:
    """Whether a person reads a stream as it is written."""
    return bool(stream) and stream is not None and stream.isatty()


def _write(text: str, *, err: bool = False, newline: bool = True) -> None:
    if not err:
        click.echo(text, nl=newline)
        return
    if not sys.stderr:  # closed by whoever called us
        return
    try:
        click.echo(text, err=True, nl=newline)
        sys.stderr.flush()
    except BrokenPipeError:
        silence(sys.stderr)
    except ValueError:  # closed by somebody of ours
        pass


def silence(stream: TextIO) -> None:
    """Send what goes to a stream, and what it still holds, nowhere: its reader has gone away.

    Else Python would try once more at its end and leave with status 120 (library reference, `sys.exit`).
    """
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)
