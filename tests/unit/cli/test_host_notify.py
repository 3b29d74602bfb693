"""host notify: its verbs, on a root of the embedded engine."""

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from pushrod.cli import announcing, cli
from pushrod.core.errors import HostError, UnknownNameError
from pushrod.core.times import now
from pushrod.observe import announcements
from pushrod.observe.outbox import Outbox
from pushrod.observe.recipients import Recipient, Recipients
from pushrod.state.apps import App, Root
from pushrod.state.journal import Journal
from pushrod.system import processes, waits
from tests.unit.observe.webhooks import Webhook, listening


def run(root: Root, *argv: str, stdin: str = "") -> Result:
    return CliRunner().invoke(
        cli,
        ["--root", str(root.path), "host", "notify", *argv],
        input=stdin,
        catch_exceptions=False,
        standalone_mode=False,
    )


def test_the_verbs(root: Root, app: App) -> None:
    assert run(root, "list").output.startswith("nobody;")
    with listening() as webhook:
        assert "secret" not in run(root, "add", "team", "-", stdin=f"{webhook.url}\n").output
        assert "accepted" in run(root, "test").output
        assert [n["kind"] for n in webhook.notices] == ["alarm"]
        with pytest.raises(UnknownNameError, match="no recipient is called `x`"):
            run(root, "test", "x")
        journal = Journal(app.journal)
        journal.append("prepare", 1, commit="c" * 40)
        journal.append("live", 1)
        run(root, "check")
        assert [n["kind"] for n in webhook.notices] == ["alarm", "deployment"]
        webhook.status = 500
        with pytest.raises(HostError, match="answers 500"):
            run(root, "test", "team")
    (row,) = json.loads(run(root, "list", "--json").output)
    assert (row["name"], row["waiting"], "secret" in row["target"]) == ("team", 0, False)
    run(root, "remove", "team")
    with pytest.raises(UnknownNameError):
        run(root, "remove", "team")


def test_an_app_that_is_not_there(root: Root) -> None:
    with pytest.raises(UnknownNameError, match="no app `blog`"):
        run(root, "add", "team", "mailto:ann@example.com", "--app", "blog")


def test_a_known_service_gets_its_style(root: Root) -> None:
    run(root, "add", "chat", "https://hooks.slack.com/services/x")
    run(root, "add", "other", "https://chat.example.com/hooks/x", "--style", "slack")
    assert [one.style for one in Recipients(root).all()] == ["slack", "slack"]


def test_announcing_starts_where_there_is_a_recipient(
    root: Root, app: App, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    started: list[list[str]] = []
    monkeypatch.setattr(processes, "start_apart", lambda argv, _env: started.append(argv))
    announcing.announce(app, now())
    assert started == []
    run(root, "add", "team", "mailto:ann@example.com")
    announcing.announce(app, now())
    assert [argv[0] for argv in started] == [sys.executable]
    root.host_settings_path.write_text("{}")
    announcing.announce(app, now())
    assert len(started) == 1
    assert (root.path / "alarm" / announcing.DUE).exists()


@pytest.mark.slow
def test_a_webhook_that_hangs_holds_nobody(root: Root, app: App) -> None:
    """The process that tells waits alone."""
    webhook: Webhook
    with listening() as webhook:
        webhook.opened.clear()
        run(root, "add", "team", webhook.url)
        journal = Journal(app.journal)
        journal.append("prepare", 1, commit="c" * 40)
        journal.append("live", 1)
        announcing.announce(app, now())
        assert webhook.asked.wait(60)
        assert webhook.notices == []


def test_the_first_deployment_that_names_a_recipient_is_announced(
    root: Root, app: App, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "start_apart", lambda _argv, _env: None)
    began = now()
    # Times have milliseconds, and no deployment takes less than one.
    assert waits.wait_until(lambda: now() > began, 10, 0.001)
    journal = Journal(app.journal)
    journal.append("prepare", 1, commit="c" * 40)
    journal.append("live", 1)
    Recipients(root).add(Recipient("team", "http://127.0.0.1:1/x"))  # as the release that is live now does
    announcing.announce(app, began)
    announcements.collect(root)
    assert [notice.facts["release"] for notice in Outbox(root).waiting()] == ["1"]


def test_trying_again_ends_when_another_process_has_delivered(
    root: Root, app: App, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(root, "add", "team", "http://127.0.0.1:1/x")
    Outbox(root).put({"text": "x"}, "shop")
    asked: list[float] = []

    def wait_until(condition: Callable[[], bool], seconds: float, _interval: float) -> bool:
        asked.append(seconds)
        if len(asked) == 2:
            (root.path / "alarm" / "waiting.json").write_text("[]")
        return condition()

    monkeypatch.setattr(waits, "wait_until", wait_until)
    assert run(root, "check", "--retry").exit_code == 0
    assert asked == [15.0, 60.0]
    assert len(Outbox(root).deliveries()) == 2
