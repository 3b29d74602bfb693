"""A copy on its way holds nothing that the copies of other apps need; which copies in a vault are the newest."""

import os
import shutil
import subprocess
from pathlib import Path

import msgspec
import pytest

from pushrod.backups import vaulting
from pushrod.core.errors import BusyError
from pushrod.core.times import now
from pushrod.state.apps import App
from pushrod.state.vaults import Vault, Vaults


def test_while_a_copy_is_proved_others_use_the_vault(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its proof runs in the app's own stores, whose images decide how long that takes."""
    monkeypatch.setattr(vaulting, "_PATIENCE", 0.1)
    other = App(app.root, "zoo")
    other.save(msgspec.structs.replace(app.settings, name="zoo"))
    with vaulting.outgoing(app) as work:
        with vaulting.alone(app.root, 0), vaulting.outgoing(other) as others:
            assert work.is_dir() and others.is_dir()
        with pytest.raises(BusyError), vaulting.outgoing(app):
            pass
        assert work.is_dir()
    assert not work.exists()


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("restic") is None, reason="needs restic: apt-get install restic")
def test_copies_of_a_time_that_is_yet_to_come_are_the_oldest(app: App, tmp_path: Path) -> None:
    """The clock was set back since they were made."""
    vault = Vault(name="default", url=str(tmp_path / "far"), password="p", created=now())
    Vaults(app.root).save(vault)
    far = vaulting.repository(app.root, vault)
    far.create()
    (tmp_path / "sent").mkdir()
    for name, at in (
        ("a", "2199-01-01 00:00:00"),
        ("b", "2199-01-02 00:00:00"),
        ("c", "2026-01-01 00:00:00"),
    ):
        (tmp_path / "sent" / "name").write_text(name)
        argv = ["restic", "--quiet", "backup", "--time", at, "--tag", "app:shop,backup:2199-" + name, "."]
        environment = {**os.environ, "RESTIC_REPOSITORY": vault.url, "RESTIC_PASSWORD": "p"}
        subprocess.run(argv, env=environment, cwd=tmp_path / "sent", check=True)
    newest = vaulting.copied(app.root, vault, "shop")
    assert newest[1] == "2199-c"
    vaulting.prune(app.root, vault, "shop", 2)
    assert [s.tags[1] for s in far.snapshots("app:shop")] == ["backup:2199-b", "backup:2199-c"]
    for _ in range(2):
        far.send(tmp_path / "sent", ["app:shop"])
        vaulting.prune(app.root, vault, "shop", 2)
    assert [len(s.tags) for s in far.snapshots("app:shop")] == [1, 1]  # those just sent
    far.fetch(far.snapshots("app:shop")[-1].id, tmp_path / "returned")
    assert (tmp_path / "returned" / "name").read_text() == "c"
