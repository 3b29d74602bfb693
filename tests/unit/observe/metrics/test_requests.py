"""Requests are counted once each, whatever happens to the log in between."""

import json
from pathlib import Path

import pytest

from pushrod.observe.metrics import requests
from pushrod.observe.metrics.requests import BOUNDS, Counts, Key

APPS = {"shop": ("/api/v1", "/api", "/"), "blog": ("/",)}


def line(**fields: object) -> str:
    """A line as the edge logs it."""
    usual = {
        "time": "2026-11-22T10:00:00+00:00",
        "app": "shop",
        "release": 1,
        "method": "GET",
        "path": "/",
        "status": 200,
        "bytes": 10,
        "seconds": 0.003,
        "upstream": "127.0.0.1:1",
        "upstream_status": "200",
    }
    return json.dumps(usual | fields) + "\n"


def counted(counts: Counts) -> dict[Key, int]:
    return dict(counts.by_key())


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "access.log"
    path.write_text("")
    return path


def begin(log: Path) -> Counts:
    return requests.read_on(log, None, APPS)


def add(log: Path, *lines: str) -> None:
    with log.open("a") as file:
        file.writelines(lines)


def test_counting_begins_at_the_end_of_the_log(log: Path) -> None:
    add(log, line())
    counts = begin(log)
    assert counted(counts) == {}
    add(log, line())
    assert counted(requests.read_on(log, counts, APPS)) == {Key("shop", "/", "GET", "2xx"): 1}


def test_each_request_is_counted_once_over_many_runs(log: Path) -> None:
    counts = begin(log)
    for _ in range(3):
        add(log, line(), line(app="blog", status=503, upstream_status="502, 504", bytes=7))
        counts = requests.read_on(log, counts, APPS)
        counts = requests.read_on(log, counts, APPS)
    assert counted(counts) == {Key("shop", "/", "GET", "2xx"): 3, Key("blog", "/", "GET", "5xx"): 3}
    assert counts.upstream_errors == {"blog": 6}
    assert counts.sent == {"shop": 30, "blog": 21}
    assert counts.unread == 0


def test_an_incomplete_last_line_is_counted_once_it_is_complete(log: Path) -> None:
    counts = begin(log)
    add(log, line(), line()[:20])
    counts = requests.read_on(log, counts, APPS)
    assert counted(counts) == {Key("shop", "/", "GET", "2xx"): 1}
    assert counts.unread == 20
    add(log, line()[20:])
    assert counted(requests.read_on(log, counts, APPS)) == {Key("shop", "/", "GET", "2xx"): 2}


@pytest.mark.parametrize("times", [1, 2, 3])
def test_rotated_logs_are_read_to_their_end_first(log: Path, times: int) -> None:
    counts = begin(log)
    add(log, line())
    counts = requests.read_on(log, counts, APPS)
    for _ in range(times):
        add(log, line())
        for number in range(3, 0, -1):
            older = log.with_name(f"{log.name}.{number - 1}") if number > 1 else log
            if older.exists():
                older.replace(log.with_name(f"{log.name}.{number}"))
        log.write_text(line(path="/new"))
    counts = requests.read_on(log, counts, APPS)
    assert sum(counted(counts).values()) == 1 + 2 * times
    assert sum(counted(requests.read_on(log, counts, APPS)).values()) == 1 + 2 * times


def test_a_truncated_log_is_read_from_its_beginning(log: Path) -> None:
    counts = begin(log)
    add(log, line(), line(), line())
    counts = requests.read_on(log, counts, APPS)
    log.write_text(line())
    assert sum(counted(requests.read_on(log, counts, APPS)).values()) == 4


def test_a_run_reads_a_bounded_part_and_the_next_one_continues(log: Path) -> None:
    counts = begin(log)
    add(log, *(line() for _ in range(100)))
    size = log.stat().st_size
    counts = requests.read_on(log, counts, APPS, most=size // 3)
    first = sum(counted(counts).values())
    assert 0 < first < 100
    assert counts.unread > 0
    for _ in range(4):
        counts = requests.read_on(log, counts, APPS, most=size // 3)
    assert sum(counted(counts).values()) == 100


@pytest.mark.parametrize(
    ("path", "route"),
    [
        ("/", "/"),
        ("/api", "/api"),
        ("/api/v1/orders", "/api/v1"),
        ("/api/v12", "/api"),
        ("/apiary", "/"),
        ("", "/"),
        ("*", "/"),
    ],
)
def test_a_request_counts_for_the_route_that_it_matches(log: Path, path: str, route: str) -> None:
    counts = begin(log)
    add(log, line(path=path))
    assert counted(requests.read_on(log, counts, APPS)) == {Key("shop", route, "GET", "2xx"): 1}


def test_what_a_client_sends_adds_no_further_label_values(log: Path) -> None:
    counts = begin(log)
    add(log, *(line(method=f"M{n}", path=f"/{n}", status=n) for n in range(0, 1000, 7)))
    assert {(k.route, k.method) for k in counted(requests.read_on(log, counts, APPS))} == {("/", "other")}


@pytest.mark.parametrize(
    "bad",
    ["no JSON\n", "{}\n", '{"app": 5}\n', '{"app": "other", "status": 200}\n', "\x00\n", "[" * 900 + "\n"],
)
def test_an_unreadable_line_is_skipped(log: Path, bad: str) -> None:
    counts = begin(log)
    add(log, bad, line())
    assert counted(requests.read_on(log, counts, APPS)) == {Key("shop", "/", "GET", "2xx"): 1}


def test_a_line_longer_than_a_block_is_skipped(log: Path) -> None:
    counts = begin(log)
    add(log, "x" * (3 << 20) + "\n", line())
    assert sum(counted(requests.read_on(log, counts, APPS)).values()) == 1


def test_durations_fall_into_the_bucket_with_the_next_bound(log: Path) -> None:
    counts = begin(log)
    add(log, *(line(seconds=s) for s in (0.0, 0.005, 0.006, 31.0)))
    latency = requests.read_on(log, counts, APPS).latency["shop"]["/"]
    assert latency.buckets[:2] == [2, 1]
    assert latency.buckets[len(BOUNDS)] == 1
    assert latency.total == pytest.approx(31.011)


def test_counts_of_a_destroyed_app_are_dropped(log: Path) -> None:
    counts = begin(log)
    add(log, line(), line(app="blog"))
    counts = requests.read_on(log, counts, APPS)
    counts = requests.read_on(log, counts, {"blog": ("/",)})
    assert counted(counts) == {Key("blog", "/", "GET", "2xx"): 1}
    assert "shop" not in counts.latency
    assert "shop" not in counts.sent


def test_a_missing_log_is_no_error(tmp_path: Path) -> None:
    counts = begin(tmp_path / "access.log")
    assert counted(requests.read_on(tmp_path / "access.log", counts, APPS)) == {}


def test_former_routes_are_dropped_once_there_are_too_many(
    log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each release may have other routes, and nothing of an app may grow without end."""
    monkeypatch.setattr(requests, "MOST_ROUTES", 3)
    counts = begin(log)
    for number in range(9):
        add(log, line(path=f"/{number}/x"), line())
        counts = requests.read_on(log, counts, {"shop": (f"/{number}/", "/"), "blog": ("/",)})
        assert len({key.route for key in counted(counts)}) <= 4
    assert counted(counts)[Key("shop", "/", "GET", "2xx")] == 9
    assert counted(counts)[Key("shop", "/8/", "GET", "2xx")] == 1
