"""Content of the wrong kind is set aside, and the last copies are kept."""

from pathlib import Path

import pytest

from pushrod.system import damaged_paths, files


@pytest.mark.parametrize("write", ["write", "point"])
def test_a_directory_instead_of_a_file_is_set_aside(tmp_path: Path, write: str) -> None:
    path = tmp_path / "file"
    for number in (1, 2):
        files.remove(path)
        path.mkdir()
        (path / "x").touch()
        files.write(path, "text") if write == "write" else files.point(path, "elsewhere")
        assert path.is_file() if write == "write" else path.is_symlink()
        assert (tmp_path / f"file.damaged-{number}" / "x").exists()


def test_a_file_instead_of_a_directory_is_set_aside(tmp_path: Path) -> None:
    path = tmp_path / "directory"
    path.write_text("x")
    files.make_private(path)
    assert (tmp_path / "directory.damaged-1").read_text() == "x"
    path.rmdir()
    path.write_text("y")
    files.write(path / "file", "text")
    assert (tmp_path / "directory.damaged-2").read_text() == "y"


def test_only_the_last_copies_set_aside_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "variables[1].json"
    for number in range(12):
        path.write_text(str(number))
        damaged_paths.set_aside(path)
    kept = damaged_paths.kept_aside(path)
    assert {number: p.read_text() for number, p in kept.items()} == {10: "9", 11: "10", 12: "11"}
    assert sorted(kept.values()) == sorted(tmp_path.iterdir())
