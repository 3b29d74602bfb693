"""A vault over SFTP, on a real sshd, that refuses, is slow, disappears or is another one: each has a clear error and
its exit code, nothing is lost, and the next backup is complete."""

import json
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from devtools import apps
from devtools.apps import App, Machine
from tests.integration import sftp
from tests.integration.sftp import Sshd
from tests.integration.ways import Way, delays_only_the_copy

pytestmark = [
    pytest.mark.integration,
    pytest.mark.long,
    pytest.mark.skipif(shutil.which("restic") is None, reason="needs restic: apt-get install restic"),
    pytest.mark.skipif(not sftp.THERE, reason=sftp.MISSING),
]

KEPT = "x-pushrod: {backups: {every: day, keep: 50}}\n"
FILES = {"app.py": apps.APP, "compose.yaml": KEPT + apps.manifest_with_stores()}
ROWS = "/sql?q=select+count(*),sum(id)+from+goods"
_CHANGE = "/sql?q=update+goods+set+word=md5(word)"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    with sftp.sftp(tmp_path_factory.mktemp("far") / "sshd") as made:
        yield made


@pytest.fixture(scope="module")
def way(server: Sshd) -> Iterator[Way]:
    made = Way(server.port)
    yield made
    made.close()


@pytest.fixture(scope="module")
def far(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of the vault on the server."""
    return tmp_path_factory.mktemp("vault") / "far"


@pytest.fixture(scope="module")
def key(shop: App, server: Sshd, way: Way, far: Path) -> str:
    """Sets the vault; returns the public key that the server lets in."""
    url = f"sftp://{sftp.USER}@127.0.0.1:{way.port}{far}"
    refused = shop.machine.pushrod("host", "backups", "set", url)
    result = apps.complaint(refused)
    assert (refused.status, result.what) == (6, "the server does not let this machine in")
    (key,) = re.findall(r"ssh-ed25519 \S+ pushrod-vault", result.to_do)
    server.let_in(key)
    done = shop.machine.pushrod("host", "backups", "set", url)
    assert done.ok, done.err
    shop.must("db", "backup")
    return str(key)


@pytest.fixture(scope="module")
def shop(new_machine: Callable[[], Machine]) -> App:
    """An app with a database of some megabytes."""
    app = new_machine().app("shop", FILES)
    rows = "select n as id,md5(n::text) as word from generate_series(1,60000) n"
    assert app.get(f"/sql?q=create+table+goods+as+{rows.replace(' ', '+')}").status == 200
    return app


@pytest.fixture(autouse=True)
def whole(shop: App, key: str, way: Way, server: Sshd) -> Iterator[None]:
    """The data and the local backups are after the test what they were before it, and the next backup is proved."""
    before, kept = shop.get(ROWS).body, {b["name"] for b in shop.json("db", "backups")}
    yield
    way.reset()
    server.let_in(key)
    assert shop.get(ROWS).body == before
    assert "copied to vault default" in shop.must("db", "backup")
    listed = shop.json("db", "backups")
    assert kept <= {b["name"] for b in listed} and listed[0]["copy"]["proved"]
    assert not (shop.directory / "vault" / "work").exists()


def refused(shop: App) -> apps.Complaint:
    done = shop.pushrod("db", "backup")
    result = apps.complaint(done)
    assert done.status == 6, done.err
    assert any(result.what in warning for warning in shop.json("status")[0]["warnings"])
    return result


def test_a_server_that_no_longer_lets_this_machine_in(shop: App, server: Sshd) -> None:
    server.let_in()
    assert "refuses this machine's key" in refused(shop).what


def test_another_server_in_its_place(shop: App, server: Sshd, tmp_path: Path) -> None:
    """Nothing is sent to it."""
    kept = {name: (server.directory / name).read_bytes() for name in ("host", "host.pub")}
    server.stop()
    server.make_key()
    server.start()
    try:
        result = refused(shop)
        assert "is not the server it was" in result.what, result
        again = shop.machine.pushrod("host", "backups", "set", vault(shop)["url"])
        assert (again.status, "another key than when it was set" in apps.complaint(again).what) == (6, True)
    finally:
        server.stop()
        for name, content in kept.items():
            (server.directory / name).write_bytes(content)
        server.start()


def test_a_server_that_is_down(shop: App, server: Sshd) -> None:
    server.stop()
    try:
        assert "cannot be reached" in refused(shop).what
    finally:
        server.start()


def test_a_server_that_disappears_in_the_middle_of_an_upload(shop: App, way: Way) -> None:
    assert shop.get(_CHANGE).status == 200
    way.left = 300_000
    assert "cannot be reached" in refused(shop).what
    assert way.left <= 0


def test_a_slow_server_delays_the_copy_and_nobody_else(shop: App, way: Way) -> None:
    assert shop.get(_CHANGE).status == 200
    delays_only_the_copy(shop, way)


def test_another_password(shop: App) -> None:
    record = shop.machine.root / "vaults" / "default" / "vault.json"
    whole = record.read_text()
    record.write_text(json.dumps({**json.loads(whole), "password": "another"}))
    try:
        assert refused(shop).what == "the vault has another password"
    finally:
        record.write_text(whole)


def test_a_server_without_room(shop: App, server: Sshd, far: Path) -> None:
    """It has room for a vault, and not for the copy."""
    kept = far.with_name("kept")
    far.rename(kept)
    far.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=128m", "none", far], check=False).returncode:
        far.rmdir()
        kept.rename(far)
        pytest.skip("a disk of its own needs root (mount -t tmpfs)")
    try:
        shutil.copytree(kept, far, dirs_exist_ok=True)
        left = shutil.disk_usage(far).free
        (far / "filler").write_bytes(bytes(left - 100_000))
        server.stop()  # it sees what was mounted when it started
        server.start()
        assert shop.get(_CHANGE).status == 200
        assert "room" in refused(shop).what
    finally:
        server.stop()
        subprocess.run(["umount", "--lazy", far], check=True)
        far.rmdir()
        kept.rename(far)
        server.start()


def vault(shop: App) -> dict[str, str]:
    record: dict[str, str] = json.loads((shop.machine.root / "vaults" / "default" / "vault.json").read_text())
    return record
