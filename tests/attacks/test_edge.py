"""The edge serves all apps: neither one app's own lines nor one client's connections take it from the others."""

import contextlib
import socket

import pytest

from devtools.apps import eventually
from tests.attacks.town import MANIFEST, PROGRAM, Attacker, Party, Town

pytestmark = pytest.mark.lab

SLOW = "^(a+)+[b-c]{7}$"
HALF = b"GET / HTTP/1.1\r\nHost: victim.localhost\r\nX-A: "
SOON = 3.0  # seconds, a hundred times the duration of an answer
ASKING = """
import time, urllib.request
for _ in range(20):
    began = time.monotonic()
    asked = urllib.request.Request("http://127.0.0.1/healthz", headers={"Host": "victim.localhost"})
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
    """The kernel allows one address 2000; other clients are answered as before."""
    refused = 0
    with contextlib.ExitStack() as stack:
        for _ in range(2500):
            try:
                s = stack.enter_context(socket.create_connection((town.box.address, 80), timeout=5))
                s.sendall(HALF)
            except OSError:
                refused += 1
        answered = town.box.exec("python3", "-c", ASKING).stdout.split()
    assert len(answered) == 20
    assert sorted(map(float, answered))[17] < SOON
    assert refused >= 400
    # the kernel counts a connection until both sides have closed it
    eventually(lambda: victim.get("/healthz").status == 200, "the address has its connections again")
