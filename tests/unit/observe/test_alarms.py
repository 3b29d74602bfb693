"""What becomes an alarm, when it is sent, and what happens when it cannot be."""

import stat
from pathlib import Path

import msgspec
import pytest

from pushrod.core.errors import HostError
from pushrod.core.values import Diagnostic
from pushrod.observe import outbox
from pushrod.observe.alarms import Alarm, Open, compare, messages
from pushrod.state.apps import Root
from tests.unit.observe.webhooks import Webhook

DISK = Diagnostic("disk", "warning", "400 MB free at /", "free some space")
LESS = Diagnostic("disk", "warning", "350 MB free at /", "free some space")
LATE = Diagnostic("app shop", "broken", "the last copy failed", "try again")
FINE = Diagnostic("app blog", "ok", "release 1, 2 processes run")


@pytest.fixture
def alarm(tmp_path: Path, webhook: Webhook) -> Alarm:
    made = Alarm(Root(tmp_path))
    made.set(webhook.url)
    return made


def test_what_two_checks_have_seen_is_told_once_and_its_end_too(alarm: Alarm, webhook: Webhook) -> None:
    assert alarm.check([DISK, FINE]) == []
    assert webhook.notices == []
    for problems in ([LESS], [LESS, LATE], [DISK, LATE], [LATE]):
        assert alarm.check(problems) == []
    assert webhook.states() == [("wrong", "disk"), ("wrong", "app shop"), ("over", "disk")]
    assert {*webhook.notices[0]} == {"kind", "host", "state", "what", "detail", "remedy", "since", "text"}
    assert [o.what for o in alarm.open()] == ["app shop"]


def test_what_is_over_before_it_was_told_is_not_told(alarm: Alarm, webhook: Webhook) -> None:
    for problems in ([DISK], [], [DISK], []):
        alarm.check(problems)
    assert (webhook.notices, alarm.open()) == ([], [])


@pytest.mark.parametrize("status", [500, 404, 302])
def test_what_cannot_be_delivered_is_recorded_and_tried_again(
    alarm: Alarm, webhook: Webhook, tmp_path: Path, status: int
) -> None:
    webhook.status = status
    alarm.check([LATE])
    (problem,) = alarm.check([LATE])
    assert (problem.exit_code, "secret" in f"{problem.what}{problem.where}") == (10, False)
    (diagnostic,) = alarm.examine()
    assert (diagnostic.state, str(status) in diagnostic.detail) == ("broken", True)
    webhook.status = 200
    assert alarm.check([LATE]) == []
    assert webhook.states() == [("wrong", "app shop")]
    assert list(alarm.examine()) == []
    assert [bool(d.problem) for d in outbox.Outbox(Root(tmp_path)).deliveries()] == [True, False]


def test_a_server_that_is_gone(alarm: Alarm, webhook: Webhook) -> None:
    alarm.set("http://127.0.0.1:1/hook")
    with pytest.raises(HostError, match="cannot be reached"):
        alarm.test()


def test_a_test_says_whether_it_was_accepted(alarm: Alarm, webhook: Webhook) -> None:
    alarm.test()
    assert webhook.states() == [("test", "test")]
    webhook.status = 403
    with pytest.raises(HostError, match="answers 403"):
        alarm.test()
    alarm.set("")
    with pytest.raises(HostError, match="no alarm is set"):
        alarm.test()


def test_it_is_told_again_every_day() -> None:
    long_ago = "2026-01-01T00:00:00.000+00:00"
    (known,) = compare([], [LATE], long_ago)
    (known,) = compare([known], [LATE], long_ago)
    reported = msgspec.structs.replace(known, sent=long_ago)
    assert [m.state for m in messages([known])] == ["wrong"]
    assert [m.state for m in messages([reported])] == ["still wrong"]
    ahead = msgspec.structs.replace(
        known, sent="2199-01-01T00:00:00.000+00:00"
    )  # the clock was set back since
    assert [m.state for m in messages([ahead])] == ["still wrong"]


def test_without_a_target_what_is_wrong_is_still_listed(tmp_path: Path) -> None:
    alarm = Alarm(Root(tmp_path))
    for _ in range(2):
        assert alarm.check([LATE]) == []
    assert [(o.what, o.sent) for o in alarm.open()] == [("app shop", "")]


def test_the_target_may_be_a_secret(alarm: Alarm, tmp_path: Path) -> None:
    assert stat.S_IMODE((tmp_path / "alarm" / "targets.json").stat().st_mode) == 0o600
    alarm.check([LATE])
    alarm.check([LATE])
    others = [p for p in (tmp_path / "alarm").iterdir() if p.name != "targets.json"]
    assert all(b"secret" not in p.read_bytes() for p in others)
    assert isinstance(alarm.open()[0], Open)
