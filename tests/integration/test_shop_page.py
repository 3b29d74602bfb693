"""The page of a new repository in a real browser, through the edge, while a new release goes live.

PUSHROD_SCREENSHOTS=docs/images makes the README's pictures.
"""

import contextlib
import os
import re
import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from devtools import apps
from devtools.apps import App, Machine
from pushrod.cli import scaffold

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or ""
pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(not CHROMIUM, reason="no Chromium on this machine (Debian: chromium)"),
]
FLAGS = (
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update"),
)
DESKTOP, PHONE = (1280, 860), (390, 844)
PATIENCE = 20_000  # milliseconds for anything on the page, on a busy machine
PASSWORD = "correct horse battery"


@pytest.fixture(scope="module")
def shop(new_machine: Callable[[], Machine]) -> App:
    """The output of `pushrod new shop`, live."""
    machine = new_machine()
    for name in ("UV_OFFLINE", "UV_CACHE_DIR"):  # its dependencies come from this machine's usual source
        machine.env.pop(name)
    return machine.app("shop", scaffold.template_files("shop"))


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS))
        yield started
        started.close()


class Visit(NamedTuple):
    """An open page, and the messages of its console."""

    page: Page
    console: list[str]


@pytest.fixture
def visit(shop: App, browser: Browser) -> Iterator[Callable[..., Visit]]:
    """Opens the shop for a new visitor."""
    with contextlib.ExitStack() as stack:

        def opened(size: tuple[int, int] = DESKTOP) -> Visit:
            context = browser.new_context(viewport={"width": size[0], "height": size[1]})
            stack.callback(context.close)
            context.set_default_timeout(PATIENCE)
            page, said = context.new_page(), []
            page.on(
                "console",
                lambda message: said.append(
                    f"{message.type}: {message.text} ({message.location.get('url')})"
                ),
            )
            page.on("pageerror", lambda error: said.append(str(error)))
            page.goto(shop.url)
            return Visit(page, said)

        expect.set_options(timeout=PATIENCE)
        yield opened


def put_in(page: Page, *names: str) -> None:
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


def test_buying_across_a_deployment(shop: App, visit: Callable[..., Visit]) -> None:
    page, console = visit()
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

    before = shop.live
    main = shop.tree.path / "backend" / "app" / "main.py"
    text = re.sub(r"^MESSAGE = .*$", 'MESSAGE = "Hello again."', main.read_text(), flags=re.MULTILINE)
    shop.tree.commit({"backend/app/main.py": text}, "Say hello again")
    pushed: list[apps.Done] = []
    push = threading.Thread(target=lambda: pushed.append(shop.tree.push()))
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
    expect(page.locator("#release")).to_have_text(f"Hello again. · release {before + 1}")
    expect(page.locator(".order[data-status=shipped]")).to_have_count(1 + ordered)

    page.reload()
    expect(page.locator("#who")).to_have_text("ada@example.com")
    expect(page.locator("#lines .name")).to_have_text(["Reading lamp"])
    expect(page.locator(".order")).to_have_count(1 + ordered)
    assert console == []


def test_the_last_one_is_sold_to_the_first_who_orders(shop: App, visit: Callable[..., Visit]) -> None:
    """The other visitor is told so, and keeps their basket."""
    first, second = visit().page, visit().page
    for page, email in ((first, "grace@example.com"), (second, "alan@example.com")):
        page.get_by_role("button", name="Sign in").click()
        enter(page, email, "Create an account")
        put_in(page, "Rubber plant")
    first.get_by_role("button", name="Place the order").click()
    expect(first.locator(".order")).to_have_count(1)
    second.get_by_role("button", name="Place the order").click()
    expect(second.get_by_role("alert").filter(has_text="Rubber plant: sold out.")).to_be_visible()
    expect(second.locator("#lines .name")).to_have_text(["Rubber plant"])
    expect(second.locator(".order")).to_have_count(0)


def test_a_basket_comes_along_when_its_owner_signs_in(visit: Callable[..., Visit]) -> None:
    page, _ = visit(PHONE)
    put_in(page, "Wool blanket")
    page.get_by_role("button", name="Sign in").click()
    page.get_by_role("dialog").get_by_role("button", name="Cancel").click()
    page.get_by_role("button", name="Sign in").click()
    enter(page, "mary@example.com", "Create an account")
    expect(page.locator("#lines .name")).to_have_text(["Wool blanket"])
    assert page.evaluate("document.scrollingElement.scrollWidth <= innerWidth"), "it is wider than the phone"
    screenshot(page, "shop-phone")
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_text("Nothing in it yet.")).to_be_visible()
    expect(page.get_by_role("button", name="Sign in")).to_be_visible()


def test_a_keyboard_is_enough(visit: Callable[..., Visit]) -> None:
    page, console = visit()
    expect(page.locator(".product").first).to_be_visible()
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the catalogue")).to_be_focused()
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    expect(page.locator(".product").first.get_by_role("button")).to_be_focused()
    page.keyboard.press("Enter")
    more = page.get_by_role("button", name=re.compile("^One more: "))
    more.focus()
    page.keyboard.press("Enter")
    expect(page.locator("#lines output")).to_have_text("2")
    expect(more).to_be_focused()
    page.get_by_role("button", name="Place the order").focus()
    page.keyboard.press("Enter")
    expect(page.get_by_label("E-mail")).to_be_focused()
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_be_hidden()
    expect(page.get_by_role("button", name="Place the order")).to_be_focused()
    assert console == []
