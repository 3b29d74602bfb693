"""Notices: what pushers write calls nobody, their webhooks reach nothing of the host, and silence no alarm."""

import json
import re
import time
from collections.abc import Iterator, Mapping

import pytest

from devtools.apps import eventually
from devtools.lab.ground import ROOT
from tests.attacks.registry import ADDRESS
from tests.attacks.test_connections import outside
from tests.attacks.test_images import HEARD, listening
from tests.attacks.town import MANIFEST, Attacker, Town

pytestmark = [pytest.mark.lab, pytest.mark.long]

NOTES, MAILED, SENDMAIL = (
    "/var/lib/pushrod/notes.txt",
    "/var/lib/pushrod/mailed.txt",
    "/usr/local/sbin/sendmail",
)
CHAT = "/run/chat"
# A webhook of the owner's, on the host.
HEARS = f"""\
import http.server

class Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        with open({CHAT!r}, "ab") as f:
            f.write(self.rfile.read(int(self.headers["Content-Length"])) + b"\\n")
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

http.server.HTTPServer(("127.0.0.1", 7778), Handler).serve_forever()
"""
SUBJECT = "hi @everyone <!channel> [the log](https://evil.example/) =?utf-8?q?x=0ABcc:_other@example.com=0A?="


@pytest.fixture(scope="module")
def recipients(made_town: Town) -> Iterator[Town]:
    """The server, whose owner has notices by a program, by mail, and in a chat."""
    box, notify = made_town.box, ("host", "notify")
    box.put("/usr/local/bin/tell", f"#!/bin/sh\ncat >> {NOTES}\necho >> {NOTES}\n", 0o755)
    box.put(SENDMAIL, f"#!/bin/sh\ncat >> {MAILED}\n", 0o755)
    box.exec("systemd-run", "--unit=chat", "--collect", "python3", "-c", HEARS)
    made_town.ground.pushrod(*notify, "add", "ops", "/usr/local/bin/tell")
    made_town.ground.pushrod(*notify, "add", "mail", "mailto:ops@example.com")
    made_town.ground.pushrod(*notify, "add", "chat", "http://127.0.0.1:7778/hush", "--style", "slack")
    yield made_town
    for name in ("ops", "mail", "chat"):
        made_town.ground.pushrod(*notify, "remove", name)
    box.exec("systemctl", "stop", "chat")
    box.exec("rm", "-rf", f"{ROOT}/alarm", NOTES, MAILED, CHAT, SENDMAIL, "/usr/local/bin/tell")


def content(town: Town, path: str) -> str:
    return str(town.box.exec("cat", path, check=False).stdout)


def notifying(*names: str) -> dict[str, str]:
    return {"compose.yaml": MANIFEST.replace("keep: 3", f"keep: 3, notify: [{', '.join(names)}]")}


def test_what_a_commit_says_calls_nobody_and_adds_no_header(
    recipients: Town, town: Town, attacker: Attacker
) -> None:
    done = attacker.pushes({"more": "said"}, message=SUBJECT)
    assert done.ok, done.err
    eventually(lambda: "evil.example" in content(town, CHAT), "the chat has it", 30)
    eventually(lambda: "evil.example" in content(town, MAILED), "the mail is sent", 30)
    for line in content(town, CHAT).splitlines():
        text = json.loads(line)["text"]
        assert "@everyone" not in text and "](" not in text and "<!channel>" not in text
    head = content(town, MAILED).partition("\n\n")[0]
    names = {line.partition(":")[0] for line in head.splitlines() if not line.startswith((" ", "\t"))}
    assert names == {"To", "Subject", "Content-Type", "Content-Transfer-Encoding", "MIME-Version"}, head


def store(attacker: Attacker, variables: Mapping[str, str]) -> None:
    text = "".join(f"{name}='{value}'\n" for name, value in variables.items())
    assert attacker.asks("secret", "import", "-", stdin=text).status == 0


HOOKS = {
    "H_ADDRESS": "https://127.0.0.1:7777/x-secret",
    "H_NAME": "https://localhost:7777/x-secret",
    "H_PLAIN": "http://127.0.0.1:7777/x-secret",
    "H_PROGRAM": "/usr/local/bin/tell x-secret",
    "H_MAIL": "mailto:x-secret@example.com",
}


def test_a_webhook_of_a_pusher_reaches_nothing_of_the_host(
    recipients: Town, town: Town, attacker: Attacker
) -> None:
    store(attacker, HOOKS)
    with listening(town):
        done = attacker.pushes(notifying(*HOOKS))
        assert done.ok, done.err

        def problems() -> str:
            return town.ground.pushrod("host", "notify", "list").stdout

        eventually(
            lambda: all(f"attacker: {name} could not" in problems() for name in HOOKS), "all failed", 40
        )
        assert "x-secret" not in problems()
        assert problems().count("is not on the Internet") == 2
        assert problems().count("is not an https:// address") == 3
        assert town.box.get(HEARD) == b""
    assert "x-secret" not in content(town, NOTES) + content(town, MAILED)
    assert attacker.asks("secret", "unset", *HOOKS).status == 0


def test_slow_webhooks_and_many_notices_of_an_app_silence_no_alarm(
    recipients: Town, town: Town, attacker: Attacker
) -> None:
    """Servers that take a connection and say nothing, of which each delivery waits for half a minute."""
    names = [f"SLOW_{n}" for n in range(3)]
    with outside() as port:
        town.ground.pushrod("apps", "allow", "attacker", f"notify:{ADDRESS}:{port}")
        store(attacker, {name: f"https://{ADDRESS}:{port}/{name}" for name in names})
        done = attacker.pushes(notifying(*names))
        assert done.ok, done.err
        before, began = content(town, NOTES).count("\n"), time.monotonic()
        again = attacker.asks("restart")
        assert again.status == 0, again
        eventually(lambda: content(town, NOTES).count("\n") > before, "the owner has it", 20)
        print(f"after {time.monotonic() - began:.1f} s")
        waiting = town.ground.pushrod("host", "notify", "list", "--json").stdout
        assert not re.search(r'"name": ?"ops"[^}]*"waiting": ?[1-9]', waiting), waiting
        town.ground.pushrod("apps", "allow", "attacker", "--remove", f"notify:{ADDRESS}:{port}")
    assert attacker.asks("secret", "unset", *names).status == 0


def test_a_key_reads_no_address_of_the_owners_webhooks(recipients: Town, town: Town) -> None:
    """Not even one for all apps: whoever has the address writes to the channel."""
    seen = town.box.ssh("audit", "--json", "-n", "200", user="pushrod")
    assert "host notify add" in seen.stdout and "http://127.0.0.1:7778" in seen.stdout
    assert "hush" not in seen.stdout
