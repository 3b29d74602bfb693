"""Pebble, an ACME server for tests, with a name server controlled by the test; all on this machine.

Debian has both in its package `pebble`. Pebble has no rate limits and does not suggest renewal times: for such
tests another server in front of it refuses new orders according to RFC 8555 (6.6), or suggests a time.
"""

import contextlib
import datetime
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

from devtools.servers import free_port, running
from pushrod.adapters import certbot, openssl
from pushrod.system import files, network, waits

PROGRAMS = [shutil.which("pebble"), shutil.which("pebble-challtestsrv"), certbot.find()]
PASSED = ("Content-Type", "Replay-Nonce", "Location", "Link")
REFUSAL = {"type": "urn:ietf:params:acme:error:rateLimited", "detail": "too many certificates", "status": 429}
REFUSAL_HEADERS = {"Content-Type": "application/problem+json"}
MISSING = "needs pebble: apt-get install pebble"


@dataclass
class Pebble:
    """A running Pebble: its address, the authority of its own certificate, and the management addresses of both
    servers."""

    url: str
    trust: Path
    names: int
    management: int

    def answer(self, name: str, address: str) -> None:
        """Make a name resolve to an address from now on."""
        self._tell("clear-a", {"host": f"{name}."})
        self._tell("add-a", {"host": f"{name}.", "addresses": [address]})
        self._tell("clear-aaaa", {"host": f"{name}."})

    def root(self) -> str:
        """The authority of its certificates, in PEM; a new one at each start."""
        context = ssl.create_default_context(cafile=str(self.trust))
        with urllib.request.urlopen(
            f"https://localhost:{self.management}/roots/0", context=context, timeout=10
        ) as result:
            return str(result.read().decode())

    def _tell(self, what: str, value: object) -> None:
        data = json.dumps(value).encode()
        with urllib.request.urlopen(f"http://127.0.0.1:{self.names}/{what}", data, timeout=10) as done:
            assert done.status == 200


@contextlib.contextmanager
def pebble(directory: Path, http_port: int, *, validity: int = 0, blocked: str = "") -> Iterator[Pebble]:
    """Pebble, which validates at `http_port`. `validity` of its certificates is in seconds (0: five years)."""
    directory.mkdir(parents=True, exist_ok=True)
    port, management, names, dns = (free_port() for _ in range(4))
    authority = openssl.authority("pebble's own")
    own = openssl.issue(authority, ["localhost"], ["127.0.0.1"])
    for name, text in {"trust": authority.chain, "chain": own.chain, "key": own.key}.items():
        files.write(directory / f"{name}.pem", text)
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
    files.write(directory / "pebble.json", json.dumps({"pebble": settings}))
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
        ready = waits.wait_until(lambda: network.accepts(port) and network.accepts(names), 15)
        assert ready, log.read_text()
        yield Pebble(f"https://localhost:{port}/dir", directory / "trust.pem", names, management)


class Passing(http.server.BaseHTTPRequestHandler):
    """A proxy in front of Pebble; subclasses answer some requests themselves."""

    behind: int
    trusted: ssl.SSLContext

    def do_POST(self) -> None:
        self.pass_on(self.rfile.read(int(self.headers.get("Content-Length") or 0)))

    def do_GET(self) -> None:
        self.pass_on(None)

    def do_HEAD(self) -> None:
        self.pass_on(None)

    def pass_on(self, body: bytes | None) -> None:
        status, headers, raw = self.ask(self.command, self.path, body, dict(self.headers))
        self.reply(status, {k: v for k, v in headers.items() if k in PASSED}, raw)

    def ask(
        self, method: str, path: str, body: bytes | None = None, headers: dict[str, str] | None = None
    ) -> tuple[int, dict[str, str], bytes]:
        connection = http.client.HTTPSConnection("localhost", self.behind, context=self.trusted, timeout=10)
        with contextlib.closing(connection):
            connection.request(method, path, body, headers or {})
            answer = connection.getresponse()
            return answer.status, dict(answer.getheaders()), answer.read()

    def reply(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@contextlib.contextmanager
def before(acme: Pebble, directory: Path, handler: type[Passing]) -> Iterator[str]:
    """The address of a server in front of Pebble."""
    handler.behind = int(acme.url.split(":")[2].split("/")[0])
    handler.trusted = ssl.create_default_context(cafile=str(acme.trust))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(directory / "chain.pem", directory / "key.pem")
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    try:
        yield f"https://localhost:{server.server_address[1]}/dir"
    finally:
        server.shutdown()
        server.server_close()


@contextlib.contextmanager
def limiting(acme: Pebble, directory: Path) -> Iterator[str]:
    """The address of a server that refuses new orders as too many."""

    class Limiting(Passing):
        def do_POST(self) -> None:
            if not self.path.startswith("/order-plz"):
                return super().do_POST()
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            nonce = self.ask("HEAD", "/nonce-plz")[1]["Replay-Nonce"]
            return self.reply(429, REFUSAL_HEADERS | {"Replay-Nonce": nonce}, json.dumps(REFUSAL).encode())

    with before(acme, directory, Limiting) as url:
        yield url


@dataclass
class Advice:
    """When a server in front of Pebble suggests renewing a certificate: within an hour from `begins`, in hours from
    now."""

    url: str = ""
    begins: float = 24.0
    asked: bool = False


@contextlib.contextmanager
def advising(acme: Pebble, directory: Path) -> Iterator[Advice]:
    """A server that suggests renewal times (RFC 9773), which Debian's Pebble does not."""
    advice = Advice()

    class Advising(Passing):
        def do_GET(self) -> None:
            if self.path.startswith("/renewal-info/"):
                advice.asked = True
                start = datetime.datetime.now(datetime.UTC) + datetime.timedelta(hours=advice.begins)
                window = {
                    "start": start.isoformat(),
                    "end": (start + datetime.timedelta(hours=1)).isoformat(),
                }
                return self.reply(
                    200, {"Retry-After": "21600"}, json.dumps({"suggestedWindow": window}).encode()
                )
            if self.path != "/dir":
                return super().do_GET()
            status, _, raw = self.ask("GET", "/dir")
            document = json.loads(raw) | {"renewalInfo": advice.url.replace("/dir", "/renewal-info")}
            return self.reply(status, {"Content-Type": "application/json"}, json.dumps(document).encode())

    with before(acme, directory, Advising) as url:
        advice.url = url
        yield advice
