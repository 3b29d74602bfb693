"""What a push makes the server fetch or read: nothing from the host, from its network or from another app."""

import contextlib
import hashlib
import http.server
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import pytest

from devtools.apps import Complaint, Done, complaint
from devtools.lab.ground import ROOT
from tests.attacks.registry import serving
from tests.attacks.town import Attacker, Town

pytestmark = [pytest.mark.lab, pytest.mark.long]

PORT = 7777
METADATA = "169.254.169.254"
NAMED = "metadata.example"
TRUSTED = "/usr/local/share/ca-certificates/own.crt"
LOADER = "/opt/pushrod/lib/python3*/site-packages/compose/docker-compose"


def iptables(town: Town, *argv: str, check: bool = True) -> str:
    return str(town.box.exec("iptables", "--wait", *argv, check=check).stdout)


@pytest.fixture
def asked(town: Town) -> Iterator["Asked"]:
    """The server, on which the kernel counts connections to PORT; the address of a cloud's metadata is its own, and a
    name leads there."""
    box = town.box
    box.exec("ip", "address", "add", f"{METADATA}/32", "dev", "lo")
    box.exec("sh", "-c", f"echo {METADATA} {NAMED} >> /etc/hosts")
    iptables(town, "--new-chain", "asked")
    iptables(town, "--append", "asked", *COUNTED, "--jump", "RETURN")
    iptables(town, "--insert", "OUTPUT", "--jump", "asked")
    try:
        counted = Asked(town)
        box.exec("bash", "-c", f": < /dev/tcp/127.0.0.1/{PORT}", check=False)
        assert counted.times() == 1, "the kernel counts"
        yield counted
    finally:
        iptables(town, "--delete", "OUTPUT", "--jump", "asked")
        iptables(town, "--flush", "asked")
        iptables(town, "--delete-chain", "asked")
        box.exec("sh", "-c", f"grep -v {NAMED} /etc/hosts > /tmp/hosts; cat /tmp/hosts > /etc/hosts")
        box.exec("ip", "address", "delete", f"{METADATA}/32", "dev", "lo")


COUNTED = ("--protocol", "tcp", "--dport", str(PORT), "--syn")


class Asked:
    """How often something on the host has tried to connect to PORT, at whatever address."""

    def __init__(self, town: Town) -> None:
        self._town = town
        self._before = 0

    def times(self) -> int:
        """How often since the last call."""
        listed = iptables(self._town, "--list-rules", "asked", "--verbose")
        match = re.search(r" -c (\d+) \d+ ", listed)
        assert match, listed
        before, self._before = self._before, int(match[1])
        return self._before - before


def private(town: Town) -> list[str]:
    """Names and addresses that only the host, or its network, reaches; the last are the other app's."""
    form = "--format={{range .NetworkSettings.Networks}}{{.IPAddress}} {{end}}"
    theirs = town.box.docker("inspect", form, town.container("victim"), "victim-postgres").split()
    assert len(theirs) >= 2
    return ["127.0.0.1", "localhost", "2130706433", METADATA, NAMED, *theirs]


# ---- submodules and LFS -----------------------------------------------------------------------------------------


class Leads(http.server.BaseHTTPRequestHandler):
    """A server that the owner has allowed; it redirects everything below /leads, and names files of LFS, to an
    address of its choice."""

    protocol_version = "HTTP/1.1"
    to: ClassVar[str] = ""
    asked: ClassVar[list[str]] = []

    def do_GET(self) -> None:
        self.asked.append(self.path)
        self._answer(302, b"")

    def do_POST(self) -> None:
        self.asked.append(self.path)
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        link = {"actions": {"download": {"href": f"{self.to}/file"}}}
        objects = [{**o, **link} for o in body["objects"]]
        answer = json.dumps({"transfer": "basic", "objects": objects}).encode()
        self._answer(307 if self.path.startswith("/leads") else 200, answer)

    def _answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        if status >= 300:
            self.send_header("Location", f"{self.to}{self.path.removeprefix('/leads')}")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *words: object) -> None:
        pass


@pytest.fixture
def leading(town: Town, tmp_path: Path) -> Iterator[str]:
    """The name of such a server, which the owner has allowed and whose certificate the host trusts."""
    box = town.box
    with serving(tmp_path, Leads) as (name, certificate):
        box.put(TRUSTED, certificate.read_bytes())
        box.exec("update-ca-certificates")
        town.ground.pushrod("apps", "allow", "attacker", f"submodules:{name}")
        try:
            yield name
        finally:
            town.ground.pushrod("apps", "allow", "attacker", f"submodules:{name}", "--remove")
            box.exec("rm", TRUSTED)
            box.exec("update-ca-certificates", "--fresh")


def with_submodule(attacker: Attacker, url: str) -> Complaint:
    """The error for a push with a submodule from there; nothing new is live."""
    attacker.reset()
    live = attacker.live
    (attacker.tree.path / ".gitmodules").write_text(f'[submodule "theme"]\n\tpath = theme\n\turl = {url}\n')
    attacker.tree.git("add", ".gitmodules")
    attacker.tree.git("update-index", "--add", "--cacheinfo", f"160000,{'1' * 40},theme")
    attacker.tree.git("commit", "--quiet", "--message", "with a submodule")
    result = complaint(attacker.push())
    assert attacker.live == live
    return result


def with_lfs(attacker: Attacker, url: str, content: str) -> Done:
    """A push with a file of LFS, which is there; it goes live without that file."""
    oid = hashlib.sha256(content.encode()).hexdigest()
    pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{oid}\nsize {len(content)}\n"
    attacker.reset()
    done = attacker.pushes({".lfsconfig": f"[lfs]\n\turl = {url}\n", "art.png": pointer})
    assert done.ok, done.err
    assert "art.png" in done.err
    return done


def test_submodules_are_fetched_from_no_private_address(town: Town, attacker: Attacker, asked: Asked) -> None:
    for host in private(town):
        result = with_submodule(attacker, f"https://{host}:{PORT}/theme")
        assert "which is not on the Internet" in result.what, (host, result)
        assert asked.times() == 0, host


def test_lfs_objects_are_fetched_from_no_private_address(
    town: Town, attacker: Attacker, asked: Asked
) -> None:
    for host in (private(town)[0], *private(town)[3:5], private(town)[-1]):
        done = with_lfs(attacker, f"https://{host}:{PORT}/lfs", host)
        assert "is not on the Internet" in done.err, (host, done.err)
        assert asked.times() == 0, host


def test_no_redirection_to_a_private_address_is_followed(
    town: Town, attacker: Attacker, asked: Asked, leading: str
) -> None:
    """Not even from a server that the owner has allowed: neither of Git, nor of LFS, nor in an answer of LFS."""
    for host in ("127.0.0.1", METADATA, private(town)[-1]):
        Leads.to, Leads.asked = f"https://{host}:{PORT}", []
        result = with_submodule(attacker, f"https://{leading}/leads/theme")
        assert "302" in result.what and "without a redirect" in result.to_do, result
        redirected = with_lfs(attacker, f"https://{leading}/leads/lfs", f"led to {host}")
        assert "answers 307" in redirected.err, redirected.err
        named = with_lfs(attacker, f"https://{leading}/lfs", f"named {host}")
        assert f"{host}:{PORT} is not on the Internet" in named.err, named.err
        paths = [path.partition("?")[0] for path in Leads.asked]
        assert {"/leads/theme/info/refs", "/leads/lfs/objects/batch", "/lfs/objects/batch"} <= {*paths}, paths
        assert asked.times() == 0, host


# ---- the loader of compose files --------------------------------------------------------------------------------

# In place of the loader: it tries what a loader, or somebody who has discovered a hole in it, could try.
HOSTILE = f"""\
#!/usr/bin/python3 -I
import os, socket, sys
reached = []

def attempt(name, action):
    try:
        action()
        reached.append(name)
    except OSError:
        pass

if "config" not in sys.argv:
    print("2.40.3")
    sys.exit()
for host in ("127.0.0.1", "{METADATA}", "THEIRS"):
    attempt(host, lambda: socket.create_connection((host, {PORT}), 1))
for name in ("/run/docker.sock", "/run/pushrod/builders/attacker/docker.sock", "/run/systemd/private"):
    attempt(os.path.basename(name), lambda: socket.socket(socket.AF_UNIX).connect(name))
attempt("a name server", lambda: socket.getaddrinfo("example.localhost", 80, socket.AF_INET))
for kind in (socket.AF_INET, socket.AF_INET6, socket.AF_UNIX, socket.AF_NETLINK, socket.AF_PACKET):
    for form in (socket.SOCK_STREAM, socket.SOCK_DGRAM, socket.SOCK_RAW):
        attempt(f"a socket {{kind}} {{form}}", lambda: socket.socket(kind, form))
attempt("their variables", lambda: open("{ROOT}/apps/victim/secrets/variables.json").read())
attempt("its own secrets", lambda: os.listdir("{ROOT}/apps/attacker/secrets"))
attempt("accounts", lambda: open("/etc/passwd").read())
attempt("processes", lambda: open(f"/proc/{{os.getppid()}}/environ").read())
for place in ("/tmp", "{ROOT}", os.getcwd()):
    attempt(f"a file in {{os.path.basename(place)}}", lambda: open(place + "/hostile", "w"))
sys.stderr.write("the loader reached: " + (", ".join(reached) or "nothing") + "\\n")
sys.exit(1)
"""


@contextlib.contextmanager
def hostile_loader(town: Town) -> Iterator[None]:
    """The server, whose loader of compose files is such a program."""
    box = town.box
    place = box.exec("sh", "-c", f"echo {LOADER}").stdout.strip()
    box.exec("mv", place, f"{place}.kept")
    try:
        box.put(place, HOSTILE.replace("THEIRS", private(town)[-1]), 0o755)
        yield
    finally:
        box.exec("mv", f"{place}.kept", place)


def test_the_loader_of_compose_files_reaches_nothing(town: Town, attacker: Attacker, asked: Asked) -> None:
    """Not even if somebody makes it run other code: neither by a push nor by a plan."""
    with hostile_loader(town):
        result = attacker.refused({"more": "loaded by something else"})
        planned = attacker.at_desk("plan", check=False)
    assert result.what.endswith("the loader reached: nothing"), result
    assert "the loader reached: nothing" in planned.stderr, planned
    assert asked.times() == 0
