"""Commands that the manifest runs in a container after its start (`post_start`) and before its stop (`pre_stop`).

A file beside each compose file lists them: containers in start order, each with its commands. Deployments, boots and
the watchdog run them, in the container and with its rights. Standard library only: a copy below ROOT is used by the
programs that run there without pushrod.
"""

import json
import os
import selectors
import shlex
import subprocess
import time
from collections.abc import Iterable, Sequence
from concurrent import futures
from pathlib import Path
from typing import Any, NamedTuple

FILE = "hooks.json"
"""The name of the file."""

AFTER_START = 300.0
"""Seconds for all `post_start` commands of a container together."""

BEFORE_STOP = 30.0
"""Minimum seconds for all `pre_stop` commands of a container; its grace period if that is longer."""

_TAIL = 16384  # bytes that are kept of a command's output
_AT_ONCE = 8  # containers whose commands run at the same time
_LINES = 20


class Hooks(NamedTuple):
    """A container, the name of its service in the compose file, and its commands, each the whole argv of `docker`."""

    container: str
    service: str
    post_start: tuple[tuple[str, ...], ...] = ()
    pre_stop: tuple[tuple[str, ...], ...] = ()


class Failed(NamedTuple):
    """The failure of a container's command, in one sentence, and the last lines of its output."""

    why: str
    log: tuple[str, ...] = ()


def render(rows: Iterable[Hooks]) -> str:
    """The text of the file."""
    return json.dumps([row._asdict() for row in rows], indent=1) + "\n"


def read(path: Path) -> dict[str, Hooks]:
    """The hooks in a file by container, in order; none if there is no file."""
    try:
        rows: list[dict[str, Any]] = json.loads(path.read_text())
    except FileNotFoundError:
        return {}
    return {
        row["container"]: Hooks(
            row["container"],
            row["service"],
            *(tuple(map(tuple, row[kind])) for kind in ("post_start", "pre_stop")),
        )
        for row in rows
    }


def after_start(hooks: Hooks, timeout: float = AFTER_START) -> "Failed | None":
    """Run the commands of a started container, one after the other; returns the first failure."""
    return _run(hooks.container, "post_start", hooks.post_start, timeout)


def before_stop(stopping: Sequence[tuple[Hooks, float]]) -> list[Failed]:
    """Run the commands of containers that are about to be stopped, all at the same time, each within its seconds.

    Returns the failures; the containers are stopped anyway.
    """
    with futures.ThreadPoolExecutor(_AT_ONCE) as pool:
        done = [pool.submit(_run, h.container, "pre_stop", h.pre_stop, timeout) for h, timeout in stopping]
        return [failed for one in done if (failed := one.result())]


def _run(container: str, kind: str, commands: Sequence[Sequence[str]], timeout: float) -> "Failed | None":
    end = time.monotonic() + timeout
    for argv in commands:
        status, output = _ended(argv, end - time.monotonic())
        if status == 0:
            continue
        shown = shlex.join(argv[argv.index(container) + 1 :])
        how = f"did not end within {timeout:g} s" if status is None else f"ended with status {status}"
        lines = tuple(output.splitlines()[-_LINES:])
        last = f": {lines[-1].strip()}" if lines else ""
        return Failed(f"{container}: its {kind} command `{shown}` {how}{last}", lines)
    return None


def _ended(argv: Sequence[str], timeout: float) -> "tuple[int | None, str]":
    """The exit status of a program, or None if it timed out, and the end of its output."""
    tail, end = bytearray(), time.monotonic() + timeout
    quiet, both = subprocess.DEVNULL, subprocess.PIPE
    try:
        program = subprocess.Popen(argv, stdin=quiet, stdout=both, stderr=subprocess.STDOUT)  # noqa: S603
    except OSError as e:
        return 127, str(e)
    with program, selectors.DefaultSelector() as selector:
        assert program.stdout is not None  # noqa: S101 - it is a pipe
        selector.register(program.stdout, selectors.EVENT_READ)
        while selector.select(max(0.0, end - time.monotonic())):
            part = os.read(program.stdout.fileno(), _TAIL)
            if not part:
                break
            tail += part
            del tail[:-_TAIL]
        try:
            program.wait(max(0.0, end - time.monotonic()))
        except subprocess.TimeoutExpired:
            program.kill()
            return None, tail.decode(errors="replace")
    return program.returncode, tail.decode(errors="replace")
