"""The page of the shop of `pushrod new` in a real browser, the same for every stack."""

import contextlib
import os
import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from playwright.sync_api import Page, expect, sync_playwright

from devtools import apps
from devtools.apps import App
from devtools.shop import LONGEST, PASSWORD

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or ""
FLAGS = (
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update"),
)
DESKTOP, PHONE = (1280, 860), (390, 844)
PATIENCE = 20_000  # milliseconds for anything on the page, on a busy machine


class Visit(NamedTuple):
    """An open page, and the messages of its console."""

    page: Page
    console: list[str]


@contextlib.contextmanager
def visits(url: str) -> Iterator[Callable[..., Visit]]:
    """A browser; what is yielded opens the page for a new visitor."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS))

        def opened(size: tuple[int, int] = DESKTOP) -> Visit:
            context = browser.new_context(viewport={"width": size[0], "height": size[1]})
            context.set_default_timeout(PATIENCE)
            page, messages = context.new_page(), list[str]()
            page.on(
                "console",
                lambda message: messages.append(
                    f"{message.type}: {message.text} ({message.location.get('url')})"
                ),
            )
            page.on("pageerror", lambda error: messages.append(str(error)))
            page.goto(url)
            return Visit(page, messages)

        expect.set_options(timeout=PATIENCE)
        yield opened
        browser.close()


def put_in(page: Page, *names: str) -> None:
    """Put products into the basket."""
    for name in names:
        page.get_by_role("button", name=f"Add {name} to the basket").click()


def enter(page: Page, email: str, button: str) -> None:
    """Fill in the open dialog."""
    page.get_by_label("E-mail").fill(email)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("dialog").get_by_role("button", name=button).click()
    expect(page.get_by_role("dialog")).to_be_hidden()


def screenshot(page: Page, name: str) -> None:
    """Save a picture of the page, if pictures are requested."""
    if directory := os.environ.get("PUSHROD_SCREENSHOTS"):
        page.mouse.move(0, 0)
        page.screenshot(path=Path(directory) / f"{name}.png", animations="disabled")


STATUSES_SEEN = """() => {
    window.seen = [];
    const look = () => {
        const status = document.querySelector(".order")?.dataset.status;
        if (status && window.seen.at(-1) !== status) window.seen.push(status);
    };
    new MutationObserver(look).observe(document.getElementById("order-list"), {childList: true, subtree: true});
}"""


def buy_across_a_push(shop: App, visit: Visit, greeting: str) -> None:
    """Buy as a new user before, while and after the work tree's commit goes live, which then has that greeting."""
    page, console = visit
    page.evaluate(STATUSES_SEEN)
    put_in(page, "Walnut desk", "Enamel mug", "Enamel mug")
    expect(page.locator("#total")).to_have_text("€518.00")
    page.get_by_role("button", name="Place the order").click()
    enter(page, "ada@example.com", "Create an account")
    expect(page.get_by_text("Nothing in it yet.")).to_be_visible()
    put_in(page, "Reading lamp")
    expect(page.locator(".order:not([data-status=placed]):not([data-status=paid])")).to_have_count(1)
    screenshot(page, "shop")
    expect(page.locator(".order[data-status=shipped]")).to_have_count(1)
    assert page.evaluate("window.seen") == ["placed", "paid", "packed", "shipped"]

    pushed: list[apps.Done] = []
    push = threading.Thread(target=lambda: pushed.append(shop.tree.push(timeout=LONGEST)))
    push.start()
    ordered = 0
    while push.is_alive() and ordered < 3:  # an order before, during, and after the moment of the switch
        page.get_by_role("button", name="Place the order").click()
        ordered += 1
        expect(page.locator(".order")).to_have_count(1 + ordered)
        put_in(page, "Reading lamp")
    while push.is_alive():
        page.wait_for_timeout(100)
    push.join()
    assert pushed[0].ok, pushed[0].err
    assert ordered
    expect(page.locator("#release")).to_have_text(greeting)
    expect(page.locator(".order[data-status=shipped]")).to_have_count(1 + ordered)

    page.reload()
    expect(page.locator("#who")).to_have_text("ada@example.com")
    expect(page.locator("#lines .name")).to_have_text(["Reading lamp"])
    expect(page.locator(".order")).to_have_count(1 + ordered)
    assert console == []
