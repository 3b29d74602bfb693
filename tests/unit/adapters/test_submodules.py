"""The room for submodules: an error for one that is too large names what bounds it, and how to get more.

What only a server over HTTPS can show is in `tests/integration/test_what_git_holds.py`.
"""

import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from pushrod.adapters import submodules
from pushrod.adapters.submodules import Kept, Submodule
from pushrod.core.errors import RepositoryError
from pushrod.system import files
from tests.conftest import Tree

URL = "https://127.0.0.1/theme"
NOISE = random.Random(5).randbytes(3_000_000)
MIB = 1 << 20


@pytest.fixture
def theme(home: Path, tree: Tree, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Submodule:
    """A submodule of three megabytes. Git finds it in a directory instead of on the server."""
    (tree.path / "noise").write_bytes(NOISE)
    commit = tree.commit("noise")
    with (home / ".gitconfig").open("a") as f:
        f.write(f'[url "file://{tree.path}"]\n\tinsteadOf = {URL}\n')
    program = tmp_path / "bin" / "git"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nGIT_ALLOW_PROTOCOL=file exec {shutil.which("git")} "$@"\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(program.parent), prepend=":")
    return Submodule("theme", commit, URL)


@pytest.fixture
def kept(tmp_path: Path) -> Callable[[int], Kept]:
    directory = tmp_path / "submodules"
    directory.mkdir()

    def make(most: int) -> Kept:
        return Kept(directory, lambda _: None, lambda *_: None, "shop", ["127.0.0.1"], most)

    return make


def test_one_that_is_larger_than_the_limit_is_refused_with_the_limit_and_how_to_raise_it(
    theme: Submodule, kept: Callable[[int], Kept]
) -> None:
    with pytest.raises(RepositoryError) as e:
        kept(2 * MIB).repository(theme, "static/theme")
    assert e.value.what == (
        f"submodule static/theme: {URL} does not fit into the limit repository-size of this host, 2 MiB for all "
        "submodules of an app: 2 MiB are left"
    )
    assert e.value.hint.endswith("the host's owner can raise it: pushrod host limits repository-size=4M")
    assert [*kept(2 * MIB).directory.iterdir()] == []
    assert (kept(8 * MIB).repository(theme, "static/theme") / "HEAD").exists()


def test_one_for_which_nothing_is_left_is_refused_with_the_limit(
    theme: Submodule, kept: Callable[[int], Kept]
) -> None:
    with pytest.raises(RepositoryError, match="repository-size of this host, 1048575 bytes for all") as e:
        kept(MIB - 1).repository(theme, "theme")
    assert "pushrod host limits repository-size=2M" in e.value.hint


@pytest.mark.slow
def test_a_refused_one_leaves_nothing_in_the_repository_that_was_there(
    theme: Submodule, kept: Callable[[int], Kept], tree: Tree
) -> None:
    """An unfinished pack would take room from the next one."""
    path = kept(8 * MIB).repository(theme, "theme")
    before = {*path.rglob("*")}
    (tree.path / "noise").write_bytes(NOISE[::-1])
    more = theme._replace(commit=tree.commit("other noise"))
    with pytest.raises(RepositoryError, match="4352 KiB for all submodules of an app: 1 MiB are left"):
        kept(4 * MIB + MIB // 4).repository(more, "theme")
    assert {p for p in {*path.rglob("*")} - before if p.is_file() and p.stat().st_size > MIB // 2} == set()


@pytest.mark.parametrize(
    ("free", "largest", "bound"),
    [
        (submodules._SPARE + 2 * MIB, 1 << 30, "the disk, where 2 MiB are free besides a reserve of 256 MiB"),
        (1 << 40, 2 * MIB, "2 MiB, a fixed limit for each submodule"),
    ],
)
def test_the_bound_that_is_named_is_the_smallest(
    free: int,
    largest: int,
    bound: str,
    theme: Submodule,
    kept: Callable[[int], Kept],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(files, "free_space", lambda _: free)
    monkeypatch.setattr(submodules, "_LARGEST", largest)
    with pytest.raises(RepositoryError, match=bound) as e:
        kept(8 * MIB).repository(theme, "theme")
    assert "repository-size" not in f"{e.value.what} {e.value.hint}"
