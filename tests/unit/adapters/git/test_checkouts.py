"""Checkouts have a commit's files unchanged."""

import os
import stat
from pathlib import Path

import pytest

from pushrod.adapters import git
from pushrod.core.errors import RepositoryError
from pushrod.system import processes
from tests.conftest import Tree
from tests.unit.adapters.git.making import raw_commit, tree_of

MODES = {"run.sh": 0o755, "plain": 0o644}


@pytest.mark.slow
def test_a_checkout_has_the_files_of_the_commit_not_of_the_work_tree(
    repository: Path, tree: Tree, tmp_path: Path
) -> None:
    for name in ("run.sh", "plain", "ä b/naïve.txt", "deep/er/file", "-dash", "new\nline"):
        tree.write(name, f"content of {name}\n")
    tree.write("binary", bytes(range(256)) * 40)
    tree.write("crlf.txt", "a\r\nb\r\n")
    tree.write(".gitignore", "ignored\n")
    (tree.path / "run.sh").chmod(0o755)
    (tree.path / "link").symlink_to("deep/er/file")
    (tree.path / "away").symlink_to("/nowhere/at/all")
    commit = tree.commit("everything")
    tree.write("plain", "edited and not committed")
    tree.write("untracked", "x")
    (tree.path / "deep" / "er" / "file").unlink()

    git.transfer(tree.path, repository, commit)
    git.checkout(repository, commit, tmp_path / "below" / "out")
    out = tmp_path / "below" / "out"
    assert tree_of(repository, out) == git.git(repository, "rev-parse", f"{commit}^{{tree}}").strip()
    assert {name: stat.S_IMODE((out / name).stat().st_mode) for name in MODES} == MODES
    assert (out / "away").readlink() == Path("/nowhere/at/all")
    assert sorted(p.name for p in out.parent.iterdir()) == ["out", "out.index"]


@pytest.mark.slow
def test_git_attributes_do_not_change_the_files_of_a_checkout(
    home: Path, repository: Path, tree: Tree, tmp_path: Path
) -> None:
    """No attribute omits a file, changes its text, or runs a program; also in a repository of an older pushrod."""
    ran = tmp_path / "ran"
    files = {
        "docs/huge": "x",
        "version": "$Format:%H %B$",
        "ident": "$Id$",
        "crlf": "a\nb\n",
        "wide": "ä",
        "run": "y",
        "a/.gitattributes": "* export-ignore\n",
        "a/b": "z",
        ".gitattributes": "docs export-ignore\nversion export-subst\nident ident\ncrlf text eol=crlf\n"
        "wide working-tree-encoding=UTF-16\nrun filter=evil\n.gitattributes export-ignore\n",
    }
    for name, text in files.items():
        tree.write(name, text)
    oids = {name: tree.git("hash-object", "-w", "--no-filters", name).stdout.strip() for name in files}
    tree.git(
        "update-index",
        "--add",
        *(w for name, oid in oids.items() for w in ("--cacheinfo", f"100644,{oid},{name}")),
    )
    tree.git("commit", "--quiet", "--message", "attributes")
    commit = tree.git("rev-parse", "HEAD").stdout.strip()
    with (home / ".gitconfig").open("a") as f:
        f.write(f'[filter "evil"]\n\tsmudge = touch {ran}\n\tprocess = touch {ran}\n\trequired = true\n')
    git.transfer(tree.path, repository, commit)
    (repository / "info" / "attributes").unlink(missing_ok=True)
    git.checkout(repository, commit, tmp_path / "out")
    result = {
        str(p.relative_to(tmp_path / "out")): p.read_text()
        for p in (tmp_path / "out").rglob("*")
        if p.is_file()
    }
    assert result == files
    assert not ran.exists()


def test_every_user_can_read_a_checkout_whatever_the_umask(
    repository: Path, tree: Tree, tmp_path: Path
) -> None:
    commit = tree.commit("one", a="1", **{"b/c": "2"})
    git.transfer(tree.path, repository, commit)
    out = tmp_path / "below" / "out"
    before = os.umask(0o077)
    try:
        git.checkout(repository, commit, out)
    finally:
        os.umask(before)
    directories, files = {out.parent, out, out / "b"}, {out / "a", out / "b/c"}
    assert {stat.S_IMODE(p.stat().st_mode) for p in directories} == {0o755}
    assert {stat.S_IMODE(p.stat().st_mode) for p in files} == {0o644}


def test_a_checkout_does_not_overwrite_an_existing_directory(
    repository: Path, tree: Tree, tmp_path: Path
) -> None:
    commit = tree.commit("one", a="1")
    git.transfer(tree.path, repository, commit)
    git.checkout(repository, commit, tmp_path / "out")
    with pytest.raises(FileExistsError):
        git.checkout(repository, commit, tmp_path / "out")


def test_a_checkout_of_an_unknown_commit_leaves_no_archive(repository: Path, tmp_path: Path) -> None:
    with pytest.raises(RepositoryError, match="git archive failed: fatal"):
        git.checkout(repository, "1" * 40, tmp_path / "below" / "out")
    assert [p.name for p in (tmp_path / "below").iterdir()] == ["out"]


def test_a_submodule_is_an_empty_directory_and_nothing_is_fetched(
    repository: Path, tree: Tree, tmp_path: Path
) -> None:
    ran = tmp_path / "ran"
    tree.write(
        ".gitmodules",
        f'[submodule "x"]\n\tpath = x\n\turl = ext::sh -c touch% {ran}\n\tupdate = !touch {ran}\n',
    )
    tree.git("add", "--all")
    tree.git("update-index", "--add", "--cacheinfo", f"160000,{'1' * 40},x")
    tree.git("commit", "--quiet", "--message", "sub")
    commit = tree.git("rev-parse", "HEAD").stdout.strip()
    try:
        git.transfer(tree.path, repository, commit)
        git.checkout(repository, commit, tmp_path / "out")
    except RepositoryError as e:
        assert "gitmodules" in e.what
    assert not ran.exists()
    assert not list((tmp_path / "out" / "x").glob("*"))


@pytest.mark.slow
def test_a_link_in_a_commit_is_not_written_through(repository: Path, tree: Tree, tmp_path: Path) -> None:
    """Two names that differ in case: one a link out of the checkout, one a directory with a file."""
    (tmp_path / "outside").mkdir()
    tree.write("a", "evil")
    (tree.path / "link").symlink_to(tmp_path / "outside")
    commit = tree.commit("one")
    git.transfer(tree.path, repository, commit)
    git.checkout(repository, commit, tmp_path / "out")
    assert (tmp_path / "out" / "link").is_symlink()
    oid, link = (tree.git("rev-parse", f"HEAD:{n}").stdout.strip() for n in ("a", "link"))
    sub = processes.run(
        ["git", "-C", tree.path, "mktree"], stdin=f"100644 blob {oid}\tfile\n", env=git.environment()
    )
    both = f"120000 blob {link}\tx\n040000 tree {sub.stdout.strip()}\tx\n"
    with pytest.raises(RepositoryError):
        git.transfer(tree.path, repository, raw_commit(tree, both))
    assert not list((tmp_path / "outside").iterdir())


@pytest.mark.slow
def test_replace_refs_of_a_repository_are_ignored(repository: Path, tree: Tree, tmp_path: Path) -> None:
    good, evil = tree.commit("one", a="good"), tree.commit("two", a="evil")
    for commit in (good, evil):
        git.transfer(tree.path, repository, commit)
    tree_of = {c: tree.git("rev-parse", f"{c}^{{tree}}").stdout.strip() for c in (good, evil)}
    (repository / "refs" / "replace").mkdir(parents=True)
    (repository / "refs" / "replace" / tree_of[good]).write_text(f"{tree_of[evil]}\n")
    git.checkout(repository, good, tmp_path / "out")
    assert (tmp_path / "out" / "a").read_text() == "good"
