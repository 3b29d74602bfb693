"""Repair apps: start what should run and does not, restart what runs and is unhealthy. Docker does neither.

Run by a timer every few seconds; nothing stays in memory in between. Its actions go to systemd's journal and to
`apps/<app>/watch.log`. Standard library only; copied below ROOT beside `bring_up`.

No app can delay another. One Docker command lists all containers; those without a health check of their own are
probed concurrently, each within a total time (`probing`). A few apps are repaired at a time, each with its own
deadline, while checks continue. The app that was repaired longest ago comes first, even after an interrupted run.

 python3 -I -S watchdog.py ROOT
"""

import contextlib
import os
import sys
import time
from collections.abc import Callable
from concurrent import futures
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

try:
    from pushrod.engines.docker import bring_up, calls, gates, watch_checks, watch_repairs
    from pushrod.system import host_paths
except ImportError:  # the copy below ROOT has its modules in its own directory
    sys.path.insert(0, str(Path(__file__).resolve().parent))
    import bring_up  # type: ignore[import-not-found, no-redef, unused-ignore]
    import calls  # type: ignore[import-not-found, no-redef, unused-ignore]
    import gates  # type: ignore[import-not-found, no-redef, unused-ignore]
    import host_paths  # type: ignore[import-not-found, no-redef, unused-ignore]
    import watch_checks  # type: ignore[import-not-found, no-redef, unused-ignore]
    import watch_repairs  # type: ignore[import-not-found, no-redef, unused-ignore]

UNITS = host_paths.WANTS
"""Each app that should be up has a link here."""

AT_ONCE = 4
"""Apps that are repaired at the same time; as many again are brought up, which takes longer."""

EVERY = 10.0
"""Seconds between two checks while something is repaired; the timer's interval."""

RUN = 240.0
"""Seconds after which a run starts nothing new; repairs in progress keep their time."""

Do = TypeVar("Do")


def _guarded(app: bring_up.App, do: Callable[[], Do]) -> "Do | None":
    """Run `do` for one app; an error is reported and must not affect other apps."""
    try:
        return do()
    except (calls.Trouble, OSError, ValueError, KeyError, TypeError) as e:
        bring_up.log(f"{app.name}: {e}")
        return None


def apps_to_watch(root: Path) -> list[watch_checks.Live]:
    """The apps that should be up."""
    apps = []
    for link in sorted(UNITS.glob("pushrod-app@*.service")):
        app = bring_up.App(str(root), link.name[len("pushrod-app@") : -len(".service")])
        if app.directory.is_dir() and (one := _guarded(app, partial(watch_checks.live, app))):
            apps.append(one)
    return apps


class RepairJobs:
    """Repairs in progress, by app: containers in one pool, whole apps, which take longer, in another."""

    def __init__(self, memory: watch_checks.Memory) -> None:
        self._memory = memory
        self._quick, self._slow = (futures.ThreadPoolExecutor(AT_ONCE) for _ in range(2))
        self._under_way: dict[str, futures.Future[Any]] = {}

    def begin(self, one: watch_checks.Live) -> None:
        """Start repairing an app, unless that is in progress."""
        job = self._under_way.get(one.app.name)
        if job is None or job.done():
            self._under_way[one.app.name] = self._quick.submit(_guarded, one.app, partial(self._repair, one))

    def _repair(self, one: watch_checks.Live) -> None:
        if watch_repairs.repair(one, self._memory):
            up = partial(watch_repairs.fix, one.app, one.app.name, "lacks a container", "up")
            with contextlib.suppress(RuntimeError):  # the run is ending: the next one repairs it
                self._under_way[one.app.name] = self._slow.submit(_guarded, one.app, up)

    def wait(self, timeout: float) -> bool:
        """Wait until no repair is in progress, for `timeout` seconds at most; returns whether none is."""
        end = time.monotonic() + timeout
        while jobs := [job for job in list(self._under_way.values()) if not job.done()]:
            if time.monotonic() >= end:
                return False
            futures.wait(jobs, timeout=end - time.monotonic())
        return True

    def end(self) -> None:
        """Start nothing more, and let repairs in progress finish."""
        for pool in (self._quick, self._slow):
            pool.shutdown(cancel_futures=True)


def main(arguments: list[str]) -> int:
    """Check every app that should be up, and keep checking while one is repaired; returns 0 even if a repair failed,
    which is recorded.
    """
    root, memory = Path(arguments[0]), watch_checks.Memory(gates.GATES / "watch.json")
    repairs, end = RepairJobs(memory), time.monotonic() + RUN
    while True:
        apps = apps_to_watch(root)
        try:
            for one in watch_checks.failing(apps, memory):
                repairs.begin(one)
        except (calls.Trouble, OSError, ValueError) as e:
            bring_up.log(str(e))
        done = repairs.wait(EVERY)
        memory.save({name for one in apps for name in one.names})
        if done or time.monotonic() >= end:
            repairs.end()
            return 0


if __name__ == "__main__":
    os.environ.setdefault("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
    sys.exit(main(sys.argv[1:]))
