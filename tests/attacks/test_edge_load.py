"""What one app and one client can take of the edge: an app that never answers or never ends, slow and large requests,
floods of frames, certificates without end, other spellings of a closed path."""

import contextlib
import socket
import ssl
import time
from collections.abc import Iterator

import pytest

from devtools.apps import eventually
from pushrod.system import waits
from tests.attacks.test_edge import ASKS, SOON
from tests.attacks.town import MANIFEST, PROGRAM, Attacker, Town
from tests.integration.test_edge_load import flooded, spoken, upload
from tests.integration.test_edge_safety import SPELLINGS

pytestmark = pytest.mark.lab

NAME = "attacker.localhost"
ANSWERS = PROGRAM.replace(
    "    def do_GET(self):\n        body = b\"attacker\"\n",
    '''    def do_POST(self):
        self.do_GET()

    def do_GET(self):
        body = b"reached the app " + self.path.encode()
        if self.path.startswith("/silent"):
            import time
            time.sleep(float(self.path.partition("?")[2] or 60))
        if self.path == "/flood":
            self.send_response(200)
            self.send_header("Content-Length", "1000000000")
            self.end_headers()
            for _ in range(1000):
                self.wfile.write(b"x" * 1000000)
''',
)  # fmt: skip
ROUTES = "routes: {/admin/: {allow: [192.0.2.0/24]}, /office: {allow: [192.0.2.0/24]}, /admin/public/: {}}"
TREE = {
    "app.py": ANSWERS,
    "compose.yaml": MANIFEST.replace("keep: 3", "keep: 3, tls: {source: local}, nginx: nginx/*.conf").replace(
        "{health: /}", f"{{health: /, {ROUTES}}}"
    ),
    "nginx/own.conf": "client_body_buffer_size 1m;\n",
}
# Bytes of memory of the edge's processes, and of deleted files that they have open: nginx's temporary files.
USED = """\
import glob, os
memory = files = 0
for place in glob.glob("/proc/[0-9]*"):
    try:
        if open(f"{place}/comm").read() != "nginx\\n":
            continue
        memory += int(open(f"{place}/statm").read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
        for link in glob.glob(f"{place}/fd/*"):
            if os.readlink(link).endswith(" (deleted)"):
                files += os.stat(link).st_blocks * 512
    except OSError:
        pass
print(memory, files)
"""


@pytest.fixture(scope="module")
def live(made_town: Town) -> Iterator[Town]:
    """The server, with the attacker's app on TLS."""
    attacker = made_town.attacker
    attacker.reset()
    done = attacker.pushes(TREE)
    assert done.ok, done.err
    eventually(lambda: sent(made_town, "/").startswith(b"HTTP/1.1 200"), "it answers with TLS", 20)
    yield made_town
    attacker.reset()
    done = attacker.pushes({}, "as at first")
    assert done.ok, done.err


def opened(town: Town) -> ssl.SSLSocket:
    """A connection to the attacker's app."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    plain = socket.create_connection((town.box.address, 443), timeout=15)
    try:
        return context.wrap_socket(plain, server_hostname=NAME)
    except OSError:
        plain.close()
        raise


def head(path: str, method: str = "GET", *lines: str) -> bytes:
    return "\r\n".join([f"{method} {path} HTTP/1.1", f"Host: {NAME}", *lines, "", ""]).encode()


def sent(town: Town, path: str) -> bytes:
    """The whole answer to one request."""
    result = b""
    with opened(town) as s, contextlib.suppress(OSError):
        s.sendall(head(path, "GET", "Connection: close"))
        while part := s.recv(65536):
            result += part
    return result


def used(town: Town) -> tuple[int, int]:
    memory, files = town.box.exec("python3", "-c", USED).stdout.split()
    return int(memory), int(files)


def assert_others_are_answered(town: Town) -> None:
    took = sorted(map(float, town.box.exec("python3", "-c", ASKS, "50").stdout.split()))
    assert took[48] < SOON, took


@contextlib.contextmanager
def limited(town: Town, limit: str) -> Iterator[None]:
    town.ground.pushrod("host", "limits", limit)
    try:
        yield
    finally:
        town.ground.pushrod("host", "limits", f"{limit.partition('=')[0]}=default")


def test_an_app_that_never_answers_takes_only_its_share(live: Town, town: Town) -> None:
    with limited(town, "app-requests=20"), contextlib.ExitStack() as stack:
        waiting = [stack.enter_context(opened(town)) for _ in range(40)]
        for s in waiting:
            s.sendall(head("/silent"))
        assert_others_are_answered(town)
        assert [status(s) for s in waiting].count(b"429") == 20


def status(s: ssl.SSLSocket) -> bytes:
    """The status of an answer; empty if there is none yet."""
    s.settimeout(0.1)
    with contextlib.suppress(TimeoutError):
        return s.recv(12)[9:]
    return b""


def test_a_slow_reader_and_large_uploads_leave_the_disk_to_others(live: Town, town: Town) -> None:
    with opened(town) as slow:
        slow.sendall(head("/flood"))
        assert slow.recv(1) == b"H"
        sizes = [0]

        def at_rest() -> bool:
            sizes.append(used(town)[1])
            return sizes[-1] == sizes[-2] > 1 << 20

        assert waits.wait_until(at_rest, 20, 0.3), sizes
        assert sizes[-1] <= 9 << 20
    with limited(town, "client-uploads=3"), contextlib.ExitStack() as stack:
        several = [stack.enter_context(opened(town)) for _ in range(8)]
        for s in several:
            s.sendall(head("/", "POST", "Content-Length: 2000000"))
        assert [status(s) for s in several].count(b"429") == 5


@pytest.mark.parametrize("kind", ["resets", "empty continuations", "pings"])
def test_a_flood_of_frames_is_ended_and_others_are_answered(live: Town, town: Town, kind: str) -> None:
    ended, frames = flooded(443, kind, town.box.address, NAME)
    assert ended, frames
    assert_others_are_answered(town)


def test_a_body_without_a_length_by_http_2_is_limited(live: Town, town: Town) -> None:
    with spoken(443, town.box.address, NAME) as (connection, s):
        answered = upload(connection, s, "/", 3 << 20, NAME, 12)
    assert (len(answered), {*answered.values()}) == (12, {"413"})


def test_no_spelling_of_a_closed_path_reaches_the_app(live: Town, town: Town) -> None:
    assert b"reached the app /open" in sent(town, "/open")
    for path in SPELLINGS:
        answer = sent(town, path.replace("shop.test", NAME))
        assert answer.split()[1] in (b"301", b"400", b"401", b"403", b"404"), (path, answer)
        assert b"reached the app" not in answer, path


def test_renewals_in_a_loop_leave_no_old_processes(live: Town, town: Town, attacker: Attacker) -> None:
    """While a client holds the process that has the old certificate."""
    with opened(town) as held:
        held.sendall(head("/silent?4"))
        began = time.monotonic()
        for _ in range(2):
            answer = attacker.asks("cert", "renew", "--force")
            assert answer.status == 0, answer
        assert time.monotonic() - began > 3
        shown = town.box.exec("ps", "-C", "nginx", "-o", "args=").stdout
        assert "shutting down" not in shown, shown
        assert held.recv(12) == b"HTTP/1.1 200"
