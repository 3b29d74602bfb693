"""Checks before a commit is accepted: a scan reads again only what its own version has not passed."""

import json

import pytest

from pushrod.adapters import git
from pushrod.cli import admission
from pushrod.core.errors import RepositoryError
from pushrod.releases import secret_scan
from pushrod.state.apps import App
from tests.conftest import Tree

TOKEN = "gh" + "p_" + "8fKq2ZtWm5XcR7bVn1YsLd4GhJp0QaTe6UiO"


@pytest.fixture
def live(app: App, tree: Tree) -> str:
    """A commit with a token is live, because the scan that passed it did not know such tokens."""
    tree.write("a.txt", TOKEN)
    commit = tree.commit()
    git.create_repository(app.repository, ["true"])
    git.transfer(tree.path, app.repository, commit)
    git.move_branch(app.repository, commit)
    return commit


def write_record(app: App, version: str, *commits: str) -> None:
    (app.directory / "scanned.json").write_text(json.dumps({"version": version, "commits": commits}))


def check(app: App, tree: Tree) -> None:
    tree.write("b.txt", "another file")
    admission.check(app, tree.path, tree.commit())


@pytest.mark.slow
def test_files_that_this_version_has_passed_are_not_scanned_again(app: App, live: str, tree: Tree) -> None:
    write_record(app, secret_scan.version(), "0" * 40, live)
    check(app, tree)
    admission.record(app, tree.git("rev-parse", "HEAD").stdout.strip())
    record = json.loads((app.directory / "scanned.json").read_text())
    assert record["commits"] == [tree.git("rev-parse", "HEAD").stdout.strip(), "0" * 40, live]


def test_a_commit_that_is_only_checked_leaves_no_record(app: App, tree: Tree) -> None:
    tree.write("a.txt", "text")
    admission.check(app, tree.path, tree.commit())
    assert not (app.directory / "scanned.json").exists()


@pytest.mark.parametrize("record", ["none", "older", "another commit", "garbled"])
def test_other_files_of_the_live_commit_are_scanned_again(
    record: str, app: App, live: str, tree: Tree
) -> None:
    if record == "older":
        write_record(app, "an older version", live)
    elif record == "another commit":
        write_record(app, secret_scan.version(), "0" * 40)
    elif record == "garbled":
        (app.directory / "scanned.json").write_text("{")
    with pytest.raises(RepositoryError, match=r"a\.txt line 1: GitHub Token"):
        check(app, tree)
