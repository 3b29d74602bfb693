"""The web page of a host: other sites, accounts of the machine, viewers, members of other apps get nothing by it."""

import contextlib
import http.client
import json
import re
import secrets
import subprocess
import time
import urllib.parse
from collections.abc import Iterator, Mapping
from typing import NamedTuple

import pytest

from devtools.apps import eventually
from devtools.lab.ground import ROOT
from pushrod.system import network, waits
from tests.attacks.test_mounts import NOBODY
from tests.attacks.town import Attacker, Party, Town

pytestmark = pytest.mark.lab

PORT = 9181
EVIL = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>"
VALUE = "a-value-that-no-page-shows"
# What a page that was taken over can say: a call, sent to the socket on which the host takes calls.
SAYS = """\
import json, socket, sys
door = socket.socket(socket.AF_UNIX)
door.connect("/run/pushrod/web-call")
door.sendall(sys.stdin.read().encode() + b"\\n")
door.shutdown(socket.SHUT_WR)
raw = b""
while block := door.recv(65536):
    raw += block
print(raw.decode(errors="replace"))
"""

# A local account holds more connections than the page has, says nothing on them, and asks the page on one more.
HOLDS = """\
import select, socket, sys, time
port, host = int(sys.argv[1]), sys.argv[2]
silent = [socket.create_connection(("127.0.0.1", port)) for _ in range(80)]
asks = socket.create_connection(("127.0.0.1", port))
asks.sendall(f"GET /enter HTTP/1.1\\r\\nHost: {host}\\r\\nConnection: close\\r\\n\\r\\n".encode())
print(asks.recv(4096).decode().split()[1])
begun, left = time.monotonic(), silent
while left and time.monotonic() - begun < 30:
    ended = select.select(left, [], [], 1)[0]
    left = [one for one in left if one not in ended]
print(len(left))
"""


class Answer(NamedTuple):
    status: int
    headers: Mapping[str, str]
    body: str


class Page:
    """The page, through an SSH tunnel as its owner opens one."""

    def __init__(self, town: Town, port: int) -> None:
        self.town, self.port, self.name = town, port, ""

    def invited(self, name: str, role: str, app: str = "") -> str:
        """The token of a one-time link."""
        of = ("--app", app) if app else ()
        made = self.town.ground.pushrod("web", "invite", name, "--role", role, *of)
        self.name = re.findall(r"http://([0-9a-f]{16}\.pushrod\.localhost):PORT", made.stderr)[0]
        return made.stdout.strip().partition("link=")[2]

    def entered(self, name: str, role: str, app: str = "") -> str:
        """The session of a new member."""
        answer = self.ask("/enter", form={"link": self.invited(name, role, app)})
        assert answer.status == 303, answer
        given = answer.headers["set-cookie"]
        assert "HttpOnly; SameSite=Strict" in given and "Domain" not in given
        return given.partition("=")[2].partition(";")[0]

    def ask(
        self, path: str, session: str = "", form: Mapping[str, str] | None = None, **headers: str
    ) -> Answer:
        """The answer to a browser; `headers` replace its own, an empty one is left out."""
        with contextlib.closing(self._sent(path, session, form, **headers)) as connection:
            answer = connection.getresponse()
            named = {name.lower(): value for name, value in answer.getheaders()}
            return Answer(answer.status, named, answer.read().decode())

    def _sent(
        self, path: str, session: str, form: Mapping[str, str] | None, **headers: str
    ) -> http.client.HTTPConnection:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        own = {"Host": f"{self.name}:{self.port}", "Cookie": f"pushrod={session}" if session else ""}
        if form is not None:
            own |= {
                "Origin": f"http://{own['Host']}",
                "Content-Type": "application/x-www-form-urlencoded",
            }
        own |= {name.replace("_", "-"): value for name, value in headers.items()}
        body = None if form is None else urllib.parse.urlencode(form)
        sent = {name: value for name, value in own.items() if value}
        connection.request("GET" if form is None else "POST", path, body, sent)
        return connection

    def sealed(self, session: str, **form: str) -> dict[str, str]:
        """A form with the token that the page has given this session."""
        match = re.search(r'name="seal" value="([0-9a-f]{64})"', self.ask("/", session).body)
        assert match
        return {"seal": match[1], **form}

    @contextlib.contextmanager
    def watching(self, path: str, session: str) -> Iterator[http.client.HTTPResponse]:
        """An open stream of events."""
        with contextlib.closing(self._sent(path, session, None)) as connection:
            yield connection.getresponse()

    def answered(self, call: Mapping[str, object], user: str = "root") -> tuple[int, str]:
        """What the host answers to a call that somebody writes to the page's socket."""
        done = self.town.box.exec("python3", "-c", SAYS, stdin=json.dumps(call), user=user, check=False)
        return done.status, done.stdout + done.stderr


@pytest.fixture(scope="module")
def page(made_town: Town) -> Iterator[Page]:
    made_town.ground.pushrod("host", "web", "on", "--port", str(PORT))
    port = network.free_port()
    there = f"127.0.0.1:{port}:127.0.0.1:{PORT}"
    argv = [*made_town.box.ssh_command(), "-N", "-L", there, f"root@{made_town.box.address}"]
    tunnel = subprocess.Popen(argv, stdin=subprocess.DEVNULL)
    try:
        assert waits.wait_until(lambda: network.accepts(port), 20, 0.1)
        yield Page(made_town, port)
    finally:
        tunnel.terminate()
        tunnel.wait(10)
        made_town.ground.pushrod("host", "web", "off")
        made_town.box.exec("rm", "-rf", f"{ROOT}/web")


@pytest.fixture(scope="module")
def owner(page: Page) -> str:
    """The session of somebody who may do everything that the page can."""
    return page.entered("olivia", "owner")


def test_a_form_of_another_site_and_another_host_change_nothing(page: Page, owner: str) -> None:
    """The victim's footprint is compared after the test."""
    path, form = "/apps/victim/do/down", page.sealed(owner)
    here = f"{page.name}:{page.port}"
    for status, headers in (
        (421, {"Host": f"127.0.0.1:{page.port}"}),
        (421, {"Host": f"localhost:{page.port}"}),
        (421, {"Host": f"pushrod.localhost:{page.port}"}),
        (421, {"Host": f"rebound.example.com:{page.port}"}),
        (421, {"Host": "attacker.localhost"}),
        (403, {"Origin": "http://attacker.localhost"}),
        (403, {"Origin": f"http://{page.name}:8000"}),
        (403, {"Origin": f"https://{here}"}),
        (403, {"Origin": "null"}),
        (403, {"Origin": ""}),
        (403, {"Sec_Fetch_Site": "same-site"}),
        (403, {"Sec_Fetch_Site": "cross-site"}),
        (403, {"Content_Type": "text/plain"}),
    ):
        answer = page.ask(path, owner, form, **headers)
        assert answer.status == status, (headers, answer)
    for seal in ("", "0" * 64, form["seal"][:-1]):
        assert page.ask(path, owner, {"seal": seal}).status == 403
    assert page.ask(path, owner).status == 200  # reading asks, and does nothing


def test_connections_of_a_local_account_on_which_nothing_is_said_block_nobody(
    page: Page, owner: str, town: Town
) -> None:
    host = f"{page.name}:{page.port}"
    done = town.box.exec("python3", "-c", HOLDS, str(PORT), host, user=NOBODY)
    assert done.stdout.split() == ["200", "0"], "the page answers, and ends all of them"
    assert page.ask("/", owner).status == 200


def test_the_name_of_the_page_is_new_each_time(page: Page) -> None:
    """So no app on another port of that name is sent the session's cookie."""
    names = {page.name}
    for _ in range(2):
        page.invited("nora", "viewer")
        names.add(page.name)
    assert len(names) == 3


def test_a_forged_session_or_link_opens_nothing(page: Page, owner: str, town: Town) -> None:
    forged = secrets.token_urlsafe(32)
    for headers in (
        {"Cookie": f"pushrod={forged}"},
        {"Cookie": f"pushrod={owner}; pushrod={forged}"},
        {"Cookie": f"__Host-pushrod={owner}"},
        {"Cookie": "", "Authorization": f"Bearer {owner}"},
        {"Cookie": "", "X_Forwarded_User": "olivia"},
        {"Cookie": "", "X_Real_IP": "127.0.0.1", "Remote_User": "olivia"},
    ):
        for path in ("/", "/apps/victim", "/apps/victim/logs", "/apps/victim/live/events"):
            assert page.ask(path, "", None, **headers).status == 401, (headers, path)
    kept = town.box.get(f"{ROOT}/web/access.json").decode()
    assert owner not in kept
    assert town.box.exec("cat", f"{ROOT}/web/access.json", user=NOBODY, check=False).status == 1
    link = page.invited("nora", "viewer")
    assert link not in town.box.get(f"{ROOT}/web/access.json").decode()
    assert page.ask(f"/enter?link={link}").status == 200  # a program that previews links opens it too
    assert [page.ask("/enter", form={"link": word}).status for word in (forged, link, link)] == [
        403,
        303,
        403,
    ]
    old = page.invited("nora", "viewer")
    dated = re.sub(r'("links": ?\[.*?"until": ?")\d{4}', r"\g<1>2020", _access(town), flags=re.DOTALL)
    town.box.exec("sh", "-c", f"cat > {ROOT}/web/access.json", stdin=dated, user="pushrod")
    assert page.ask("/enter", form={"link": old}).status == 403


def _access(town: Town) -> str:
    return town.box.get(f"{ROOT}/web/access.json").decode()


def test_what_pushers_write_does_not_become_markup(page: Page, owner: str, attacker: Attacker) -> None:
    program = (attacker.tree.path / "app.py").read_text()
    done = attacker.pushes({"app.py": f"print({EVIL!r}, flush=True)\n{program}"}, message=EVIL)
    assert done.ok, done.err
    for path in ("", "/releases", f"/releases/{attacker.live}", "/logs", "/live"):
        answer = page.ask(f"/apps/attacker{path}", owner)
        assert answer.status == 200, (path, answer)
        assert "<script>alert" not in answer.body and "<img src=x" not in answer.body, path
        if path in ("/releases", "/logs"):
            assert "&lt;script&gt;alert(1)" in answer.body, (path, answer.body)
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy and "script-src 'self'" in policy and "unsafe" not in policy


def test_a_role_and_an_app_are_all_that_a_member_has(page: Page, attacker: Attacker, victim: Party) -> None:
    """By the page's forms, and by calls that a page which was taken over would make."""
    viewer = page.entered("vera", "viewer", "attacker")
    member = page.entered("mia", "owner", "attacker")
    for path in ("", "/logs", "/plan", "/live/events", "/do/restart"):
        assert page.ask(f"/apps/victim{path}", member).status == 404, path
    assert "victim" not in page.ask("/", member).body
    assert page.ask("/apps/victim/do/restart", member, page.sealed(member)).status == 404
    assert page.ask("/apps/attacker/do/restart", viewer).status == 403
    assert page.ask("/apps/attacker/do/restart", viewer, page.sealed(viewer)).status == 403
    assert "/do/" not in page.ask("/apps/attacker", viewer).body
    before = attacker.footprint()
    for session, words in (
        (viewer, ["restart", "--app", "attacker"]),
        (member, ["status", "--app", "victim"]),
        (member, ["exec", "--app", "attacker", "web", "--", "id"]),
        (member, ["apps", "allow", "attacker", "docker-socket"]),
        (member, ["web", "invite", "eve"]),
        (member, ["status", "--app", "attacker", "--root", "/tmp"]),
        (secrets.token_urlsafe(32), ["status", "--app", "attacker"]),
    ):
        _, output = page.answered({"session": session, "words": words})
        assert re.search(r"may not do that|this key is not for|session has ended|a key cannot", output), (
            words,
            output,
        )
    assert attacker.footprint() == before
    status, output = page.answered({"session": member, "words": ["status"]}, user=NOBODY)
    assert status != 0 and "PermissionError" in output
    acts = json.loads(page.town.ground.pushrod("audit", "--json", "--key", "web", "-n", "50").stdout)
    assert {"mia", "vera"} <= {act["by"] for act in acts if act["result"] == "refused"}


def test_somebody_who_was_removed_sees_no_more(page: Page, town: Town) -> None:
    """Neither by a page that is open, nor by a form that was."""
    session = page.entered("rob", "owner", "attacker")
    form = page.sealed(session)
    with page.watching("/apps/attacker/live/events", session) as events:
        assert events.status == 200
        town.ground.pushrod("web", "remove", "rob")
        began = time.monotonic()
        while events.read1(65536):
            assert time.monotonic() - began < 20
    assert page.ask("/apps/attacker", session).status == 401
    assert page.ask("/apps/attacker/do/restart", session, form).status == 401


def test_no_page_shows_the_value_of_a_secret(page: Page, owner: str, attacker: Attacker, town: Town) -> None:
    form = page.sealed(owner, name="HIDDEN", value=VALUE)
    begun = page.ask("/apps/attacker/do/secret-set", owner, form)
    assert begun.status == 303, begun
    eventually(lambda: "HIDDEN" in attacker.asks("secret", "list").stdout, "it is stored", 20)
    paths = ("", "/logs", "/plan", "/do/secret-set")
    for path in ("/", begun.headers["location"], *(f"/apps/attacker{path}" for path in paths)):
        answer = page.ask(path, owner)
        assert (answer.status, VALUE in answer.body) == (200, False), path
    assert VALUE not in town.ground.pushrod("audit", "--json", "-n", "20").stdout
    assert attacker.asks("secret", "unset", "HIDDEN").status == 0


# In place of `ssh`, on the machine of somebody who opens the page from there: another account is faster than the
# tunnel.
SLOW_SSH = """\
#!/bin/sh
case "$*" in
    *-L*) port=$(echo "$*" | sed 's/.*-L 127.0.0.1:\\([0-9]*\\):.*/\\1/')
        listens="import socket, time; s = socket.create_server(('127.0.0.1', $port)); time.sleep(30)"
        exec setpriv --reuid=65534 --regid=65534 --clear-groups python3 -c "$listens" ;;
    *) exec ssh -F none -i /run/page-key -o BatchMode=yes -o StrictHostKeyChecking=accept-new "$@" ;;
esac
"""
LIES = "#!/bin/sh\necho '%s'\n"


def test_a_link_goes_to_no_port_of_another_account_and_is_a_link(page: Page, town: Town) -> None:
    """`pushrod web --on`, on a machine with other accounts, and from a server that was taken over."""
    box = town.box
    box.put("/run/page-key", box.key.read_bytes(), 0o600)
    lies = json.dumps({"port": PORT, "link": '/enter?link=x"><script>alert(1)</script>'})
    for text, why in (
        (SLOW_SSH, "another account has taken port"),
        (LIES % lies, "another version of pushrod"),
    ):
        box.put("/run/page-ssh", text, 0o755)
        argv = (
            "env",
            "GIT_SSH_COMMAND=/run/page-ssh",
            "pushrod",
            "web",
            "--on",
            "root@127.0.0.1",
            "--no-browser",
        )
        done = box.exec(*argv, check=False, timeout=60)
        assert (done.status, why in done.stderr) == (10, True), done
        assert "link=" not in done.stdout + done.stderr
    box.exec("rm", "/run/page-key", "/run/page-ssh")


def test_log_ins_are_limited(page: Page, town: Town) -> None:
    """Those of whoever guesses: all clients on loopback have one address, and who has a link gets in."""
    tried = [page.ask("/enter", form={"link": secrets.token_urlsafe(32)}).status for _ in range(12)]
    assert tried[-1] == 429 and set(tried) <= {403, 429}
    assert page.ask("/apps/attacker", page.entered("lena", "viewer")).status == 200
