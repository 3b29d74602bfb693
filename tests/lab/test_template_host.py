"""The output of `pushrod new`, of each stack, pushed to a server with Docker: the page from the edge, an order that
is shipped. The one in Java is built in the box, which takes minutes and needs images of a JDK and Maven.
"""

import http.client
import json
import time
from contextlib import closing
from typing import Any

import pytest

from devtools.lab import images
from devtools.lab.ground import Ground, Shop
from pushrod.cli import scaffold
from tests.conftest import needs_lab

pytestmark = pytest.mark.lab

PATIENCE = 60.0  # seconds for one answer, and for the three steps of an order on a busy machine


@pytest.fixture(
    scope="module",
    params=[pytest.param(s, marks=pytest.mark.long) if s == "spring" else s for s in scaffold.STACKS],
)
def shop(ground: Ground, request: pytest.FixtureRequest) -> Shop:
    """The template of a stack, live on its own host, unchanged except for its name."""
    stack: str = request.param
    if stack == "spring":
        needs_lab(images.java_problem(), "python -m tools.lab java")
        ground.box.load(images.JAVA)
    files = scaffold.template_files("shop", stack)
    files["compose.yaml"] += f"\nx-pushrod: {{domains: [{stack}.localhost]}}\n"
    made = ground.app(stack, files)
    pushed = made.push_building()
    assert pushed.ok, pushed.err
    return made


class Visitor:
    """The relevant part of a browser: cookies, and the token that goes with them."""

    def __init__(self, shop: Shop) -> None:
        self.shop = shop
        self.cookie = ""
        self.csrf = ""

    def open(self, method: str, path: str, value: object = None, **headers: str) -> http.client.HTTPResponse:
        """The response, with its body yet to be read."""
        connection = http.client.HTTPConnection(self.shop.box.address, 80, timeout=PATIENCE)
        sent = {"Host": self.shop.domain, "Cookie": self.cookie, "X-CSRF-Token": self.csrf, **headers}
        body = None if value is None else json.dumps(value)
        connection.request(method, path, body, {**sent, "Content-Type": "application/json"})
        answer = connection.getresponse()
        if given := answer.headers.get("Set-Cookie"):
            self.cookie = given.partition(";")[0]
        return answer

    def send(self, method: str, path: str, value: object = None, **headers: str) -> Any:
        """The JSON of a successful response."""
        with closing(self.open(method, path, value, **headers)) as answer:
            text = answer.read().decode()
            assert answer.status < 300, f"{method} {path} answered {answer.status}: {text}"
            return json.loads(text)


def test_the_edge_serves_the_page_and_the_backend_the_api(shop: Shop) -> None:
    page = shop.get("/")
    assert b"<title>shop</title>" in page.body
    assert page.headers["content-security-policy"].startswith("default-src 'self';")
    assert shop.get("/metrics").body == page.body
    assert [shop.get("/api/products/1").headers["x-cache"] for _ in range(2)] == ["miss", "hit"]
    names = {name.partition("-r")[2].partition("-")[2] for name in shop.running()}
    assert not [name for name in names if name.startswith("nginx")], "the edge is in its place"


def test_an_order_is_shipped_and_its_buyer_receives_every_event(shop: Shop) -> None:
    visitor = Visitor(shop)
    visitor.csrf = visitor.send("GET", "/api/session")["csrf"]
    user = {"email": "ada@example.com", "password": "correct horse battery"}
    visitor.csrf = visitor.send("POST", "/api/users", user)["csrf"]
    with closing(visitor.open("GET", "/api/events")) as events:
        assert events.status == 200
        bought = {"items": [{"product_id": 2, "quantity": 1}]}
        order = visitor.send("POST", "/api/orders", bought, **{"Idempotency-Key": "one"})
        assert visitor.send("POST", "/api/orders", bought, **{"Idempotency-Key": "one"}) == order
        received: list[str] = []
        end = time.monotonic() + PATIENCE
        while received[-1:] != ["shipped"]:
            line = events.readline().decode()  # a comment comes every few seconds
            assert line, f"the stream ended after {received}"
            assert time.monotonic() < end, f"only {received} within {PATIENCE:g} s"
            if line.startswith("data:"):  # with or without a space
                received.append(json.loads(line.removeprefix("data:"))["status"])
    assert received == ["placed", "paid", "packed", "shipped"]
    assert visitor.send("GET", f"/api/orders/{order['id']}")["status"] == "shipped"
