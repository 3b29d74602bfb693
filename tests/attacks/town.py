"""A server that two parties share: the app `victim`, which must not be affected, and the app `attacker`, whose
owner tries attacks. Each has one key, for that app only, and a work tree."""

import json
from collections.abc import Mapping
from pathlib import Path

from devtools.apps import Complaint, Done, complaint
from devtools.lab.box import Box
from devtools.lab.ground import DOCKERFILE, Ground, Shop, files
from pushrod.system import processes
from pushrod.system.processes import Completed

PROGRAM = """\
import http.server, os, signal

signal.signal(signal.SIGTERM, lambda *_: os._exit(0))


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        body = b"attacker"
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *words):
        pass


http.server.ThreadingHTTPServer(("", 8080), Handler).serve_forever()
"""
MANIFEST = """\
x-pushrod: {domains: [attacker.localhost], keep: 3}
services:
  web:
    build: .
    ports: ["8080:8080"]
    x-pushrod: {health: /}
"""
SECRET = "topsecret-victim-value-123"
"""The value of the victim's variable VICTIM_SECRET, which only its own instances may hold."""


class Party(Shop):
    """An app with its own key, which is for this app only."""

    def __init__(self, ground: Ground, name: str, tree: Mapping[str, str | bytes]) -> None:
        self.key = ground.directory / f"{name}.key"
        argv = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", str(self.key)]
        made = processes.run(argv, timeout=20)
        assert made.status == 0, made.stderr
        ground.pushrod("apps", "create", name)
        public = self.key.with_suffix(".key.pub").read_text()
        ground.box.exec("pushrod", "host", "keys", "add", "-", "--app", name, stdin=public)
        desk = ground.app(name, tree).tree
        own = ground.box.git_environment(self.key)["GIT_SSH_COMMAND"]
        desk.env = {**desk.env, "GIT_SSH_COMMAND": own}
        super().__init__(ground, name, desk)
        self.first = desk.head()

    def asks(self, *argv: str, stdin: str | None = None, timeout: float = 120.0) -> Completed:
        """The answer to a call with its key over SSH; words are quoted, so they arrive unchanged."""
        return self.box.ssh(*argv, user="pushrod", key=self.key, stdin=stdin, check=False, timeout=timeout)

    def says(self, command: str, stdin: str | None = None) -> Completed:
        """The answer to this one command line, which arrives unchanged."""
        there = f"pushrod@{self.box.address}"
        argv = [
            *self.box.ssh_command(self.key),
            there,
            f" {command}",
        ]  # otherwise ssh would take a dash for its own option
        return processes.run(argv, stdin=stdin, timeout=60)


class Attacker(Party):
    """The attacking party. Each test begins with the tree of `reset`."""

    live_commit = ""
    """The last commit that `pushes` has made live; empty for the first commit."""

    def reset(self) -> None:
        """Reset to the files of the first commit, on top of what is live; that stays on the server until the next
        push."""
        self.tree.reset(self.live_commit or self.first)
        self.tree.git("rm", "-r", "--quiet", ".")
        self.tree.git("checkout", self.first, "--", ".")

    def pushes(self, tree: Mapping[str, str | bytes], message: str = "attack") -> Done:
        """Write files over those of the first commit, and push them."""
        pushed = self.tree.commit(tree, message)
        done = self.push()
        if done.ok:
            self.live_commit = pushed
        return done

    def refused(self, tree: Mapping[str, str | bytes]) -> Complaint:
        """The one error message of a refused push of these files; nothing of it may be left on the server."""
        before = self.footprint() if self.is_live else None
        result = complaint(self.pushes(tree))
        assert before is None or self.footprint() == before
        return result

    @property
    def is_live(self) -> bool:
        """Whether a release of it is live."""
        return self.box.exec("test", "-L", f"{self.directory}/state/live", check=False).status == 0


class Town:
    """The server with both."""

    def __init__(self, box: Box, directory: Path) -> None:
        self.box = box
        self.ground = Ground(box, directory)

    def settle(self) -> "Town":
        """Make both apps live, the victim's with PostgreSQL, Redis and a secret.

        No timer takes a backup meanwhile: tests compare what the victim has before and after. The timer itself stays
        active, which `host init` and `doctor` ask for; its service is skipped.
        """
        service = "pushrod-backup.service"
        self.box.put(f"/etc/systemd/system/{service}.d/never.conf", "[Unit]\nConditionPathExists=/never\n")
        self.box.exec("systemctl", "daemon-reload")
        self.box.exec("systemctl", "start", service)
        condition = self.box.exec("systemctl", "show", "--property=ConditionResult", "--value", service)
        assert condition.stdout.strip() == "no"
        self.victim = Party(self.ground, "victim", files("victim.localhost"))
        stored = self.victim.asks("secret", "set", "VICTIM_SECRET", "--app", "victim", stdin=SECRET)
        assert stored.status == 0, stored.stderr
        done = self.victim.push()
        assert done.ok, done.err
        tree = {"app.py": PROGRAM, "Dockerfile": DOCKERFILE, "compose.yaml": MANIFEST}
        self.attacker = Attacker(self.ground, "attacker", tree)
        done = self.attacker.push()
        assert done.ok, done.err
        return self

    def recover(self) -> None:
        """Recreate the attacker's app, whatever a test has left of it."""
        self.attacker.live_commit = ""
        self.attacker.reset()
        self.ground.pushrod("apps", "destroy", "attacker", "--yes", check=False)
        self.ground.pushrod("apps", "create", "attacker")
        done = self.attacker.push()
        assert done.ok, done.err

    def container(self, app: str, service: str = "web") -> str:
        """A running container of an app's service."""
        filters = (f"--filter=label=pushrod.app={app}", f"--filter=label=pushrod.service={service}")
        return self.box.docker("ps", *filters, "--format={{.Names}}").split("\n")[0]

    def inspect(self, name: str) -> dict[str, object]:
        """What the host's Docker reports of a container."""
        result: dict[str, object] = json.loads(self.box.docker("inspect", name))[0]
        return result
