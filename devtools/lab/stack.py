"""The output of `pushrod new`, run with Compose alone, without pushrod."""

import contextlib
import http.client
import json
import os
import sys
import uuid
from pathlib import Path
from typing import Any, NamedTuple

from devtools.apps import eventually
from pushrod.adapters import compose_loader
from pushrod.system import processes

_TIMEOUT = 600.0  # seconds for one command; the first build, the longest, takes 20


class Answer(NamedTuple):
    """An answer of the backend; `cache` is its X-Cache header: hit, miss or empty."""

    status: int
    cache: str
    body: Any


class Stack:
    """A repository, and what Compose runs from it."""

    def __init__(self, directory: Path, port: int) -> None:
        self.directory = directory
        self.port = port
        self._known: dict[str, str] = {}  # headers of the logged-in user

    def create(self) -> None:
        """Create it as a user does: `pushrod new shop`, then `cp .env.example .env` with another port.

        The user's umask is 077: files copied into an image with their modes are then readable by root only.
        """
        self._run(sys.executable, "-m", "pushrod", "new", "shop", "--directory", str(self.directory))
        for path in self.directory.rglob("*"):
            path.chmod(path.stat().st_mode & 0o700)
        example = (self.directory / ".env.example").read_text()
        assert "\nPUBLISHED_PORT=8000\n" in example
        (self.directory / ".env").write_text(
            example.replace("PUBLISHED_PORT=8000", f"PUBLISHED_PORT={self.port}")
        )

    def up(self) -> None:
        """Run `docker compose up`, until the backend has migrated and serves."""
        self.compose("up", "--detach", "--wait")
        eventually(lambda: self.get("/api/").status == 200, "the backend serves", 60.0)

    def compose(self, *argv: str) -> str:
        """Run `docker compose` there and return its output."""
        return self._run(*compose_loader.argv_of(), *argv)

    def inside(self, service: str, *argv: str) -> str:
        """Run a program in a service's container and return its output."""
        return self.compose("exec", "-T", service, *argv).strip()

    def sql(self, statement: str) -> str:
        """Run a statement as the app's own account, beside the backend."""
        return self.inside("postgres", "psql", "-X", "-q", "-At", "--username=app", "--command", statement)

    def redis(self, *command: str, service: str = "redis") -> str:
        """Run a command in a Valkey, beside the backend."""
        return self.inside(service, "valkey-cli", *command)

    def get(self, path: str) -> Answer:
        """Send a request to the published port."""
        return self.send("GET", path)

    def page(self, path: str) -> str:
        """The body of a response of the published port that is not JSON."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        with contextlib.closing(connection):
            connection.request("GET", path)
            answer = connection.getresponse()
            assert answer.status == 200, answer.status
            return answer.read().decode()

    def log_in(self) -> None:
        """Log in as a member of staff, made as the README says."""
        email = f"{uuid.uuid4().hex}@example.com"
        password = self.inside("backend", "python", "-m", "app.manage", "user", "--staff", email)
        self._known = {}
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        with contextlib.closing(connection):
            body = json.dumps({"email": email, "password": password})
            connection.request("POST", "/api/session", body, {"Content-Type": "application/json"})
            answer = connection.getresponse()
            cookie = answer.headers["Set-Cookie"].partition(";")[0]
            self._known = {"Cookie": cookie, "X-CSRF-Token": json.loads(answer.read())["csrf"]}

    def send(self, method: str, path: str, value: object = None, **headers: str) -> Answer:
        """Send a request to the published port, with a value as JSON, as the logged-in user."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        with contextlib.closing(connection):
            body = None if value is None else json.dumps(value)
            connection.request(
                method, path, body, {"Content-Type": "application/json", **self._known, **headers}
            )
            answer = connection.getresponse()
            return Answer(answer.status, answer.headers.get("X-Cache", ""), json.loads(answer.read()))

    def exits(self) -> dict[str, int]:
        """The exit status of every ended container, by service."""
        form = '{{index .Config.Labels "com.docker.compose.service"}} {{.State.Status}} {{.State.ExitCode}}'
        containers = self.compose("ps", "--all", "--quiet").split()
        lines = [
            line.split()
            for line in self._run("docker", "inspect", "--format", form, *containers).splitlines()
        ]
        return {service: int(status) for service, state, status in lines if state == "exited"}

    def logs(self) -> str:
        """The output of every service."""
        return self.compose("logs", "--no-color")

    def left(self) -> str:
        """What the engine still has of it."""
        mine = f"label=com.docker.compose.project={self.directory.name}"
        kinds = (["ps", "--all"], ["volume", "ls"], ["network", "ls"], ["images"])
        return "".join(self._run("docker", *kind, "--quiet", "--filter", mine) for kind in kinds)

    def _run(self, *argv: str) -> str:
        # Without a developer's shell variables, which would override those of `.env`.
        env = {k: v for k, v in os.environ.items() if k in ("PATH", "HOME") or k.startswith("DOCKER_")}
        done = processes.run(argv, cwd=self.directory, env=env, timeout=_TIMEOUT)
        assert done.status == 0, f"{argv} ended with status {done.status}:\n{done.stdout}\n{done.stderr}"
        return done.stdout
