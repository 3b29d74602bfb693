from collections.abc import Iterator

import pytest

from services import Backend


def test_the_api_root_names_the_release(backend: Backend) -> None:
    answer = backend.client.get("/api/").json()
    assert answer.pop("message")
    assert answer == {"app": "shop", "release": "7", "commit": "c0ffee"}


def test_seeded_products_are_listed(backend: Backend) -> None:
    first = backend.client.get("/api/products", params={"limit": 2}).json()["items"]
    assert [product["id"] for product in first] == [1, 2]
    assert [product["name"] for product in first] == ["Walnut desk", "Reading lamp"]


def test_products_are_paginated(backend: Backend) -> None:
    last = backend.add()
    ids: list[int] = []
    after: str | None = "0"
    while after is not None:
        page = backend.client.get("/api/products", params={"after": after, "limit": 3}).json()
        assert 0 < len(page["items"]) <= 3
        ids += [product["id"] for product in page["items"]]
        after = page["next"]
    assert ids == sorted(set(ids))
    assert {1, 2, 3, 4, last} <= set(ids)


def test_product_is_added(backend: Backend) -> None:
    product = {"name": "Théière", "price_cents": 3900, "stock": 12, "picture": "teapot"}
    answer = backend.staff.post("/api/products", product)
    assert answer.status_code == 201
    assert backend.client.get(answer.headers["Location"]).json() == {"id": answer.json()["id"], **product}


def test_product_is_replaced(backend: Backend) -> None:
    id = backend.add()
    product = {"name": "Ash stool", "price_cents": 9900, "stock": 0, "picture": None}
    assert backend.staff.put(f"/api/products/{id}", product).json() == {"id": id, **product}
    assert backend.client.get(f"/api/products/{id}").json() == {"id": id, **product}


@pytest.mark.parametrize("path", ["/api/products/999999", f"/api/products/{2**63 - 1}"])
def test_unknown_product_is_not_found(backend: Backend, path: str) -> None:
    product = {"name": "Nothing", "price_cents": 1, "stock": 1}
    assert backend.client.get(path).status_code == 404
    assert backend.staff.put(path, product).status_code == 404


@pytest.mark.parametrize(
    "wrong",
    [
        {"price_cents": -1},
        {"price_cents": 2**31},
        {"stock": 1.5},
        {"name": ""},
        {"name": "x" * 201},
        {"name": "a\0b"},
        {"name": None},
        {"picture": 7},
    ],
    ids=str,
)
def test_wrong_product_is_refused(backend: Backend, wrong: dict[str, object]) -> None:
    product = {"name": "Bench", "price_cents": 100, "stock": 1, **wrong}
    assert backend.staff.post("/api/products", product).status_code == 422


@pytest.mark.parametrize("path", ["/0", f"/{2**63}", "?limit=0", "?limit=201", "?after=-1"])
def test_an_invalid_url_is_refused(backend: Backend, path: str) -> None:
    assert backend.client.get(f"/api/products{path}").status_code == 422


def test_a_validation_error_names_the_fields(backend: Backend) -> None:
    answer = backend.staff.post("/api/products", {"name": "Bench", "price_cents": -1})
    assert answer.headers["Content-Type"] == "application/problem+json"
    problem = answer.json()
    assert (problem["type"], problem["title"], problem["status"]) == (
        "about:blank",
        answer.reason_phrase,
        422,
    )
    assert {tuple(error["where"]) for error in problem["errors"]} == {
        ("body", "price_cents"),
        ("body", "stock"),
    }


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/api/nothing", 404), ("GET", "/api/products/999999", 404), ("PATCH", "/api/products", 405)],
)
def test_every_error_is_problem_json(backend: Backend, method: str, path: str, status: int) -> None:
    answer = backend.client.request(method, path)
    assert (answer.status_code, answer.headers["Content-Type"]) == (status, "application/problem+json")
    assert answer.json()["status"] == status


def test_body_too_large_is_refused(backend: Backend) -> None:
    def chunks() -> Iterator[bytes]:
        for _ in range(100):
            yield b" " * 1024

    for body in (b" " * 100_000, chunks()):
        answer = backend.staff.client.post(
            "/api/products", content=body, headers={"Content-Type": "application/json"}
        )
        assert (answer.status_code, answer.headers["Content-Type"]) == (413, "application/problem+json")
