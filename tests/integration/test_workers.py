"""Workers go at the switch: what answers nobody does not wait for other people's requests to finish."""

import http.client
import json
import threading
import urllib.parse

import pytest

from tests.integration import apps
from tests.integration.apps import App, Machine

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
    """An app with a scheduler, which listens on nothing, and a worker that others ask by HTTP."""
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


def test_a_scheduler_ends_at_the_switch_and_what_listens_after_the_drain(beating: App) -> None:
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
