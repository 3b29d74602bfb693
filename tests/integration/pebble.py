"""Pebble, an ACME server for tests, with a name server that says what a test wants; all of it on this machine alone.

Debian has both in its package `pebble`. It knows no rate limits: `Limiting` stands before it where one is wanted, and
refuses new orders as RFC 8555 (6.6) has it.
"""

import contextlib
import http.client
import http.server
import json
import shutil
import ssl
import threading
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pushrod import host
from pushrod.gears import openssl
from tests.integration.servers import free_port, running

PROGRAMS = [shutil.which(name) for name in ("pebble", "pebble-challtestsrv", "certbot")]
PASSED = ("Content-Type", "Replay-Nonce", "Location", "Link")
REFUSAL = {"type": "urn:ietf:params:acme:error:rateLimited", "detail": "too many certificates", "status": 429}
REFUSAL_HEADERS = {"Content-Type": "application/problem+json"}
MISSING = "needs pebble and certbot: apt-get install pebble certbot"


@dataclass
class Pebble:
    """A running one: its address, the authority of its own certificate, and the doors of it and its name server."""

    url: str
    trust: Path
    names: int
    management: int

    def answer(self, name: str, address: str) -> None:
        """Have a name lead to an address from now on."""
        self._tell("clear-a", {"host": f"{name}."})
        self._tell("add-a", {"host": f"{name}.", "addresses": [address]})
        self._tell("clear-aaaa", {"host": f"{name}."})

    def root(self) -> str:
        """The authority that its certificates are from, in PEM; another at each start."""
        context = ssl.create_default_context(cafile=str(self.trust))
        with urllib.request.urlopen(
            f"https://localhost:{self.management}/roots/0", context=context, timeout=10
        ) as found:
            return str(found.read().decode())

    def _tell(self, what: str, value: object) -> None:
        data = json.dumps(value).encode()
        with urllib.request.urlopen(f"http://127.0.0.1:{self.names}/{what}", data, timeout=10) as done:
            assert done.status == 200


@contextlib.contextmanager
def pebble(directory: Path, http_port: int, *, validity: int = 0, blocked: str = "") -> Iterator[Pebble]:
    """Pebble looking for proofs at `http_port`. `validity` of its certificates is in seconds (0: five years)."""
    directory.mkdir(parents=True, exist_ok=True)
    port, management, names, dns = (free_port() for _ in range(4))
    authority = openssl.authority("pebble's own")
    own = openssl.issue(authority, ["localhost"], ["127.0.0.1"])
    for name, text in {"trust": authority.chain, "chain": own.chain, "key": own.key}.items():
        host.write(directory / f"{name}.pem", text)
    settings: dict[str, Any] = {
        "listenAddress": f"127.0.0.1:{port}",
        "managementListenAddress": f"127.0.0.1:{management}",
        "certificate": str(directory / "chain.pem"),
        "privateKey": str(directory / "key.pem"),
        "httpPort": http_port,
        "tlsPort": free_port(),
        "domainBlocklist": [blocked] if blocked else [],
    }
    if validity:
        settings["certificateValidityPeriod"] = validity
    host.write(directory / "pebble.json", json.dumps({"pebble": settings}))
    server, name_server = ("pebble", "pebble-challtestsrv")
    resolver = [
        name_server,
        "-dns01",
        f"127.0.0.1:{dns}",
        "-management",
        f"127.0.0.1:{names}",
        "-defaultIPv6",
        "",
    ]
    closed = [word for kind in ("http01", "https01", "tlsalpn01") for word in (f"-{kind}", "")]
    environment = ["env", "PEBBLE_VA_NOSLEEP=1", "PEBBLE_AUTHZREUSE=0", "PEBBLE_WFE_NONCEREJECT=0"]
    argv = [*environment, server, "-config", str(directory / "pebble.json"), "-dnsserver", f"127.0.0.1:{dns}"]
    log = directory / "pebble.log"
    with running([*resolver, *closed], None, log, "TERM"), running(argv, None, log, "TERM"):
        ready = host.wait_until(lambda: host.accepts(port) and host.accepts(names), 15)
        assert ready, log.read_text()
        yield Pebble(f"https://localhost:{port}/dir", directory / "trust.pem", names, management)


@contextlib.contextmanager
def limiting(before: Pebble, directory: Path) -> Iterator[str]:
    """The address of a server that passes all on to Pebble but new orders, which it refuses as too many."""
    behind = int(before.url.split(":")[2].split("/")[0])
    trusted = ssl.create_default_context(cafile=str(before.trust))

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            if self.path.startswith("/order-plz"):
                return self.reply(
                    429, REFUSAL_HEADERS | {"Replay-Nonce": nonce()}, json.dumps(REFUSAL).encode()
                )
            return self.pass_on(body)

        def do_GET(self) -> None:
            self.pass_on(None)

        do_HEAD = do_GET

        def pass_on(self, body: bytes | None) -> None:
            connection = http.client.HTTPSConnection("localhost", behind, context=trusted, timeout=10)
            connection.request(self.command, self.path, body, dict(self.headers))
            answer = connection.getresponse()
            kept = {k: v for k, v in answer.getheaders() if k in PASSED}
            self.reply(answer.status, kept, answer.read())

        def reply(self, status: int, headers: dict[str, str], body: bytes) -> None:
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(body))}.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    def nonce() -> str:
        connection = http.client.HTTPSConnection("localhost", behind, context=trusted, timeout=10)
        connection.request("HEAD", "/nonce-plz")
        return connection.getresponse().headers["Replay-Nonce"]

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(directory / "chain.pem", directory / "key.pem")
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    try:
        yield f"https://localhost:{server.server_address[1]}/dir"
    finally:
        server.shutdown()
        server.server_close()
