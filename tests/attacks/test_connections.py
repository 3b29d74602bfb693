"""The kernel has one table of connections for all apps and for the edge: no app fills it."""

import contextlib
import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from pushrod.system import processes, waits
from tests.attacks.registry import ADDRESS
from tests.attacks.town import MANIFEST, Attacker, Party, Town

pytestmark = pytest.mark.lab

COUNT = "/proc/sys/net/netfilter/nf_conntrack_count"
TWO = MANIFEST + "    deploy: {replicas: 2}\n"
LISTENS = """\
import socket
server, kept = socket.create_server(("", 9999), backlog=1000), []
open("/tmp/listens", "w").close()
while True:
    kept.append(server.accept())
"""
OPENS = """\
import selectors, socket, sys, time
host, port, count, seconds = sys.argv[1], *map(int, sys.argv[2:])
sockets, ends, made = [socket.socket() for _ in range(count)], time.monotonic() + seconds, set()
selector = selectors.DefaultSelector()
for s in sockets:
    s.setblocking(False)
    s.connect_ex((host, port))
    selector.register(s, selectors.EVENT_WRITE)
while len(made) < count and time.monotonic() < ends:
    for key, _ in selector.select(0.2):
        selector.unregister(key.fileobj)
        made.add(key.fileobj) if not key.fileobj.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) else None
print(len(made), flush=True)
sys.stdin.read()
"""


@contextlib.contextmanager
def outside() -> Iterator[int]:
    """Somebody who takes any connection, not on the server; the port."""
    kept = []
    with socket.create_server((ADDRESS, 0), backlog=1000) as server:

        def accept() -> None:
            with contextlib.suppress(OSError):
                while True:
                    kept.append(server.accept()[0])

        threading.Thread(target=accept, daemon=True).start()
        yield server.getsockname()[1]
        server.shutdown(socket.SHUT_RDWR)
    for one in kept:
        one.close()


def opened(town: Town, name: str, host: str, port: int, count: int) -> tuple[int, int]:
    """How many of so many connections a container gets, and by how much the server's table has grown by then."""
    before = int(town.box.get(COUNT))
    argv = [
        "docker",
        "exec",
        "--interactive",
        town.box.name,
        "docker",
        "exec",
        "--interactive",
        name,
        "python",
    ]
    argv += ["-c", OPENS, host, str(port), str(count), "6"]
    with processes.beside(argv, env={"PATH": "/usr/bin:/bin"}, stdin="", timeout=60) as output:
        return int(output), int(town.box.get(COUNT)) - before


def test_connections_within_an_app_are_not_tracked(town: Town, attacker: Attacker) -> None:
    done = attacker.pushes({"compose.yaml": TWO})
    assert done.ok, done.err
    filters = ("--filter=label=pushrod.app=attacker", "--filter=label=pushrod.service=web")
    one, other = town.box.docker("ps", *filters, "--format={{.Names}}").split()
    town.box.docker("exec", "--detach", one, "python", "-c", LISTENS)
    there = ("docker", "exec", one, "test", "-e", "/tmp/listens")
    assert waits.wait_until(lambda: town.box.exec(*there, check=False).status == 0, 10, 0.2)
    result: Any = town.inspect(one)
    address = next(iter(result["NetworkSettings"]["Networks"].values()))["IPAddress"]
    made, grown = opened(town, other, address, 9999, 600)
    assert made == 600
    assert grown < 200


def test_connections_of_an_app_to_others_are_limited(town: Town, attacker: Attacker, victim: Party) -> None:
    town.ground.pushrod("host", "limits", "app-connections=128")
    try:
        with outside() as port:
            made, grown = opened(town, town.container("attacker"), ADDRESS, port, 600)
            assert 0 < made <= 128
            assert grown < 300
            theirs, _ = opened(town, town.container("victim"), ADDRESS, port, 10)
            assert theirs == 10
            assert victim.get("/healthz").status == 200
    finally:
        town.ground.pushrod("host", "limits", "app-connections=default")


def test_connections_of_an_unknown_store_are_limited(town: Town, attacker: Attacker, victim: Party) -> None:
    """Such a store reaches the Internet by a network of its own, which has none of the releases' addresses."""
    town.box.docker("tag", "python:3.13-slim", "acme/database:1")
    sleeps = '["python", "-c", "import time; time.sleep(1e6)"]'
    store = f"    depends_on: [db]\n  db:\n    image: acme/database:1\n    command: {sleeps}\n"
    town.ground.pushrod("host", "limits", "app-connections=128")
    try:
        done = attacker.pushes({"compose.yaml": MANIFEST + store})
        assert done.ok, done.err
        filters = ("--filter=label=pushrod.app=attacker", "--filter=label=pushrod.service=db")
        (name,) = town.box.docker("ps", *filters, "--format={{.Names}}").split()
        with outside() as port:
            made, grown = opened(town, name, ADDRESS, port, 600)
            assert 0 < made <= 128
            assert grown < 300
            assert victim.get("/healthz").status == 200
    finally:
        town.ground.pushrod("host", "limits", "app-connections=default")
