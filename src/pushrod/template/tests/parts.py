"""Processes that the tests start, wait for and stop."""

import os
import secrets
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Self, TypeVar

BACKEND = Path(__file__).resolve().parents[1] / "backend"
DEADLINE = 30.0  # seconds to wait for anything here; usually it takes one


def wait_until(condition: Callable[[], bool], what: str) -> None:
    """Check until the condition holds; TimeoutError if it does not before the deadline."""
    end = time.monotonic() + DEADLINE
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError(f"{what}: not within {DEADLINE:.0f} s")
        time.sleep(0.01)


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


class Part:
    """A process with a log. `start` returns when it is ready, `stop` when it is gone."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.log = directory / f"{type(self).__name__.lower()}-{secrets.token_hex(4)}.log"
        self.process: subprocess.Popen[bytes] | None = None

    def argv(self) -> list[str]:
        raise NotImplementedError

    def environment(self) -> dict[str, str]:
        return {}

    def is_ready(self) -> bool:
        raise NotImplementedError

    def start(self) -> None:
        environment = {**os.environ, **self.environment()}
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(self.argv(), cwd=BACKEND, env=environment, stdout=log, stderr=log)
        try:
            wait_until(self._is_ready_or_gone, f"{type(self).__name__} ready")
        except BaseException:
            self.stop()
            raise

    def send(self, number: int) -> None:
        """Send a signal, if the process runs."""
        if self.process:
            self.process.send_signal(number)

    def wait(self) -> int | None:
        """The exit status, negative for a signal; None if it was not running."""
        if self.process is None:
            return None
        try:
            return self.process.wait(DEADLINE)
        finally:
            self.process.kill()
            self.process = None

    def stop(self, number: int = signal.SIGTERM) -> int | None:
        """End it with a signal, and wait for its end."""
        self.send(number)
        return self.wait()

    def logged(self, words: str) -> bool:
        """Whether its log contains a text."""
        return words in self.log.read_text()

    def _is_ready_or_gone(self) -> bool:
        if self.process and self.process.poll() is not None:
            raise ChildProcessError(f"{type(self).__name__} ended at start:\n{self.log.read_text()[-2000:]}")
        return self.is_ready()


P = TypeVar("P", bound=Part)


class Keeper:
    """Makes parts, and stops them at its end, the last one first."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def __call__(self, kind: Callable[..., P], *arguments: object) -> P:
        part = kind(self._directory, *arguments)
        self._stack.callback(part.stop)
        part.start()
        return part
