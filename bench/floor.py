"""The minimum time for a deployment of the app: its release command and its start, run by hand.

Both run with pushrod's environment and directory, so the difference from a push is the cost of pushrod itself.
"""

import contextlib
import http.client
import json
import os
import subprocess
import time
from typing import NamedTuple

from bench.stage import PUSHROD, TIMEOUT, BenchError, Stage
from devtools.servers import free_port

RELEASE = ("alembic", "upgrade", "head")
HEALTH = "/readyz"
ASK = "import json, os; print(json.dumps([os.getcwd(), dict(os.environ)]))"


class Floor(NamedTuple):
    """Seconds of the release command, and of a start until the first healthy answer."""

    release: float
    boot: float

    @property
    def total(self) -> float:
        """The sum: a deployment must do them in sequence."""
        return self.release + self.boot


class _Place(NamedTuple):
    """Where pushrod runs a program. Its argv follows `entering`: its directory may exist, and the stores' names be
    known, only in the mount namespace of the release's instances."""

    entering: tuple[str, ...]
    environment: dict[str, str]


def measure(stage: Stage) -> Floor:
    """Measure both once, beside the live release."""
    migrating = place(stage, ["run", "python", "-c", ASK])
    serving = place(stage, ["exec", "backend", "--", "python", "-c", ASK])
    return Floor(_release(migrating), _boot(serving))


def place(stage: Stage, verb: list[str]) -> _Place:
    """The directory and environment in which pushrod runs a program; without writing bytecode into the release.

    Entering it takes about 2 ms.
    """
    directory, environment = json.loads(stage.run([PUSHROD, *verb]).splitlines()[-1])
    [instance] = [p["pid"] for p in stage.status()["processes"] if p["name"].startswith("backend")]
    users = () if os.geteuid() == 0 else ("--user", "--preserve-credentials")
    entering = ("nsenter", f"--target={instance}", "--mount", *users, f"--wdns={directory}", "--")
    return _Place(entering, {**environment, "PYTHONDONTWRITEBYTECODE": "1"})


def _release(place: _Place) -> float:
    started = time.perf_counter()
    done = subprocess.run(
        [*place.entering, *RELEASE],
        env=place.environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        check=False,
    )
    if done.returncode != 0:
        raise BenchError(f"`{' '.join(RELEASE)}` by hand ended with {done.returncode}: {done.stderr[-800:]}")
    return time.perf_counter() - started


def _boot(place: _Place) -> float:
    port = free_port()
    argv = [*place.entering]
    argv += ["uvicorn", "app.main:app", "--host", "127.0.0.1", "--port", str(port), "--log-level", "warning"]
    environment = {**place.environment, "PORT": str(port)}
    started = time.perf_counter()
    child = subprocess.Popen(argv, env=environment, stdin=subprocess.DEVNULL)
    try:
        while not _healthy(port):
            if child.poll() is not None or time.perf_counter() - started > 60:
                raise BenchError(f"the app did not become healthy by hand (status {child.poll()})")
            time.sleep(0.005)
        return time.perf_counter() - started
    finally:
        child.terminate()
        try:
            child.wait(timeout=20)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()


def _healthy(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    with contextlib.closing(connection):
        try:
            connection.request("GET", HEALTH)
            return connection.getresponse().status == 200
        except (OSError, http.client.HTTPException):
            return False
