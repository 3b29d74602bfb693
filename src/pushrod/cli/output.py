"""How pushrod talks: steps with their times, errors with a place and a remedy, JSON for programs."""

import json
import os
import sys
import threading
import time
from collections.abc import Sequence
from typing import Any, TextIO

import click
import msgspec

from pushrod.errors import PushrodError
from pushrod.host import signals_held
from pushrod.values import Maintenance

_SLOW = 1.0  # seconds after which a plain line says what is being waited for


def print_error(error: PushrodError) -> None:
    """Print an error to stderr: the end of the log that shows it, what, where, and what to do."""
    lines = [f"  | {line}" for line in error.log]
    lines.append(f"pushrod: {error.what}")
    if error.where:
        lines.append(f"  where:  {error.where}")
    if error.hint:
        lines.append(f"  to do:  {error.hint}")
    for line in lines:
        _say(line)


def print_json(value: Any) -> None:
    """Print a value of ours, or one made of them, as JSON."""
    click.echo(json.dumps(msgspec.to_builtins(value), indent=2, ensure_ascii=False))


def print_table(header: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> None:
    """Print rows in columns; bold header on a terminal, plain text elsewhere."""
    widths = [max(len(r[i]) for r in [header, *rows]) for i in range(len(header))]
    for n, row in enumerate([header, *rows]):
        text = "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        click.echo(click.style(text, bold=True) if n == 0 else text)


def age(seconds: float) -> str:
    """A length of time in its largest unit: `12 s`, `3 min`, `5 h`, `2 d`."""
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= length:
            return f"{int(seconds // length)} {unit}"
    return f"{int(seconds)} s"


def closed(maintenance: Maintenance) -> str:
    """What is said of an app that is closed: who still passes, and what others are told."""
    passing = f"; {', '.join(maintenance.allow)} may pass" if maintenance.allow else ""
    return f"closed for maintenance{passing}; others are told to ask again after {maintenance.retry_after} s"


class Steps:
    """Progress as lines on stderr: one for each finished step, with its time.

    On a terminal the step under way is shown with a moving clock; elsewhere (Git's `remote:` lines, a log) a
    step that takes longer than a second says once what it is waiting for.
    """

    def __init__(self) -> None:
        self._terminal = bool(sys.stderr) and sys.stderr.isatty()
        self._lock = threading.Lock()
        self._stop: threading.Event | None = None

    def begin(self, step: str, detail: str) -> None:
        """Show that a step is under way once it takes long."""
        self._end_watch()
        self._stop = threading.Event()
        watch = threading.Thread(target=self._watch, args=(step, detail, self._stop), daemon=True)
        with signals_held():
            watch.start()

    def end(self, step: str, detail: str, took: float) -> None:
        """Print a finished step."""
        self._end_watch()
        self._print(f"  {click.style(f'{step:<8}', bold=True)} {detail:<62} {took:6.2f} s")

    def fail(self, step: str, took: float) -> None:
        """Print that a step has failed."""
        self._end_watch()
        self._print(f"  {click.style(f'{step:<8}', bold=True, fg='red')} {'failed':<62} {took:6.2f} s")

    def line(self, text: str) -> None:
        """Print a line of something that runs within a step."""
        self._print(click.style(f"           | {text}", dim=True))

    def note(self, text: str) -> None:
        """Print a remark."""
        self._print(f"  note     {text}")

    def _watch(self, step: str, detail: str, stop: threading.Event) -> None:
        started = time.monotonic()
        while not stop.wait(0.2 if self._terminal else _SLOW):
            took = time.monotonic() - started
            if self._terminal and took > _SLOW / 2:
                self._transient(f"  {step:<8} {detail} … {took:.0f} s")
            elif not self._terminal:
                self._print(f"  {step:<8} {detail} …")
                return

    def _end_watch(self) -> None:
        if self._stop is not None:
            self._stop.set()
            self._stop = None

    def _transient(self, text: str) -> None:
        with self._lock:
            if self._stop is not None:
                _say(f"\r\033[K{text[:110]}", newline=False)

    def _print(self, text: str) -> None:
        with self._lock:
            _say(f"\r\033[K{text}" if self._terminal else text)


def _say(text: str, *, newline: bool = True) -> None:
    """Write to stderr, if there is one; a reader that has gone away (a client that hung up) must not end a
    deployment."""
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
