"""Real webhooks receive notices of deployments, after the push and never within it."""

from pathlib import Path

import pytest

from devtools import apps
from devtools.apps import App, Machine
from pushrod.system.waits import wait_until
from tests.unit.observe.webhooks import Webhook, listening

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def app(machine: Machine) -> App:
    compose = apps.manifest() + "x-pushrod: {notify: [HOOK]}\n"
    return machine.app("shop", {**apps.FILES, "compose.yaml": compose})


def states(webhook: Webhook) -> list[tuple[str, str]]:
    return [(notice["state"], notice["release"]) for notice in webhook.notices]


def test_a_push_does_not_wait_for_a_webhook_that_hangs(app: App) -> None:
    with listening() as webhook:
        app.machine.must("host", "notify", "add", "team", "-", stdin=f"{webhook.url}\n")
        webhook.opened.clear()
        app.push_change(version="2")
        assert webhook.asked.wait(60)
        assert webhook.notices == []  # the push is over, and the webhook has not answered yet
        webhook.opened.set()
        assert wait_until(lambda: bool(webhook.notices), 60)
        (notice,) = webhook.notices
        assert (notice["kind"], notice["app"], notice["state"]) == ("deployment", "shop", "live")
        assert (notice["commit"], notice["release"]) == (app.branch(), str(app.live))
        assert notice["by"] and float(notice["seconds"]) > 0
        commit = app.tree.commit({"app.py": "raise SystemExit(3)\n"}, "broken")
        assert not app.tree.push().ok
        assert wait_until(lambda: len(webhook.notices) == 2, 60)
        assert (webhook.notices[1]["state"], webhook.notices[1]["commit"]) == ("failed", commit)
        assert webhook.notices[1]["why"]
    app.machine.must("host", "notify", "remove", "team")
    app.restore()


def test_an_apps_own_webhook_is_reached_over_tls_if_the_owner_allows_its_server(
    app: App, certificate: Path
) -> None:
    with listening(certificate) as webhook:
        app.must("secret", "set", "HOOK", "-", "--app", "shop", stdin=webhook.url)
        app.push_change(version="3")
        assert wait_until(lambda: "not on the Internet" in app.machine.must("host", "notify", "list"), 60)
        assert webhook.notices == []
        server = webhook.url.split("/")[2]
        app.machine.must("apps", "allow", "shop", f"notify:{server}")

        def announced() -> bool:
            app.machine.pushrod("host", "notify", "check", SSL_CERT_FILE=str(certificate))
            return ("live", str(app.live)) in states(
                webhook
            )  # after what waited since the variable was named

        assert wait_until(announced, 60)
        assert app.machine.json("host", "notify", "list") == []
        assert "could not be reached" not in app.machine.must("host", "notify", "list")
