"""Commits and their content."""

import pytest

from pushrod.adapters import git
from pushrod.core.errors import RepositoryError
from tests.conftest import Tree

ODD = ["a b", "ä", "new\nline", "ta\tb", 'quo"te', "-e", "HEAD:x", ":colon", "back\\slash", "deep/er"]


def test_names_resolve_to_commits(tree: Tree) -> None:
    first, second = tree.commit("one", a="1"), tree.commit("two", a="2")
    tree.git("tag", "--annotate", "v1", "--message", "x", first)
    assert git.resolve(tree.path, "HEAD") == git.resolve(tree.path, second[:9]) == second
    assert git.resolve(tree.path, "v1") == git.resolve(tree.path, "HEAD~1") == first
    assert git.is_commit(tree.path, first)
    assert not git.is_commit(tree.path, "0" * 40)
    assert git.is_ancestor(tree.path, first, second)
    assert not git.is_ancestor(tree.path, second, first)
    assert git.subject(tree.path, first) == "one"


def test_an_invalid_name_does_not_resolve(tree: Tree) -> None:
    with pytest.raises(RepositoryError, match="no commit yet"):
        git.resolve(tree.path, "HEAD")
    tree.commit("one", a="1")
    for name in ("none", "HEAD:a", "--all", ""):
        with pytest.raises(RepositoryError, match="no commit `"):
            git.resolve(tree.path, name)


@pytest.mark.parametrize(
    ("name", "text", "result"),
    [
        ("app/settings.py", "redis_url: str\n", True),
        (".env.example", "REDIS_URL=", True),
        ("app.py", 'environ["OTHER_REDIS_URL"]', False),
        ("docs/README.md", "set REDIS_URL", False),
        ("docker-compose.prod.yml", "REDIS_URL: x", False),
        ("requirements.txt", "redis_url", False),
        ("requirements/base.in", "redis", False),
    ],
)
def test_a_word_is_found_in_files_that_programs_read(tree: Tree, name: str, text: str, result: bool) -> None:
    tree.write(name, text)
    commit, repository = tree.commit("one"), tree.path / "repo.git"
    git.create_repository(repository, ["true"])  # its attributes make every file binary
    git.transfer(tree.path, repository, commit)
    assert git.mentions(repository, commit, "REDIS_URL") is result


@pytest.mark.slow
def test_a_long_commit_message_is_truncated(tree: Tree) -> None:
    tree.commit("one")
    message = tree.path / "message"
    message.write_text("ä" * 3_000_000)
    commit = tree.git("commit-tree", "-F", "message", "HEAD^{tree}").stdout.strip()
    assert git.subject(tree.path, commit) == "ä" * 200 + "…"


def test_every_file_is_listed_whatever_its_name(tree: Tree) -> None:
    for name in ODD:
        tree.write(name, f"in {name}")
    (tree.path / "link").symlink_to("ä")
    commit = tree.commit("odd names")
    blobs = {b.path: b for b in git.tree(tree.path, commit)}
    assert sorted(blobs) == sorted([*ODD, "link"])
    for name in ODD:
        assert blobs[name].size == len(f"in {name}".encode())
    oids = [blobs[name].oid for name in ODD]
    assert list(git.contents(tree.path, oids)) == [(blobs[n].oid, f"in {n}".encode()) for n in ODD]
    assert list(git.contents(tree.path, [])) == []


def test_a_commit_is_listed_once_and_read_again_with_its_files_and_submodules(tree: Tree) -> None:
    module = tree.commit("one", **{"a": "x"})
    tree.git("update-index", "--add", "--cacheinfo", f"160000,{module},sub/module")
    tree.git("commit", "--quiet", "-m", "two")
    commit = git.resolve(tree.path, "HEAD")
    first = next(git.entries(tree.path, commit))  # a caller that stops early has not read all of it
    assert [first, *list(git.entries(tree.path, commit))[1:]] == list(git.entries(tree.path, commit))
    listed, named = list(git.entries(tree.path, commit)), list(git.entries(tree.path, "HEAD"))
    assert [e if isinstance(e, str) else e.path for e in listed] == ["a", "sub", "sub/module"]
    (tree.path / ".git" / "objects").rename(tree.path / "objects")
    assert list(git.entries(tree.path, commit)) == listed == named
    assert git.links(tree.path, commit) == [("sub/module", module)]
    with pytest.raises(RepositoryError, match="cannot be listed"):
        list(git.entries(tree.path, "HEAD"))


def test_reading_missing_objects_fails(tree: Tree) -> None:
    tree.commit("one", a="x")
    with pytest.raises(RepositoryError, match="cannot be read"):
        list(git.contents(tree.path, ["1" * 40], timeout=20))
