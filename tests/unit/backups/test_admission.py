"""What somebody who had a vault's password, or was root on the lost machine, put into its copies.

The repository is a real one; the apps that come back are not started.
"""

import contextlib
import os
import shutil
import stat
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from pushrod.backups import rebuild, staging, vaulting, wal_copies
from pushrod.backups.point_in_time import PointInTime
from pushrod.backups.rebuild import Rebuilt
from pushrod.cli.output import Steps
from pushrod.core.errors import PushrodError
from pushrod.core.times import now
from pushrod.core.upgrades import Cluster, OldCluster
from pushrod.core.values import Schedule
from pushrod.provisioning import keys
from pushrod.releases import app_lifecycle
from pushrod.state.apps import App, Root
from pushrod.state.releases import Releases
from pushrod.state.secrets import Secrets
from pushrod.state.vaults import Vault, Vaults
from pushrod.system import files
from tests.unit.backups.test_catalogue import make, make_live
from tests.unit.engines.memory import Memory
from tests.unit.samples import release

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("restic") is None, reason="needs restic: apt-get install restic"),
]

Change = Callable[[Path], object]
HOOK = "#!/bin/sh\ntouch /tmp/hostile\n"


class Lost:
    """A lost machine with the app `shop`, and its vault, where copies can be put that pushrod did not make."""

    def __init__(self, app: App, top: Path) -> None:
        self.app, self._top = app, top
        self.vault = Vault(name="default", url=str(top / "far"), password="p", created=now())
        Vaults(app.root).save(self.vault)
        self.far = vaulting.repository(app.root, self.vault)
        self.far.create()
        self.here = Root(top / "here")
        self.here.create()
        Vaults(self.here).save(self.vault)

    def puts(self, change: Change = lambda _: None, *, app: App | None = None, tag: str = "") -> None:
        """Put a copy of an app with a change, which its list of contents knows about."""
        app, place = app or self.app, self._top / "sent"
        name = next((b.name for b in sorted(app.backups.glob("2*"))), "") if app.backups.exists() else ""
        contents = staging.collect(app, 1, "c" * 40, name, place)
        change(place)
        path = place / staging.CONTENTS
        if path.is_file() and not path.is_symlink():
            contents = msgspec.structs.replace(contents, files=dict(staging._digests(place)))
            path.write_bytes(msgspec.json.encode(contents))
        self.far.send(place, [tag or f"app:{app.name}"])

    def restored(self) -> dict[str, Rebuilt | PushrodError]:
        """What becomes of each app on another machine, which has only the vault's password."""
        engine, copy = Memory(self.here).engine, rebuild.newest(self.here, self.vault)
        results = list(rebuild.rebuild(engine, self.vault, copy, Steps(), lambda _: None))
        return {r.app: r for r in results}

    @property
    def paths(self) -> set[str]:
        """What is there then, beside what this machine has written itself."""
        own = ["config", "HEAD", "pushrod.config", "info", "hooks"]
        ours = ["state/.git", "checkouts", "stores", "logs", *(f"repo.git/{name}" for name in own)]
        top = self.here.path
        there = (p for p in top.rglob("*") if p.is_symlink() or not p.is_dir())
        return {
            relative
            for relative in (str(p.relative_to(top)) for p in there)
            if relative.startswith(("apps/", "edge/", "programs", "authority", "certbot", ".ssh"))
            and not relative.startswith(tuple(f"apps/shop/{name}" for name in ours))
        }


@pytest.fixture
def lost(app: App, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lost:
    monkeypatch.setattr(PointInTime, "revive", lambda *_: [])
    make_live(app, backups=Schedule("day"))
    app_lifecycle.make_places(app)
    Secrets(app).password("postgres/app")
    make(app)
    files.write(app.root.edge / "certificates" / "shop" / "1" / "key.pem", "key")
    (app.root.edge / "certificates" / "shop" / "current").symlink_to("1")
    return Lost(app, tmp_path)


def test_a_copy_comes_back_whole(lost: Lost) -> None:
    lost.puts()
    (result,) = lost.restored().values()
    assert isinstance(result, Rebuilt) and result.messages == ()
    app = App(lost.here, "shop")
    (backup,) = (p.name for p in lost.app.backups.iterdir())
    assert lost.paths == {
        "apps/shop/app.json",
        "apps/shop/journal",
        "apps/shop/secrets/passwords.json",
        "apps/shop/state/releases/1/release.json",
        f"apps/shop/backups/{backup}/backup.json",
        "edge/certificates/shop/1/key.pem",
        "edge/certificates/shop/current",
    }
    assert Secrets(app).password("postgres/app") == Secrets(lost.app).password("postgres/app")
    assert app.settings.down and app.secrets.stat().st_mode & 0o777 == 0o700


def test_nothing_else_comes_back_and_no_file_is_more_than_its_contents(lost: Lost) -> None:
    lost.puts()
    (result,) = lost.restored().values()
    expected = lost.paths
    files.remove_tree(lost.here.apps_directory / "shop")
    files.remove_tree(lost.here.edge)

    def change(place: Path) -> None:
        shop, edge = place / "apps" / "shop", place / "edge"
        for path, text in {
            shop / "repo.git" / "hooks" / "post-receive": HOOK,
            shop / "repo.git" / "config": "[core]\n\tfsmonitor = touch /tmp/hostile\n",
            shop
            / "repo.git"
            / "objects"
            / "info"
            / "alternates": "/var/lib/pushrod/apps/zoo/repo.git/objects\n",
            shop / "state" / ".git" / "config": "[core]\n\tfsmonitor = touch /tmp/hostile\n",
            shop / "state" / ".git" / "hooks" / "pre-commit": HOOK,
            shop / "state" / ".git" / "refs" / "heads" / "main": "1" * 40 + "\n",
            shop / "state" / "stores" / "compose.yaml": "services: {db: {privileged: true}}\n",
            shop / "state" / "stores" / "hooks.json": '[{"pre_stop": [["touch", "/tmp/hostile"]]}]',
            shop / "state" / "releases" / "1" / "compose.yaml": "services: {web: {privileged: true}}\n",
            shop / "state" / "releases" / "3" / "release.json": "{}",
            shop / "home" / ".netrc": "machine example.com",
            shop / "backups" / "2020-01-01T00-00-00Z" / "backup.json": "{}",
            place / "apps" / "zoo" / "app.json": "{}",
            place / "programs" / "docker-compose": HOOK,
            place / "vaults" / "default" / "vault.json": "{}",
            place / "host.json": "{}",
            edge / "nginx_start.py": "import os",
            edge / "trees" / "1" / "nginx.conf": "user root;",
            edge / "certificates" / "zoo" / "1" / "key.pem": "key",
            edge / "passwords" / "zoo" / "users": "me:x",
        }.items():
            files.write(path, text)
        (shop / "secrets" / "password").symlink_to("/etc/shadow")
        (shop / "secrets" / "zoo").symlink_to("../../zoo")
        (shop / "state" / "releases" / "7").symlink_to("../../../zoo/state/releases/1")
        (shop / "state" / "live").symlink_to("../../zoo/state/releases/1")
        (edge / "certificates" / "shop" / "2").symlink_to("/etc")
        os.mkfifo(shop / "secrets" / "pipe")
        (shop / "secrets" / "one").write_bytes(b"x")
        (shop / "secrets" / "two").hardlink_to(shop / "secrets" / "one")
        (shop / "secrets" / "passwords.json").chmod(0o6777)
        with contextlib.suppress(PermissionError):
            os.mknod(shop / "secrets" / "device", stat.S_IFCHR | 0o666, os.makedev(1, 5))

    lost.puts(change)
    (result,) = lost.restored().values()
    assert isinstance(result, Rebuilt), result
    assert lost.paths == expected
    assert not (lost.here.path / "vaults" / "shop").exists() and not lost.here.hosted
    shop = lost.here.apps_directory / "shop"
    assert stat.S_IMODE((shop / "secrets" / "passwords.json").stat().st_mode) == 0o755
    assert "written by pushrod" in (shop / "repo.git" / "hooks" / "pre-receive").read_text()
    assert not (shop / "repo.git" / "hooks" / "post-receive").exists()
    for config in (shop / "repo.git" / "config", shop / "state" / ".git" / "config"):
        assert "fsmonitor" not in config.read_text()
    assert "files of the copy were not taken" in " ".join(result.messages)
    kinds = {stat.S_IFMT(p.lstat().st_mode) for p in lost.here.path.rglob("*")}
    assert kinds == {stat.S_IFREG, stat.S_IFDIR, stat.S_IFLNK}


def _pipe(place: Path) -> None:
    (place / staging.CONTENTS).unlink()
    os.mkfifo(place / staging.CONTENTS)


def _link(place: Path) -> None:
    (place / staging.CONTENTS).rename(place.parent / "another")
    (place / staging.CONTENTS).symlink_to(place.parent / "another")


@pytest.mark.parametrize(
    "change",
    [
        _pipe,
        _link,
        lambda place: (place / "apps" / "shop" / "app.json").unlink(),
        lambda place: (place / "apps" / "shop" / "app.json").write_text("[" * 10_000),
        lambda place: (place / "apps" / "shop" / "app.json").write_text('{"name": "shop"}'),
        lambda place: _resaved(place, name="zoo"),
        lambda place: _resaved(
            place,
            clusters={"db": Cluster("18", "postgres:18", "zoo_data", "/var/lib/postgresql", "18", 1, "")},
        ),
    ],
)
def test_what_is_no_copy_of_the_app_is_an_error_of_that_app(lost: Lost, change: Change) -> None:
    other = App(lost.app.root, "zoo")
    shutil.copytree(lost.app.directory, other.directory, symlinks=True)
    other.save(msgspec.structs.replace(lost.app.settings, name="zoo"))
    lost.puts(change)
    lost.puts(app=other)
    results = lost.restored()
    assert isinstance(results["shop"], PushrodError) and results["shop"].hint
    assert isinstance(results["zoo"], Rebuilt)
    assert not App(lost.here, "shop").exists


def _resaved(place: Path, **changes: object) -> None:
    app = App(Root(place), "shop")
    app.save(msgspec.structs.replace(app.settings, **changes))


def test_names_that_are_none_are_errors_and_others_come_back(lost: Lost) -> None:
    lost.puts()
    for name in ("../zoo", "Shop", "shop;id"):
        lost.puts(tag=f"app:{name}")
    results = lost.restored()
    assert isinstance(results.pop("shop"), Rebuilt)
    assert {*results} == {"../zoo", "Shop", "shop;id"}
    assert all(isinstance(r, PushrodError) and "cannot be an app's name" in r.what for r in results.values())


def test_the_owner_sees_which_grants_come_with_an_app(lost: Lost) -> None:
    """They were the owner's, or those of somebody who was root there; words that are none are dropped."""
    Releases(lost.app).seal(release(1, engine="docker", backups=Schedule("day", to="offsite")))
    old = OldCluster("PostgreSQL 17", "zoo_data", "")
    cluster = Cluster("18", "postgres:18", "shop_data-18", "/var/lib/postgresql", "18", 1, "", (old,))
    allowed = ("docker-socket", "everything", "$(id)")
    known = lost.app.settings
    lost.app.save(msgspec.structs.replace(known, allowed=allowed, clusters={"db": cluster}))
    lost.puts()
    (result,) = lost.restored().values()
    assert isinstance(result, Rebuilt)
    settings = App(lost.here, "shop").settings
    assert settings.allowed == ("docker-socket", "vault:offsite")
    assert settings.clusters["db"] == msgspec.structs.replace(
        cluster, kept=()
    )  # `--remove-old` would remove it
    assert "docker-socket vault:offsite (`pushrod apps allow shop … --remove` revokes)" in result.messages[0]


def test_a_log_that_names_other_files_is_not_used(lost: Lost, tmp_path: Path) -> None:
    log = tmp_path / "log"
    for path in ("db/bases/one.tar", "db/log/0001", "other/log/0001", "db/log/sub/x", "top"):
        files.write(log / path, "x")
    base = {"name": "../../../../zoo/base", "at": "", "begin": 0, "size": 1, "sha256": ""}
    files.write(log / "db" / "state.json", msgspec.json.encode({"bases": [base]}))
    files.write(log / "other" / "state.json", msgspec.json.encode({"segments": {"0001": "x"}}))
    (log / "other" / "bases").symlink_to("/etc")
    os.mkfifo(log / "other" / "log" / "pipe")
    lost.far.send(log, ["wal:shop"])
    app = App(lost.here, "shop")
    (message,) = wal_copies.fetch(app, lost.vault, os.uname().nodename)
    assert message.startswith("the log of db is not used: ")
    place = app.directory / "wal"
    assert sorted(str(p.relative_to(place)) for p in place.rglob("*") if not p.is_dir()) == [
        "other/log/0001",
        "other/state.json",
    ]


def test_a_copy_that_does_not_fit_is_not_read(lost: Lost, monkeypatch: pytest.MonkeyPatch) -> None:
    """A vault stores a terabyte of zeros as nothing."""

    def change(place: Path) -> None:
        with (place / "apps" / "shop" / "secrets" / "zeros").open("wb") as out:
            out.truncate(64 << 20)

    lost.puts(change)
    monkeypatch.setattr(files, "free_space", lambda _: vaulting.SPARE + (32 << 20))
    (result,) = lost.restored().values()
    assert isinstance(result, PushrodError) and "needs 67 MB" in result.what


ED25519 = "AAAAC3NzaC1lZDI1NTE5AAAAIKqcKbm8Ylkj4TPGq7TqKJ1cJl9m2vJH8ePb0iU3n1sK"


def test_lines_of_keys_are_written_anew(lost: Lost, capsys: pytest.CaptureFixture[str]) -> None:
    """A line of that file may run any command, or let somebody in without one. Root has to set the keys' limits."""
    gate = 'restrict,pty,command="/opt/x gate alice --app shop" ssh-ed25519'
    text = (
        f"{gate} {ED25519} alice\n"
        f"ssh-ed25519 {ED25519.replace('KqcK', 'KqdK')} root\n"
        f'restrict,command="sh -c id; true gate bob" ssh-ed25519 {ED25519.replace("KqcK", "KqeK")} bob\n'
        f'restrict,command="x gate carol --app ../zoo" ssh-ed25519 {ED25519.replace("KqcK", "KqfK")} c\n'
        'restrict,command="x gate" ssh-ed25519 A\n'
    )
    rebuild._take_keys(lost.here, text, Steps())
    printed = capsys.readouterr()
    assert "once root has run `pushrod host init`: alice (shop), bob (every app)" in printed.out + printed.err
    lines = (lost.here.path / keys.PLACE).read_text().splitlines()
    program, *_ = lines[0].split('command="')[1].split()
    assert Path(program).name == "pushrod"
    assert [line.partition(" --root ")[2].partition(" ssh-")[0] for line in lines] == [
        f'{lost.here.path} gate alice --app shop"',
        f'{lost.here.path} gate bob"',
    ]
