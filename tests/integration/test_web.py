"""The page in a real browser, on a real app: log in, watch a push, follow logs, roll back, scale, maintenance; a
viewer who may not, two people at once, a session that ends, a page that is killed; and what axe-core says of all.

PUSHROD_SCREENSHOTS=docs/images makes the README's pictures.
"""

import re
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from axe_playwright_python.base import AXE_SCRIPT
from playwright.sync_api import Browser, Page, expect, sync_playwright

from devtools.apps import PUSHROD, App, Machine, changed
from devtools.shop_page import CHROMIUM, DESKTOP, FLAGS, PATIENCE, PHONE, screenshot
from pushrod.web.actions import ACTIONS

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(not CHROMIUM, reason="no Chromium on this machine (Debian: chromium)"),
]

EXPECTED = re.compile("status of 40|ERR_CONNECTION_REFUSED|ERR_INCOMPLETE_CHUNKED_ENCODING")
"""What a browser says of a refusal, and of a page that was killed."""

LONG = 60_000  # milliseconds for a command that the page has started


class Served:
    """The page of `pushrod web`: its address, and the messages of its visitors' consoles."""

    def __init__(self, app: App) -> None:
        self.app = app
        self.messages: list[str] = []
        self.child, self.link = self._start(0)
        self.base = self.link.partition("/enter")[0]

    def _start(self, port: int) -> tuple["subprocess.Popen[str]", str]:
        argv = [*PUSHROD, "web", "--port", str(port), "--no-browser"]
        where, env = self.app.tree.path, self.app.machine.env
        child = subprocess.Popen(
            argv, cwd=where, env=env, stdout=subprocess.PIPE, text=True, start_new_session=True
        )
        assert child.stdout is not None
        return child, child.stdout.readline().strip()

    def kill(self) -> None:
        """As a power cut does."""
        self.child.kill()
        self.child.wait()

    def start_again(self) -> None:
        """On the same port, as systemd does."""
        self.child, _ = self._start(int(self.base.rpartition(":")[2]))

    def invited(self, name: str, role: str = "viewer") -> str:
        """A one-time link for somebody."""
        return self.base + self.app.must("web", "invite", name, "--app", "shop", "--role", role).strip()


@pytest.fixture(scope="module")
def app(machine: Machine) -> App:
    return machine.app("shop")


@pytest.fixture(scope="module")
def served(app: App) -> Iterator[Served]:
    """The page; at the end it is ended as by Ctrl-C."""
    made = Served(app)
    try:
        yield made
        made.child.terminate()
        assert made.child.wait(20) == 0
        assert "someone" not in (Path(app.machine.root) / "web" / "access.json").read_text()
    finally:
        made.kill()
    assert [m for m in made.messages if not EXPECTED.search(m)] == []


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        made = playwright.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS))
        expect.set_options(timeout=PATIENCE)
        yield made
        made.close()


def enter(browser: Browser, served: Served, link: str) -> Page:
    """Somebody with a browser of their own, logged in by a link."""
    context = browser.new_context(viewport={"width": DESKTOP[0], "height": DESKTOP[1]})
    context.set_default_timeout(PATIENCE)
    page = context.new_page()
    page.on("console", lambda message: served.messages.append(f"{message.type}: {message.text}"))
    page.on("pageerror", lambda error: served.messages.append(str(error)))
    page.goto(link)
    page.get_by_role("button", name="Log in").click()
    expect(page.get_by_role("heading", name="Apps")).to_be_visible()
    return page


@pytest.fixture(scope="module")
def owner(browser: Browser, served: Served) -> Page:
    """Who has run `pushrod web`."""
    return enter(browser, served, served.link)


@pytest.fixture(scope="module")
def colleague(browser: Browser, served: Served) -> Page:
    """Another owner of the app, in another browser."""
    return enter(browser, served, served.invited("grace", "owner"))


def act(page: Page, base: str, button: str, **fields: str) -> None:
    """Do something by its button, and wait until it is done."""
    page.goto(f"{base}/apps/shop")
    page.get_by_role("link", name=button).click()
    for label, value in fields.items():
        page.get_by_label(label).fill(value)
    page.get_by_role("button", name=button).click()
    expect(page.locator("main .card .badge")).to_have_text("done", timeout=LONG)


def test_a_push_is_watched_and_rolled_back(app: App, served: Served, owner: Page) -> None:
    owner.goto(f"{served.base}/apps/shop")
    expect(owner.locator(".title .badge")).to_have_text("live")

    owner.get_by_role("link", name="Live").click()
    expect(owner.locator("#stream-state")).to_have_text("following")
    logs = owner.context.new_page()
    logs.goto(f"{served.base}/apps/shop/logs?follow=1")
    expect(logs.locator("#stream-state")).to_have_text("following")
    app.tree.commit({"app.py": changed("two")}, "say <b>two</b>")
    push = threading.Thread(target=app.tree.push)
    push.start()
    expect(owner.locator(".shown.end", has_text="release 2 at")).to_be_visible(timeout=LONG)
    push.join()
    logs.close()
    expect(owner.locator(".shown.begin")).to_have_count(0)
    assert app.get().body == "two"

    owner.get_by_role("link", name="Releases").click()
    expect(owner.locator("tbody tr").first).to_contain_text("say <b>two</b>")
    owner.get_by_role("link", name="roll back").click()
    owner.get_by_role("button", name="Roll back").click()
    expect(owner.locator("main .card .badge")).to_have_text("done", timeout=LONG)
    expect(owner.locator(".out")).to_contain_text("release 1")
    assert app.get().body == "one"
    acts = {(act["what"], act["by"], act["result"]) for act in app.json("audit", "--key", "web")}
    assert any(what == "rollback" and result == "done" for what, _, result in acts)


def test_one_scales_and_closes_and_another_sees_it_and_opens(
    app: App, served: Served, owner: Page, colleague: Page
) -> None:
    colleague.goto(f"{served.base}/apps/shop/live")
    expect(colleague.locator("#stream-state")).to_have_text("following")
    act(owner, served.base, "Scale", Instances="2")
    expect(colleague.locator(".shown.end", has_text=re.compile("release .* at"))).to_be_visible()
    colleague.get_by_role("link", name="Overview").click()
    expect(colleague.get_by_role("rowheader", name=re.compile("^web-[12]$"))).to_have_count(2)
    colleague.set_viewport_size({"width": PHONE[0], "height": PHONE[1]})
    assert colleague.evaluate("document.scrollingElement.scrollWidth <= innerWidth"), "wider than the phone"
    screenshot(colleague, "web-phone")

    act(owner, served.base, "Close for maintenance")
    assert app.get().status == 503
    colleague.reload()
    expect(colleague.locator(".title .badge")).to_have_text("maintenance")
    act(colleague, served.base, "Open again")
    assert app.get().status == 200
    owner.goto(f"{served.base}/apps/shop")
    expect(owner.locator(".title .badge")).to_have_text("live")
    acts = {(act["what"], act["by"]) for act in app.json("audit", "--key", "web")}
    assert ("maintenance off", "grace") in acts
    assert {"scale", "maintenance on"} <= {what for what, by in acts if by != "grace"}


def test_a_viewer_only_looks_until_the_session_ends(app: App, served: Served, browser: Browser) -> None:
    viewer = enter(browser, served, served.invited("vera"))
    viewer.goto(f"{served.base}/apps/shop")
    expect(viewer.get_by_role("heading", name="Live")).to_be_visible()
    expect(viewer.get_by_role("link", name=re.compile("Roll back|Restart"))).to_have_count(0)
    refused = viewer.goto(f"{served.base}/apps/shop/do/rollback")
    assert refused is not None
    assert refused.status == 403
    viewer.goto(f"{served.base}/apps/shop/live")
    expect(viewer.locator("#stream-state")).to_have_text("following")
    app.must("web", "remove", "vera")

    walter = enter(browser, served, served.invited("walter", "deployer"))
    form = walter.context.new_page()
    form.goto(f"{served.base}/apps/shop/do/restart")
    before = app.live
    walter.get_by_role("button", name="Log out").click()
    expect(walter.get_by_role("heading", name="Logged out")).to_be_visible()
    form.get_by_role("button", name="Restart").click()
    expect(form.get_by_role("heading", name="Log in")).to_be_visible()
    assert app.live == before

    expect(viewer.locator("#stream-state")).to_have_text("logged out", timeout=LONG)
    viewer.get_by_role("link", name="Releases").click()
    expect(viewer.get_by_role("heading", name="Log in")).to_be_visible()


def test_a_page_that_is_killed_comes_back_with_its_visitors(
    app: App, served: Served, owner: Page, colleague: Page
) -> None:
    owner.goto(f"{served.base}/apps/shop/live")
    expect(owner.locator("#stream-state")).to_have_text("following")
    served.kill()
    expect(owner.locator("#stream-state")).to_have_text("connection lost; trying again")
    served.start_again()
    expect(owner.locator("#stream-state")).to_have_text("following")
    app.tree.commit({"app.py": changed("three")}, "Say three")
    push = app.tree.pushing()
    expect(owner.locator(".shown.end", has_text="tag release/")).to_be_visible(timeout=LONG)
    assert push.done().ok
    screenshot(owner, "web-live")
    colleague.goto(f"{served.base}/apps/shop")
    expect(colleague.locator(".title .badge")).to_have_text("live")


def pages(app: App, served: Served, owner: Page) -> list[str]:
    """The paths of all pages."""
    owner.goto(f"{served.base}/apps/shop")
    run = owner.locator("a[href*='/runs/']")
    runs = [str(one.get_attribute("href")) for one in run.all()[:1]]
    tabs = ("", "/live", "/releases", f"/releases/{app.live}", "/logs", "/requests", "/data", "/plan")
    actions = [f"/do/{name}" for name in ACTIONS]
    return ["/", "/enter?link=x", "/nothing", *runs, *(f"/apps/shop{path}" for path in (*tabs, *actions))]


def serious(page: Page, **options: object) -> list[str]:
    """What axe-core, which is on the page, finds there that keeps people from using it."""
    results = page.evaluate("(options) => axe.run(options)", {"resultTypes": ["violations"], **options})
    return [
        f"{page.url} {one['id']}: {node['target']} {node['html'][:150]}"
        for one in results["violations"]
        if one["impact"] in ("serious", "critical")
        for node in one["nodes"]
    ]


@pytest.mark.long
def test_axe_finds_nothing_serious_on_any_page(app: App, served: Served, owner: Page) -> None:
    """In both colour schemes."""
    act(owner, served.base, "Restart")
    everything = pages(app, served, owner)
    assert any("/runs/" in path for path in everything)
    wrong = []
    for path in everything:
        owner.emulate_media(color_scheme="light")
        owner.goto(served.base + path)
        owner.evaluate(AXE_SCRIPT)
        wrong += serious(owner)
        owner.emulate_media(color_scheme="dark")
        wrong += serious(owner, runOnly=["color-contrast"])
    assert wrong == []
    owner.evaluate("document.querySelector('main').innerHTML += '<img src=/static/icon.svg>'")
    assert any("image-alt" in one for one in serious(owner))  # what is wrong is seen
