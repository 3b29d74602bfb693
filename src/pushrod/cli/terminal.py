"""All output to people: every line that pushrod prints goes through `echo`, which neutralises control characters.

Commit subjects, names of branches and files, logs, output of builds and release commands, and other programs'
errors are chosen by people who push, and shown on the terminal of the server's owner. So a line is text only:
characters that would steer a terminal (escape sequences and other C0 and C1 controls), reorder text (bidirectional
controls) or end the line are shown as an escape such as `\\x1b`. The list says what is kept (`plain`), not what is
removed.

Sequences that only choose a colour (SGR, ECMA-48 8.3.117) are removed; in an app's own log, on a terminal, those
that cannot hide text are kept: bold, dim, italic, underlined, and the six colours that are neither black nor white.
`--json` is for programs: the values are unchanged, and JSON's own escapes make them harmless on a terminal.
"""

import json
import os
import re
import sys
from typing import Any, NamedTuple, TextIO

import click
import msgspec

_SPACES = "\t\xa0\u2009\u202f\u3000"  # a tab, and characters that some languages use as a space
_JOINERS = "\u200c\u200d"  # needed by Persian, several Indic scripts, and composed emoji
_KEPT = frozenset(_SPACES + _JOINERS)
_SGR = re.compile("\x1b\\[([0-9;:]*)m")
_HARMLESS = frozenset(("", *map(str, (0, 1, 2, 3, 4, 22, 23, 24, 39, *range(31, 37), *range(91, 97)))))
_RESET = "\x1b[0m"


class Styled(NamedTuple):
    """A part of a line in one of our styles; plain text without a terminal."""

    text: str
    bold: bool = False
    dim: bool = False
    fg: str | None = None


def plain(text: str, *, colours: bool = False) -> str:
    """Text from others as one harmless line; with `colours`, colours that hide nothing are kept.

    Characters that Unicode calls printable, tabs, a few spaces and the two joiners are kept. A carriage return at
    the end is part of the line's end and is removed.
    """
    if text.isprintable():
        return text
    text = text.rstrip("\r")
    parts: list[str] = []
    start, coloured = 0, False
    for match in _SGR.finditer(text):
        parts.append(_escaped(text[start : match.start()]))
        start = match.end()
        if colours and _HARMLESS.issuperset(match[1].split(";")):
            parts.append(match[0])
            coloured = True
    parts.append(_escaped(text[start:]))
    return "".join(parts) + (_RESET if coloured else "")


def _escaped(text: str) -> str:
    if text.isprintable():
        return text
    return "".join(
        c if c.isprintable() or c in _KEPT else c.encode("unicode_escape").decode("ascii") for c in text
    )


def echo(
    *parts: str | Styled, err: bool = False, newline: bool = True, colours: bool = False, clear: bool = False
) -> None:
    """Print a line, neutralised part by part. `clear` first clears the cursor's line.

    A deployment must not fail because stderr is closed, or because its reader has gone (a client that disconnected).
    For stdout both raise, as usual.
    """
    line = "".join(_rendered(part, colours) for part in parts)
    _write(f"\r\x1b[K{line}" if clear else line, err=err, newline=newline)


def _rendered(part: str | Styled, colours: bool) -> str:
    if isinstance(part, str):
        return plain(part, colours=colours)
    return click.style(plain(part.text), bold=part.bold or None, dim=part.dim or None, fg=part.fg)


def echo_json(value: Any, *, indent: int | None = 2) -> None:
    """Print a value of pushrod's, or a container of such values, as JSON; without `indent` on one line."""
    text = json.dumps(msgspec.to_builtins(value), indent=indent, ensure_ascii=False)
    _write(re.sub(r"[^\n]", _json_escaped, text) if not text.isascii() or "\x7f" in text else text)


def _json_escaped(match: re.Match[str]) -> str:
    return match[0] if match[0].isprintable() else json.dumps(match[0])[1:-1].replace("\x7f", "\\u007f")


def ask(question: str, *, hidden: bool = False) -> str:
    """Prompt for an answer. Raises click.Abort if there is none."""
    answer: str = click.prompt(plain(question), hide_input=hidden)
    return answer


def is_terminal(stream: TextIO | None) -> bool:
    """Whether a stream is a terminal."""
    return bool(stream) and stream is not None and stream.isatty()


def _write(text: str, *, err: bool = False, newline: bool = True) -> None:
    if not err:
        click.echo(text, nl=newline)
        return
    if not sys.stderr:  # closed by the calling process
        return
    try:
        click.echo(text, err=True, nl=newline)
        sys.stderr.flush()
    except BrokenPipeError:
        silence(sys.stderr)
    except ValueError:  # closed by our own code
        pass


def silence(stream: TextIO) -> None:
    """Redirect a stream, and what it still buffers, to /dev/null: its reader has gone.

    Otherwise Python would try to flush it at exit and end with status 120 (library reference, `sys.exit`).
    """
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)
