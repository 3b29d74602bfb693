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
from pathlib import Path
from typing import Any, NamedTuple, NoReturn, TextIO

import click
import msgspec

from pushrod.core.printable import plain
from pushrod.core.values import Program
from pushrod.system import processes


class Styled(NamedTuple):
    """A part of a line in one of our styles; plain text without a terminal."""

    text: str
    bold: bool = False
    dim: bool = False
    fg: str | None = None


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


def at_terminal() -> bool:
    """Whether the user is at a terminal: both standard input and output are one."""
    return is_terminal(sys.stdin) and is_terminal(sys.stdout)


def attach(program: Program) -> NoReturn:
    """Run a program on our own standard streams, and exit with its status."""
    sys.exit(processes.attach(program.argv, cwd=Path(program.cwd), env=program.environment))


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
