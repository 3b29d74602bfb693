"""The requests of one app from a log that all apps share, and that is rotated while it is read."""

import io
import itertools
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pushrod.adapters.nginx import access, rotation
from pushrod.adapters.nginx.access import AccessLog, log_format
from pushrod.core.site import Request


def line(path: str, app: str = "shop", **more: Any) -> str:
    return json.dumps(
        {"time": "2026-11-25T10:00:00+00:00", "app": app, "path": path, **more}, separators=(",", ":")
    )


def write(log: Path, *lines: str) -> None:
    with log.open("a") as f:
        f.writelines(f"{text}\n" for text in lines)


def paths(result: Iterator[Request] | list[Request]) -> list[str]:
    return [r.path for r in result]


def following(log: AccessLog, count: int = 50) -> Iterator[Request]:
    """The followed requests, by `next`; a test that waits in vain ends by its time-out."""
    return iter(log.follow(count))


@pytest.fixture
def logs(tmp_path: Path) -> Path:
    (tmp_path / "logs").mkdir()
    return tmp_path / "logs"


def test_the_log_format_matches_the_fields_of_a_request() -> None:
    """Every field of the format is a field of a request, except for the names, which the reader adds."""
    names = re.findall(r'"(\w+)":', log_format("app-shop", "shop", 7))
    assert (*names, "instance") == Request.__struct_fields__
    assert '"app":"shop","release":7,' in log_format("app-shop", "shop", 7)
    assert '"app":"","release":0,' in log_format("unknown")


def test_the_last_requests_of_one_app_are_listed_oldest_first(logs: Path) -> None:
    write(logs / "access.log", line("/1"), line("/b", "blog"), line("/2"), line("/3"), line("/b", "blog"))
    assert paths(AccessLog(logs, "shop").last(2)) == ["/2", "/3"]
    assert paths(AccessLog(logs, "blog").last(9)) == ["/b", "/b"]
    assert AccessLog(logs, "shop").last(0) == AccessLog(logs, "sho").last(9) == []


def test_a_request_cannot_be_attributed_to_another_app(logs: Path) -> None:
    write(
        logs / "access.log",
        line('","app":"shop","path":"', "blog"),
        line("/x", "blog", request='"app":"shop"'),
    )
    assert AccessLog(logs, "shop").last(9) == []


def test_missing_requests_are_read_from_rotated_files(logs: Path) -> None:
    for number, name in enumerate(("access.log.2", "access.log.1", "access.log")):
        write(logs / name, line(f"/{number}a"), line("/b", "blog"), line(f"/{number}b"))
    assert paths(AccessLog(logs, "shop").last(3)) == ["/1b", "/2a", "/2b"]
    assert len(AccessLog(logs, "shop").last(99)) == 6
    (logs / "access.log").unlink()
    assert paths(AccessLog(logs, "shop").last(1)) == ["/1b"]


def test_torn_and_invalid_lines_are_skipped(logs: Path) -> None:
    whole = line("/1")
    (logs / "access.log").write_text(
        f"{whole}\n{whole[:40]}\n{{}}\n{line('/2', status='no number')}\n{whole[:60]}"
    )
    assert paths(AccessLog(logs, "shop").last(9)) == ["/1"]
    with (logs / "access.log").open("ab") as f:
        f.write(b"\n" + line("/X").encode().replace(b"X", b"\xff") + b"\n")
    assert paths(AccessLog(logs, "shop").last(1)) == ["/\ufffd"]


def test_a_missing_log_has_no_requests(tmp_path: Path) -> None:
    assert AccessLog(tmp_path, "shop").last(9) == []


@given(st.lists(st.binary(max_size=40).filter(lambda b: b"\n" not in b), max_size=20), st.integers(1, 50))
@pytest.mark.slow
def test_reading_backwards_returns_the_lines_in_reverse(lines: list[bytes], block: int) -> None:
    raw = b"".join(text + b"\n" for text in lines)
    with mock.patch.object(access, "_BLOCK", block):
        result = list(access._backwards(io.BytesIO(raw), len(raw)))
    assert result[::-1] == raw.split(b"\n")
    assert access._whole(io.BytesIO(raw + b"torn")) == len(raw)


@pytest.mark.slow
def test_new_requests_are_followed_across_rotations(logs: Path) -> None:
    log = logs / "access.log"
    write(log, line("/1"), line("/2"))
    result = following(AccessLog(logs, "shop"), 1)
    assert next(result).path == "/2"
    with log.open("a") as worker:
        worker.write(line("/3")[:20])
        worker.flush()
        worker.write(line("/3")[20:] + "\n")
        worker.flush()
        assert next(result).path == "/3"
        assert rotation.rotate(logs.parent, max_bytes=1) == ("access.log",)
        write(log, line("/5"))
        worker.write(line("/4") + "\n")  # by a worker that has not reopened its log yet
        worker.flush()
        assert sorted(paths(list(itertools.islice(result, 2)))) == ["/4", "/5"]
    for number in range(6, 9):
        assert rotation.rotate(logs.parent, max_bytes=1) == ("access.log",)
        write(log, line(f"/{number}"))
        assert next(result).path == f"/{number}"
    held = [str(f.readlink()) for f in Path("/proc/self/fd").iterdir() if f.is_symlink()]
    assert len([f for f in held if f.startswith(str(logs))]) == 2


def test_a_truncated_log_is_read_from_its_beginning(logs: Path) -> None:
    log = logs / "access.log"
    write(log, line("/1"))
    with log.open("rb") as f:
        growing = access._Growing(f, log.stat().st_size)
        log.write_text("x\n")
        assert growing.lines() == [b"x", b""]


def test_a_log_that_does_not_exist_yet_is_followed(logs: Path) -> None:
    result = following(AccessLog(logs, "shop"))
    (logs / "access.log").write_text(line("/1") + "\n")
    assert next(result).path == "/1"
