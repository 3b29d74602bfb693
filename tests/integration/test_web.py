"""The page in a real browser, on a real app: log in, watch a push, follow logs, roll back, a viewer who may not."""

import re
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from devtools.apps import PUSHROD, App, Machine, changed
from devtools.shop_page import CHROMIUM, DESKTOP, FLAGS, PATIENCE, screenshot

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(not CHROMIUM, reason="no Chromium on this machine (Debian: chromium)"),
]


@pytest.fixture(scope="module")
def app(machine: Machine) -> App:
    return machine.app("shop")


@pytest.fixture
def link(app: App) -> Iterator[str]:
    """The link that `pushrod web` prints; at the end the page is ended as by Ctrl-C."""
    argv = [*PUSHROD, "web", "--port", "0", "--no-browser"]
    child = subprocess.Popen(
        argv,
        cwd=app.tree.path,
        env=app.machine.env,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        assert child.stdout is not None
        yield child.stdout.readline().strip()
        child.terminate()
        assert child.wait(20) == 0
        assert "someone" not in (Path(app.machine.root) / "web" / "access.json").read_text()
    finally:
        child.kill()
        child.wait()


@pytest.fixture
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        made = playwright.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS))
        expect.set_options(timeout=PATIENCE)
        yield made
        made.close()


def enter(browser: Browser, link: str, messages: list[str]) -> Page:
    """Somebody with a browser of their own, logged in by a link."""
    context = browser.new_context(viewport={"width": DESKTOP[0], "height": DESKTOP[1]})
    context.set_default_timeout(PATIENCE)
    page = context.new_page()
    page.on("console", lambda message: messages.append(f"{message.type}: {message.text}"))
    page.on("pageerror", lambda error: messages.append(str(error)))
    page.goto(link)
    page.get_by_role("button", name="Log in").click()
    expect(page.get_by_role("heading", name="Apps")).to_be_visible()
    return page


def test_a_push_is_watched_and_rolled_back_and_a_viewer_only_looks(
    app: App, link: str, browser: Browser
) -> None:
    messages: list[str] = []
    page = enter(browser, link, messages)
    base = link.partition("/enter")[0]
    page.get_by_role("link", name="shop").click()
    expect(page.locator(".title .badge")).to_have_text("live")

    page.get_by_role("link", name="Live").click()
    expect(page.locator("#stream-state")).to_have_text("following")
    logs = page.context.new_page()
    logs.goto(f"{base}/apps/shop/logs?follow=1")
    expect(logs.locator("#stream-state")).to_have_text("following")
    app.tree.commit({"app.py": changed("two")}, "say <b>two</b>")
    push = threading.Thread(target=app.tree.push)
    push.start()
    expect(page.locator(".shown.end", has_text="release 2 at")).to_be_visible(timeout=60_000)
    push.join()
    expect(page.locator(".shown.begin")).to_have_count(0)
    screenshot(page, "web-live")
    assert app.get().body == "two"

    page.get_by_role("link", name="Releases").click()
    expect(page.locator("tbody tr").first).to_contain_text("say <b>two</b>")
    page.get_by_role("link", name="roll back").click()
    page.get_by_role("button", name="Roll back").click()
    expect(page.locator("main .card .badge")).to_have_text("done", timeout=60_000)
    expect(page.locator(".out")).to_contain_text("release 1")
    assert app.get().body == "one"

    invited = app.must("web", "invite", "vera", "--app", "shop").strip()
    viewer = enter(browser, base + invited, messages)
    viewer.goto(f"{base}/apps/shop")
    expect(viewer.get_by_role("heading", name="Live")).to_be_visible()
    expect(viewer.get_by_role("link", name=re.compile("Roll back|Restart"))).to_have_count(0)
    refused = viewer.goto(f"{base}/apps/shop/do/rollback")
    assert refused is not None
    assert refused.status == 403
    app.must("web", "remove", "vera")
    viewer.reload()
    expect(viewer.get_by_role("heading", name="Log in")).to_be_visible()
    assert [m for m in messages if "status of 40" not in m] == []
    acts = {(act["what"], act["by"], act["result"]) for act in app.json("audit", "--key", "web")}
    assert any(what == "rollback" and result == "done" for what, _, result in acts)
