"""What waits is delivered in order, retried, recorded, and given up after a day."""

import msgspec
import pytest

from pushrod.adapters import channels
from pushrod.core.errors import HostError
from pushrod.core.times import now
from pushrod.observe import outbox as outbox_module
from pushrod.observe.outbox import Notice, Outbox, named_by
from pushrod.observe.recipients import Recipient, Recipients
from pushrod.state.apps import App, Root
from pushrod.state.releases import Releases
from pushrod.state.secrets import Secrets
from pushrod.system import files, locks, signals
from tests.unit import samples
from tests.unit.observe.webhooks import Webhook


def facts(detail: str) -> dict[str, str]:
    return {"state": "live", "what": "app shop", "detail": detail, "text": detail}


def details(webhook: Webhook) -> list[str]:
    return [notice["detail"] for notice in webhook.notices]


@pytest.fixture
def outbox(root: Root, webhook: Webhook) -> Outbox:
    Recipients(root).add(Recipient("team", webhook.url))
    return Outbox(root)


def test_everybody_who_is_told_of_an_app_gets_a_notice(root: Root, outbox: Outbox, webhook: Webhook) -> None:
    Recipients(root).add(Recipient("blog-team", webhook.url, apps=("blog",)))
    assert [outbox.put(facts("1"), "shop"), outbox.put(facts("2"), "blog"), outbox.put(facts("3"))] == [
        1,
        2,
        1,
    ]
    assert outbox.deliver() == []
    assert details(webhook) == ["1", "2", "2", "3"]
    assert outbox.waiting() == []


def test_after_a_failure_the_rest_waits_in_order(root: Root, outbox: Outbox, webhook: Webhook) -> None:
    webhook.status = 503
    for detail in ("1", "2", "3"):
        outbox.put(facts(detail))
    assert len(outbox.deliver()) == 1
    assert [(n.tries, "503" in n.problem) for n in outbox.waiting()] == [(1, True), (0, False), (0, False)]
    webhook.status = 200
    assert outbox.deliver() == []
    assert details(webhook) == ["1", "2", "3"]
    assert [bool(sent.problem) for sent in outbox.deliveries()] == [True, False, False, False]


def test_one_that_fails_does_not_stop_others(root: Root, outbox: Outbox, webhook: Webhook) -> None:
    Recipients(root).add(Recipient("gone", "http://127.0.0.1:1/x"))
    outbox.put(facts("1"))
    (problem,) = outbox.deliver()
    assert isinstance(problem, HostError)
    assert details(webhook) == ["1"]
    assert [n.recipient for n in outbox.waiting()] == ["gone"]


def test_it_is_given_up_after_a_day(root: Root, outbox: Outbox, webhook: Webhook) -> None:
    webhook.status = 503
    outbox.put(facts("1"))
    old = msgspec.structs.replace(outbox.waiting()[0], at="2026-01-01T00:00:00.000+00:00")
    (root.path / "alarm" / "waiting.json").write_bytes(msgspec.json.encode([old]))
    assert len(outbox.deliver()) == 1
    assert outbox.waiting() == []
    assert "503" in outbox.deliveries()[-1].problem


def test_no_more_than_fifty_wait_for_one(outbox: Outbox) -> None:
    for number in range(60):
        outbox.put(facts(str(number)))
    assert [n.facts["detail"] for n in outbox.waiting()] == [str(n) for n in range(10, 60)]


def test_what_was_for_a_removed_one_is_dropped(root: Root, outbox: Outbox, webhook: Webhook) -> None:
    outbox.put(facts("1"))
    Recipients(root).remove("team")
    assert (outbox.deliver(), outbox.waiting(), webhook.notices) == ([], [], [])


def test_an_apps_own_webhook(root: Root, app: App, webhook: Webhook) -> None:
    """Its server is this machine, which an app reaches only if the owner allows it; there it must speak TLS."""
    samples.make_live(app, 1)
    live = msgspec.structs.replace(Releases(app).read(1), notify=("HOOK",))
    path = app.state / "releases" / "1" / "release.json"
    path.write_bytes(msgspec.json.encode(live))
    assert named_by(app) == ("HOOK",)
    outbox = Outbox(root)
    assert outbox.put(facts("1"), app.name) == 1
    for value, why in ((None, "no value"), ("https://127.0.0.1:1/token", "not on the Internet")):
        if value:
            Secrets(app).store({"HOOK": value})
        (problem,) = outbox.deliver()
        assert why in problem.what
    (notice,) = outbox.waiting()
    assert (notice.recipient, notice.tries) == ("shop: HOOK", 2)
    assert all("token" not in p.read_text() for p in (root.path / "alarm").iterdir())
    assert isinstance(notice, Notice)


@pytest.mark.slow
def test_a_recipient_that_never_answers_is_given_up(
    outbox: Outbox, webhook: Webhook, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbox_module, "_SENDING", 0.3)
    webhook.opened.clear()
    outbox.put(facts("1"))
    with signals.handled():
        (problem,) = outbox.deliver()
    assert "taken longer" in problem.what
    assert [n.tries for n in outbox.waiting()] == [1]


def test_what_another_process_sends_is_left_to_it(root: Root, outbox: Outbox, webhook: Webhook) -> None:
    outbox.put(facts("1"))
    with locks.lock(root.path / "alarm" / "sending", purpose="sending", timeout=0):
        assert outbox.deliver() == []
    assert (len(outbox.waiting()), webhook.notices) == (1, [])


def test_what_nobody_expected_of_one_notice_does_not_stop_the_others(
    root: Root, outbox: Outbox, webhook: Webhook, monkeypatch: pytest.MonkeyPatch
) -> None:
    def send(target: str, facts: dict[str, str], style: str) -> None:
        raise UnicodeEncodeError("utf-8", "x", 0, 1, "a commit's subject")

    outbox.put(facts("1"))
    outbox.put(facts("2"))
    with monkeypatch.context() as patched:
        patched.setattr(channels, "send", send)
        (problem,) = outbox.deliver()
    assert "UnicodeEncodeError" in problem.what
    assert [n.tries for n in outbox.waiting()] == [1, 0]
    assert outbox.deliver() == []


def test_the_machines_recipients_come_before_those_of_apps(root: Root, outbox: Outbox) -> None:
    """Whoever pushes decides how slow the latter are, and a run of the unit ends after some minutes. So those that
    failed come last, too."""
    waiting = [
        Notice("1", now(), "HOOK", facts("1"), "shop", tries=2),
        Notice("2", now(), "HOOK", facts("2"), "shop"),
        Notice("3", now(), "HOOK", facts("3"), "blog"),
        Notice("4", now(), "team", facts("4"), tries=9),
    ]
    assert [n.id for n in outbox_module._in_order(waiting, {})] == ["4", "3", "1", "2"]


def test_an_app_with_many_notices_and_slow_webhooks_does_not_delay_those_of_others(
    root: Root, outbox: Outbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each app has its turn, however many notices of another came before, even if all are accepted in the end."""
    sent: list[str] = []
    monkeypatch.setattr(Outbox, "_send", lambda _, notice: sent.append(notice.id))
    waiting = [Notice(f"slow {n}", now(), f"HOOK_{n % 5}", facts("1"), "slow") for n in range(9)]
    waiting += [Notice(f"shop {n}", now(), "HOOK", facts("1"), "shop") for n in range(2)]
    files.write(root.path / "alarm" / "waiting.json", msgspec.json.encode(waiting))
    assert outbox.deliver() == []
    assert sent[:4] == ["slow 0", "shop 0", "slow 1", "shop 1"]
    assert len(sent) == 11


def test_many_deployments_push_out_no_alarm(outbox: Outbox) -> None:
    outbox.put(facts("disk") | {"kind": "alarm"})
    for number in range(60):
        outbox.put(facts(str(number)) | {"kind": "deployment"})
    details = [n.facts["detail"] for n in outbox.waiting()]
    assert (len(details), details[0], details[-1]) == (50, "disk", "59")


def test_many_alarms_of_one_app_push_out_none_of_others(outbox: Outbox) -> None:
    outbox.put(facts("full") | {"kind": "alarm", "what": "disk"})
    for number in range(60):
        outbox.put(facts(str(number)) | {"kind": "alarm"})
    details = [n.facts["detail"] for n in outbox.waiting()]
    assert (len(details), details[0], details[1], details[-1]) == (50, "full", "11", "59")
