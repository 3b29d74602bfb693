"""The hooks, called by a real Git for real pushes."""

import io
import sys
from pathlib import Path

import pytest

from pushrod.adapters import git
from pushrod.cli.hook import pre_receive, proc_receive
from pushrod.core.errors import RepositoryError
from pushrod.state.apps import App
from tests.conftest import Tree

# A stand-in for a deployment's effect on the repository: `MEANWHILE` happens while the push waits for the lock.
HOOKS = """
import os, sys
from pathlib import Path
from pushrod.cli.hook import proc_receive
from pushrod.adapters import git
repo, name = Path.cwd(), sys.argv[-1]
if name == "proc-receive":
    proc_receive(repo, sys.stdin.buffer, sys.stdout.buffer)
else:
    old, new, ref = sys.stdin.read().split()
    git.transfer(repo, repo, new, quarantine=dict(os.environ))
    {meanwhile}
    if ref == "refs/heads/main":
        git.move_branch(repo, new)
"""


@pytest.fixture
def repository(home: Path, tmp_path: Path) -> Path:
    return tmp_path / "repo.git"


def serve(repository: Path, meanwhile: str = "pass") -> None:
    script = repository.with_name("hooks.py")
    script.write_text(HOOKS.format(meanwhile=meanwhile))
    git.create_repository(repository, [sys.executable, str(script)])


@pytest.fixture
def joined(tree: Tree, repository: Path) -> Tree:
    serve(repository)
    git.set_remote(tree.path, str(repository))
    return tree


def tracked(tree: Tree) -> str:
    return tree.git("rev-parse", "refs/remotes/pushrod/main").stdout.strip()


@pytest.mark.slow
def test_a_push_moves_the_branch_and_updates_the_clients_tracking_ref(joined: Tree, repository: Path) -> None:
    for message in ("one", "two"):
        commit = joined.commit(message, a=message)
        done = joined.git("push", "pushrod", "HEAD:main")
        assert "-> main" in done.stderr
        assert git.branch_commit(repository) == tracked(joined) == commit
    assert "Everything up-to-date" in joined.git("push", "pushrod", "HEAD:main").stderr
    git.git(repository, "fsck", "--strict")


@pytest.mark.slow
def test_an_older_commit_can_be_pushed_by_force_and_not_otherwise(joined: Tree, repository: Path) -> None:
    older = joined.commit("one", a="1")
    joined.commit("two", a="2")
    joined.git("push", "pushrod", "HEAD:main")
    assert joined.git("push", "pushrod", f"{older}:main", check=False).returncode == 1
    joined.git("push", "--force", "pushrod", f"{older}:main")
    assert git.branch_commit(repository) == tracked(joined) == older


@pytest.mark.slow
def test_a_push_that_waited_is_checked_against_the_branch_as_it_is_then(
    joined: Tree, repository: Path
) -> None:
    """Git itself would refuse to move a branch that has moved since the client connected."""
    first, second, third = (joined.commit(n, a=n) for n in ("one", "two", "three"))
    joined.git("push", "pushrod", f"{first}:refs/heads/main")
    git.transfer(joined.path, repository, second)
    serve(repository, meanwhile=f"git.move_branch(repo, {second!r})")
    joined.git("push", "pushrod", f"{third}:main")
    assert git.branch_commit(repository) == tracked(joined) == third

    git.git(repository, "config", "--unset-all", "receive.procReceiveRefs")
    fourth = joined.commit("four", a="4")
    done = joined.git("push", "pushrod", "HEAD:main", check=False)
    assert (done.returncode, tracked(joined) == fourth) == (1, False), (
        "Git has changed: proc-receive is not needed"
    )


@pytest.mark.slow
def test_a_commit_pushed_for_a_plan_is_stored_without_a_ref(joined: Tree, repository: Path) -> None:
    for message in ("one", "two"):
        commit = joined.commit(message, a=message)
        for _again in range(2):
            joined.git("push", "pushrod", f"{commit}:refs/plans/{commit}")
        assert git.is_commit(repository, commit)
    assert git.git(repository, "for-each-ref") == ""


@pytest.mark.parametrize("ref", ["refs/plans/main", "refs/plans", f"refs/plans/{'0' * 40}"])
def test_a_plan_ref_must_be_the_name_of_its_commit(app: App, ref: str) -> None:
    with pytest.raises(RepositoryError, match="only `main` is deployed"):
        pre_receive(app, f"{git.ZERO} {'1' * 40} {ref}\n")


def test_a_plan_cannot_be_pushed_with_a_deployment(app: App) -> None:
    new = "1" * 40
    with pytest.raises(RepositoryError, match="only `main` is deployed"):
        pre_receive(app, f"{git.ZERO} {new} refs/heads/main\n{git.ZERO} {new} refs/plans/{new}\n")


@pytest.mark.slow
def test_a_deployment_that_fails_leaves_the_branch(joined: Tree, repository: Path) -> None:
    first = joined.commit("one", a="1")
    joined.git("push", "pushrod", "HEAD:main")
    serve(repository, meanwhile="sys.exit('not healthy')")
    joined.commit("two", a="2")
    done = joined.git("push", "pushrod", "HEAD:main", check=False)
    assert (done.returncode, "remote: not healthy" in done.stderr) == (1, True)
    assert git.branch_commit(repository) == tracked(joined) == first


# ---- the protocol ----------------------------------------------------------------------------------------------


def packets(*lines: str) -> bytes:
    return b"".join(f"{len(line.encode()) + 4:04x}{line}".encode() for line in lines) + b"0000"


def test_the_proc_receive_hook_follows_gits_protocol(tmp_path: Path) -> None:
    update = f"{git.ZERO} {'1' * 40} refs/heads/main"
    source = io.BytesIO(packets("version=1\0push-options atomic") + packets(update, f"{update}/ä\n"))
    target = io.BytesIO()
    proc_receive(tmp_path, source, target)
    assert target.getvalue() == packets("version=1\n") + packets(
        "ok refs/heads/main\n", "ok refs/heads/main/ä\n"
    )


def test_proc_receive_ends_if_the_client_disconnects(tmp_path: Path) -> None:
    target = io.BytesIO()
    proc_receive(tmp_path, io.BytesIO(b""), target)
    assert target.getvalue() == packets("version=1\n") + packets()


# ---- refusals before anything is started -------------------------------------------------------------------------


@pytest.fixture
def served(app: App, tree: Tree) -> App:
    """An app whose repository has pushrod's hooks."""
    hook = [sys.executable, "-m", "pushrod", "--root", str(app.root.path), "hook", app.name]
    git.create_repository(app.repository, hook)
    git.set_remote(tree.path, str(app.repository))
    return app


def started(app: App) -> bool:
    return app.journal.exists() or app.root.supervisor.exists()


@pytest.mark.slow
def test_a_push_with_an_environment_file_is_refused_by_name(served: App, tree: Tree) -> None:
    commit = tree.commit("one", **{"config/.env": "A=1", "README": "x"})
    done = tree.git("push", "pushrod", "HEAD:main", check=False)
    assert done.returncode == 1
    assert "remote: pushrod: the commit contains what must not be in Git: config/.env" in done.stderr
    assert "pushrod secret import" in done.stderr
    assert "Traceback" not in done.stderr
    assert not git.is_commit(served.repository, commit), "a refused secret stays on the server"
    assert not started(served)


@pytest.mark.slow
def test_only_the_deployed_branch_can_be_pushed(served: App, tree: Tree) -> None:
    tree.commit("one", a="1")
    for refs in (["HEAD:dev"], ["HEAD:main", "HEAD:dev"], ["HEAD:refs/tags/v1"]):
        done = tree.git("push", "pushrod", *refs, check=False)
        assert done.returncode == 1
        assert "only `main` is deployed" in done.stderr
    assert git.git(served.repository, "for-each-ref") == ""
    assert not started(served)


def test_the_deployed_branch_cannot_be_deleted(app: App) -> None:
    with pytest.raises(RepositoryError, match="cannot be deleted"):
        pre_receive(app, f"{'1' * 40} {git.ZERO} refs/heads/main\n")


@pytest.mark.slow
def test_a_deletion_pushed_by_git_is_refused(served: App, tree: Tree) -> None:
    commit = tree.commit("one", a="1")
    git.transfer(tree.path, served.repository, commit)
    git.move_branch(served.repository, commit)
    assert tree.git("push", "pushrod", ":main", check=False).returncode == 1
    assert git.branch_commit(served.repository) == commit
