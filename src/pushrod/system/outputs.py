"""Reads what programs print while they run: until the program itself ends, and within limits."""

import contextlib
import io
import os
import select
import selectors
import signal
import subprocess
import threading
import time
from typing import IO, Self

from pushrod.core.errors import HostError
from pushrod.system.signals import signals_held

MOST = 64 << 20
"""Bytes of output that are kept in memory; more is an error."""

_LOOK = 0.5  # seconds between two checks whether a silent program has ended
_DRAIN = 3.0  # seconds to wait for more output of a program that has ended
_PIPE = 1 << 20  # bytes: more than a pipe can still hold when its program ends
_PART = 1 << 16  # bytes that are passed on at a time


def kill_group(child: subprocess.Popen[str] | subprocess.Popen[bytes]) -> None:
    """Kill a program with all that it has started, and wait for its end."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)
    child.wait()


def await_end(child: subprocess.Popen[bytes], deadline: float) -> None:
    """Wait for a program's end, and return at once: `Popen.wait` with a time-out polls every 50 ms.

    Raises subprocess.TimeoutExpired at the deadline.
    """
    if child.poll() is not None:
        return
    with contextlib.suppress(OSError):  # no pidfd_open(2) before Linux 5.3
        end = os.pidfd_open(child.pid)
        try:
            poll = select.poll()
            poll.register(end, select.POLLIN)
            poll.poll(max(0.0, deadline - time.monotonic()) * 1000)
        finally:
            os.close(end)
    child.wait(max(0.0, deadline - time.monotonic()))


def communicate(
    child: subprocess.Popen[bytes], text_in: bytes | None, deadline: float, most: int
) -> tuple[bytes, bytes]:
    """As `Popen.communicate`, but the program's own end counts, not that of a process that it left behind.

    Raises HostError if it prints more than `most` bytes: it may be a program of an app's own container.
    """
    pipes = [pipe for pipe in (child.stdout, child.stderr) if pipe is not None]
    kept = {pipe.fileno(): bytearray() for pipe in pipes}
    ended = 0.0
    with selectors.DefaultSelector() as selector:
        for pipe in pipes:
            selector.register(pipe, selectors.EVENT_READ)
        left = _begin_input(child, text_in, selector)
        while selector.get_map():
            now = time.monotonic()
            ended = ended or (now if child.poll() is not None else 0.0)
            if not ended and now >= deadline:
                raise subprocess.TimeoutExpired(child.args, 0)
            size = sum(map(len, kept.values()))
            if size > most and not ended:
                raise HostError(
                    f"{os.fspath(child.args[0])} prints more than {most >> 20} MiB",  # type: ignore[index, arg-type]
                    hint="run it by hand to see what it prints",
                )
            if ended and (size > most or now - ended >= _DRAIN):
                kill_group(child)
                break
            for key, _ in selector.select(min(_LOOK, max(0.0, deadline - now)) if not ended else _LOOK):
                if key.fileobj is child.stdin:
                    left = _write_input(child.stdin, left, selector)
                elif part := os.read(key.fd, _PART):
                    kept[key.fd] += part
                else:
                    selector.unregister(key.fileobj)
    await_end(child, deadline)
    texts = [bytes(kept[pipe.fileno()]) if pipe is not None else b"" for pipe in (child.stdout, child.stderr)]
    for pipe in pipes:
        pipe.close()
    return texts[0], texts[1]


def _begin_input(
    child: subprocess.Popen[bytes], text_in: bytes | None, selector: selectors.BaseSelector
) -> memoryview:
    """Register a program's standard input, so that the selector reports when it can be written."""
    if child.stdin is not None:
        os.set_blocking(child.stdin.fileno(), False)
        selector.register(child.stdin, selectors.EVENT_WRITE)
    return memoryview(text_in or b"")


def _write_input(pipe: IO[bytes], left: memoryview, selector: selectors.BaseSelector) -> memoryview:
    """Write a part, and return the rest. Closes the input once all is written, or the program reads no more."""
    with contextlib.suppress(BrokenPipeError):
        left = left[os.write(pipe.fileno(), left[:_PART]) :] if left else left
        if left:
            return left
    selector.unregister(pipe)
    with contextlib.suppress(BrokenPipeError):
        pipe.close()
    return left


class Output(io.RawIOBase):
    """What a program prints, until it closes its output, or _DRAIN seconds after its own end."""

    def __init__(self, child: subprocess.Popen[bytes], file: IO[bytes]) -> None:
        self._child = child
        self._file = file
        self._poll = select.poll()
        self._poll.register(file, select.POLLIN)
        self._waited, self._read = 0.0, 0  # since the program's end
        self.left_open = False

    def readable(self) -> bool:
        """As `io.RawIOBase`."""
        return True

    def readinto(self, buffer: bytearray | memoryview, /) -> int:  # type: ignore[override]
        """As `io.RawIOBase`."""
        while True:
            ended, began = self._child.poll() is not None, time.monotonic()
            if ended and (self._waited >= _DRAIN or self._read >= _PIPE):
                self.left_open = True
                return 0
            ready = self._poll.poll(_LOOK * 1000)
            self._waited += time.monotonic() - began if ended else 0.0
            if ready:
                count = os.readv(self._file.fileno(), [buffer])
                self._read += count if ended else 0
                return count


class Tail:
    """Reads what a program prints during the block, and keeps the end of it."""

    def __init__(self, file: IO[bytes], most: int) -> None:
        self._file = file
        self._most = most
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._over = False
        self.kept = bytearray()

    def __enter__(self) -> Self:
        with signals_held():
            self._reader.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over = True
        self._reader.join()

    def _read(self) -> None:
        """Read until the end of file; after the block, until nothing has come for a moment."""
        poll = select.poll()
        poll.register(self._file, select.POLLIN)
        left = _DRAIN
        while left > 0:
            if not poll.poll(_LOOK * 1000):
                left -= _LOOK if self._over else 0.0
                continue
            part = os.read(self._file.fileno(), _PART)
            if not part:
                return
            left -= _LOOK if self._over and len(self.kept) == self._most else 0.0
            self.kept += part
            del self.kept[: -self._most]
