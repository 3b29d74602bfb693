"""Which failures of a load are excused, and that no others are; and how its tables count."""

import json
import re

import pytest

from devtools import no_drop
from devtools.load import Failure, Figures, Report, delivery
from devtools.no_drop import Instance, Killed, Row

VICTIM = Instance("127.0.0.1:20001/aaaa", 7)
KILLED = Killed(VICTIM, 1010.0, 1012.0)


def figures(sent: int, **failures: int) -> Figures:
    kinds = {kind.replace("_", " "): n for kind, n in failures.items()}
    failed = sum(n for kind, n in kinds.items() if kind != "unprocessed")
    return Figures(
        sent, sent - sum(kinds.values()), failed, kinds, {}, 0.001, 0.002, 0.003, 0.1, 0.0, {}, closed=2
    )


def report(*failures: Failure, **shapes: Figures) -> Report:
    """The report of a load that began at 1000 s by the machine's clock."""
    named = {name.replace("_", "/"): f for name, f in shapes.items()}
    total = figures(sum(f.sent for f in named.values()) or 10)
    for f in named.values():
        total.failures.update(f.failures)
    return Report(10, 20, 1000.0, 0, 0, 0, 0, named, {"http": total}, total, list(failures), ["r-1-post"], [])


def logged(identity: str, upstream: str, status: str = "502") -> str:
    return json.dumps(
        {"request": identity, "upstream": upstream, "upstream_status": status}, separators=(",", ":")
    )


def failure(
    kind: str, shape: str = "events", at: float = 10.5, instance: str = "", identity: str = ""
) -> Failure:
    return Failure(shape, 5, at, kind, "", instance, identity)


@pytest.mark.parametrize(
    "lost",
    [
        failure("truncated", "events/h2", instance=VICTIM.name),
        failure("cut", "websocket/tls", instance=VICTIM.name),
        failure("status 502", "post/h2", identity="there"),
        failure("status 502", "upload", identity="there"),
    ],
)
def test_failures_on_the_killed_instance_are_distinguished(lost: Failure) -> None:
    log = "\n".join([logged("there", VICTIM.address), "not JSON"])
    assert no_drop.spared(report(lost), KILLED, log) == (lost,)


@pytest.mark.parametrize(
    "dropped",
    [
        failure("truncated", instance="127.0.0.1:20002/bbbb"),
        failure("truncated", instance="127.0.0.1:20001/cccc"),  # its replacement
        failure("truncated"),
        failure("cut", "websocket", instance="127.0.0.1:20002/bbbb"),
        failure("reset", instance=VICTIM.name),
        failure("status 502", "keep", identity="there"),  # a GET can be retried with another instance
        failure("status 502", "post", identity="elsewhere"),
        failure("status 502", "post", identity="both"),
        failure("status 502", "post", identity="refused"),
        failure("status 502", "post", identity="nowhere"),
        failure("status 502", "post", at=9.9, identity="there"),
        failure("status 502", "post", at=12.1, identity="there"),
        failure("status 503", "post", identity="there"),
        failure("idle-close race", "post"),
        failure("time-out"),
    ],
)
def test_no_other_failure_is_excused(dropped: Failure) -> None:
    log = [
        logged("there", VICTIM.address),
        logged("elsewhere", "127.0.0.1:20002"),
        logged("both", f"{VICTIM.address}, 127.0.0.1:20002"),
        logged("refused", VICTIM.address, "503"),
    ]
    assert no_drop.spared(report(dropped), KILLED, "\n".join(log)) == ()


def test_a_row_is_clean_only_if_failures_are_excused_and_posts_stored_once() -> None:
    lost = failure("truncated", instance=VICTIM.name)
    of = report(lost, events=figures(10, truncated=1))
    good = delivery(of, ["r-1-post"])
    total = figures(10, truncated=1)
    of = Report(**{**vars(of), "total": total})
    assert Row("kill", of, good, (lost,)).clean
    assert not Row("kill", of, good).clean
    assert not Row("kill", of, delivery(of, ["r-1-post", "r-1-post"]), (lost,)).clean
    assert not Row("kill", of, delivery(of, []), (lost,)).clean


def test_the_tables_count_each_failure_once() -> None:
    lost = failure("truncated", "events/h2", instance=VICTIM.name)
    shapes = {
        "keep": figures(100, status_502=2, reset=1, time_out=1),
        "events/h2": figures(20, truncated=3, unprocessed=4),
    }
    total = figures(120, status_502=2, reset=1, time_out=1, truncated=3, unprocessed=4)
    of = Report(
        10,
        20,
        1000.0,
        0,
        0,
        0,
        0,
        shapes,
        {"http": shapes["keep"], "h2": shapes["events/h2"]},
        total,
        [lost],
        [],
        [],
    )
    row = Row("kill", of, delivery(of, []), (lost,))
    titles, step, whole = (re.split("  +", line) for line in no_drop.table([row]).splitlines())
    assert titles[:6] == ["step", "requests", "ended early", "failed", "non-2xx", "resets"]
    assert step[:12] == ["kill", *_words(120, 4, 6, 2, 1, 2, 1, 4, 1, 0, 0)]
    assert whole[1:12] == step[1:12]
    by_shape = {
        line.split()[0]: line.split()[1:12] for line in no_drop.table_by_shape([row]).splitlines()[1:3]
    }
    assert by_shape["keep"] == _words(100, 2, 4, 2, 1, 0, 1, 0, 0, 0, 0)
    assert by_shape["events/h2"] == _words(20, 2, 2, 0, 0, 2, 0, 4, 1, 0, 0)


def _words(*numbers: int) -> list[str]:
    return list(map(str, numbers))
