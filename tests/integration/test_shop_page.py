"""The page of a new repository in a real browser, through the edge, while a new release goes live.

PUSHROD_SCREENSHOTS=docs/images makes the README's pictures. The page of another stack's shop is the same, and
`test_template_spring.py` buys on it.
"""

import re
from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import expect

from devtools.apps import App, Machine
from devtools.shop_page import CHROMIUM, PHONE, Visit, buy_across_a_push, enter, put_in, screenshot, visits
from pushrod.cli import scaffold

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(not CHROMIUM, reason="no Chromium on this machine (Debian: chromium)"),
]


@pytest.fixture(scope="module")
def shop(new_machine: Callable[[], Machine]) -> App:
    """The output of `pushrod new shop`, live."""
    machine = new_machine()
    for name in ("UV_OFFLINE", "UV_CACHE_DIR"):  # its dependencies come from this machine's usual source
        machine.env.pop(name)
    return machine.app("shop", scaffold.template_files("shop"))


@pytest.fixture(scope="module")
def visit(shop: App) -> Iterator[Callable[..., Visit]]:
    """Opens the shop for a new visitor."""
    with visits(shop.url) as opened:
        yield opened


@pytest.mark.long
def test_buying_continues_during_a_deployment(shop: App, visit: Callable[..., Visit]) -> None:
    main = shop.tree.path / "backend" / "app" / "main.py"
    text = re.sub(r"^MESSAGE = .*$", 'MESSAGE = "Hello again."', main.read_text(), flags=re.MULTILINE)
    shop.tree.commit({"backend/app/main.py": text}, "Say hello again")
    buy_across_a_push(shop, visit(), f"Hello again. · release {shop.live + 1}")


def test_the_last_item_is_sold_to_the_first_order(shop: App, visit: Callable[..., Visit]) -> None:
    """The other visitor gets a message, and keeps their basket."""
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


def test_a_basket_is_kept_when_its_owner_signs_in(visit: Callable[..., Visit]) -> None:
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


def test_the_page_can_be_used_with_a_keyboard(visit: Callable[..., Visit]) -> None:
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
