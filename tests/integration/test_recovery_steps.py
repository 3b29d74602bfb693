"""Each step of recovery, made to fail in the ways in which a machine can fail.

Recovery goes on without what it cannot do. `rollback`, `down` and `apps destroy` work on the damage itself; `doctor`
names it, and after `doctor --repair` a push goes live.
"""

import contextlib
import itertools
import shutil
import signal
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import psutil
import pytest
import yaml

from devtools import apps
from devtools.apps import App, Machine, eventually
from pushrod.ingress.certificates import tls_port
from tests.conftest import spread
from tests.integration.test_tls import get

pytestmark = pytest.mark.integration

Way = Callable[[Path], object]
"""What becomes of a file or a directory."""


def gone(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def a_directory(path: Path) -> None:
    """A directory in place of a file, as made by a mount of a missing file, with a file in it."""
    gone(path)
    path.mkdir(parents=True)
    (path / "x").touch()


def a_file(path: Path) -> None:
    gone(path)
    path.write_text("x")


def empty(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    gone(path)
    path.touch()


def garbled(path: Path) -> None:
    empty(path)
    path.write_bytes(b"\0\xff{")


def cut(path: Path) -> None:
    """Cut off, as after a crash before its blocks were written."""
    raw = path.read_bytes() if path.is_file() else b'{"a'
    empty(path)
    path.write_bytes(raw[: len(raw) // 2])


def held(path: Path) -> None:
    """A lock left by a killed Git command."""
    if path.parent.is_dir():
        Path(f"{path}.lock").touch()


# ---- what there is to be damaged --------------------------------------------------------------------------------


def _own(name: str) -> Callable[[App], Path]:
    return lambda shop: shop.directory / name


def _root(name: str) -> Callable[[App], Path]:
    return lambda shop: shop.machine.root / name


def _sealed(shop: App) -> Path:
    return shop.directory / "secrets" / "releases" / f"{shop.live}.json"


def _release(shop: App) -> Path:
    return shop.state / "releases" / str(shop.live) / "release.json"


def _group(shop: App) -> Path:
    return shop.machine.root / "supervisor" / "conf.d" / f"{shop.name}-r{shop.live}.conf"


def _spec(shop: App) -> Path:
    return shop.machine.root / "supervisor" / "specs" / f"{shop.name}-r{shop.live}" / "web-1.json"


def _tree(name: str) -> Callable[[App], Path]:
    return lambda shop: (shop.machine.root / "edge" / "current").resolve() / name


def _object(repository: Path, name: str) -> Path:
    """A loose object; packs are unpacked first."""
    for pack in sorted((repository / "objects" / "pack").glob("*.pack")):
        raw = pack.read_bytes()
        for path in pack.parent.glob(f"{pack.stem}.*"):
            path.unlink()
        apps.unpack(repository, raw)
    oid = apps.oid(repository, name)
    return repository / "objects" / oid[:2] / oid[2:] if oid else repository / "objects" / "none"


def _live_tree(shop: App) -> Path:
    return _object(shop.repository, "refs/heads/main^{tree}")


def _recorded(shop: App) -> Path:
    hidden = shop.state / ".git"
    return _object(hidden, "HEAD") if (hidden / "HEAD").is_file() else hidden / "none"


class Fault(NamedTuple):
    """The damaged path, the damage, and doctor's message (empty: it affects nothing)."""

    place: Callable[[App], Path]
    way: Way
    diagnosis: str = ""
    stores: bool = False
    killed: str = ""
    """A part of the engine that ends meanwhile."""

    def befall(self, shop: App) -> None:
        self.way(self.place(shop))
        if self.killed and (pid := apps.command_of(shop.machine.root, self.killed)):
            psutil.Process(pid).send_signal(signal.SIGKILL)
            eventually(lambda: not psutil.pid_exists(pid), f"{self.killed} is gone")


def _torn(path: Path) -> None:
    with path.open("a") as f:
        f.write('{"at": "2026-0')


def _bad_line(path: Path) -> None:
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join([*lines[:2], '{"at": "yester\n', *lines[2:]]))


def _nowhere(path: Path) -> None:
    gone(path)
    path.symlink_to("releases/0")


def _blocked(path: Path) -> None:
    a_directory(path)
    (path / "x.lock").touch()


PLACE, GONE, READ = "wrong type: it is a", "the file is missing", "cannot be read"

FAULTS = {
    "journal: a line": Fault(_own("journal"), _bad_line, READ),
    "journal: torn": Fault(_own("journal"), _torn),
    "journal: gone": Fault(_own("journal"), gone, "the journal lists none"),
    "journal: empty": Fault(_own("journal"), empty, "the journal lists none"),
    "journal: garbled": Fault(_own("journal"), garbled, "the journal lists none"),
    "journal: a directory": Fault(_own("journal"), a_directory, PLACE),
    "settings: cut": Fault(_own("app.json"), cut, READ),
    "settings: gone": Fault(_own("app.json"), gone, GONE),
    "settings: a directory": Fault(_own("app.json"), a_directory, PLACE),
    "pointer: a directory": Fault(_own("state/live"), a_directory, PLACE),
    "pointer: nowhere": Fault(_own("state/live"), _nowhere, "its live pointer differs from"),
    "claims: a directory": Fault(_own("claims.json"), a_directory, PLACE),
    "lock: a directory": Fault(_own("lock"), a_directory, PLACE),
    "release: cut": Fault(_release, cut, READ),
    "release: gone": Fault(lambda s: _release(s).parent, gone, "not in the state repository"),
    "release: a directory": Fault(_release, a_directory, PLACE),
    "record: held": Fault(_own("state/.git/index"), held),
    "record: HEAD": Fault(_own("state/.git/HEAD"), empty, "Git cannot read it"),
    "record: gone": Fault(_own("state/.git"), gone, "Git cannot read it"),
    "record: an object": Fault(_recorded, gone, "Git cannot read it"),
    "branch: held": Fault(_own("repo.git/refs/heads/main"), held),
    "branch: HEAD held": Fault(_own("repo.git/HEAD"), held),
    "branch: blocked": Fault(_own("repo.git/refs/heads/main"), _blocked),
    "repository: gone": Fault(_own("repo.git"), gone, "objects of the live commit are missing"),
    "repository: an object": Fault(_live_tree, gone, "objects of the live commit are missing"),
    "repository: config": Fault(_own("repo.git/config"), garbled, "objects of the live commit are missing"),
    "repository: a file": Fault(_own("repo.git"), a_file, PLACE),
    "environment: gone": Fault(_sealed, gone, GONE),
    "environment: cut": Fault(_sealed, cut, READ),
    "environment: a directory": Fault(_sealed, a_directory, PLACE),
    "secrets: gone": Fault(_own("secrets"), gone, GONE, stores=True),
    "secrets: a file": Fault(_own("secrets"), a_file, PLACE, stores=True),
    "passwords: cut": Fault(_own("secrets/passwords.json"), cut, READ, stores=True),
    "passwords: a directory": Fault(_own("secrets/passwords.json"), a_directory, PLACE, stores=True),
    "secrets: cut": Fault(_own("secrets/variables.json"), cut, READ),
    "stores: cut": Fault(_own("stores/stores.json"), cut, stores=True),
    "stores: a directory": Fault(_own("stores/stores.json"), a_directory, PLACE, stores=True),
    "checkouts: gone": Fault(_own("checkouts"), gone),
    "checkouts: a file": Fault(_own("checkouts"), a_file, PLACE),
    "supervisor: a directory": Fault(_group, a_directory),
    "supervisor: garbled": Fault(_group, garbled),
    "supervisor: garbled, and it ends": Fault(_group, garbled, killed="daemon.py"),
    "specification: cut": Fault(_spec, cut),
    "specification: a directory": Fault(_spec, a_directory),
    "runtime: gone": Fault(_root("run"), gone),
    "sites: cut": Fault(_tree("sites.json"), cut),
    "edge: its trees are gone": Fault(_tree("."), gone),
    "edge: a directory": Fault(_root("edge/current"), a_directory),
    "edge: garbled, and it ends": Fault(_tree("nginx.conf"), garbled, killed="nginx: master process"),
}


CERTIFICATES = {
    "its record: cut": ("current/certificate.json", cut),
    "its record: gone": ("current/certificate.json", gone),
    "its record: a directory": ("current/certificate.json", a_directory),
    "its key: garbled": ("current/key.pem", garbled),
    "its chain: gone": ("current/chain.pem", gone),
    "the pointer: a directory": ("current", a_directory),
    "the failure: garbled": ("failure.json", garbled),
    "the directory: a file": (".", a_file),
}


# What a push has to do once its release is live, made impossible: it is accepted all the same, for that serves.
AFTER_LIVE = [
    "branch: HEAD held",
    "pointer: a directory",
    "claims: a directory",
    "record: HEAD",
    "specification: cut",
]


def cut_off(shop: App, after: str, files: Mapping[str, bytes] | None = None) -> None:
    """A deployment that is killed once a step is done."""
    changes: dict[str, str | bytes] = {**(files or {}), "app.py": apps.changed(f"cut off {after}")}
    shop.tree.commit(changes, f"cut off after {after}")
    command = shop.running("deploy")
    try:
        command.until(rf"^  {after} .* s$")
        command.child.kill()
        command.child.wait()
    finally:
        command.end()


def output_of(done: apps.Done) -> str:
    assert done.ok, f"{done.out}\n{done.err}"
    assert "Traceback" not in done.err
    lines = [line for line in done.err.splitlines() if line.startswith("  note")]
    assert len(lines) == len(set(lines)), f"it is said more than once:\n{done.err}"
    return done.err


@pytest.fixture(scope="module")
def make(machine: Machine) -> Callable[[bool], App]:
    """Makes an app of two releases, with stores or without."""
    count = itertools.count()

    def made(stores: bool) -> App:
        compose = apps.manifest_with_stores() if stores else apps.manifest()
        shop = machine.app(f"a{next(count)}", {**apps.FILES, "compose.yaml": compose})
        shop.must("secret", "set", "TOKEN", stdin="a-secret-of-nobody")
        shop.push_change()
        return shop

    return made


@pytest.fixture(scope="module")
def encrypted(machine: Machine) -> App:
    document = yaml.safe_load(apps.manifest()) | {"x-pushrod": {"tls": {"source": "local"}}}
    shop = machine.app("encrypted", {**apps.FILES, "compose.yaml": yaml.safe_dump(document)})
    shop.tree.commit({"app.py": apps.changed("two")})
    output_of(shop.tree.push())
    return shop


@pytest.fixture(scope="module")
def kept() -> dict[bool, App]:
    """The apps that rows share, with and without stores; an app that could not be repaired stays with its row."""
    return {}


@pytest.mark.parametrize("name", spread(FAULTS, 8))
def test_an_app_with_a_fault_rolls_back_is_repaired_and_accepts_a_push(
    make: Callable[[bool], App], kept: dict[bool, App], name: str
) -> None:
    """In turn: a deployment was cut off before its commit point, after it, or not at all."""
    fault, number = FAULTS[name], list(FAULTS).index(name)
    shop = kept.pop(fault.stores, None) or make(fault.stores)
    if after := ("", "start", "", "live")[number % 4]:
        cut_off(shop, after)
    fault.befall(shop)
    report = shop.pushrod("doctor", "--app", shop.name)
    assert "Traceback" not in report.err
    assert fault.diagnosis in report.out or "was cut off" in report.out, report.out
    before = shop.live
    output_of(shop.pushrod("rollback", "--app", shop.name))
    assert not before or shop.live < before
    assert shop.serves(shop.live)

    fault.befall(shop)
    output_of(shop.pushrod("doctor", "--repair", "--app", shop.name))
    report = shop.pushrod("doctor", "--app", shop.name)
    assert report.ok, report.out
    shop.tree.commit({"app.py": apps.changed(name)}, name)
    output_of(shop.tree.push("--force", "pushrod", "HEAD:main"))
    assert shop.get().body == name
    kept[fault.stores] = shop


@pytest.mark.parametrize("name", spread(CERTIFICATES, 3))
def test_an_app_with_a_damaged_certificate_serves_tls_after_recovery(encrypted: App, name: str) -> None:
    """After a rollback, a repair or a push, the app answers with TLS."""
    shop, (place, way) = encrypted, CERTIFICATES[name]
    path = (shop.machine.root / "edge" / "certificates" / shop.name / place).absolute()
    path = path.parent.resolve() / path.name  # what a link leads to changes
    way(path)
    doctor = shop.pushrod("doctor", "--app", shop.name)
    assert "Traceback" not in doctor.err
    assert name.endswith(": gone") or "`pushrod doctor --repair` fixes it" in doctor.out or place == "."
    before = shop.live
    output_of(shop.pushrod("rollback", "--app", shop.name))
    assert shop.live < before
    assert encrypted_answer(shop)

    way(path.parent.parent / "current" / path.name if "current/" in place else path)
    output_of(shop.pushrod("doctor", "--repair", "--app", shop.name))
    shop.tree.commit({"app.py": apps.changed(name)}, name)
    output_of(shop.tree.push("--force", "pushrod", "HEAD:main"))
    assert encrypted_answer(shop) == name


def encrypted_answer(shop: App) -> str:
    trusted = shop.machine.root / "authority" / "chain.pem"
    return get(tls_port(shop.settings["port"]), trusted, name="localhost").body


def test_a_push_restores_a_changed_older_release(make: Callable[[bool], App], kept: dict[bool, App]) -> None:
    shop = kept.pop(False, None) or make(False)
    older = shop.kept()[-2]
    path = shop.state / "releases" / str(older) / "release.json"
    sealed = path.read_text()
    path.write_text(sealed.replace('"subject": "', '"subject": "not '))
    assert path.read_text() != sealed
    shop.tree.commit({"app.py": apps.changed("pushed over it")}, "pushed over it")
    assert f"releases/{older}/release.json has its sealed content again" in output_of(
        shop.tree.push("--force", "pushrod", "HEAD:main")
    )
    assert path.read_text() == sealed
    kept[False] = shop


@pytest.mark.parametrize("part", spread(range(3), 1))
def test_an_app_with_several_faults_is_stopped_and_removed(make: Callable[[bool], App], part: int) -> None:
    """With a third of all faults at once."""
    shop = make(part == 0)
    for verb in (("down", "--app", shop.name), ("apps", "destroy", shop.name, "--yes")):
        for fault in list(FAULTS.values())[part::3]:
            with contextlib.suppress(OSError):  # another has taken its place away
                fault.befall(shop)
        output_of(shop.pushrod(*verb))
        assert not shop.groups()
    assert not shop.directory.exists()


@pytest.mark.parametrize("name", spread(AFTER_LIVE, 2))
def test_a_push_whose_release_is_live_is_accepted(
    make: Callable[[bool], App], kept: dict[bool, App], name: str
) -> None:
    shop = make(False)  # of its own: all of it is compared
    FAULTS[name].befall(shop)
    before = shop.journal()
    shop.tree.commit({"app.py": apps.changed(f"with {name}")}, name)
    pushed = output_of(shop.tree.push())
    number = max(e["release"] for e in shop.journal() if e["event"] == "live")
    assert number > max(e["release"] for e in before)
    assert f"(release {number})" in pushed
    assert (shop.get().release, shop.get().body) == (number, f"with {name}")
    shop.pushrod("doctor", "--repair", "--app", shop.name)
    shop.settled()
    kept[False] = shop


def test_a_repository_without_settings_is_reported_before_anything_is_live(
    make: Callable[[bool], App], kept: dict[bool, App]
) -> None:
    """Git would move the branch itself, find it moved, and say that what is live was rejected."""
    shop = kept.pop(False, None) or make(False)
    live = shop.live
    (shop.repository / "config").write_text("[core]\n\tbare = true\n")
    shop.tree.commit({"app.py": apps.changed("settings")}, "settings")
    assert "push again" in apps.complaint(shop.tree.push()).to_do
    assert shop.serves(live)
    output_of(shop.tree.push())
    assert shop.get().body == "settings"
    kept[False] = shop
