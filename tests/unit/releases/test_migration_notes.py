"""Notes on SQL migrations, by the real squawk."""

from pathlib import Path

import pytest

from pushrod.adapters import git, squawk
from pushrod.core.errors import Interrupted
from pushrod.releases import migration_notes
from tests.conftest import Tree

UNSAFE = (
    "set lock_timeout = '1s';\ncreate index by_name on items (name);\n"
    "alter table items add column n int not null;\n"
)
FILES = {
    "db/migrations/0002_more.sql": UNSAFE,
    "db/migrations/0002_more.down.sql": "drop table items;\n",
    "src/main/resources/db/V3__x.sql": "alter table items rename to things;\n",
    "reports/all.sql": UNSAFE,
}

needs_squawk = pytest.mark.skipif(not squawk.program(), reason="squawk is not installed")


def notes(tree: Tree, before: str, commit: str) -> list[str]:
    return migration_notes.of(tree.path, before, commit, tree.path)


@needs_squawk
def test_new_migrations_are_examined(tree: Tree) -> None:
    before = tree.commit("one", **{"db/migrations/0001.sql": UNSAFE})
    commit = tree.commit("two", **FILES)
    result = notes(tree, before, commit)
    assert [(n.split(": ")[0], n.rpartition("(")[2]) for n in result] == [
        ("db/migrations/0002_more.sql:2", "require-concurrent-index-creation)"),
        ("db/migrations/0002_more.sql:3", "adding-required-field)"),
        ("src/main/resources/db/V3__x.sql:1", "renaming-table)"),
    ]
    assert notes(tree, commit, commit) == notes(tree, "", commit) == notes(tree, "0" * 40, commit) == []


@needs_squawk
def test_a_migration_reads_nothing_outside_the_commit(tree: Tree, tmp_path: Path) -> None:
    (tmp_path / "outside.sql").write_text(UNSAFE)
    before = tree.commit("one", **{"a.sql": ""})
    (tree.path / "migrations").mkdir()
    (tree.path / "migrations" / "1.sql").symlink_to(tmp_path / "outside.sql")
    commit = tree.commit("two", **{"migrations/2.sql": "drop table items;\n"})
    assert not [n for n in notes(tree, before, commit) if n.startswith("migrations/1.sql")]


@needs_squawk
def test_many_findings_are_counted(tree: Tree) -> None:
    before = tree.commit("one", **{"a.sql": ""})
    commit = tree.commit("two", **{"migrations/2.sql": "drop table items;\n" * 20})
    result = notes(tree, before, commit)
    assert (len(result), result[-1]) == (9, "12 more of the kind: `squawk` shows all")


def test_there_are_no_notes_without_it(tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    before, commit = tree.commit("one", **{"a.sql": ""}), tree.commit("two", **FILES)
    monkeypatch.setattr(squawk, "program", lambda: "")
    assert notes(tree, before, commit) == []


def test_an_interruption_is_not_taken_for_a_missing_commit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> list[str]:
        raise Interrupted("interrupted by SIGTERM")

    monkeypatch.setattr(migration_notes, "can", lambda: True)
    monkeypatch.setattr(git, "changed", interrupted)
    with pytest.raises(Interrupted):
        migration_notes.of(tmp_path, "live", "new", tmp_path)
