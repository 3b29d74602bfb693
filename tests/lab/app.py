"""The app that the tests push to a server in a box: one file for `python:3.13-slim`, with nothing to install.

    python app.py             serve on PORT (8080)
    python app.py migrate     make the table, as a release command; `migrate --fail` fails after a part of it
    python app.py work        a worker: it counts in Redis

It speaks the protocols of PostgreSQL and Redis itself, as far as it needs them: `pip` in a build would take longer
than all the rest of it. `TROUBLE` in its environment spoils it: `crash` ends it at its start, `sick` has it never
healthy.
"""

import base64
import contextlib
import hashlib
import hmac
import http.server
import json
import os
import secrets
import signal
import socket
import struct
import sys
import threading
import time
import urllib.parse
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

VERSION = "one"
TABLE = "CREATE TABLE IF NOT EXISTS rows (id text PRIMARY KEY, at timestamptz DEFAULT now())"
CONNECTIONS = 16  # to a store at a time; PostgreSQL has 100, and two releases beside each other at a switch
_PATIENCE = 5.0  # seconds for one answer of a store
_DRAIN = 5.0  # seconds that requests under way have after SIGTERM


class Refused(Exception):
    """What PostgreSQL says that it does not do."""


class Postgres:
    """A connection to PostgreSQL, by version 3 of its protocol, with a password by SCRAM, in clear or none."""

    def __init__(self, url: str) -> None:
        at = urllib.parse.urlsplit(url)
        self._user, self._password = at.username or "", urllib.parse.unquote(at.password or "")
        self._socket = socket.create_connection((at.hostname, at.port or 5432), _PATIENCE)
        self._file = self._socket.makefile("rb")
        words = f"user\0{self._user}\0database\0{at.path[1:]}\0\0".encode()
        self._socket.sendall(struct.pack("!II", len(words) + 8, 196608) + words)
        self._enter()

    def query(self, statement: str) -> list[list[str | None]]:
        """The rows of a statement's result; Refused where PostgreSQL refuses it."""
        self._send(b"Q", f"{statement}\0".encode())
        rows: list[list[str | None]] = []
        refused = ""
        while True:
            kind, body = self._receive()
            if kind == b"D":
                rows.append(list(_columns(body)))
            elif kind == b"E":
                refused = _message(body)
            elif kind == b"Z":
                if refused:
                    raise Refused(refused)
                return rows

    def close(self) -> None:
        self._file.close()
        self._socket.close()

    def _enter(self) -> None:
        while True:
            kind, body = self._receive()
            if kind == b"E":
                raise Refused(_message(body))
            if kind == b"Z":
                return
            if kind == b"R":
                self._authenticate(struct.unpack("!I", body[:4])[0], body[4:].decode())

    def _authenticate(self, how: int, text: str) -> None:
        if how == 3:
            self._send(b"p", f"{self._password}\0".encode())
        elif how == 10:
            self._first = f"n=,r={secrets.token_hex(12)}"
            first = f"n,,{self._first}".encode()
            self._send(b"p", b"SCRAM-SHA-256\0" + struct.pack("!I", len(first)) + first)
        elif how == 11:
            self._send(b"p", _proof(self._first, text, self._password).encode())
        elif how not in (0, 12):
            raise Refused(f"it asks for a password in the way {how}, which this app does not know")

    def _send(self, kind: bytes, body: bytes) -> None:
        self._socket.sendall(kind + struct.pack("!I", len(body) + 4) + body)

    def _receive(self) -> tuple[bytes, bytes]:
        head = self._file.read(5)
        if len(head) < 5:
            raise ConnectionError("PostgreSQL has closed the connection")
        return head[:1], self._file.read(struct.unpack("!I", head[1:])[0] - 4)


def _proof(first: str, challenge: str, password: str) -> str:
    """The answer to a server's challenge, by RFC 5802 with SHA-256."""
    given = dict(part.split("=", 1) for part in challenge.split(","))
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), base64.b64decode(given["s"]), int(given["i"]))
    key = hmac.digest(salted, b"Client Key", "sha256")
    last = f"c=biws,r={given['r']}"
    signed = f"{first},{challenge},{last}".encode()
    signature = hmac.digest(hashlib.sha256(key).digest(), signed, "sha256")
    mixed = bytes(a ^ b for a, b in zip(key, signature, strict=True))
    return f"{last},p={base64.b64encode(mixed).decode()}"


def _columns(body: bytes) -> Iterator[str | None]:
    at = 2
    for _ in range(struct.unpack("!H", body[:2])[0]):
        (size,) = struct.unpack("!i", body[at : at + 4])
        at += 4
        yield None if size < 0 else body[at : at + size].decode()
        at += max(size, 0)


def _message(body: bytes) -> str:
    fields = {part[:1]: part[1:].decode() for part in body.split(b"\0") if part}
    return fields.get(b"M", "refused")


class Redis:
    """A connection to Redis or Valkey."""

    def __init__(self, url: str) -> None:
        at = urllib.parse.urlsplit(url)
        self._socket = socket.create_connection((at.hostname, at.port or 6379), _PATIENCE)
        self._file = self._socket.makefile("rb")
        if at.password:
            self.ask("AUTH", *([at.username] if at.username else []), urllib.parse.unquote(at.password))

    def ask(self, *words: str) -> str:
        """The answer to a command that is answered in one line."""
        encoded = [f"${len(w.encode())}\r\n{w}\r\n" for w in words]
        self._socket.sendall(f"*{len(words)}\r\n{''.join(encoded)}".encode())
        line = self._file.readline().decode().strip()
        if not line:
            raise ConnectionError("Redis has closed the connection")
        if line[0] not in "+:":
            raise ConnectionError(line)
        return line[1:]

    def close(self) -> None:
        self._file.close()
        self._socket.close()


class Pool:
    """Connections that are used again, a few at a time. What fails on one that was kept is tried once more on a new
    one: every statement of this app may be repeated."""

    def __init__(self, connect: Callable[[], Any]) -> None:
        self._connect = connect
        self._idle: list[Any] = []
        self._free = threading.BoundedSemaphore(CONNECTIONS)

    def do(self, action: Callable[[Any], Any]) -> Any:
        """What the action makes of a connection. OSError or Refused where it cannot."""
        with self._free:
            with contextlib.suppress(OSError, IndexError, Refused):
                return self._on(self._idle.pop(), action)
            return self._on(self._connect(), action)

    def _on(self, connection: Any, action: Callable[[Any], Any]) -> Any:
        try:
            found = action(connection)
        except BaseException:
            connection.close()
            raise
        self._idle.append(connection)
        return found


postgres = Pool(lambda: Postgres(os.environ["DATABASE_URL"]))
redis = Pool(lambda: Redis(os.environ["REDIS_URL"]))


def sql(statement: str) -> list[list[str | None]]:
    """The rows of a statement's result."""
    found: list[list[str | None]] = postgres.do(lambda connection: connection.query(statement))
    return found


def state() -> dict[str, object]:
    """Who answers, and that its stores do: each is asked."""
    return {
        "app": os.environ.get("PUSHROD_APP", ""),
        "version": VERSION,
        "release": int(os.environ.get("PUSHROD_RELEASE", "0")),
        "rows": int(sql("SELECT count(*) FROM rows")[0][0] or 0),
        "redis": int(redis.do(lambda connection: connection.ask("INCR", "asked"))),
    }


class Handler(http.server.BaseHTTPRequestHandler):
    """`/` and `/api/`: who answers; `/healthz`; `/slow`; `/environment`; `/rows`, to which a row may be posted."""

    protocol_version = "HTTP/1.1"
    wbufsize = -1  # head and body in one packet: two would wait for each other's acknowledgement
    under_way = 0

    def do_GET(self) -> None:
        path = urllib.parse.urlsplit(self.path).path
        pages: dict[str, Callable[[], object]] = {
            "/": state,
            "/api/": state,
            "/slow": lambda: time.sleep(0.4) or VERSION,
            "/rows": lambda: [row[0] for row in sql("SELECT id FROM rows ORDER BY at")],
            "/environment": lambda: dict(os.environ),
        }
        if path == "/healthz":
            self._answer(503 if os.environ.get("TROUBLE") == "sick" else 200, VERSION)
        elif page := pages.get(path):
            self._answer_with(page, 200)
        else:
            self._answer(404, "no such page")

    def do_POST(self) -> None:
        raw = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        row = str(json.loads(raw)["id"]).replace("'", "''")
        insert = f"INSERT INTO rows VALUES ('{row}') ON CONFLICT DO NOTHING"  # noqa: S608 - quoted above
        self._answer_with(lambda: sql(insert), 201)

    def _answer_with(self, make: Callable[[], object], status: int) -> None:
        Handler.under_way += 1
        try:
            self._answer(status, make())
        except (OSError, Refused) as e:
            self._answer(503, f"{type(e).__name__}: {e}")
        finally:
            Handler.under_way -= 1

    def _answer(self, status: int, found: object) -> None:
        raw = json.dumps(found).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(raw)))
        self.end_headers()
        self.wfile.write(raw)

    def log_message(self, *words: object) -> None:
        """Nothing: there would be a line for each request."""


class Server(http.server.ThreadingHTTPServer):
    request_queue_size = 128
    daemon_threads = True


def serve() -> None:
    """Until SIGTERM; then what is under way is answered, and it ends."""
    if os.environ.get("TROUBLE") == "crash":
        sys.exit("this release ends as soon as it is started")
    if os.environ.get("DATABASE_URL") and sql("SELECT to_regclass('rows')") == [[None]]:
        sql(TABLE)  # an app without a release command
    server = Server(("", int(os.environ.get("PORT", "8080"))), Handler)

    def end(_number: int, _frame: FrameType | None) -> None:
        threading.Thread(target=server.shutdown).start()

    signal.signal(signal.SIGTERM, end)
    print(f"{VERSION} serves", flush=True)
    server.serve_forever(0.05)
    deadline = time.monotonic() + _DRAIN
    while Handler.under_way and time.monotonic() < deadline:
        time.sleep(0.01)


def migrate() -> None:
    sql(TABLE)
    if "--fail" in sys.argv:
        try:
            sql("ALTER TABLE nothing ADD COLUMN more text")
        except Refused as e:
            sys.exit(str(e))


def work() -> None:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    while True:
        redis.do(lambda connection: connection.ask("INCR", "worked"))
        time.sleep(0.5)


if __name__ == "__main__":
    {"serve": serve, "migrate": migrate, "work": work}[sys.argv[1] if len(sys.argv) > 1 else "serve"]()
