"""Work done for all apps is not delayed by one of them."""

import pytest

from devtools.apps import eventually
from tests.attacks.town import Attacker, Party, Town

pytestmark = pytest.mark.lab

DRIBBLES = """\
import os, signal, socketserver, sys, time

signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
PLAIN = b"HTTP/1.1 200 OK\\r\\nContent-Length: 3\\r\\nConnection: close\\r\\n\\r\\nok\\n"


class Handler(socketserver.BaseRequestHandler):
    def handle(self):
        asked = self.request.recv(4000)
        if b"pushrod-health" not in asked or not os.path.exists("/tmp/dribble"):
            self.request.sendall(PLAIN)
            return
        print("dribbling", flush=True)
        self.request.sendall(b"HTTP/1.1 200 OK\\r\\nX: ")
        try:
            while True:
                self.request.sendall(b"a")
                time.sleep(0.5)
        except OSError:
            print("gone", flush=True)


class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = daemon_threads = True


Server(("", 8080), Handler).serve_forever()
"""


def test_an_endless_answer_does_not_delay_the_watchdog(town: Town, attacker: Attacker, victim: Party) -> None:
    """The victim's store is restarted while the attacker's app sends the watchdog a byte now and then."""
    done = attacker.pushes({"app.py": DRIBBLES})
    assert done.ok, done.err
    web = town.container("attacker")
    town.box.docker("exec", web, "touch", "/tmp/dribble")
    eventually(
        lambda: "dribbling" in town.box.docker("logs", web), "the watch is sent a byte now and then", 40
    )
    store = victim.container("redis")
    town.box.docker("kill", store)
    state = ("inspect", "--format={{.State.Running}}", store)
    eventually(lambda: town.box.docker(*state) == "true", "the watch brings the victim's store back", 60)
    eventually(lambda: victim.get().status == 200, "the victim answers with its stores", 30)
    town.box.docker("exec", town.container("attacker"), "rm", "-f", "/tmp/dribble")
    town.box.exec("rm", f"{victim.directory}/watch.log")  # it records the restart
