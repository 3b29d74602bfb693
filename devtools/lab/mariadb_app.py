"""An app with a MariaDB, for the tests that push to a server in a box: one file for `python:3.13-slim`.

    python app.py             serve on port 8080
    python app.py migrate     make the table, as a release command

It implements the part of the server's protocol that it needs: installing a package would take longer than everything
else.
"""

import hashlib
import http.server
import json
import os
import signal
import socket
import struct
import sys
import threading
import urllib.parse
from types import FrameType

VERSION = "one"
TABLE = "CREATE TABLE IF NOT EXISTS goods (id INT PRIMARY KEY AUTO_INCREMENT, name TEXT NOT NULL)"
_PROTOCOL_41, _DATABASE, _PASSWORD, _PLUGIN = 0x200, 0x8, 0x8000, 0x80000


class Refused(Exception):
    """An error reported by the server."""


class Connection:
    """A connection, with a password by `mysql_native_password`."""

    def __init__(self, url: str) -> None:
        at = urllib.parse.urlsplit(url)
        self._socket = socket.create_connection((at.hostname, at.port or 3306), 5)
        self._file = self._socket.makefile("rb")
        greeting, number = self._packet()
        salt = self._salt(greeting)
        password = urllib.parse.unquote(at.password or "").encode()
        capabilities = _PROTOCOL_41 | _DATABASE | _PASSWORD | _PLUGIN
        body = struct.pack("<IIB23x", capabilities, 1 << 24, 45)
        body += (at.username or "").encode() + b"\0" + bytes([20]) + _proof(password, salt)
        body += at.path[1:].encode() + b"\0mysql_native_password\0"
        self._send(body, number + 1)
        self._check(self._packet()[0])

    def query(self, statement: str) -> list[list[str | None]]:
        """The rows of a statement's result; raises Refused if the server reports an error."""
        self._send(b"\x03" + statement.encode(), 0)
        first = self._packet()[0]
        self._check(first)
        if first[:1] == b"\0":
            return []
        while not _is_end(self._packet()[0]):  # the column definitions
            pass
        rows: list[list[str | None]] = []
        while not _is_end(row := self._packet()[0]):
            self._check(row)
            rows.append(_columns(row))
        return rows

    def close(self) -> None:
        self._file.close()
        self._socket.close()

    def _salt(self, greeting: bytes) -> bytes:
        self._check(greeting)
        rest = greeting[greeting.index(b"\0", 1) + 5 :]
        return rest[:8] + rest[27:39]

    def _check(self, packet: bytes) -> None:
        if packet[:1] == b"\xff":
            raise Refused(packet[9:].decode())

    def _send(self, body: bytes, number: int) -> None:
        self._socket.sendall(struct.pack("<I", len(body))[:3] + bytes([number]) + body)

    def _packet(self) -> tuple[bytes, int]:
        head = self._file.read(4)
        if len(head) < 4:
            raise ConnectionError("the server has closed the connection")
        return self._file.read(int.from_bytes(head[:3], "little")), head[3]


def _proof(password: bytes, salt: bytes) -> bytes:
    def digest(raw: bytes) -> bytes:
        return hashlib.sha1(raw, usedforsecurity=False).digest()  # the protocol's hash

    once = digest(password)
    mask = digest(salt + digest(once))
    return bytes(a ^ b for a, b in zip(once, mask, strict=True))


def _is_end(packet: bytes) -> bool:
    return packet[:1] == b"\xfe" and len(packet) < 9


def _columns(packet: bytes) -> list[str | None]:
    values: list[str | None] = []
    at = 0
    while at < len(packet):
        size = packet[at]
        at += 1
        if size == 0xFB:
            values.append(None)
            continue
        if size >= 0xFC:
            width = {0xFC: 2, 0xFD: 3, 0xFE: 8}[size]
            size = int.from_bytes(packet[at : at + width], "little")
            at += width
        values.append(packet[at : at + size].decode())
        at += size
    return values


def sql(statement: str) -> list[list[str | None]]:
    """The rows of a statement's result, on a connection of its own."""
    connection = Connection(os.environ.get("APP_DATABASE") or os.environ["DATABASE_URL"])
    try:
        return connection.query(statement)
    finally:
        connection.close()


class Handler(http.server.BaseHTTPRequestHandler):
    """`/healthz`; `/environment`; `/sql?q=`: a statement's result, or 409 if the server refuses it."""

    def do_GET(self) -> None:
        at = urllib.parse.urlsplit(self.path)
        if at.path == "/healthz":
            self._answer(200, VERSION)
        elif at.path == "/environment":
            self._answer(200, dict(os.environ))
        elif at.path == "/sql":
            try:
                self._answer(200, sql(urllib.parse.parse_qs(at.query)["q"][0]))
            except Refused as e:
                self._answer(409, str(e))
            except OSError as e:
                self._answer(503, str(e))
        else:
            self._answer(404, "no such page")

    def _answer(self, status: int, value: object) -> None:
        raw = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(raw)))
        self.end_headers()
        self.wfile.write(raw)

    def log_message(self, *words: object) -> None:
        """Log nothing: there would be a line for each request."""


def serve() -> None:
    """Serve until SIGTERM."""
    server = http.server.ThreadingHTTPServer(("", 8080), Handler)

    def end(_number: int, _frame: FrameType | None) -> None:
        threading.Thread(target=server.shutdown).start()

    signal.signal(signal.SIGTERM, end)
    server.serve_forever(0.05)


if __name__ == "__main__":
    if sys.argv[1:] == ["migrate"]:
        sql(TABLE)
    else:
        serve()
