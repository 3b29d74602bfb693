"""Rebuilding an app from what a vault returned."""

import shutil
from pathlib import Path

import msgspec
import pytest

from pushrod.adapters.restic import Snapshot
from pushrod.backups import rebuild, staging, vaulting, wal_copies
from pushrod.backups.point_in_time import PointInTime
from pushrod.cli.output import Steps
from pushrod.core.errors import PushrodError, StoreError
from pushrod.core.times import now
from pushrod.state import releases
from pushrod.state.apps import App, Root
from pushrod.state.vaults import Vault
from pushrod.system import files
from tests.unit.backups.test_catalogue import make_live
from tests.unit.engines.memory import Memory


def test_no_timer_touches_an_app_until_its_databases_are_restored(
    app: App, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And none after a failure: its databases are empty then."""
    make_live(app)
    app.save(msgspec.structs.replace(app.settings, down=False))
    staging.collect(app, 1, "c" * 40, "", tmp_path / "sent")
    other = Root(tmp_path / "other")
    other.create()
    engine, rebuilt = Memory(other).engine, App(other, app.name)

    def fetch(_root: Root, _vault: Vault, _snapshot: str, _size: int, target: Path) -> None:
        shutil.copytree(tmp_path / "sent", target, symlinks=True)

    def revive(*_: object) -> list[str]:
        seen.append((rebuilt.exists, releases.up(rebuilt)))
        raise StoreError("the dump is damaged")

    seen: list[tuple[bool, object]] = []
    monkeypatch.setattr(vaulting, "fetch", fetch)
    monkeypatch.setattr(wal_copies, "fetch", lambda *_: [])
    monkeypatch.setattr(PointInTime, "revive", revive)
    vault = Vault(name="default", url="/mnt/far", password="p", created=now())
    (result,) = rebuild.rebuild(engine, vault, {app.name: Snapshot("1", now())}, Steps(), lambda _: None)
    assert isinstance(result, PushrodError) and result.what == "the dump is damaged"
    assert seen == [(True, None)] and rebuilt.settings.down


def test_the_lost_hosts_settings_are_read_and_not_put_into_place(
    root: Root, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = ("host.json", "alarm/targets.json", "web/access.json")
    for path in (*given, "alarm/log", "web/other"):
        files.write(root.path / path, "{}")
    staging.collect_host(root, tmp_path / "sent")

    def fetch(_root: Root, _vault: Vault, _snapshot: str, _size: int, target: Path) -> None:
        shutil.copytree(tmp_path / "sent", target, symlinks=True)

    def settings(its: Root) -> None:
        seen.extend(str(p.relative_to(its.path)) for p in its.path.rglob("*") if p.is_file())

    seen: list[str] = []
    monkeypatch.setattr(vaulting, "fetch", fetch)
    other = Root(tmp_path / "other")
    other.create()
    vault = Vault(name="default", url="/mnt/far", password="p", created=now())
    engine = Memory(other).engine
    assert [*rebuild.rebuild(engine, vault, {"": Snapshot("1", now())}, Steps(), settings)] == []
    assert sorted(seen) == sorted(given)
    assert not any((other.path / path).exists() for path in given)
