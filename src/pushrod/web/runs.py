"""What the page's buttons have started: each call runs in a thread, and its output is kept while the page lives."""

import datetime
import secrets
import threading
from collections import deque
from collections.abc import Sequence

from pushrod.core.errors import PushrodError
from pushrod.core.times import now
from pushrod.web.calls import Call, Calls

MOST = 100
"""Runs that are kept; the oldest finished one is forgotten first."""

_LINES = 2000


class Run:
    """One call: its app, its member, its words, its output so far, and its exit status once it has ended."""

    def __init__(self, app: str, by: str, words: Sequence[str]) -> None:
        self.id = secrets.token_urlsafe(12)
        self.app, self.by, self.words = app, by, tuple(words)
        self.at = now()
        self.lines: deque[str] = deque(maxlen=_LINES)
        self.count = 0
        self.status: int | None = None
        self.ended_at = ""

    def add(self, line: str) -> None:
        """Add a line of output; of very many, the first are forgotten."""
        self.lines.append(line)
        self.count += 1

    def since(self, count: int) -> list[str]:
        """The lines after the first `count`, as far as they are kept."""
        kept, total = list(self.lines), self.count
        return kept[max(0, len(kept) - max(0, total - count)) :] if total > count else []

    @property
    def result(self) -> str:
        """`under way`, `done` or `failed`."""
        return "under way" if self.status is None else "failed" if self.status else "done"

    @property
    def seconds(self) -> float:
        """How long it took, or has taken."""
        end = datetime.datetime.fromisoformat(self.ended_at or now())
        return (end - datetime.datetime.fromisoformat(self.at)).total_seconds()


class Runs:
    """All runs of this process."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls
        self._runs: dict[str, Run] = {}
        self._lock = threading.Lock()

    def start(self, app: str, by: str, call: Call, stdin: str = "") -> Run:
        """Begin a call, and return at once."""
        run = Run(app, by, call.words)
        with self._lock:
            excess = max(0, len(self._runs) - MOST + 1)
            for old in [r for r in self._runs.values() if r.status is not None][:excess]:
                del self._runs[old.id]
            self._runs[run.id] = run
        threading.Thread(target=self._work, args=(run, call, stdin), daemon=True).start()
        return run

    def of(self, app: str) -> list[Run]:
        """The runs of an app, newest first."""
        return [run for run in reversed(list(self._runs.values())) if run.app == app]

    def find(self, app: str, number: str) -> Run | None:
        """One run of an app."""
        run = self._runs.get(number)
        return run if run and run.app == app else None

    def busy(self) -> bool:
        """Whether one is under way."""
        return any(run.status is None for run in list(self._runs.values()))

    def _work(self, run: Run, call: Call, stdin: str) -> None:
        status = 1
        try:
            if stdin:  # a secret's value: through a pipe only, never a file
                done = self._calls(call, stdin=stdin)
                for line in f"{done.stdout}{done.stderr}".splitlines():
                    run.add(line)
                status = done.status
            else:
                status = self._calls.watched(call, run.add)
        except PushrodError as e:
            run.add(f"pushrod: {e}")
        finally:
            run.ended_at = now()
            run.status = status
