"""Another user of the machine can do nothing to an app on the embedded engine except use the machine's memory."""

import json
import os
import socket
import stat
import subprocess
from pathlib import Path
from typing import Any

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


def tries(*argv: str, given: str = "") -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        stranger(*argv), input=given, text=True, capture_output=True, timeout=60, check=False
    )


def test_other_users_can_neither_read_nor_lock_files(shop: App, machine: Machine) -> None:
    runtime = Root(machine.root).runtime
    result = [p for top in (machine.root, runtime) for p in top.rglob("*")]
    kinds = [p.lstat().st_mode for p in result]
    assert sum(map(stat.S_ISSOCK, kinds)) >= 2
    assert len(result) > 100
    script = "import os, sys; print(*(p for p in sys.stdin.read().split('\\n') if os.access(p, os.F_OK)))"
    done = tries(SYSTEM, "-I", "-c", script, given="\n".join(map(str, result)))
    assert (done.returncode, done.stdout.strip()) == (0, ""), done.stderr
    assert tries("flock", "--nonblock", str(shop.directory / "lock"), "true").returncode != 0
    assert "open to other accounts" not in machine.must("doctor")


def test_a_root_with_open_permissions_is_reported_and_closed(shop: App, machine: Machine) -> None:
    machine.root.chmod(0o755)
    assert "open to other accounts" in machine.pushrod("doctor").out
    shop.must("up")
    assert "open to other accounts" not in machine.must("doctor")


def records(shop: App) -> dict[str, dict[str, Any]]:
    """The records of the app's stores by kind."""
    stores = json.loads((shop.directory / "stores/stores.json").read_text())
    return {record["kind"]: record for record in stores}


def answers(record: dict[str, Any]) -> bytes:
    """What a Redis answers to a client without a name: to PING, then to a query of its configuration."""
    with socket.create_connection((record["address"], record["port"]), 5) as s:
        s.sendall(b"PING\r\nCONFIG GET dir\r\n")
        received = b""
        while received.count(b"\r\n") < 2:
            received += s.recv(999)
    return received


def test_stores_let_nobody_in_without_a_password(shop: App) -> None:
    """The app gets an account for its Redis; PostgreSQL has no socket."""
    redis, postgres = records(shop)["redis"], records(shop)["postgres"]
    assert answers(redis).startswith(b"-NOAUTH")
    assert shop.get("/redis?q=PING").body.startswith("+OK +PONG")
    names = {line.split()[-1] for line in Path("/proc/net/unix").read_text().splitlines()[1:]}
    assert not [n for n in names if f".s.PGSQL.{postgres['port']}" in n]


OPEN = "every account of this machine may use it without a password, because web reaches it by `REDIS_HOST`"


def test_a_store_that_the_file_names_without_an_account_is_open_and_reported(machine: Machine) -> None:
    """It stays open while the live release or the next one needs it, and no longer; a release that failed to start
    has no effect.
    """
    by_hand = apps.manifest_with_stores(environment={"REDIS_HOST": "redis"})
    app = machine.app("byhand", {"app.py": apps.APP, "compose.yaml": by_hand}, push=False)
    assert OPEN in machine.must("plan", cwd=app.tree.path)
    pushed = app.tree.push()
    assert pushed.ok, pushed.err
    assert pushed.err.count(OPEN) == 1
    redis = records(app)["redis"]
    assert answers(redis).startswith(b"+PONG\r\n-NOPERM")
    for state in (b"+PONG", b"-NOAUTH"):  # the first such release replaces one that needs it
        app.tree.commit({"compose.yaml": apps.manifest_with_stores()})
        assert app.tree.push().ok
        assert answers(redis).startswith(state)
        assert app.get("/redis?q=PING").body.startswith("+OK +PONG")
    app.tree.commit({"compose.yaml": by_hand, "app.py": "raise SystemExit(1)"})
    assert not app.tree.push().ok
    assert answers(redis).startswith(b"-NOAUTH")
    app.must("rollback", "1")
    assert answers(redis).startswith(b"+PONG")


def test_a_root_of_an_older_pushrod_keeps_its_store_open_for_the_live_release(machine: Machine) -> None:
    app = machine.app("older", {"app.py": apps.APP, "compose.yaml": apps.manifest_with_stores()})
    sealed = app.directory / "state/releases/1/release.json"
    content = json.loads(sealed.read_text())
    for store in content["stores"]:
        store.pop("closed", None)
    sealed.write_text(json.dumps(content))
    apps.Tree(app.directory / "state", machine.env).git("commit", "--all", "--message", "as it sealed it")
    app.must("down")
    app.must("up")
    redis = records(app)["redis"]
    assert answers(redis).startswith(b"+PONG")
    app.push_change()
    assert answers(redis).startswith(b"+PONG")
    app.push_change()
    assert answers(redis).startswith(b"-NOAUTH")


def test_a_foreign_listener_on_a_stores_port_gets_no_password(shop: App, machine: Machine) -> None:
    redis = records(shop)["redis"]
    shop.must("down")
    listen = (
        "import socket, sys; s = socket.create_server((sys.argv[2], int(sys.argv[1])));"
        "print(flush=True)\nwhile True: print(s.accept()[0].recv(999), flush=True)"
    )
    thief = subprocess.Popen(
        stranger(SYSTEM, "-I", "-c", listen, str(redis["port"]), redis["address"]),
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert thief.stdout is not None
        thief.stdout.readline()
        eventually(
            lambda: network.listener(redis["port"], address=redis["address"]) == STRANGER,
            "the stranger listens",
            5,
        )
        done = shop.pushrod("up")
        assert not done.ok
        assert f"taken by a process of user {STRANGER}" in done.err
    finally:
        thief.kill()
        received = thief.communicate(timeout=10)[0]
    assert "AUTH" not in received
    shop.must("up")
    assert shop.get().body == "one"
