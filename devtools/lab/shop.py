"""The shop of `pushrod new` on a Docker host in a box, with what its image of a JDK and Maven needs."""

import contextlib
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from devtools import shop
from devtools.apps import Done
from devtools.lab import images
from devtools.lab.ground import Ground, a_quiet_host
from devtools.load import Load
from devtools.shop import CONTENT, Person, event_of

DOMAIN = "shop.localhost"
# The events of each user given, as one line of JSON each.
_EVENTS = 'for user; do valkey-cli --json XRANGE "events:$user" - +; done'


class OnAServer(shop.Shop):
    """On the docker engine."""

    def __init__(self, ground: Ground, stack: str = "python", workers: int = 2) -> None:
        self.box = ground.box
        if stack == "spring":
            self.box.load(images.JAVA)
        files = shop.files(stack)
        files["compose.yaml"] += f"\nx-pushrod: {{domains: [{DOMAIN}]}}\n"
        self.host = ground.app("shop", files)
        self.tree = self.host.tree
        self.box.ssh("apps", "create", "shop", user="pushrod")
        self.open(stack, workers)

    def must(self, *verb: str, stdin: str | None = None) -> str:
        at = verb.index("--") if "--" in verb else len(verb)
        return self.box.ssh(*verb[:at], "--app", "shop", *verb[at:], user="pushrod", stdin=stdin).stdout

    def pushed(self) -> Done:
        return self.host.push_building()

    @property
    def live(self) -> int:
        return self.host.live

    def person(self) -> Person:
        return Person(80, self.box.address, DOMAIN)

    def load(self, path: str, rate: float, seconds: float = 120.0) -> Load:
        return Load(f"http://{DOMAIN}{path}", rate=rate, seconds=seconds, at=self.box.address)

    def pid(self, name: str) -> int:
        service, _, number = name.partition("-")
        container = self.host.container(service, self.live if number else 0)
        form = "{{.State.Running}} {{.State.Pid}}"
        done = self.box.exec("docker", "inspect", f"--format={form}", container, check=False)
        running, _, pid = done.stdout.strip().partition(" ")
        return int(pid) if running == "true" else 0

    def kill(self, pid: int) -> None:
        """By its process id in the box: Docker does not restart what it kills itself."""
        self.box.exec("kill", "-KILL", str(pid), check=False)

    def rows(self) -> dict[str, Any]:
        contents: dict[str, Any] = json.loads(self.host.sql(CONTENT))
        return contents

    def events(self, users: Sequence[int]) -> Iterator[Mapping[str, Any]]:
        numbers = [str(user) for user in users]
        answers = self.box.docker("exec", self.host.container("redis"), "sh", "-c", _EVENTS, "sh", *numbers)
        for line in answers.splitlines():
            yield from map(event_of, json.loads(line))


@contextlib.contextmanager
def a_server(directory: Path, stack: str, workers: int) -> Iterator[OnAServer]:
    """A new server with the shop on it."""
    with a_quiet_host(directory) as ground:
        yield OnAServer(ground, stack, workers)
