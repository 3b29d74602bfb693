"""Copies of backups in a vault: sent, read back, proved by a restore; and the alarm when that fails."""

import json
import shutil
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from devtools import apps
from devtools.apps import App, Complaint, Machine
from tests.integration import s3

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(shutil.which("restic") is None, reason="needs restic: apt-get install restic"),
]

FILES = {"app.py": apps.APP, "compose.yaml": apps.manifest_with_stores()}
SUM = "/sql?q=select+sum(id)+from+goods"


@pytest.fixture(scope="module")
def shop(machine: Machine, place: Path) -> App:
    """An app with a table in its database, and a vault in a directory."""
    app = machine.app("shop", FILES)
    assert app.get("/sql?q=create+table+goods+as+select+7+as+id").status == 200
    done = machine.pushrod("host", "backups", "set", str(place / "far"))
    assert done.ok, done.err
    return app


@pytest.fixture
def far(shop: App, place: Path) -> Iterator[Path]:
    """The vault's directory, with one good copy in it; put back as it was at the end."""
    if not shop.json("db", "backups"):
        shop.must("db", "backup")
    kept, ledger = place / "far.kept", shop.directory / "vault" / "ledger.json"
    shutil.copytree(place / "far", kept)
    known = ledger.read_bytes()
    yield place / "far"
    shutil.rmtree(place / "far", ignore_errors=True)
    kept.rename(place / "far")
    ledger.write_bytes(known)


def vault_problem(shop: App) -> str:
    """What `doctor`, `status` and `db backups` say alike about the copies; empty if nothing is wrong."""
    result = [d for d in json.loads(shop.pushrod("doctor", "--json").out) if "proven" in d["detail"]]
    listed = shop.pushrod("db", "backups")
    (status,) = shop.json("status")
    warnings = [w for w in status["warnings"] if "proven" in w]
    if not result:
        assert (listed.status, warnings) == (0, [])
        return ""
    assert (listed.status, result[0]["state"]) == (6, "broken")
    why = str(result[0]["detail"]).partition(": ")[2]
    assert why in warnings[0] and why in listed.err
    return why


def refused(shop: App, status: int = 6, *, timer: bool = False) -> Complaint:
    """The complaint of a backup whose copy fails, by hand or by the timer's command."""
    done = shop.pushrod("db", "backup", *(["--all"] if timer else []))
    assert (done.status, "copied" in done.out) == (status, False), done.err
    result = apps.complaint(done)
    assert vault_problem(shop) == result.what
    return result


@pytest.mark.long
def test_a_backup_is_copied_read_back_and_proved(shop: App) -> None:
    done = shop.must("db", "backup")
    assert "its databases were restored from there" in done
    newest = shop.json("db", "backups")[0]
    assert newest["copy"]["proved"] > newest["copy"]["read"] > newest["at"]
    assert shop.json("status")[0]["proved"] == newest["copy"]["proved"]
    assert "  last proven backup: " in shop.must("status")
    assert vault_problem(shop) == ""
    assert shop.must("db", "backup", "--all").startswith("the host: copied to vault default")
    assert shop.must("db", "backup", "--all") == ""  # nothing is due


def test_the_password_is_nowhere_in_the_vault_and_the_vaults_files_are_closed(shop: App, far: Path) -> None:
    record = shop.machine.root / "vaults" / "default" / "vault.json"
    password = json.loads(record.read_text())["password"]
    environment = {"RESTIC_PASSWORD": password, "RESTIC_REPOSITORY": str(far), "PATH": "/usr/bin:/bin"}
    argv = ["restic", "--no-cache", "dump", "--tag", "app:shop", "latest", "/"]
    whole = subprocess.run(argv, env=environment, capture_output=True, check=True).stdout
    assert password.encode() not in whole
    for what in (
        b"apps/shop/secrets/passwords.json",
        b"apps/shop/repo.git/HEAD",
        b"postgres.dump",
        b"redis.rdb",
    ):
        assert what in whole
    assert [oct(p.stat().st_mode & 0o777) for p in (record, record.parent)] == ["0o600", "0o700"]
    again = shop.machine.pushrod("host", "backups", "set", str(far))
    assert again.ok and password not in again.out  # shown once


@pytest.mark.long
def test_a_vault_that_is_gone_is_told_everywhere_until_it_is_back(shop: App, far: Path) -> None:
    gone = far.rename(far.with_name("gone"))
    assert "there is no repository" in refused(shop).what
    assert "there is no repository" in refused(shop, timer=True).what
    gone.rename(far)
    assert "copied to vault default" in shop.must("db", "backup", "--all")
    assert vault_problem(shop) == ""


def test_another_password_is_refused(shop: App, far: Path) -> None:
    record = shop.machine.root / "vaults" / "default" / "vault.json"
    whole = record.read_text()
    record.write_text(json.dumps({**json.loads(whole), "password": "another"}))
    try:
        assert refused(shop).what == "the vault has another password"
    finally:
        record.write_text(whole)


def flipped(path: Path) -> None:
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 3] ^= 1
    path.chmod(0o600)
    path.write_bytes(raw)


def test_other_bytes_than_were_sent_are_found(shop: App, far: Path) -> None:
    """What the next copy would rely on: the app's repository is in the vault already, and not sent again."""
    for path in sorted((far / "data").glob("*/*")):
        flipped(path)
    assert "damaged" in refused(shop).what


def test_a_vault_that_is_full(machine: Machine, shop: App, far: Path) -> None:
    shutil.rmtree(far)
    far.mkdir()
    argv = ["mount", "-t", "tmpfs", "-o", "size=300k", "pushrod-test", str(far)]
    if subprocess.run(argv, capture_output=True, check=False).returncode:
        pytest.skip("a disk of its own needs root (mount -t tmpfs)")
    try:
        assert shop.machine.pushrod("host", "backups", "set", str(far)).ok
        with pytest.raises(OSError, match="No space"):
            (far / "filler").write_bytes(bytes(400_000))
        result = refused(shop)
        assert (result.what, far.is_dir()) == ("the vault has no room left", True)
    finally:
        subprocess.run(["umount", "--lazy", str(far)], check=True)


@pytest.mark.long
def test_a_manifest_names_a_vault_that_its_owner_has_set(shop: App) -> None:
    text = "x-pushrod: {backups: {to: elsewhere}}\n" + FILES["compose.yaml"]
    shop.push_change({"compose.yaml": text})
    try:
        result = refused(shop, 12)
        assert (result.what, "owner sets it" in result.to_do) == ("no vault `elsewhere`", True)
    finally:
        shop.push_change({"compose.yaml": FILES["compose.yaml"]})
        shop.must("db", "backup")


@pytest.mark.long
def test_a_host_is_rebuilt_from_nothing(shop: App, place: Path, new_machine: Callable[[], Machine]) -> None:
    """Two apps, one with databases and one without; on another root, which has only the vault's password."""
    plain = shop.machine.app("plain", {**apps.FILES, "app.py": apps.APP})
    shop.must("secret", "set", "WORD", "-", stdin="kept")
    assert shop.get("/sql?q=insert+into+goods+values+(8)").status == 200
    for app in (shop, plain):
        app.must("db", "backup", *(["--all"] if app is plain else []))
    record = json.loads((shop.machine.root / "vaults" / "default" / "vault.json").read_text())
    shop.machine.must("down", "--app", "shop")
    shop.machine.must("down", "--app", "plain")
    other, words = new_machine(), ("host", "restore", "--from", str(place / "far"), "--credentials", "-")
    wrong = other.pushrod(*words, stdin="RESTIC_PASSWORD=another\n")
    assert (wrong.status, apps.complaint(wrong).what) == (6, "the vault has another password")
    began = time.monotonic()
    done = other.pushrod(*words, stdin=f"RESTIC_PASSWORD={record['password']}\n")
    assert done.ok, done.err
    print(f"rebuilt two apps in {time.monotonic() - began:.1f} s")
    assert "shop: release " in done.out and "plain: release " in done.out
    statuses = {s["app"]: s for s in other.json("status")}
    assert {s["condition"] for s in statuses.values()} == {"live"}
    url = statuses["shop"]["url"]
    with urllib.request.urlopen(f"{url}/sql?q=select+sum(id)+from+goods", timeout=10) as answer:
        assert answer.read() == b"15"
    assert "WORD" in other.must("secret", "list", "--app", "shop")
    again = other.pushrod(*words, stdin=f"RESTIC_PASSWORD={record['password']}\n")
    assert (again.status, "there is such an app already" in again.err) == (12, True)
    for name in statuses:
        other.must("down", "--app", name)
    shop.must("up", str(shop.tree.path))
    shop.machine.must("apps", "destroy", "plain", "--yes")


@pytest.mark.skipif(not s3.THERE, reason=s3.MISSING)
def test_a_bucket(shop: App, far: Path, tmp_path: Path, new_machine: Callable[[], Machine]) -> None:
    """A real S3-compatible server, after other credentials were refused: a host is rebuilt from it. Then the first
    vault again, by its password."""
    record = shop.machine.root / "vaults" / "default" / "vault.json"
    password = json.loads(record.read_text())["password"]

    def set_to(where: str, given: str) -> apps.Done:
        return shop.machine.pushrod("host", "backups", "set", where, "--credentials", "-", stdin=given)

    with s3.s3(tmp_path / "s3") as url:
        bucket = f"s3:{url}/bucket"
        other = set_to(bucket, s3.credentials("right"))
        assert (other.status, "`pushrod host backups unset default` first" in other.err) == (12, True)
        shop.must("host", "backups", "unset")
        assert apps.complaint(set_to(bucket, s3.credentials("wrong"))).what.endswith(
            "refuses the credentials"
        )
        done = set_to(bucket, s3.credentials("right"))
        assert done.ok, done.err
        assert "copied to vault default" in shop.must("db", "backup")
        assert vault_problem(shop) == ""
        assert "right" not in shop.must("host", "backups", "list", "--json")
        shop.must("host", "alarm", "set", "mailto:team@example.com")
        shop.must("db", "backup", "--all")  # the host's own files
        sums, shown = shop.get(SUM).body, json.loads(record.read_text())["password"]
        shop.must("down")  # both would have the same port
        empty, given = new_machine(), f"{s3.credentials('right')}RESTIC_PASSWORD={shown}\n"
        rebuilt = empty.pushrod("host", "restore", "--from", bucket, "--credentials", "-", stdin=given)
        assert rebuilt.ok, rebuilt.err
        assert App(empty, "shop", shop.tree).get(SUM).body == sums
        assert "  echo mailto:team@example.com | pushrod host alarm set -\n" in rebuilt.out
        assert not (empty.root / "alarm" / "targets.json").exists()
        empty.must("down", "--app", "shop")
        shop.must("up", str(shop.tree.path))
    assert refused(shop).what == "the vault's server cannot be reached"
    shop.must("host", "backups", "unset")
    assert set_to(str(far), "RESTIC_PASSWORD=another\n").status == 6
    again = set_to(str(far), f"RESTIC_PASSWORD={password}\n")
    assert again.ok and "shown only now" not in again.out


@pytest.mark.long
def test_a_backup_that_is_lost_here_is_restored_from_its_copy(shop: App, far: Path) -> None:
    """Of PostgreSQL and of Valkey."""
    shop.must("db", "backup")
    name = shop.json("db", "backups")[0]["name"]
    was = shop.get("/sql?q=select+sum(id)+from+goods").body
    assert shop.get("/redis?q=SET+word+kept").status == 200
    shop.must("db", "backup")
    shutil.rmtree(shop.directory / "backups")
    assert shop.pushrod("db", "restore", name, "--yes").status == 12
    assert shop.get("/sql?q=delete+from+goods").status == 200
    shop.must("db", "restore", name, "--from-vault", "--yes")
    assert shop.get("/sql?q=select+sum(id)+from+goods").body == was
    assert shop.get("/redis?q=SET+word+other").status == 200
    assert "redis: " in shop.must("redis", "restore", "--from-vault", "--yes")
    assert "kept" in shop.get("/redis?q=GET+word").body
    unknown = shop.pushrod("db", "restore", "2001", "--from-vault", "--yes")
    assert (unknown.status, "no backups in the vault begin with `2001`" in unknown.err) == (12, True)
