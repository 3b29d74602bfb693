"""Move a running nginx from one tree to another, and make sure that it follows."""

import re
import signal
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pushrod.adapters.nginx.generations import Generations
from pushrod.adapters.nginx.workers import Mark, accepting, workers_of
from pushrod.core.errors import EdgeError
from pushrod.core.patterns import lazy
from pushrod.system import files, waits

if TYPE_CHECKING:
    import psutil

CONFIRM_BUDGET = 10.0
"""Seconds within which a worker of the new generation must answer. nginx tries for 2.5 s to bind a port."""

_LOOK = 0.005  # seconds between two checks of nginx: a reload takes about 130 ms, of which it sleeps 100

_BIND = lazy(r"bind\(\) to (\S+):(\d+) failed \((.+)\)")


@dataclass(frozen=True)
class Reload:
    """One move of an nginx: its master, the link to its tree, all its trees, its error log, and its workers' mark."""

    master: "psutil.Process"
    current: Path
    generations: Generations
    error_log: Path
    mark: Callable[[], Mark | None]

    def move(self, before: str, after: str, workers: tuple[int, ...]) -> None:
        """Move to a tree and verify; move back if nginx does not follow, or if interrupted."""
        seen = _size(self.error_log)
        try:
            files.point(self.current, f"trees/{after}")
            self.master.send_signal(signal.SIGHUP)
            if not self._followed(after, workers, seen):
                raise self._not_followed(seen)
        except BaseException:
            if after != before:
                self._revert(before, after)
            raise

    def _followed(self, generation: str, workers: tuple[int, ...], seen: int) -> bool:
        """Wait until `generation` answers and none of `workers` accepts any more; returns whether it answered.

        nginx lets old and new workers accept at the same time for 0.1 s, so one answer settles the first question and
        must not be repeated.
        """
        answered = False

        def settled() -> bool:
            nonlocal answered
            answered = answered or self._answers(generation)
            done = answered and not accepting(workers)
            return done or not self.master.is_running() or bool(self._emergencies(seen))

        waits.wait_until(settled, CONFIRM_BUDGET, _LOOK)
        return answered

    def _revert(self, before: str, after: str) -> None:
        """Return to the old tree, until no worker that may have the new one accepts requests."""
        files.point(self.current, f"trees/{before}")
        workers = workers_of(self.master)
        if self.master.is_running():
            self.master.send_signal(signal.SIGHUP)
            waits.wait_until(lambda: self._replaced(workers), CONFIRM_BUDGET)
        self.generations.remove(after)

    def _replaced(self, workers: tuple[int, ...]) -> bool:
        mark = self.mark()
        return mark is not None and mark.pid not in workers and not accepting(workers)

    def _answers(self, generation: str) -> bool:
        mark = self.mark()
        return mark is not None and mark.generation == generation

    def _emergencies(self, seen: int) -> tuple[str, ...]:
        """Why nginx abandoned a reload: the [emerg] lines since the log had `seen` bytes.

        nginx retries a failed bind(), so it counts only after nginx "still could not".
        """
        if _size(self.error_log) <= seen:
            return ()
        with self.error_log.open("rb") as f:
            f.seek(seen)
            text = f.read().decode(errors="replace")
        lines = re.findall(r"\[emerg\] \d+#\d+: (.+)", text)
        last = lines[-1] if lines else ""
        return () if last.startswith("bind()") else tuple(dict.fromkeys(lines))

    def _not_followed(self, seen: int) -> EdgeError:
        lines = self._emergencies(seen)
        for bind in filter(None, map(_BIND.search, lines)):
            return EdgeError(
                f"nginx cannot listen on port {bind[2]} of {bind[1]}: {bind[3].partition(': ')[2]}",
                where=str(self.error_log),
                hint=f"`ss -ltnp sport = :{bind[2]}` shows who holds it: end that, or choose another: "
                "`pushrod up --port N`",
                log=lines,
            )
        what = f"nginx did not load the new configuration within {CONFIRM_BUDGET:g} s"
        if lines:
            what = f"nginx did not load the new configuration: {lines[-1]}"
        elif not self.master.is_running():
            what = "nginx ended while it loaded the new configuration"
        return EdgeError(what, where=str(self.error_log), hint="the edge stays as it was", log=lines)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0
