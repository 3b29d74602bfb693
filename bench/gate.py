"""The measurements of the edge: the edge, and beside it a bare, hand-tuned nginx, in front of the same backend.

Both are the same program, so the difference is what the edge does by default: its log, its headers, its limits. The
backend is an app in Python, or a third nginx that answers from memory at almost no cost.
"""

import contextlib
import itertools
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import NamedTuple

from bench import wrk
from bench.stage import BenchError
from devtools import steady
from devtools.apps import edge_port
from pushrod.adapters import openssl
from pushrod.adapters.binaries import Parts
from pushrod.adapters.nginx import Edge
from pushrod.core.site import Site, Tls
from pushrod.system import accounts, files, network, processes, waits

NAME = "localhost"  # the name in wrk's URL
_LENGTH = 900  # bytes of an answer: some JSON, too short to be compressed
_STARTS = 15.0  # seconds
_CONNECTIONS = 32
_APPS = 13  # at most, on the host of the compared two: 1 to 13, in turn
_SECONDS = 1  # short and often: the distribution of connections over the two workers is random each time

_COMMON = """\
daemon off;
pid "@here@/nginx.pid";
error_log "@here@/error.log";
worker_processes 2;
worker_rlimit_nofile 4096;
events { worker_connections 2048; }
http {
    access_log off;
    client_body_temp_path "@here@/t1"; proxy_temp_path "@here@/t2"; fastcgi_temp_path "@here@/t3";
    uwsgi_temp_path "@here@/t4"; scgi_temp_path "@here@/t5";
    sendfile on; tcp_nopush on; keepalive_timeout 65s;
"""
_BACKEND = """\
    keepalive_requests 1000000;
    server {
        listen 127.0.0.1:@port@;
        default_type application/json;
        return 200 "@answer@";
    }
}
"""
_BARE = """\
    upstream backend { server 127.0.0.1:@backend@ max_fails=0; keepalive 32; }
@sites@}
"""
_BARE_SITE = """\
    server {
        listen 127.0.0.1:@port@;
        listen 127.0.0.1:@tls@ ssl;
        http2 on;
        server_name @host@;
        ssl_certificate "@here@/chain.pem";
        ssl_certificate_key "@here@/key.pem";
        ssl_protocols TLSv1.2 TLSv1.3;
        ssl_session_cache shared:bare:10m;
        location / {
            proxy_pass http://backend;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_set_header Host $host;
        }
    }
"""


class Pace(NamedTuple):
    """The result of a load at full speed: requests a second, and their 99th percentile in seconds. `stolen` is the
    share of processor time taken by this machine's own host meanwhile."""

    rate: float
    p99: float
    stolen: float


class Turn(NamedTuple):
    """A load of a bare nginx and one of an edge, in immediate succession."""

    bare: Pace
    edge: Pace

    @property
    def stolen(self) -> float:
        """The larger share of the two: time stolen from only one of them would favour the other."""
        return max(self.bare.stolen, self.edge.stolen)


class Pair(NamedTuple):
    """A bare nginx and an edge with the same number of sites and the same backend: their URLs without and with
    TLS."""

    bare: tuple[str, str]
    edge: tuple[str, str]


class Gate:
    """Two backends, by name with their ports, and an edge with one app; leaving the block stops them.

    `alone` is that edge, with its site.
    """

    def __init__(self) -> None:
        self.top = Path(tempfile.mkdtemp(prefix="pushrod-gate-", dir="/tmp"))
        self.top.chmod(0o755)
        self._stack = contextlib.ExitStack()
        self._stack.callback(shutil.rmtree, self.top, ignore_errors=True)
        self._program = Parts().nginx
        self._certificate = openssl.issue(openssl.authority("bench"), [NAME])
        self.backends: dict[str, int] = {}
        self._pairs = itertools.count()

    def __enter__(self) -> "Gate":
        if not shutil.which("wrk"):
            raise BenchError("no `wrk`, which makes the load: apt-get install wrk")
        try:
            self.backends["an app in Python"] = self._app()
            self.backends["a backend that costs nothing"] = self._memory()
            self.alone = self.edge("alone", 1, edge_port())
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def _app(self) -> int:
        """Start the tests' app, which does little besides HTTP; returns its port."""
        port = edge_port()
        environment = {"PATH": os.defpath, "PORT": str(port), "HOME": str(self.top)}
        self._start([sys.executable, "-I", steady.__file__], self.top, environment)
        self._await(port, "the app")
        return port

    def _memory(self) -> int:
        port = edge_port()
        answer = "{" + "x" * (_LENGTH - 2) + "}"
        self._plain("memory", _BACKEND, {"port": str(port), "answer": answer}, self._stack)
        return port

    @contextlib.contextmanager
    def pair(self, backend: int) -> Iterator[Pair]:
        """A newly started bare nginx and edge in front of a backend; leaving the block stops both.

        The number of their apps varies each time. nginx's memory layout depends on its configuration: one server
        block more or less changes the bare one's page faults per TLS request between 0.04 and 2.2, and the edge's
        between 0.04 and 0.3. That is up to a fifth of the requests, and says nothing about either.
        """
        number, port, tls = next(self._pairs), edge_port(), edge_port()
        apps = 1 + number % _APPS
        values = {"port": str(port), "tls": str(tls), "backend": str(backend)}
        sites = "".join(_BARE_SITE.replace("@host@", _name(app)) for app in range(apps))
        with contextlib.ExitStack() as stack:
            self._plain(f"bare{number}", _BARE.replace("@sites@", sites), values, stack)
            _, site = self.edge(f"edge{number}", apps, backend, stack)
            assert site.tls
            yield Pair(_urls(port, tls), _urls(site.port, site.tls.port))

    def edge(
        self,
        name: str,
        apps: int,
        backend: int,
        stack: contextlib.ExitStack | None = None,
        *,
        further: Sequence[Site] = (),
    ) -> tuple[Edge, Site]:
        """A running edge with a number of sites, and one of these; stopped with `stack`, or with all others. It
        also serves the sites in `further`."""
        directory, runtime = self.top / name, self.top / f"{name}-run"
        account = accounts.child_account([self.top, self._program, Path(sys.executable)])
        edge = Edge(self._program, directory, runtime, account)
        edge.prepare()
        port, tls_port = edge_port(), edge_port()
        sites = [self._site(edge, number, (port, tls_port, backend)) for number in range(apps)]
        edge.place({site.app: site for site in (*sites, *further)})
        argv = processes.as_account(edge.argv(), account, death_signal="TERM")
        self._start(argv, directory, stack=stack)
        if not waits.wait_until(edge.answering, _STARTS):
            raise BenchError("the edge does not answer")
        return edge, sites[0]

    def _site(self, edge: Edge, number: int, ports: tuple[int, int, int]) -> Site:
        app, (port, tls_port, backend) = f"app{number}", ports
        name = _name(number)
        generation = openssl.describe(self._certificate.chain).fingerprint[:16]
        owner = (edge.account.uid, edge.account.gid) if edge.account else None
        _place(edge.certificates / app / generation, self._certificate, owner)
        tls = Tls(generation, (name,), tls_port, 600)
        return Site(app, 1, port, (f"127.0.0.1:{backend}",), (name,), tls)

    def _plain(self, name: str, text: str, values: dict[str, str], stack: contextlib.ExitStack) -> None:
        here = self.top / name
        here.mkdir()
        _place(here, self._certificate, None)
        config = here / "nginx.conf"
        filled = values | {"here": str(here)}
        config.write_text(re.sub(r"@(\w+)@", lambda match: filled[match[1]], _COMMON + text))
        argv = [str(self._program), "-p", f"{here}/", "-c", str(config), "-e", str(here / "error.log")]
        self._start(argv, here, stack=stack)
        self._await(int(values["port"]), name)

    def _await(self, port: int, what: str) -> None:
        if not waits.wait_until(lambda: network.accepts(port), _STARTS):
            raise BenchError(f"{what} does not listen on port {port}")

    def _start(
        self,
        argv: list[str],
        directory: Path,
        environment: dict[str, str] | None = None,
        stack: contextlib.ExitStack | None = None,
    ) -> None:
        none = subprocess.DEVNULL
        child = subprocess.Popen(argv, cwd=directory, env=environment, stdin=none, stderr=none)
        stack = stack or self._stack
        stack.callback(child.wait, 30)
        stack.callback(child.terminate)

    def load(self, url: str) -> Pace:
        """Send as many requests as a client on kept connections can; BenchError if one fails."""
        before = _processors()
        rate, p99 = wrk.run(
            url, connections=_CONNECTIONS, seconds=_SECONDS, headers=("X-Forwarded-Proto: https",)
        )
        after = _processors()
        stolen = (after.stolen - before.stolen) / max(1, after.all - before.all)
        return Pace(rate, p99, stolen)


def timed_switch(edge: Edge, site: Site, release: int) -> float:
    """Seconds for switching one app to another release; the end of the old workers is awaited, but not counted."""
    changed = Site(**{f: getattr(site, f) for f in site.__struct_fields__} | {"release": release})
    started = time.perf_counter()
    switch = edge.switch({site.app: changed})
    took = time.perf_counter() - started
    edge.drained(switch)
    return took


class _Processors(NamedTuple):
    """The processors' time since this machine started, in ticks: the total, and what its host has stolen."""

    all: int
    stolen: int


def _processors() -> _Processors:
    """Read the first line of /proc/stat: user, nice, system, idle, iowait, irq, softirq, steal (proc_stat(5))."""
    ticks = [int(field) for field in Path("/proc/stat").read_text().splitlines()[0].split()[1:9]]
    return _Processors(sum(ticks), ticks[7])


def _name(number: int) -> str:
    return NAME if number == 0 else f"app{number}.localhost"


def _urls(port: int, tls: int) -> tuple[str, str]:
    return f"http://{NAME}:{port}/", f"https://{NAME}:{tls}/"


def _place(directory: Path, pair: openssl.Pair, owner: tuple[int, int] | None) -> None:
    files.write(directory / "chain.pem", pair.chain)
    files.write(directory / "key.pem", pair.key, mode=0o600, owner=owner)
