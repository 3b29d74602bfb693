"""An app's repository: its hooks, its branch, and the handling of what clients send."""

import os
import stat
import subprocess
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pytest

from pushrod.adapters import git
from pushrod.adapters.git import repositories
from pushrod.core.errors import RepositoryError
from pushrod.system import processes
from tests.conftest import Tree
from tests.packs import delta_bomb
from tests.unit.adapters.git.making import MOST, raw_commit, with_hook


@pytest.mark.slow
def test_a_repository_has_hooks_that_can_be_run(tmp_path: Path, home: Path) -> None:
    path = with_hook(
        tmp_path / "repo.git", "Path('said').write_text(repr(sys.argv[1:]))", "it's", "a b", "$HOME"
    )
    for name in ("pre-receive", "proc-receive"):
        hook = path / "hooks" / name
        assert stat.S_IMODE(hook.stat().st_mode) == 0o755
        assert processes.run([hook], cwd=path).status == 0
        assert (path / "said").read_text() == repr(["it's", "a b", "$HOME", name])


def test_creating_a_repository_again_keeps_its_content(repository: Path, tree: Tree) -> None:
    commit = tree.commit("one", a="1")
    git.transfer(tree.path, repository, commit)
    git.move_branch(repository, commit)
    git.create_repository(repository, ["false"])
    assert git.branch_commit(repository) == commit
    assert "false pre-receive" in (repository / "hooks" / "pre-receive").read_text()


@pytest.mark.slow
def test_the_branch_does_not_exist_before_it_is_moved(repository: Path, tree: Tree) -> None:
    assert git.branch_commit(repository) == ""
    commit = tree.commit("one", a="1")
    with pytest.raises(RepositoryError, match="rev-parse"):
        git.move_branch(repository, commit)
    git.transfer(tree.path, repository, commit)
    git.move_branch(repository, commit)
    assert git.branch_commit(repository) == commit


@pytest.mark.slow
def test_a_users_own_hooks_do_not_replace_an_apps_hooks(home: Path, tmp_path: Path, tree: Tree) -> None:
    """With `core.hooksPath` set for all repositories, Git would not call pushrod, and would accept every push."""
    for name, file in (("theirs", "pre-receive"), ("template/hooks", "update")):
        (home / name).mkdir(parents=True)
        (home / name / file).write_text(f"#!/bin/sh\ntouch '{home}/ran'\n")
        (home / name / file).chmod(0o755)
    with (home / ".gitconfig").open("a") as f:
        f.write(f"[core]\nhooksPath = {home}/theirs\n[init]\ntemplateDir = {home}/template\n")
    path = with_hook(tmp_path / "repo.git", "print('asked', name, file=sys.stderr); sys.exit(1)")
    tree.commit("one", a="1")
    done = tree.git("push", str(path), "HEAD:main", check=False)
    assert "asked pre-receive" in done.stderr
    assert done.returncode == 1
    assert not (home / "ran").exists()


@pytest.mark.slow
def test_unreachable_packs_are_removed_after_a_day(
    tree: Tree, repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(repositories, "_MANY_PACKS", 2)
    kept = tree.commit("kept", a="1")
    git.transfer(tree.path, repository, kept)
    git.move_branch(repository, kept)
    old, young = tree.commit("old", a="2"), tree.commit("young", b="3")
    packs = [git.transfer(tree.path, repository, commit) for commit in (old, young)]
    assert all(packs)
    yesterday = tree.path.stat().st_mtime - 2 * 86400
    for path in (repository / "objects" / "pack").glob(f"{packs[0].stem}.*"):  # type: ignore[union-attr]
        os.utime(path, (yesterday, yesterday))
    git.tidy(repository)
    assert git.is_commit(repository, kept)
    assert git.is_commit(repository, young)
    git.move_branch(repository, young)
    git.tidy(repository)
    assert git.git(repository, "fsck", "--full") == ""


@pytest.mark.slow
def test_a_repository_has_its_settings_for_local_and_ssh_clients(repository: Path) -> None:
    """In a file for clients on this machine, and in the environment for those that come by SSH."""
    for environment in (git.environment(), git.served(MOST)):
        for name, value in repositories._SERVED.items():
            argv = ["git", "-C", str(repository), "config", "--get", name]
            assert processes.run(argv, env=environment).stdout == f"{value}\n", name
    argv = ["git", "-C", str(repository), "config", "--get", "receive.maxInputSize"]
    assert processes.run(argv, env=git.served(MOST)).stdout == f"{2 << 30}\n"


@pytest.mark.slow
def test_a_delta_that_expands_beyond_the_limit_is_refused(repository: Path, tree: Tree) -> None:
    """Three bytes per copy: 3 kB of delta for a 64 MiB file, where 16 are allowed."""
    argv = ["git", "-C", str(repository), "unpack-objects", "-q"]
    small = msgspec.structs.replace(MOST, file_size=16 << 20)
    for most, ends_well in ((MOST, True), (small, False)):
        done = subprocess.run(
            argv,
            input=delta_bomb(1024 * 65_535),
            env=git.served(most),
            capture_output=True,
            timeout=60,
            check=False,
        )
        assert (done.returncode == 0) is ends_well, done.stderr


@pytest.mark.parametrize("name", [".git", ".GIT", "git~1", ".g\u200cit", "..", ".", ".git "])
def test_a_file_name_reserved_by_git_on_any_platform_is_refused(
    name: str, repository: Path, tree: Tree
) -> None:
    tree.commit("one", a="x")
    oid = tree.git("rev-parse", "HEAD:a").stdout.strip()
    sub = processes.run(
        ["git", "-C", tree.path, "mktree"], stdin=f"100644 blob {oid}\tconfig\n", env=git.environment()
    )
    commit = raw_commit(tree, f"040000 tree {sub.stdout.strip()}\t{name}\n")
    with pytest.raises(RepositoryError, match="index-pack failed"):
        git.transfer(tree.path, repository, commit)


def test_a_tag_has_an_author_and_a_message_and_is_replaced(home: Path, repository: Path, tree: Tree) -> None:
    with (home / ".gitconfig").open("a") as f:
        f.write("[tag]\ngpgSign = true\n[commit]\ngpgSign = true\n[gpg]\nprogram = false\n")
    first = tree.git("-c", "commit.gpgSign=false", "commit", "-q", "--allow-empty", "-m", "one")
    first_commit = tree.git("rev-parse", "HEAD").stdout.strip()
    assert first.returncode == 0
    git.transfer(tree.path, repository, first_commit)
    git.tag(repository, "release/1", first_commit, "live\n\nby: ada")
    git.tag(repository, "release/1", first_commit, "live again")
    assert git.resolve(repository, "release/1") == first_commit
    shown = git.git(
        repository, "for-each-ref", "--format=%(objecttype) %(taggername) %(subject)", "refs/tags"
    )
    assert shown.strip() == "tag pushrod live again"


@pytest.mark.parametrize("name", ["HEAD", "config"])
@pytest.mark.parametrize("text", [b"", b"\0\xff{", None])
@pytest.mark.slow
def test_a_repository_that_git_cannot_read_is_repaired(
    repository: Path, tree: Tree, name: str, text: bytes | None
) -> None:
    commit = tree.commit("one", a="1")
    git.transfer(tree.path, repository, commit)
    git.move_branch(repository, commit)
    (repository / f"{name}.lock").touch()
    (repository / name).unlink()
    if text is not None:
        (repository / name).write_bytes(text)
    git.repair_bare(repository)
    git.create_repository(repository, ["false"])
    assert git.branch_commit(repository) == commit
    assert git.is_whole(repository)
    assert git.reports(repository)
    assert git.repair_bare(repository) == []


@pytest.mark.slow
def test_a_repository_with_a_missing_object_is_not_intact(repository: Path, tree: Tree) -> None:
    first, second = tree.commit("one", a="1"), tree.commit("two", a="2")
    for commit in (first, second):
        git.transfer(tree.path, repository, commit)
    assert git.is_whole(repository), "no branch leads anywhere"
    git.move_branch(repository, second)
    assert git.is_whole(repository)
    for pack in sorted((repository / "objects" / "pack").glob("*.pack")):
        raw = pack.read_bytes()
        for path in pack.parent.glob(f"{pack.stem}.*"):
            path.unlink()
        subprocess.run(["git", "-C", repository, "unpack-objects", "-q"], input=raw, check=True)
    (repository / "objects" / first[:2] / first[2:]).unlink()
    assert not git.is_whole(repository)
    assert git.is_whole(repository, history=False)


@pytest.mark.parametrize("name", ["HEAD", "refs/heads/main"])
def test_a_stale_lock_does_not_prevent_a_branch_move(repository: Path, tree: Tree, name: str) -> None:
    commit = tree.commit("one", a="1")
    git.transfer(tree.path, repository, commit)
    (repository / f"{name}.lock").touch()
    git.move_branch(repository, commit)
    assert git.branch_commit(repository) == commit


@pytest.mark.parametrize("collect", [repositories.collect, repositories.tidy])
def test_a_date_beyond_all_numbers_does_not_keep_git_busy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, collect: Callable[[Path], None]
) -> None:
    repository = tmp_path / "repo.git"
    processes.run(["git", "init", "--quiet", "--bare", repository])
    monkeypatch.setattr(repositories, "_MANY_PACKS", -1)

    def made(words: list[str], text: str) -> str:
        done = processes.run(["git", "-C", repository, *words], stdin=text, env=git.environment())
        return done.stdout.strip()

    tree, parent = made(["mktree"], ""), ""
    for date in (1700000000, 99999999999999999999, 1700000000, 1700000001):
        text = f"tree {tree}\n{parent}author a <a@b> {date} +0000\ncommitter a <a@b> {date} +0000\n\nx\n"
        commit = made(["hash-object", "-w", "-t", "commit", "--stdin", "--literally"], text)
        parent = f"parent {commit}\n"
    made(["update-ref", "refs/heads/main", commit], "")
    monkeypatch.setattr(processes, "run", partial(_within, processes.run))
    collect(repository)
    assert repositories.packs(repository)


def _within(run: Callable[..., processes.Completed], *words: Any, **named: Any) -> processes.Completed:
    return run(*words, **named | {"timeout": 20.0})
