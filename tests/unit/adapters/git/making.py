"""Helpers that make what the tests of Git need."""

import subprocess
import sys
from pathlib import Path

from pushrod.adapters import git
from pushrod.core import limits
from pushrod.core.limits import Machine
from pushrod.system import processes
from tests.conftest import Tree

MOST = limits.defaults(Machine(memory=4 << 30, cpus=2, tasks=10_000))


def with_hook(path: Path, source: str, *arguments: str) -> Path:
    """An app's repository whose hooks run Python source, with the variables `repo`, `name` and `updates`."""
    script = path.with_name("hook.py")
    head = "import os, sys\nfrom pathlib import Path\nfrom pushrod.adapters import git\n"
    head += "repo, name = Path.cwd(), sys.argv[-1]\n"
    script.write_text(head + source)
    git.create_repository(path, [sys.executable, str(script), *arguments])
    return path


def tree_of(repository: Path, directory: Path) -> str:
    """The tree object for a directory's files: their names, contents, modes and links."""
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


def raw_commit(tree: Tree, entries: str) -> str:
    """A commit of a tree that Git's own commands would not make."""
    made = processes.run(
        ["git", "-C", tree.path, "mktree", "--missing"], stdin=entries, env=git.environment()
    )
    assert made.status == 0, made.stderr
    return tree.git("commit-tree", "-m", "odd", made.stdout.strip()).stdout.strip()
