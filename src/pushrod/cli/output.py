"""How pushrod prints: steps with their duration, errors with place and remedy, JSON for programs."""

import re
import sys
import threading
import time
from collections.abc import Sequence
from typing import Any

import click

from pushrod.cli.terminal import Styled, echo, echo_json, is_terminal
from pushrod.core import lines
from pushrod.core.amounts import age
from pushrod.core.errors import Ending, PushrodError
from pushrod.core.printable import plain
from pushrod.core.times import is_ahead, seconds_since, to_the_minute
from pushrod.core.values import Maintenance
from pushrod.system.signals import signals_held

_SLOW = 1.0  # seconds after which a plain line names the step in progress


def print_error(error: Ending) -> None:
    """Print to stderr why a command ended: the end of the relevant log, what happened, where, and what to do."""
    for line in error.log:
        echo(f"  | {line}", err=True)
    for label, text in (
        ("pushrod: ", error.what),
        ("  where:  ", error.where),
        ("  to do:  ", error.hint),
    ):
        for number, line in enumerate(lines.split(text)):
            echo(label if number == 0 else " " * len(label), line, err=True)


def conclude(failed: Sequence[PushrodError]) -> None:
    """Finish work on several apps: print each failure, name all failed apps at the end, and raise an error with the
    exit code of the first. Does nothing if none failed."""
    if len(failed) > 1:
        for error in failed:
            print_error(error)
        names = ", ".join(dict.fromkeys(error.app or "the engine" for error in failed))
        last = PushrodError(f"failed for {names}", hint="the errors are above")
        last.exit_code = failed[0].exit_code
        raise last
    if failed:
        raise failed[0]


def print_wrong_call(error: click.ClickException) -> None:
    """Print a usage error to stderr, with the command's usage."""
    context = getattr(error, "ctx", None)
    if context is not None:
        echo_lines(context.get_usage(), err=True)
        echo(f"Try '{context.command_path} --help' for help.", err=True)
        echo(err=True)
    message = error.format_message()
    echo_lines(f"Error: {message}", err=True)
    if re.search(r"unexpected extra arguments? \(.*-", message):
        echo("Words after `--` are not options: write options before it.", err=True)


def echo_lines(text: str, *, err: bool = False) -> None:
    """Print each line of a text."""
    for line in lines.split(text):
        echo(line, err=err)


def print_json(value: Any) -> None:
    """Print a value of pushrod's, or a container of such values, as JSON."""
    echo_json(value)


def print_table(header: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> None:
    """Print rows in columns; the header is bold on a terminal."""
    table = [tuple(map(plain, row)) for row in (header, *rows)]
    widths = [max(len(row[i]) for row in table) for i in range(len(header))]
    for n, row in enumerate(table):
        text = "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        echo(Styled(text, bold=n == 0))


def ago(at: str) -> str:
    """How long ago a record's time was: `3 min ago`. It is in the future if the clock was set back since."""
    if is_ahead(at):
        return f"{to_the_minute(at)}, which is in the future"
    return f"{age(seconds_since(at))} ago"


def closed(maintenance: Maintenance) -> str:
    """The text about an app in maintenance: who may still pass, and when others should retry."""
    passing = f"; {', '.join(maintenance.allow)} may pass" if maintenance.allow else ""
    return f"closed for maintenance{passing}; others are asked to retry after {maintenance.retry_after} s"


class Steps:
    """Progress as lines on stderr: one for each finished step, with its duration.

    On a terminal the current step is shown with a running clock; elsewhere (Git's `remote:` lines, a log) a step
    that takes longer than a second is announced once.
    """

    def __init__(self) -> None:
        self._terminal = is_terminal(sys.stderr)
        self._lock = threading.Lock()
        self._stop: threading.Event | None = None

    def begin(self, step: str, detail: str) -> None:
        """Start showing a step, once it takes long."""
        self._end_watch()
        self._stop = threading.Event()
        watch = threading.Thread(target=self._watch, args=(step, detail, self._stop), daemon=True)
        with signals_held():
            watch.start()

    def end(self, step: str, detail: str, took: float) -> None:
        """Print a finished step."""
        self._end_watch()
        self._print("  ", Styled(f"{step:<8}", bold=True), f" {detail:<62} {took:6.2f} s")

    def fail(self, step: str, took: float) -> None:
        """Print a failed step."""
        self._end_watch()
        self._print("  ", Styled(f"{step:<8}", bold=True, fg="red"), f" {'failed':<62} {took:6.2f} s")

    def line(self, text: str) -> None:
        """Print a line of output of a program within a step."""
        self._print(Styled(f"           | {text}", dim=True))

    def note(self, text: str) -> None:
        """Print a remark."""
        for number, line in enumerate(lines.split(text)):
            self._print("  note     " if number == 0 else " " * 11, line)

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
                echo(text[:110], err=True, newline=False, clear=True)

    def _print(self, *parts: str | Styled) -> None:
        with self._lock:
            echo(*parts, err=True, clear=self._terminal)
