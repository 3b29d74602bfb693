"""An edge with a real nginx in front of real backends, as tests need it.

Under root, nginx runs as the account for children; otherwise as the caller.
"""

import contextlib
import http.client
import http.server
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pushrod.adapters.binaries import Parts
from pushrod.adapters.nginx import Edge, Switch, workers
from pushrod.core.site import Site
from pushrod.system import accounts, processes, waits

PATIENCE = 15.0
"""Seconds after which a condition that does not hold is a failure."""


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: "Backend"

    def do_GET(self) -> None:
        if self.path.startswith("/slow"):
            self.server.asked.set()
            self.server.may_answer.wait(PATIENCE)
        if self.headers.get("Upgrade") == "websocket":
            return self.upgrade()
        if self.path == "/headers":
            return self.answer(json.dumps(dict(self.headers)))
        return self.answer(self.server.name * (2000 if self.path == "/long" else 1))

    def do_POST(self) -> None:
        self.answer(self.rfile.read(int(self.headers["Content-Length"])).decode())

    def answer(self, text: str) -> None:
        self.send_response(503 if self.path == "/refuse" else 200)
        self.send_header("Content-Type", "text/plain")
        self.send_header("Content-Length", str(len(text)))
        self.send_header("X-Request-Id", "the backend's own")
        self.end_headers()
        self.wfile.write(text.encode())

    def upgrade(self) -> None:
        self.send_response(101)
        self.send_header("Upgrade", "websocket")
        self.send_header("Connection", "upgrade")
        self.end_headers()
        self.wfile.write(self.rfile.readline().upper())
        self.close_connection = True

    def log_message(self, *_: object) -> None:
        pass


class Backend(http.server.ThreadingHTTPServer):
    """A backend that answers its name; a request below /slow waits until it is released."""

    daemon_threads = True

    def __init__(self, name: str) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.name = name
        self.asked = threading.Event()
        self.may_answer = threading.Event()
        threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True).start()

    def handle_error(self, *_: object) -> None:
        """Ignore clients that disconnect."""

    @property
    def port(self) -> int:
        return int(self.server_address[1])

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"


@dataclass
class Started:
    """An edge and its running nginx, as a supervisor would run it."""

    edge: Edge
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        argv = processes.as_account(self.edge.argv(), self.edge.account, death_signal="TERM")
        self.process = subprocess.Popen(argv, cwd=self.edge.directory, stderr=subprocess.DEVNULL)
        assert waits.wait_until(self.edge.answering, PATIENCE), self.log()
        assert waits.wait_until(lambda: len(self.workers()) == 2, PATIENCE), self.log()

    def log(self) -> str:
        path = self.edge.logs / "error.log"
        return path.read_text() if path.exists() else "no log"

    def workers(self) -> tuple[int, ...]:
        return workers.workers_of(self.edge._master())

    def kill(self) -> None:
        """Kill nginx as the out-of-memory killer does: without a chance to clean up."""
        assert self.process
        workers = self.workers()
        self.process.kill()
        self.process.wait()
        for pid in workers:
            os.kill(pid, signal.SIGKILL)
        assert self.edge.drained(Switch("", workers), PATIENCE)

    def stop(self) -> None:
        if self.process and self.process.poll() is None:
            self.process.terminate()
            self.process.wait(PATIENCE)


@contextlib.contextmanager
def an_edge(tmp_path: Path, **listening: Any) -> Iterator[Started]:
    with tempfile.TemporaryDirectory() as short:
        directory = tmp_path / 'an "odd" \\ place' / "edge"
        program = Parts().nginx
        account = accounts.child_account([tmp_path, Path(short), program, Path(sys.executable)])
        made = Started(Edge(program, directory, Path(short) / "edge", account, **listening))
        made.edge.prepare()
        try:
            yield made
        finally:
            made.stop()


@contextlib.contextmanager
def a_started_edge(place: Path, **listening: Any) -> Iterator[Started]:
    """The same, serving; nginx's account may enter the directory that pytest has made."""
    for path in (place, *place.parents[:2]):
        path.chmod(0o755)
    with an_edge(place, **listening) as made:
        made.start()
        yield made


def site(
    app: str, release: int, *backends: Backend, port: int, domains: tuple[str, ...] = ()
) -> dict[str, Site | None]:
    addresses = tuple(b.address for b in backends)
    return {app: Site(app=app, release=release, port=port, backends=addresses, domains=domains)}


@dataclass(frozen=True)
class Answer:
    status: int
    body: str
    headers: dict[str, str]


def ask(port: int, path: str = "/", method: str = "GET", body: str = "", **headers: str) -> Answer:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    with contextlib.closing(connection):
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method, path, body or None, sent)
        response = connection.getresponse()
        return Answer(response.status, response.read().decode("latin-1"), dict(response.headers))


class InFlight(threading.Thread):
    """A request that waits for its answer in a thread."""

    def __init__(self, port: int) -> None:
        super().__init__(daemon=True)
        self.port = port
        self.result: Answer | None = None
        self.start()

    def run(self) -> None:
        self.result = ask(self.port, "/slow")

    def answer(self) -> Answer:
        self.join(PATIENCE)
        assert self.result, "no answer"
        return self.result
