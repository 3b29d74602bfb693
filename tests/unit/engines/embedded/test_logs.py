"""Lines of log files: the last ones, and new ones."""

from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import pytest

from pushrod.core.values import Line
from pushrod.engines.embedded import logs


def written(path: Path, *lines: str, end: str = "\n") -> Path:
    with path.open("a") as f:
        f.write("\n".join(lines) + end)
    return path


def read(files: list[Path], lines: int = 50) -> list[Line]:
    return list(logs.read(lambda: [], files, lines, follow=False))


def followed(directory: Path, lines: int) -> Iterator[Line]:
    def find() -> list[Path]:
        return sorted(directory.glob("*.log"))

    return logs.read(find, find(), lines, follow=True)


def test_the_last_lines_of_each_log_are_read(tmp_path: Path) -> None:
    web = written(tmp_path / "web-1.log", *map(str, range(100)))
    worker = written(tmp_path / "worker-1.log", "a", "not whole", end="")
    assert read([web, worker, tmp_path / "gone.log"], 2) == [
        Line("web-1", "98"),
        Line("web-1", "99"),
        Line("worker-1", "a"),
        Line("worker-1", "not whole"),
    ]
    assert read([web], 0) == []


@pytest.mark.slow
def test_a_long_log_is_read_from_its_end_only_as_far_as_needed(tmp_path: Path) -> None:
    path = written(tmp_path / "web-1.log", *("x" * 99 for _ in range(20_000)))
    assert len(read([path], 19_000)) == 19_000
    endless = tmp_path / "worker-1.log"
    endless.write_bytes(b"first\n" + "ü".encode() * (6 << 20))
    (line,) = read([endless], 2)
    assert line.text.startswith("[…] ü")
    assert "\N{REPLACEMENT CHARACTER}" not in line.text


def test_only_newlines_end_a_line(tmp_path: Path) -> None:
    path = written(tmp_path / "web-1.log", "a\x0bb\x0c\x1c\x85\u2028c\rd", "e\r")
    assert [line.text for line in read([path])] == ["a\x0bb\x0c\x1c\x85\u2028c\rd", "e\r"]


@pytest.mark.slow
def test_following_returns_an_unterminated_last_line(tmp_path: Path) -> None:
    written(tmp_path / "web-1.log", "one", "and the reason", end="")
    assert [line.text for line in islice(followed(tmp_path, 5), 2)] == ["one", "and the reason"]


@pytest.mark.slow
def test_following_cuts_and_marks_an_endless_line(tmp_path: Path) -> None:
    path = written(tmp_path / "web-1.log", "one")
    result = followed(tmp_path, 5)
    assert next(result).text == "one"
    written(path, "x" * 70_000)
    written(path, "y" * 70_000, end="")
    assert [len(line.text) for line in islice(result, 3)] == [70_000, 65_536 + 4, 70_000 - 65_536]


@pytest.mark.slow
def test_following_neither_misses_nor_repeats_a_line(tmp_path: Path) -> None:
    """Including lines written between the last ones and the first check, a line in two parts, and a new log."""
    path = written(tmp_path / "web-1.log", "one", "tw", end="")
    result = followed(tmp_path, 5)
    assert next(result).text == "one"
    written(path, "o", "three")
    assert [line.text for line in islice(result, 2)] == ["two", "three"]
    written(tmp_path / "web-2.log", "new")
    assert next(result) == Line("web-2", "new")


def test_a_log_that_was_rotated_is_read_from_its_beginning(tmp_path: Path) -> None:
    path = written(tmp_path / "web-1.log", "one", "two")
    result = followed(tmp_path, 1)
    assert next(result).text == "two"
    path.rename(tmp_path / "web-1.log.1")
    written(path, "new")
    assert next(result).text == "new"
