"""Another user of the machine can do nothing to an app on the embedded engine except use the machine's memory."""

import json
import os
import socket
import stat
import subprocess
from pathlib import Path

import pytest

from devtools import apps
from devtools.apps import App, Machine, eventually
from pushrod.state.apps import Root
from pushrod.system import network

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(os.geteuid() != 0, reason="becoming another user takes root"),
]

STRANGER = 54321  # a user ID that the machine does not have
SYSTEM = "/usr/bin/python3"


@pytest.fixture(scope="module")
def shop(machine: Machine) -> App:
    """An app with stores, in a root that an older pushrod has left open."""
    machine.root.mkdir(mode=0o755)
    return machine.app("shop", {"app.py": apps.APP, "compose.yaml": apps.manifest_with_stores()})


def stranger(*argv: str) -> list[str]:
    return ["setpriv", f"--reuid={STRANGER}", f"--regid={STRANGER}", "--clear-groups", "--", *argv]


def tries(*argv: str, told: str = "") -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        stranger(*argv), input=told, text=True, capture_output=True, timeout=60, check=False
    )


def test_nothing_of_it_is_read_or_held(shop: App, machine: Machine) -> None:
    runtime = Root(machine.root).runtime
    found = [p for top in (machine.root, runtime) for p in top.rglob("*")]
    kinds = [p.lstat().st_mode for p in found]
    assert sum(map(stat.S_ISSOCK, kinds)) >= 2
    assert len(found) > 100
    asked = "import os, sys; print(*(p for p in sys.stdin.read().split('\\n') if os.access(p, os.F_OK)))"
    done = tries(SYSTEM, "-I", "-c", asked, told="\n".join(map(str, found)))
    assert (done.returncode, done.stdout.strip()) == (0, ""), done.stderr
    assert tries("flock", "--nonblock", str(shop.directory / "lock"), "true").returncode != 0
    assert "open to other accounts" not in machine.must("doctor")


def test_a_root_that_was_opened_is_found_and_closed(shop: App, machine: Machine) -> None:
    machine.root.chmod(0o755)
    assert "open to other accounts" in machine.pushrod("doctor").out
    shop.must("up")
    assert "open to other accounts" not in machine.must("doctor")


def test_stores_want_a_password_on_loopback_and_have_no_other_door(shop: App) -> None:
    records = {r["kind"]: r["port"] for r in json.loads((shop.directory / "stores/stores.json").read_text())}
    with socket.create_connection(("127.0.0.1", records["redis"]), 5) as s:
        s.sendall(b"PING\r\n")
        assert s.recv(64).startswith(b"-NOAUTH")
    names = {line.split()[-1] for line in Path("/proc/net/unix").read_text().splitlines()[1:]}
    assert not [n for n in names if f".s.PGSQL.{records['postgres']}" in n]


def test_who_takes_a_stores_port_is_not_told_its_password(shop: App, machine: Machine) -> None:
    port = next(
        r["port"]
        for r in json.loads((shop.directory / "stores/stores.json").read_text())
        if r["kind"] == "redis"
    )
    shop.must("down")
    listen = (
        "import socket, sys; s = socket.create_server(('127.0.0.1', int(sys.argv[1])));"
        "print(flush=True)\nwhile True: print(s.accept()[0].recv(999), flush=True)"
    )
    thief = subprocess.Popen(
        stranger(SYSTEM, "-I", "-c", listen, str(port)), stdout=subprocess.PIPE, text=True
    )
    try:
        assert thief.stdout is not None
        thief.stdout.readline()
        eventually(lambda: network.listener(port) == STRANGER, "the stranger listens", 5)
        done = shop.pushrod("up")
        assert not done.ok
        assert f"taken by a process of user {STRANGER}" in done.err
    finally:
        thief.kill()
        heard = thief.communicate(timeout=10)[0]
    assert "AUTH" not in heard
    shop.must("up")
    assert shop.get().body == "one"
