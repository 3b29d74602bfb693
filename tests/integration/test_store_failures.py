"""What goes wrong with backups, on real parts: each has a clear error and its exit code, and nothing is lost.

Of the other failures the tests are elsewhere: another password, a vault that is gone or full (`test_vaults.py`), a
server over SFTP (`test_sftp_failures.py`), a damaged backup here (`test_backups.py`), a time before the first base
backup (`test_points.py`), a backup of a newer version, an upgrade that fails, is killed or ends with a power cut
(`test_upgrades.py`, `tests/lab/test_upgrades.py`), a clock that was set back (`test_points.py`), a rotation that is
killed (`test_rotation.py`), volumes that change while they are copied (`tests/lab/test_backups.py`).
"""

import contextlib
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator

import pytest

from devtools import apps
from devtools.apps import App, Machine
from tests.integration import s3
from tests.integration.ways import Way, delays_only_the_copy

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(shutil.which("restic") is None, reason="needs restic: apt-get install restic"),
    pytest.mark.skipif(not s3.THERE, reason=s3.MISSING),
]

FILES = {"app.py": apps.APP, "compose.yaml": apps.manifest_with_stores()}
ROWS = "select count(*), sum(id) from goods"
_DISK = 1400  # MB


@pytest.fixture(scope="module")
def shop(new_machine: Callable[[], Machine], tmp_path_factory: pytest.TempPathFactory) -> Iterator[App]:
    """An app with a database of some megabytes, whose root has a disk of its own."""
    machine = new_machine()
    image = tmp_path_factory.mktemp("disk") / "image"
    with image.open("wb") as out:
        out.truncate(_DISK << 20)
    machine.root.mkdir()
    subprocess.run(["mkfs.ext4", "-q", "-m", "0", image], check=True, capture_output=True)
    if subprocess.run(
        ["mount", "-o", "loop", image, machine.root], capture_output=True, check=False
    ).returncode:
        pytest.skip("a disk of its own needs root and a loop device (mount -o loop)")
    machine.root.chmod(0o700)
    try:
        app = machine.app("shop", FILES)
        sql(
            app, "create table goods as select n as id, md5(n::text) as word from generate_series(1, 60000) n"
        )
        yield app
        app.machine.must("apps", "destroy", "shop", "--yes")
        problems = machine.close()
        assert not problems, problems
    finally:
        subprocess.run(["umount", "--lazy", machine.root], check=True)


@pytest.fixture(scope="module")
def way(shop: App, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Way]:
    """The app's vault is a bucket behind it, with one good copy."""
    with s3.s3(tmp_path_factory.mktemp("far") / "s3") as url:
        made = Way(int(url.rpartition(":")[2]))
        bucket = f"s3:http://127.0.0.1:{made.port}/bucket"
        done = shop.machine.pushrod(
            "host", "backups", "set", bucket, "--credentials", "-", stdin=s3.credentials("right")
        )
        assert done.ok, done.err
        shop.must("db", "backup")
        yield made
        made.close()


@pytest.fixture
def whole(shop: App) -> Iterator[None]:
    """The data, the local backups and the app are after the test what they were before it."""
    before, kept = sql(shop, ROWS), {b["name"] for b in shop.json("db", "backups")}
    yield
    assert sql(shop, ROWS) == before
    assert kept <= {b["name"] for b in shop.json("db", "backups")}
    assert [p.name for p in (shop.directory / "backups").glob(".*")] == []
    assert not (shop.directory / "vault" / "work").exists()


def sql(app: App, statement: str) -> str:
    answer = app.get(f"/sql?q={statement.replace(' ', '+')}")
    assert answer.status == 200, answer.body
    return answer.body


@contextlib.contextmanager
def filled(app: App, leaving: int) -> Iterator[None]:
    """The root's disk has so many bytes left."""
    filler = app.machine.root / "filler"
    state = os.statvfs(app.machine.root)
    subprocess.run(["fallocate", "-l", str(state.f_bavail * state.f_frsize - leaving), filler], check=True)
    try:
        yield
    finally:
        filler.unlink()


def refused(app: App, *argv: str) -> apps.Complaint:
    done = app.pushrod(*argv)
    result = apps.complaint(done)
    assert done.status == 6, done.err
    return result


@pytest.mark.usefixtures("whole")
def test_a_disk_that_fills_during_a_backup(shop: App) -> None:
    with filled(shop, 1_000_000):
        result = refused(shop, "db", "backup")
        assert "cannot be written: no space left on device" in result.what.lower(), result
    shop.must("db", "backup")


@pytest.mark.usefixtures("whole", "way")
def test_a_disk_that_fills_while_the_log_is_copied(shop: App) -> None:
    shop.must("db", "archive")
    with filled(shop, 300_000_000):
        sql(shop, "create table if not exists more as select 1")  # the app works
        result = refused(shop, "db", "archive")
        assert "MB are free: the log is not copied" in result.what, result
        (known,) = shop.json("db", "wal")
        assert "MB are free" in known["problem"]
    shop.must("db", "archive")
    (known,) = shop.json("db", "wal")
    assert known["problem"] == ""


@pytest.mark.long
@pytest.mark.usefixtures("whole")
def test_two_backups_at_once_are_two_backups(shop: App, way: Way) -> None:
    before = len(shop.json("db", "backups"))
    two = [shop.running("db", "backup") for _ in range(2)]
    assert [one.done().status for one in two] == [0, 0]
    listed = shop.json("db", "backups")
    assert len(listed) == before + 2
    assert listed[0]["copy"]["proved"]


@pytest.mark.long
@pytest.mark.usefixtures("whole")
def test_a_slow_server_delays_the_copy_and_nobody_else(shop: App, way: Way) -> None:
    delays_only_the_copy(shop, way)


@pytest.mark.long
@pytest.mark.usefixtures("whole")
def test_a_server_that_disappears_in_the_middle_of_an_upload(shop: App, way: Way) -> None:
    """restic tries for some minutes; here it is interrupted, as by an operator, and the next backup is complete."""
    sql(shop, "update goods set word = md5(word)")
    way.left = 200_000
    copying = shop.running("db", "backup")
    try:
        apps.eventually(lambda: way.left <= 0, "the server is gone", 60)
        copying.child.terminate()
        done = copying.done()
        assert (done.status, "Traceback" in done.err) == (130, False), done.err
    finally:
        way.reset()
        copying.end()
    assert "copied to vault default" in shop.must("db", "backup")


@pytest.mark.long
@pytest.mark.usefixtures("whole")
def test_a_server_that_returns_other_bytes(shop: App, way: Way) -> None:
    way.change = lambda block: bytes([*block[:-1], block[-1] ^ 1]) if len(block) > 10_000 else block
    try:
        result = refused(shop, "db", "backup")
        assert "damaged" in result.what, result
        assert shop.json("status")[0]["warnings"] != []
    finally:
        way.reset()
    assert "copied to vault default" in shop.must("db", "backup")


@pytest.mark.long
@pytest.mark.usefixtures("whole")
def test_a_server_that_refuses(shop: App, way: Way) -> None:
    way.change = lambda _block: b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    try:
        assert refused(shop, "db", "backup").what == "the vault's server refuses the credentials"
    finally:
        way.reset()
    assert "copied to vault default" in shop.must("db", "backup")


@pytest.mark.usefixtures("whole", "way")
def test_a_truncated_or_flipped_backup_is_not_restored_and_its_copy_is(shop: App) -> None:
    newest = shop.json("db", "backups")[0]["name"]
    dump = shop.directory / "backups" / newest / "postgres.dump"
    whole = dump.read_bytes()
    try:
        for damaged in (whole[: len(whole) // 2], bytes([*whole[:-99], whole[-99] ^ 1, *whole[-98:]])):
            dump.write_bytes(damaged)
            assert refused(shop, "db", "restore", newest, "--yes").where == str(dump)
        shop.must("db", "restore", newest, "--from-vault", "--yes")
    finally:
        dump.write_bytes(whole)
