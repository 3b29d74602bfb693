"""The trees on disk: their names, what two of them share, which of them stay."""

from pathlib import Path

import pytest

from pushrod.adapters.nginx.generations import KEPT_TREES, Generations

TEXTS = {"nginx.conf": "one", "sites.json": "{}", "sites/shop.conf": "shop"}


@pytest.fixture
def trees(tmp_path: Path) -> Generations:
    return Generations(tmp_path)


def test_a_new_tree_name_has_the_highest_number(trees: Generations, tmp_path: Path) -> None:
    (tmp_path / "9-0123456789").mkdir()
    assert trees.next().startswith("1-")
    for number in (1, 10, 9):
        trees.write(f"{number}-0123abcd", TEXTS)
    assert trees.next().startswith("11-")
    assert trees.all() == ["10-0123abcd", "9-0123abcd", "1-0123abcd"]


def test_identical_files_are_shared_between_trees(trees: Generations, tmp_path: Path) -> None:
    first, second = "1-00000000", "2-00000000"
    trees.write(first, TEXTS)
    written = trees.write(second, {**TEXTS, "nginx.conf": "two"}, first)
    assert [path for path in written if path.is_file()] == [tmp_path / second / "nginx.conf"]
    assert (tmp_path / first / "sites/shop.conf").samefile(tmp_path / second / "sites/shop.conf")
    assert trees.has(first, TEXTS)
    assert not trees.has(second, TEXTS)


def test_a_tree_that_cannot_be_written_leaves_no_files(trees: Generations, tmp_path: Path) -> None:
    with pytest.raises(FileExistsError):
        trees.write("1-00000000", {**TEXTS, "sites": "a file in a directory's place"})
    with pytest.raises(KeyboardInterrupt), trees.removed_on_failure("2-00000000"):
        trees.write("2-00000000", TEXTS)
        raise KeyboardInterrupt
    assert trees.all() == []


def test_the_newest_trees_and_the_current_one_are_kept(trees: Generations) -> None:
    names = [f"{number}-00000000" for number in range(1, 7)]
    for name in names:
        trees.write(name, TEXTS)
    trees.remove_old(names[1])
    assert trees.all() == [*reversed(names[-KEPT_TREES + 1 :]), names[1]]
