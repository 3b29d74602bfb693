"""Git for real: repositories, work trees, pushes with their quarantine, and a user with a configuration."""

import os
import stat
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from pushrod.adapters import git
from pushrod.core import limits
from pushrod.core.errors import RepositoryError
from pushrod.core.limits import Machine
from pushrod.system import processes
from tests.conftest import Tree
from tests.packs import delta_bomb

MOST = limits.defaults(Machine(memory=4 << 30, cpus=2, tasks=10_000))
MODES = {"run.sh": 0o755, "plain": 0o644}


@pytest.fixture
def repository(home: Path, tmp_path: Path) -> Path:
    """An app's repository whose hooks accept everything and do nothing."""
    path = tmp_path / "repo.git"
    git.create_repository(path, ["true"])
    return path


def with_hook(path: Path, source: str, *arguments: str) -> Path:
    """An app's repository whose hooks run Python source, with `repo`, `name` and `updates` at hand."""
    script = path.with_name("hook.py")
    head = "import os, sys\nfrom pathlib import Path\nfrom pushrod.adapters import git\n"
    head += "repo, name = Path.cwd(), sys.argv[-1]\n"
    script.write_text(head + source)
    git.create_repository(path, [sys.executable, str(script), *arguments])
    return path


def tree_of(repository: Path, directory: Path) -> str:
    """The tree object that a directory's files would be: their names, contents, modes and links."""
    index = directory.with_name(f"{directory.name}.index")
    env = git.environment() | {
        "GIT_DIR": str(repository),
        "GIT_WORK_TREE": str(directory),
        "GIT_INDEX_FILE": str(index),
    }
    plain = ["git", "-c", "core.excludesFile=/dev/null"]
    subprocess.run([*plain, "add", "--all", "--force", "."], cwd=directory, env=env, check=True)
    done = subprocess.run(
        [*plain, "write-tree"], cwd=directory, env=env, check=True, capture_output=True, text=True
    )
    return done.stdout.strip()


# ---- the environment ------------------------------------------------------------------------------------------


def test_commands_do_not_inherit_where_a_hook_points_git(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_DIR", "/elsewhere")
    monkeypatch.setenv("GIT_QUARANTINE_PATH", "/q")
    monkeypatch.setenv("GIT_OBJECT_DIRECTORY", "/q")
    assert {k for k in git.environment() if k.startswith("GIT_")} == {
        *("GIT_TERMINAL_PROMPT", "GIT_NO_REPLACE_OBJECTS", "GIT_ATTR_NOSYSTEM"),
    }
    kept = git.environment(os.environ)
    assert {k: v for k, v in kept.items() if k.startswith("GIT_")} == {
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_NO_REPLACE_OBJECTS": "1",
        "GIT_ATTR_NOSYSTEM": "1",
        "GIT_OBJECT_DIRECTORY": "/q",
    }


# ---- finding things -------------------------------------------------------------------------------------------


def test_the_work_tree_of_a_directory_below_it(tree: Tree) -> None:
    (tree.path / "a" / "b").mkdir(parents=True)
    assert git.toplevel(tree.path / "a" / "b") == tree.path


def test_a_directory_that_is_in_no_repository_or_not_there(home: Path, tmp_path: Path) -> None:
    (tmp_path / "it's").mkdir()
    with pytest.raises(RepositoryError, match="not a git repository") as e:
        git.toplevel(tmp_path / "it's")
    assert "init" in e.value.hint
    with pytest.raises(RepositoryError, match="no such directory"):
        git.toplevel(tmp_path / "none")


def test_a_name_means_a_commit(tree: Tree) -> None:
    first, second = tree.commit("one", a="1"), tree.commit("two", a="2")
    tree.git("tag", "--annotate", "v1", "--message", "x", first)
    assert git.resolve(tree.path, "HEAD") == git.resolve(tree.path, second[:9]) == second
    assert git.resolve(tree.path, "v1") == git.resolve(tree.path, "HEAD~1") == first
    assert git.is_commit(tree.path, first)
    assert not git.is_commit(tree.path, "0" * 40)
    assert git.is_ancestor(tree.path, first, second)
    assert not git.is_ancestor(tree.path, second, first)
    assert git.subject(tree.path, first) == "one"


def test_a_name_that_means_no_commit(tree: Tree) -> None:
    with pytest.raises(RepositoryError, match="no commit yet"):
        git.resolve(tree.path, "HEAD")
    tree.commit("one", a="1")
    for name in ("none", "HEAD:a", "--all", ""):
        with pytest.raises(RepositoryError, match="no commit `"):
            git.resolve(tree.path, name)


def test_a_remote_is_made_moved_and_removed(tree: Tree) -> None:
    assert git.remote_url(tree.path) == ""
    git.set_remote(tree.path, "/one")
    git.set_remote(tree.path, "/two")
    assert git.remote_url(tree.path) == "/two"
    git.remove_remote(tree.path)
    assert git.remote_url(tree.path) == ""


def test_git_says_in_its_own_words_what_failed(tree: Tree) -> None:
    with pytest.raises(RepositoryError, match=r"git show failed: fatal: .*nonsense"):
        git.git(tree.path, "show", "nonsense")


# ---- an app's repository --------------------------------------------------------------------------------------


def test_a_repository_has_hooks_that_can_be_run(tmp_path: Path, home: Path) -> None:
    path = with_hook(
        tmp_path / "repo.git", "Path('said').write_text(repr(sys.argv[1:]))", "it's", "a b", "$HOME"
    )
    for name in ("pre-receive", "proc-receive"):
        hook = path / "hooks" / name
        assert stat.S_IMODE(hook.stat().st_mode) == 0o755
        assert processes.run([hook], cwd=path).status == 0
        assert (path / "said").read_text() == repr(["it's", "a b", "$HOME", name])


def test_making_a_repository_again_keeps_what_is_in_it(repository: Path, tree: Tree) -> None:
    commit = tree.commit("one", a="1")
    git.transfer(tree.path, repository, commit)
    git.move_branch(repository, commit)
    git.create_repository(repository, ["false"])
    assert git.branch_commit(repository) == commit
    assert "false pre-receive" in (repository / "hooks" / "pre-receive").read_text()


def test_the_branch_is_nowhere_until_it_is_moved(repository: Path, tree: Tree) -> None:
    assert git.branch_commit(repository) == ""
    commit = tree.commit("one", a="1")
    with pytest.raises(RepositoryError, match="rev-parse"):
        git.move_branch(repository, commit)
    git.transfer(tree.path, repository, commit)
    git.move_branch(repository, commit)
    assert git.branch_commit(repository) == commit


def test_a_users_own_hooks_do_not_take_the_place_of_an_apps(home: Path, tmp_path: Path, tree: Tree) -> None:
    """With `core.hooksPath` set for all repositories Git would not call pushrod, and accept every push."""
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


# ---- from one repository to another ---------------------------------------------------------------------------


def test_a_commit_is_copied_with_all_it_needs(repository: Path, tree: Tree) -> None:
    tree.commit("one", a="1", b="same")
    commit = tree.commit("two", a="2")
    git.transfer(tree.path, repository, commit)
    git.transfer(tree.path, repository, commit)
    assert git.git(repository, "log", "--format=%s", commit).split() == ["two", "one"]
    git.git(repository, "fsck", "--strict")
    assert not list(repository.glob("incoming-*"))


def test_only_what_is_missing_is_copied(repository: Path, tree: Tree) -> None:
    big = "".join(f"{n}\n" for n in range(20_000))
    first = tree.commit("one", big=big)
    git.transfer(tree.path, repository, first)
    git.tag(repository, "release/1", first, "one")
    packs = {p: p.stat().st_size for p in (repository / "objects" / "pack").glob("*.pack")}
    second = tree.commit("two", a="2")
    git.transfer(tree.path, repository, second)
    (new,) = set((repository / "objects" / "pack").glob("*.pack")) - set(packs)
    assert new.stat().st_size < 2000 < max(packs.values())
    git.git(repository, "fsck", "--strict")


def test_a_commit_of_somebody_elses_history_is_copied_too(
    repository: Path, tree: Tree, tmp_path: Path
) -> None:
    """What the repository has and the source does not must not be asked of the source."""
    git.transfer(tree.path, repository, (first := tree.commit("one", a="1")))
    git.move_branch(repository, first)
    other = Tree(tmp_path / "other")
    other.path.mkdir()
    other.git("init", "--quiet")
    commit = other.commit("elsewhere", b="1")
    git.transfer(other.path, repository, commit)
    git.git(repository, "fsck", "--strict")
    assert git.is_commit(repository, commit)


def test_a_commit_that_is_not_there_cannot_be_copied(repository: Path, tree: Tree) -> None:
    tree.commit("one", a="1")
    with pytest.raises(RepositoryError, match="pack-objects failed"):
        git.transfer(tree.path, repository, "1" * 40)
    assert not list(repository.glob("incoming-*"))


REFUSES = "sys.exit('refused')"


def test_a_refused_commit_goes_with_its_pack_and_nothing_else(tree: Tree, repository: Path) -> None:
    kept = tree.commit("kept", a="1")
    git.transfer(tree.path, repository, kept)
    git.move_branch(repository, kept)
    refused = tree.commit("refused", a="2", big="x" * 10_000)
    pack = git.transfer(tree.path, repository, refused)
    assert pack is not None
    assert git.is_commit(repository, refused)
    git.forget(repository, refused, pack)
    assert not git.is_commit(repository, refused)
    assert git.is_commit(repository, kept)
    again = git.transfer(tree.path, repository, refused)
    assert again is not None
    git.move_branch(repository, refused)
    git.forget(repository, refused, again)  # it is live by now
    assert git.is_commit(repository, refused)
    assert git.git(repository, "fsck", "--full") == ""


def test_what_no_ref_leads_to_goes_after_a_day(
    tree: Tree, repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(git, "_MANY_PACKS", 2)
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


KEEPS = "git.transfer(repo, repo, sys.stdin.read().split()[1], quarantine=dict(os.environ))\n" + REFUSES


@pytest.mark.parametrize(("source", "kept"), [(REFUSES, False), (KEEPS, True)], ids=["refuses", "keeps"])
def test_a_commit_outlives_the_quarantine_of_a_push_that_is_refused(
    source: str, kept: bool, tmp_path: Path, tree: Tree
) -> None:
    repository = with_hook(tmp_path / "repo.git", source)
    tree.commit("one", a="1")
    commit = tree.commit("two", b="2")
    done = tree.git("push", str(repository), "HEAD:main", check=False)
    assert (done.returncode, "refused" in done.stderr) == (1, True)
    assert git.branch_commit(repository) == ""
    assert git.is_commit(repository, commit) == kept
    if kept:
        git.git(repository, "fsck", "--strict")
        git.checkout(repository, commit, tmp_path / "out")
        assert (tmp_path / "out" / "b").read_text() == "2"


def test_a_push_of_what_is_there_already_needs_nothing_out_of_quarantine(
    repository: Path, tree: Tree
) -> None:
    older, newer = tree.commit("one", a="1"), tree.commit("two", a="2")
    git.transfer(tree.path, repository, newer)
    git.move_branch(repository, newer)
    git.transfer(repository, repository, older, quarantine={})
    git.git(repository, "fsck", "--strict")


# ---- checkouts ------------------------------------------------------------------------------------------------


def test_a_checkout_is_the_commit_and_not_the_work_tree(repository: Path, tree: Tree, tmp_path: Path) -> None:
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


def test_a_checkout_is_the_commits_files_as_they_are(
    home: Path, repository: Path, tree: Tree, tmp_path: Path
) -> None:
    """No attribute leaves a file out, changes its text, or calls a program; also in a repository of before."""
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
    found = {
        str(p.relative_to(tmp_path / "out")): p.read_text()
        for p in (tmp_path / "out").rglob("*")
        if p.is_file()
    }
    assert found == files
    assert not ran.exists()


def test_whoever_an_instance_runs_as_can_read_a_checkout_whatever_the_umask(
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


def test_a_checkout_never_goes_over_another(repository: Path, tree: Tree, tmp_path: Path) -> None:
    commit = tree.commit("one", a="1")
    git.transfer(tree.path, repository, commit)
    git.checkout(repository, commit, tmp_path / "out")
    with pytest.raises(FileExistsError):
        git.checkout(repository, commit, tmp_path / "out")


def test_a_checkout_of_what_is_not_there_leaves_no_archive(repository: Path, tmp_path: Path) -> None:
    with pytest.raises(RepositoryError, match="git archive failed: fatal"):
        git.checkout(repository, "1" * 40, tmp_path / "below" / "out")
    assert [p.name for p in (tmp_path / "below").iterdir()] == ["out"]


# ---- what comes over the line -----------------------------------------------------------------------------------


def test_a_repository_has_its_settings_whoever_serves_it(repository: Path) -> None:
    """As a file for a client on this machine, and in the environment for one that comes by SSH."""
    for environment in (git.environment(), git.served(MOST)):
        for name, value in git._SERVED.items():
            argv = ["git", "-C", str(repository), "config", "--get", name]
            assert processes.run(argv, env=environment).stdout == f"{value}\n", name
    argv = ["git", "-C", str(repository), "config", "--get", "receive.maxInputSize"]
    assert processes.run(argv, env=git.served(MOST)).stdout == f"{2 << 30}\n"


def test_a_delta_that_grows_is_not_made(repository: Path, tree: Tree) -> None:
    """Three bytes a copy: 3 kB of a delta for 64 MiB of a file, where a file may have 16."""
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


def raw_commit(tree: Tree, entries: str) -> str:
    """A commit of a tree that Git's own commands would not make."""
    made = processes.run(
        ["git", "-C", tree.path, "mktree", "--missing"], stdin=entries, env=git.environment()
    )
    assert made.status == 0, made.stderr
    return tree.git("commit-tree", "-m", "odd", made.stdout.strip()).stdout.strip()


@pytest.mark.parametrize("name", [".git", ".GIT", "git~1", ".g\u200cit", "..", ".", ".git "])
def test_a_name_that_is_gits_own_somewhere_is_no_files(name: str, repository: Path, tree: Tree) -> None:
    tree.commit("one", a="x")
    oid = tree.git("rev-parse", "HEAD:a").stdout.strip()
    sub = processes.run(
        ["git", "-C", tree.path, "mktree"], stdin=f"100644 blob {oid}\tconfig\n", env=git.environment()
    )
    commit = raw_commit(tree, f"040000 tree {sub.stdout.strip()}\t{name}\n")
    with pytest.raises(RepositoryError, match="index-pack failed"):
        git.transfer(tree.path, repository, commit)


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


def test_a_link_in_a_commit_is_not_written_through(repository: Path, tree: Tree, tmp_path: Path) -> None:
    """Two names that differ in case, one a link out of the checkout, one a directory with a file."""
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


def test_what_a_repository_replaces_is_not_deployed(repository: Path, tree: Tree, tmp_path: Path) -> None:
    good, evil = tree.commit("one", a="good"), tree.commit("two", a="evil")
    for commit in (good, evil):
        git.transfer(tree.path, repository, commit)
    tree_of = {c: tree.git("rev-parse", f"{c}^{{tree}}").stdout.strip() for c in (good, evil)}
    (repository / "refs" / "replace").mkdir(parents=True)
    (repository / "refs" / "replace" / tree_of[good]).write_text(f"{tree_of[evil]}\n")
    git.checkout(repository, good, tmp_path / "out")
    assert (tmp_path / "out" / "a").read_text() == "good"


# ---- reading a commit -----------------------------------------------------------------------------------------

ODD = ["a b", "ä", "new\nline", "ta\tb", 'quo"te', "-e", "HEAD:x", ":colon", "back\\slash", "deep/er"]


def test_of_a_message_without_end_the_beginning_is_told(tree: Tree) -> None:
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


def test_contents_that_are_not_there_are_an_error(tree: Tree) -> None:
    tree.commit("one", a="x")
    with pytest.raises(RepositoryError, match="cannot be read"):
        list(git.contents(tree.path, ["1" * 40], timeout=20))


# ---- tags -----------------------------------------------------------------------------------------------------


def test_a_tag_says_who_what_and_is_replaced(home: Path, repository: Path, tree: Tree) -> None:
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
