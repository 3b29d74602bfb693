"""The measurements of the docker engine: a server in a box, and the same files brought up by hand beside it."""

import json
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import NamedTuple

from bench.stage import BenchError, Push, timed_push
from devtools.lab import images
from devtools.lab.box import Box
from devtools.lab.ground import Ground, code, files
from pushrod.system import waits

DOMAIN = "bench.localhost"
_HAND = "/root/by-hand"
_OVERRIDE = """\
services:
  web:
    environment: {DATABASE_URL: "postgresql://postgres@postgres:5432/postgres", REDIS_URL: "redis://redis:6379"}
    image: by-hand
  postgres:
    environment: {POSTGRES_HOST_AUTH_METHOD: trust}
"""
_TIMED = """\
import json, subprocess, sys, time
took = []
for argv in json.load(sys.stdin):
    began = time.perf_counter()
    subprocess.run(argv, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    took.append(time.perf_counter() - began)
print(json.dumps(took))
"""


class Hand(NamedTuple):
    """Seconds of the build with a warm cache, and of `docker compose up --wait`."""

    build: float
    up: float

    @property
    def total(self) -> float:
        """The sum: a deployment must do them in sequence."""
        return self.build + self.up


class Server:
    """A host with one app, pushed once; and the app's files, brought up once by hand."""

    def __init__(self) -> None:
        self._scratch = tempfile.TemporaryDirectory(prefix="pushrod-bench-")
        self.ground = Ground(Box(), Path(self._scratch.name))
        self.box = self.ground.box
        self._changes = 0

    def __enter__(self) -> "Server":
        if problem := images.box_problem():
            raise BenchError(f"{problem}; prepare it as root: make lab")
        try:
            self.ground.create()
            self.shop = self.ground.app("bench", _files("one"))
            self.push()
            self._by_hand("postgres", "redis")
            self.by_hand()
        except BaseException:
            self._leave()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._leave()

    def push(self) -> Push:
        """Push a changed line of code over SSH."""
        self._changes += 1
        self.shop.tree.commit({"app.py": code(f"push {self._changes}")}, f"change {self._changes}")
        return timed_push(self.shop.tree.path, dict(self.shop.tree.env))

    def by_hand(self) -> Hand:
        """Build a changed line of code and bring it up on the same server with Docker's own commands."""
        self._changes += 1
        for name, text in {**_files(f"hand {self._changes}"), "compose.override.yaml": _OVERRIDE}.items():
            self.box.put(f"{_HAND}/{name}", text)
        build = ["docker", "build", "--tag", "by-hand", _HAND]
        return Hand(
            *self._timed([build, [*self._compose(), "up", "--detach", "--wait", "--no-build", "web"]])
        )

    def switch(self) -> float:
        """Seconds of the last push's step `switch`, from the app's journal."""
        steps = [e for e in self.shop.journal() if e["event"] == "step" and e["step"] == "switch"]
        return float(steps[-1].get("took", 0.0))

    def resident(self) -> float:
        """Bytes of memory held by pushrod's processes after a deployment; nginx does not count."""
        waits.wait_until(lambda: self._running() == "", 30.0, 0.2)
        return float(len(self._running()))

    def _running(self) -> str:
        return self.box.exec(
            "pgrep", "--full", "--list-full", "/opt/pushrod|bring_up.py|watchdog.py", check=False
        ).stdout

    def _compose(self) -> list[str]:
        return [
            "/var/lib/pushrod/programs/docker-compose",
            "--project-name=by-hand",
            f"--project-directory={_HAND}",
        ]

    def _by_hand(self, *services: str) -> None:
        for name, text in {**_files("hand"), "compose.override.yaml": _OVERRIDE}.items():
            self.box.put(f"{_HAND}/{name}", text)
        self._timed([[*self._compose(), "up", "--detach", "--wait", *services]])

    def _timed(self, commands: list[list[str]]) -> list[float]:
        took: list[float] = json.loads(
            self.box.exec("python3", "-c", _TIMED, stdin=json.dumps(commands)).stdout
        )
        time.sleep(1)  # so that what the commands left running does not affect the next figure
        return took

    def _leave(self) -> None:
        self.box.remove()
        self._scratch.cleanup()


def _files(version: str) -> dict[str, str]:
    """The lab's app without a release command, which the version by hand does not have either."""
    tree = files(DOMAIN, version)
    tree["compose.yaml"] = tree["compose.yaml"].replace("release: python app.py migrate, ", "")
    return tree
