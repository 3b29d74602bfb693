"""Requests by intervals, from the edge's log and its renamed predecessors."""

import datetime
import json
from pathlib import Path

import pytest

from pushrod.observe import traffic

NOW = datetime.datetime(2026, 1, 1, 12, 0, tzinfo=datetime.UTC).timestamp()


def line(ago: float, status: int = 200, seconds: float = 0.01, app: str = "shop") -> str:
    at = datetime.datetime.fromtimestamp(NOW - ago, datetime.UTC).isoformat()
    return json.dumps(
        {"time": at, "app": app, "status": status, "seconds": seconds, "path": "/"}, separators=(",", ":")
    )


def write(path: Path, *lines: str) -> Path:
    path.write_text("".join(f"{text}\n" for text in lines))
    return path


def test_requests_are_counted_by_interval_and_class(tmp_path: Path) -> None:
    log = write(
        tmp_path / "access.log",
        *(line(30), line(30, 404), line(30, 503), line(90, seconds=0.5), line(1000), line(-5)),
        *(line(30, app="blog"), "not JSON", '{"app":"shop","time":"never"}', '{"app":"shop","status":"x"}'),
    )
    write(tmp_path / "access.log.1", line(90, 500))
    result = traffic.of(log, "shop", until=NOW, length=60, count=3)
    assert [(i.requests, i.client_errors, i.server_errors) for i in result.intervals] == [
        (0, 0, 0),
        (2, 0, 1),
        (3, 1, 1),
    ]
    assert result.intervals[1].p99 == 0.5
    assert (result.total.requests, result.total.server_errors) == (5, 2)


def test_quantiles_are_of_the_interval(tmp_path: Path) -> None:
    log = write(tmp_path / "access.log", *(line(30, seconds=n / 100) for n in range(100)))
    (one,) = traffic.of(log, "shop", until=NOW, length=60, count=1).intervals
    assert (one.p50, one.p95, one.p99) == (0.5, 0.95, 0.99)


def test_only_the_end_of_a_large_log_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = write(tmp_path / "access.log", *(line(30) for _ in range(100)))
    write(tmp_path / "access.log.1", line(30))
    monkeypatch.setattr(traffic, "MOST", 10 * len(line(30)))
    assert 8 <= traffic.of(log, "shop", until=NOW, length=60, count=1).total.requests <= 10


def test_without_a_log_there_are_no_requests(tmp_path: Path) -> None:
    assert traffic.of(tmp_path / "access.log", "shop", until=NOW, length=60, count=2).total.requests == 0
