"""Git's `proc-receive` hook as a separate program."""

import subprocess
import sys
from pathlib import Path

import pytest

from pushrod.adapters import git, reporting
from tests.conftest import Tree

PROGRAM = [sys.executable, "-P", "-m", reporting.__name__]
# A rejected push does not get here: `pre-receive` comes before.
PRE_RECEIVE = """
import os, sys
from pathlib import Path
from pushrod.adapters import git
old, new, ref = sys.stdin.read().split()
git.transfer(Path.cwd(), Path.cwd(), new, quarantine=dict(os.environ))
git.move_branch(Path.cwd(), new)
"""


@pytest.fixture
def joined(home: Path, tree: Tree, tmp_path: Path) -> Tree:
    """A work tree whose pushes are reported by the program."""
    path = tmp_path / "repo.git"
    script = tmp_path / "hook.py"
    script.write_text(PRE_RECEIVE)
    git.create_repository(path, [sys.executable, str(script)], PROGRAM)
    git.set_remote(tree.path, str(path))
    return tree


@pytest.mark.slow
@pytest.mark.parametrize("packed", [False, True])
def test_a_push_reports_the_commit_of_the_branch(joined: Tree, tmp_path: Path, packed: bool) -> None:
    for message in ("one", "two"):
        commit = joined.commit(message, a=message)
        assert "-> main" in joined.git("push", "pushrod", "HEAD:main").stderr
        assert joined.git("rev-parse", "refs/remotes/pushrod/main").stdout.strip() == commit
        if packed:
            git.git(tmp_path / "repo.git", "pack-refs", "--all")


def test_the_reporting_hook_imports_few_modules() -> None:
    """It runs last, and importing the whole command line would take longer than its work."""
    ask = "import sys; before = {*sys.modules}; import pushrod.adapters.reporting; print(*({*sys.modules} - before))"
    done = subprocess.run([sys.executable, "-P", "-c", ask], capture_output=True, text=True, check=True)
    assert {name.partition(".")[0] for name in done.stdout.split()} <= {"pushrod", *sys.stdlib_module_names}
    assert {name for name in done.stdout.split() if name.startswith("pushrod.")} == {
        "pushrod.adapters",
        "pushrod.adapters.refs",
        "pushrod.adapters.reporting",
    }


@pytest.mark.slow
@pytest.mark.parametrize("options", [[], ["-o", "ci.skip", "-o", "merge_request.create"]])
def test_push_options_for_another_server_are_ignored(joined: Tree, options: list[str]) -> None:
    """`push.pushOption` is in the settings of people who use GitLab: it holds for every push."""
    joined.git("config", "push.pushOption", "ci.skip")
    joined.commit("one", a="1")
    assert "-> main" in joined.git("push", *options, "pushrod", "HEAD:main").stderr
