"""Logs of databases in a vault: a real repository in a directory, beside a server that is not one."""

import dataclasses
import shutil
from pathlib import Path

import pytest

from pushrod.backups import vaulting, wal, wal_copies
from pushrod.core.errors import StoreError
from pushrod.core.times import now
from pushrod.core.values import Schedule
from pushrod.engines.protocols import Engine
from pushrod.state import releases
from pushrod.state.apps import App, Root
from pushrod.state.vaults import Vault, Vaults
from pushrod.system import files, locks
from tests.unit.backups.test_catalogue import make_live
from tests.unit.backups.test_wal_receiving import SIZE, Server, Stores
from tests.unit.engines.memory import Memory
from tests.unit.samples import store

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("restic") is None, reason="needs restic: apt-get install restic"),
]


@pytest.fixture
def server() -> Server:
    return Server()


@pytest.fixture
def engine(root: Root, server: Server) -> Engine:
    return dataclasses.replace(Memory(root).engine, stores=Stores(server))


@pytest.fixture
def far(app: App, tmp_path: Path) -> Vault:
    """The usual vault, in a directory."""
    make_live(app, stores=(store("db"),), backups=Schedule("day"))
    vault = Vault(name="default", url=str(tmp_path / "far"), password="p", created=now())
    Vaults(app.root).save(vault)
    vaulting.repository(app.root, vault).create()
    return vault


def fetched(app: App, vault: Vault) -> dict[str, bytes]:
    """What the newest copy contains; it replaces what is here, as on a new host."""
    host = vaulting.repository(app.root, vault).snapshots(f"wal:{app.name}")[-1].hostname
    wal_copies.fetch(app, vault, host)
    place = wal.place(app)
    return {str(p.relative_to(place)): p.read_bytes() for p in place.rglob("*") if p.is_file()}


def test_what_the_vault_returns_is_what_was_copied_here(
    app: App, engine: Engine, server: Server, far: Vault
) -> None:
    wal_copies.run(app, engine)
    first = wal_copies.sent(app)
    assert first.at == {"db": wal.state(app, "db").at} and len(first.files) == 2
    assert wal_copies.bases_due(app)
    wal_copies.take_bases(app, engine)
    assert not wal_copies.bases_due(app)
    server.written += b"y" * SIZE
    wal_copies.run(app, engine)
    known = wal.state(app, "db")
    there = fetched(app, far)
    assert wal.state(app, "db") == known
    (base,) = known.bases
    digests = {f"db/log/{name}": digest for name, digest in known.segments.items()}
    digests[f"db/bases/{base.name}.tar"] = base.sha256
    assert wal_copies.sent(app).files == digests
    assert {*there} == {*digests, "db/state.json"}
    assert all(files.digest(wal.place(app) / name) == digest for name, digest in digests.items())


def test_nothing_is_sent_if_nothing_was_written(app: App, engine: Engine, far: Vault) -> None:
    wal_copies.run(app, engine)
    before = wal_copies.sent(app)
    wal_copies.run(app, engine, quick=True)
    after = wal_copies.sent(app)
    assert after.at["db"] > before.at["db"] and after.snapshots == before.snapshots == 1


def test_a_repository_that_is_made_anew_in_its_place_gets_everything(
    app: App, engine: Engine, far: Vault
) -> None:
    """As by `host backups set` after the far disk was lost. Setting a vault again that is whole sends nothing."""
    wal_copies.run(app, engine)
    wal_copies.take_bases(app, engine)
    wal_copies.run(app, engine)
    before = wal_copies.sent(app)
    root = app.root
    vaulting.reopen(root, far.name, far.url, {}, print)
    wal_copies.run(app, engine)
    assert wal_copies.sent(app).snapshots == before.snapshots
    shutil.rmtree(far.url)
    _, fresh = vaulting.establish(root, far.name, far.url, {}, print)
    wal_copies.run(app, engine)
    assert fresh and wal_copies.bases_due(app)
    wal_copies.take_bases(app, engine)
    wal_copies.run(app, engine)
    assert wal_copies.sent(app).files == before.files
    there = fetched(app, far)
    assert {*there} == {*before.files, "db/state.json"}


def test_a_base_backup_that_was_not_sent_is_due_and_not_sent_with_the_log(
    app: App, engine: Engine, far: Vault, monkeypatch: pytest.MonkeyPatch
) -> None:
    wal_copies.run(app, engine)
    with monkeypatch.context() as patch:
        patch.setattr(wal_copies, "send_bases", lambda *_: None)
        wal_copies.take_bases(app, engine)
    wal_copies.run(app, engine)
    assert not any("bases" in name for name in fetched(app, far))
    assert wal_copies.bases_due(app)


def test_a_vault_that_is_away_delays_no_copy_here(
    app: App, engine: Engine, server: Server, far: Vault, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wal_copies.run(app, engine)
    gone = Path(far.url).rename(tmp_path / "gone")
    server.written += b"y" * SIZE
    with pytest.raises(StoreError, match="no repository"):
        wal_copies.run(app, engine)
    assert wal.state(app, "db").end == len(server.written)
    release = releases.live(app)
    assert release is not None
    monkeypatch.setattr(wal, "_LATE", -1.0)
    (diagnostic,) = wal_copies.examine(app, release)
    assert diagnostic.state == "broken" and "no repository" in diagnostic.detail
    gone.rename(far.url)
    wal_copies.run(app, engine)
    known = wal_copies.sent(app)
    assert (known.trouble, known.at["db"]) == (None, wal.state(app, "db").at)


def test_a_run_at_the_same_time_is_left_alone_by_the_timer(app: App, engine: Engine, far: Vault) -> None:
    with locks.lock(app.directory / "wal.lock", purpose="another run", timeout=0):
        wal_copies.run(app, engine, quick=True)
    assert not wal.stores(app)


def test_old_snapshots_are_forgotten_and_a_prune_keeps_the_newest(
    app: App, engine: Engine, server: Server, far: Vault, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wal_copies, "_THIN", 3)
    for _ in range(4):
        server.written += b"z" * 10
        wal_copies.run(app, engine)
    there = vaulting.repository(app.root, far)
    assert len(there.snapshots(f"wal:{app.name}")) == wal_copies.sent(app).snapshots == 2
    vaulting.prune(app.root, far, app.name, 14)
    assert fetched(app, far)


def test_a_damaged_vault_gives_an_error_and_no_log(app: App, engine: Engine, far: Vault) -> None:
    wal_copies.run(app, engine)
    for path in Path(far.url, "data").glob("*/*"):
        raw = bytearray(path.read_bytes())
        raw[len(raw) // 3] ^= 1
        path.chmod(0o600)
        path.write_bytes(raw)
    shutil.rmtree(Vaults(app.root).directory(far.name) / "cache")  # as on a new host
    with pytest.raises(StoreError, match="damaged"):
        fetched(app, far)


def test_a_base_backup_that_was_sent_comes_back_though_nothing_is_written_after_it(
    app: App, engine: Engine, far: Vault, monkeypatch: pytest.MonkeyPatch
) -> None:
    wal_copies.run(app, engine)
    with monkeypatch.context() as patch:
        patch.setattr(wal_copies, "send_bases", lambda *_: None)
        wal_copies.take_bases(app, engine)
    wal_copies.run(app, engine)
    wal_copies.take_bases(app, engine)
    wal_copies.run(app, engine)
    count = wal_copies.sent(app).snapshots
    wal_copies.run(app, engine)
    assert wal_copies.sent(app).snapshots == count
    assert any("bases" in name for name in fetched(app, far))


def test_a_base_backup_that_does_not_reach_the_vault_is_told(
    app: App, engine: Engine, far: Vault, tmp_path: Path
) -> None:
    wal_copies.run(app, engine)
    gone = Path(far.url).rename(tmp_path / "gone")
    with pytest.raises(StoreError, match="no repository"):
        wal_copies.take_bases(app, engine)
    release = releases.live(app)
    assert release is not None
    (diagnostic,) = wal_copies.examine(app, release)
    assert (diagnostic.state, "no base backup" in diagnostic.detail) == ("broken", True)
    gone.rename(far.url)
    wal_copies.run(app, engine)
    wal_copies.take_bases(app, engine)
    assert not list(wal_copies.examine(app, release))


def test_the_log_of_a_lost_cluster_stays_in_the_newest_copy(
    app: App, engine: Engine, server: Server, far: Vault
) -> None:
    wal_copies.run(app, engine)
    wal_copies.take_bases(app, engine)
    lost = wal.state(app, "db")
    server.system, server.slot, server.written = "8", "", b"n" * SIZE
    wal_copies.run(app, engine)
    assert f"db/former/bases/{lost.bases[0].name}.tar" in fetched(app, far)
    assert wal.former(app, "db") == lost
