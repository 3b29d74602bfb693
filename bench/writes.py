"""An app that stores each posted id as a row before it answers: the program itself, one file of standard Python."""

import http.server
import json
import os
import queue
import subprocess
import urllib.parse

SESSIONS = 8
_INSERT = "insert into written values (:'row') returning 1;\n\\echo ."
_URL = urllib.parse.urlsplit(os.environ.get("DATABASE_URL", ""))
_VARIABLES = {
    "PGHOST": _URL.hostname or "",
    "PGPORT": str(_URL.port),
    "PGUSER": _URL.username or "",
    "PGPASSWORD": _URL.password or "",
    "PGDATABASE": _URL.path[1:],
}


class Session:
    """A connection to the database: a psql that reads statements."""

    def __init__(self) -> None:
        self._psql = subprocess.Popen(
            [os.environ["PSQL"], "-X", "-q", "-At"],
            env={**os.environ, **_VARIABLES},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,
        )

    @property
    def works(self) -> bool:
        """Whether it still runs."""
        return self._psql.poll() is None

    def store(self, row: str) -> bool:
        """Insert a row; returns whether that was acknowledged."""
        assert self._psql.stdin and self._psql.stdout
        self._psql.stdin.write(f"\\set row '{row}'\n{_INSERT}\n".encode())
        answer = []
        while (line := self._psql.stdout.readline()) not in (b".\n", b""):
            answer.append(line)
        return answer == [b"1\n"]


SPARE: queue.Queue[Session] = queue.Queue()


class Handler(http.server.BaseHTTPRequestHandler):
    """GET is answered at once, POST once its row is stored."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """Answer."""
        self._answer(200)

    def do_POST(self) -> None:
        """Store the row, then answer."""
        row = str(json.loads(self.rfile.read(int(self.headers["Content-Length"])))["id"])
        session = SPARE.get()
        try:
            stored = session.store(row)
        except OSError:
            stored = False
        SPARE.put(session if session.works else Session())
        self._answer(201 if stored else 500)

    def _answer(self, status: int) -> None:
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


class Server(http.server.ThreadingHTTPServer):
    """With room for connections that begin together."""

    request_queue_size = 128


if __name__ == "__main__":
    for _ in range(SESSIONS):
        SPARE.put(Session())
    Server(("127.0.0.1", int(os.environ["PORT"])), Handler).serve_forever()
