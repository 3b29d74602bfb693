"""What is collected for a vault, and the comparison with what comes back."""

import shutil
from pathlib import Path

import pytest

from pushrod.backups import staging
from pushrod.core.errors import StoreError
from pushrod.state.apps import App, Root
from pushrod.system import files

NAME = "2026-11-23T05-56-45Z"


@pytest.fixture
def app(tmp_path: Path) -> App:
    made = App(Root(tmp_path / "root"), "shop")
    for path, text in {
        "app.json": "{}",
        "journal": "one\n",
        "repo.git/objects/ab/cd": "object",
        "repo.git/HEAD": "ref",
        "state/releases/7/release.json": "{}",
        "secrets/passwords.json": "{}",
        f"backups/{NAME}/postgres.dump": "dump",
        "backups/2026-11-22T05-56-45Z/postgres.dump": "older",
        "stores/postgres/data/x": "not this",
        "logs/web.log": "not this",
        "vault/ledger.json": "not this",
    }.items():
        files.write(made.directory / path, text)
    (made.state / "live").symlink_to("releases/7")
    files.write(made.root.edge / "certificates" / "shop" / "1" / "key.pem", "key")
    files.write(made.root.path / "vaults" / "default" / "vault.json", "never this")
    return made


def test_what_is_in_a_copy(app: App, tmp_path: Path) -> None:
    contents = staging.collect(app, 7, "c" * 40, NAME, tmp_path / "work")
    assert sorted(contents.files) == [
        "apps/shop/app.json",
        f"apps/shop/backups/{NAME}/postgres.dump",
        "apps/shop/journal",
        "apps/shop/repo.git/HEAD",
        "apps/shop/repo.git/objects/ab/cd",
        "apps/shop/secrets/passwords.json",
        "apps/shop/state/live",
        "apps/shop/state/releases/7/release.json",
        "edge/certificates/shop/1/key.pem",
    ]
    assert contents.files["apps/shop/state/live"] == "-> releases/7"
    staging.compare(tmp_path / "work", contents)


def test_only_what_never_changes_is_linked(app: App, tmp_path: Path) -> None:
    """The journal is appended to while the copy is on its way."""
    contents = staging.collect(app, 7, "", NAME, tmp_path / "work")
    files.append(app.journal, "two")
    (app.secrets / "passwords.json").write_text("changed")
    staging.compare(tmp_path / "work", contents)
    dump = f"apps/shop/backups/{NAME}/postgres.dump"
    assert (tmp_path / "work" / dump).samefile(app.root.path / dump)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda p: (p / "apps/shop/journal").write_text("other"), "apps/shop/journal"),
        (lambda p: (p / "apps/shop/journal").unlink(), "apps/shop/journal"),
        (lambda p: (p / "more").write_text(""), "more"),
        (
            lambda p: (p / "contents.json").write_text((p / "contents.json").read_text().replace("7,", "8,")),
            "contents",
        ),
    ],
)
def test_anything_else_that_comes_back_is_found(app: App, tmp_path: Path, change: object, named: str) -> None:
    contents = staging.collect(app, 7, "", NAME, tmp_path / "work")
    shutil.copytree(tmp_path / "work", tmp_path / "back", symlinks=True)
    change(tmp_path / "back")  # type: ignore[operator]
    with pytest.raises(StoreError) as refused:
        staging.compare(tmp_path / "back", contents)
    assert named in refused.value.where
