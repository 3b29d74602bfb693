"""Workers that receive no requests end at the switch, without waiting for other services' requests."""

import http.client
import json
import threading
import urllib.parse

import pytest

from devtools import apps
from devtools.apps import App, Machine

pytestmark = pytest.mark.integration

SLOW = 'elif url.path == "/slow":\n            time.sleep(float(asked.get("s", "0.4")))'
PROGRAM = apps.APP.replace('elif url.path == "/slow":\n            time.sleep(0.4)', SLOW)
BEATS = """\
import os, pathlib, time

path = pathlib.Path(os.environ["BEATS"]) / os.environ["PUSHROD_RELEASE"]
while True:
    path.write_text(str(time.time()))
    time.sleep(0.05)
"""
SERVES = """\
import http.server, os, pathlib, signal, sys, time


def stop(*_):
    path = pathlib.Path(os.environ["BEATS"]) / ("served-" + os.environ["PUSHROD_RELEASE"])
    path.write_text(str(time.time()))
    sys.exit(0)


signal.signal(signal.SIGTERM, stop)
http.server.HTTPServer(("127.0.0.1", int(os.environ["PORT"])), http.server.BaseHTTPRequestHandler).serve_forever()
"""


@pytest.fixture(scope="module")
def beating(machine: Machine) -> App:
    """An app with a scheduler, which does not listen, and a worker that other services call by HTTP."""
    shared = machine.directory / "beats"
    shared.mkdir(mode=0o777)
    shared.chmod(0o777)
    services = {
        name: {"build": ".", "command": f"python {name}.py", "environment": {"BEATS": str(shared)}}
        for name in ("beat", "inner")
    }
    assert SLOW in PROGRAM
    files = {"app.py": PROGRAM, "beat.py": BEATS, "inner.py": SERVES, "compose.yaml": apps.manifest(services)}
    return machine.app("beating", files)


def test_a_scheduler_ends_at_the_switch_and_a_listening_worker_after_the_drain(beating: App) -> None:
    shared, old = beating.machine.directory / "beats", beating.live
    url = urllib.parse.urlsplit(beating.url)
    answers: list[int] = []

    def download() -> None:
        connection = http.client.HTTPConnection(url.hostname or "", url.port, timeout=30)
        connection.request("GET", "/slow?s=6")
        answers.append(connection.getresponse().status)

    under_way = threading.Thread(target=download)
    under_way.start()
    beating.tree.commit({"app.py": apps.changed("two").replace("time.sleep(0.4)", "time.sleep(6)")}, "two")
    done = beating.tree.push()
    under_way.join()
    assert done.ok, done.err
    assert answers == [200]
    entries = [json.loads(line) for line in (beating.directory / "journal").read_text().splitlines()]
    steps = {e["step"]: e["took"] for e in entries if e["event"] == "step" and e["release"] == beating.live}
    last, served = (float((shared / name).read_text()) for name in (str(old), f"served-{old}"))
    assert steps["drain"] > 1, "the request did not hold the drain up"
    assert served - last > steps["drain"] / 2, (served - last, steps)


EXCLUSIVE = """\
import fcntl, os, sys, time

lock = open(os.environ["DATA"], "a")
try:
    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
except OSError:
    sys.exit("somebody else has it open")
while True:
    time.sleep(1)
"""


@pytest.fixture(scope="module")
def exclusive(machine: Machine) -> App:
    """An app with a worker whose file only one program at a time may open."""
    data = machine.directory / "data"
    data.touch()
    data.chmod(0o666)
    keeper = {
        "build": ".",
        "command": "python keeper.py",
        "environment": {"DATA": str(data)},
        "deploy": {"update_config": {"order": "stop-first"}},
    }
    files = {"app.py": apps.APP, "keeper.py": EXCLUSIVE, "compose.yaml": apps.manifest({"keeper": keeper})}
    return machine.app("exclusive", files)


def keepers(app: App) -> dict[str, str]:
    """The state of each release's keeper."""
    processes = app.json("status", "--app", app.name)[0]["processes"]
    return {p["group"]: p["state"] for p in processes if p["name"].startswith("keeper")}


def test_a_stop_first_worker_ends_before_the_new_one_starts(exclusive: App) -> None:
    exclusive.push_change()
    new = {f"exclusive-r{exclusive.live}": "running"}
    apps.eventually(lambda: keepers(exclusive) == new, "the new one runs, and no other")


def test_a_stop_first_worker_restarts_if_the_new_release_fails(exclusive: App) -> None:
    live = exclusive.live
    exclusive.tree.commit({"app.py": "import sys\nsys.exit('broken')\n"}, "broken")
    done = exclusive.tree.push()
    exclusive.restore()
    assert not done.ok
    assert exclusive.live == live
    apps.eventually(lambda: keepers(exclusive) == {f"exclusive-r{live}": "running"}, "the old one runs again")
