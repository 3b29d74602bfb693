"""The edge serves all apps: neither one app's own lines nor one client's connections take it from the others."""

import socket
import sys

import pytest

from devtools.apps import eventually
from pushrod.system import processes
from tests.attacks.town import MANIFEST, PROGRAM, Attacker, Party, Town

pytestmark = pytest.mark.lab

SLOW = "^(a+)+[b-c]{7}$"
SOON = 1.0  # seconds, thirty times the duration of an answer
OPENED, ASKED = 5000, 300
# Opens so many connections, sends half a request on each, and opens those that end again, until its input ends.
OPENS = """
import resource, selectors, socket, sys, time
host, count, half = sys.argv[1], int(sys.argv[2]), b"GET / HTTP/1.1\\r\\nHost: victim.localhost\\r\\nX-A: "
resource.setrlimit(resource.RLIMIT_NOFILE, (count + 100, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
events = selectors.DefaultSelector()
events.register(sys.stdin, selectors.EVENT_READ)

def opened():
    s = socket.socket()
    s.setblocking(False)
    s.connect_ex((host, 80))
    events.register(s, selectors.EVENT_WRITE)

for _ in range(count):
    opened()
print("begun", flush=True)
while True:
    for key, _ in events.select():
        if key.fileobj is sys.stdin:
            sys.exit()
        s = key.fileobj
        try:
            if key.events == selectors.EVENT_WRITE:
                s.send(half)
                events.modify(s, selectors.EVENT_READ)
                continue
            ended = not s.recv(1000)
        except OSError:
            ended = True
        if ended:
            events.unregister(s)
            s.close()
            opened()
    time.sleep(0.01)
"""
ASKS = """
import sys, time, urllib.request
asked = urllib.request.Request("http://127.0.0.1/healthz", headers={"Host": "victim.localhost"})
for _ in range(int(sys.argv[1])):
    began = time.monotonic()
    assert urllib.request.urlopen(asked, timeout=10).status == 200
    print(time.monotonic() - began)
"""


def own(text: str) -> dict[str, str]:
    return {
        "compose.yaml": MANIFEST.replace("keep: 3", "keep: 3, nginx: nginx/*.conf"),
        "nginx/own.conf": text,
    }


@pytest.mark.parametrize(
    "text",
    [
        f'if ($arg_q ~ "{SLOW}") {{ return 403; }}\n',
        f'location ~ "{SLOW}" {{ break; }}\n',
        f'rewrite "{SLOW}" /x last;\n',
        f'proxy_cookie_path "~{SLOW}" /;\n',
        'if ($arg_q ~ "(.*)a(.*)b(.*)$") { return 403; }\n',
        'set $own_a "$own_a$own_a";\n',
        "gzip_comp_level 9;\n",
        f"sub_filter a '{'x' * 3500}'; sub_filter_once off;\n",
    ],
)
def test_a_snippet_that_would_block_the_edge_is_refused(attacker: Attacker, text: str) -> None:
    refusal = attacker.refused(own(text))
    assert "nginx/own.conf:1" in refusal.where
    assert "pushrod apps allow attacker nginx" in refusal.to_do


def test_the_number_of_routes_of_an_app_is_limited(attacker: Attacker) -> None:
    routes = ", ".join(f"/r{n}/: {{redirect: /}}" for n in range(3000))
    refusal = attacker.refused(
        {"compose.yaml": MANIFEST.replace("{health: /}", f"{{health: /, routes: {{{routes}}}}}")}
    )
    assert "3000 routes, of at most 200" in refusal.what


def test_headers_of_one_client_do_not_affect_cached_answers_to_another(
    attacker: Attacker, town: Town
) -> None:
    program = PROGRAM.replace(
        'b"attacker"', '(self.headers.get("X-Forwarded-Host") or self.headers["Host"]).encode()'
    )
    routes = "{health: /, routes: {/c/: {cache: 60s}}}"
    done = attacker.pushes({"app.py": program, "compose.yaml": MANIFEST.replace("{health: /}", routes)})
    assert done.ok, done.err
    for headers in ({"X-Forwarded-Host": "evil.example"}, {}):
        answer = asked(town.box.address, "/c/a", {"Host": "attacker.localhost", **headers})
        assert b"evil.example" not in answer
        assert answer.endswith(b"attacker.localhost")


def asked(address: str, path: str, headers: dict[str, str]) -> bytes:
    head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    with socket.create_connection((address, 80), timeout=10) as s:
        s.sendall(f"GET {path} HTTP/1.1\r\n{head}Connection: close\r\n\r\n".encode())
        result = b""
        while part := s.recv(65536):
            result += part
    return result


def test_connections_from_one_address_are_limited_and_others_are_served(town: Town, victim: Party) -> None:
    """The kernel allows one address 2000; other clients are answered as before, while they are opened and held."""
    argv = [sys.executable, "-c", OPENS, town.box.address, str(OPENED)]
    with processes.beside(argv, env={"PATH": "/usr/bin:/bin"}, stdin="", timeout=120) as begun:
        assert begun == "begun"
        asked = town.box.exec("python3", "-c", ASKS, str(ASKED)).stdout.split()
        held = town.box.exec("ss", "-Htn", "state", "established", "sport = :80").stdout.splitlines()
    elsewhere = [line for line in held if "127.0.0.1" not in line]
    took = sorted(map(float, asked))
    p99 = took[len(took) * 99 // 100]
    print(
        f"{len(elsewhere)} of {OPENED} connections held; {len(took)} requests: p99 {p99:.3f} s, {took[-1]:.3f} s"
    )
    assert len(took) == ASKED
    assert p99 < SOON
    assert 1000 < len(elsewhere) <= 2000
    # the kernel counts a connection until both sides have closed it
    eventually(lambda: victim.get("/healthz").status == 200, "the address has its connections again")
