import pytest

from services import Backend


def test_root_says_which_release_answers(backend: Backend) -> None:
    answer = backend.client.get("/").json()
    assert answer.pop("message")
    assert answer == {"app": "shop", "release": "7", "commit": "c0ffee"}


def test_seeded_products_are_listed(backend: Backend) -> None:
    first = backend.client.get("/products", params={"limit": 2}).json()
    assert [product["id"] for product in first] == [1, 2]
    assert [product["name"] for product in first] == ["Walnut desk", "Reading lamp"]


def test_pages_follow_each_other(backend: Backend) -> None:
    last = backend.add()
    ids: list[int] = []
    while page := backend.client.get("/products", params={"after": ids[-1] if ids else 0, "limit": 3}).json():
        assert len(page) <= 3
        ids += [product["id"] for product in page]
    assert ids == sorted(set(ids))
    assert {1, 2, 3, 4, last} <= set(ids)


def test_product_is_added(backend: Backend) -> None:
    product = {"name": "Théière", "price_cents": 3900, "stock": 12}
    answer = backend.client.post("/products", json=product)
    assert answer.status_code == 201
    assert backend.client.get(answer.headers["Location"]).json() == {"id": answer.json()["id"], **product}


def test_product_is_replaced(backend: Backend) -> None:
    id = backend.add()
    product = {"name": "Ash stool", "price_cents": 9900, "stock": 0}
    assert backend.client.put(f"/products/{id}", json=product).json() == {"id": id, **product}
    assert backend.client.get(f"/products/{id}").json() == {"id": id, **product}


@pytest.mark.parametrize("path", ["/products/999999", f"/products/{2**63 - 1}"])
def test_unknown_product_is_not_found(backend: Backend, path: str) -> None:
    product = {"name": "Nothing", "price_cents": 1, "stock": 1}
    assert backend.client.get(path).status_code == 404
    assert backend.client.put(path, json=product).status_code == 404


@pytest.mark.parametrize(
    "wrong",
    [
        {"price_cents": -1},
        {"price_cents": 2**31},
        {"stock": 1.5},
        {"name": ""},
        {"name": "x" * 201},
        {"name": "a\0b"},
    ],
    ids=str,
)
def test_wrong_product_is_refused(backend: Backend, wrong: dict[str, object]) -> None:
    product = {"name": "Bench", "price_cents": 100, "stock": 1, **wrong}
    assert backend.client.post("/products", json=product).status_code == 422


@pytest.mark.parametrize("path", ["/0", f"/{2**63}", "?limit=0", "?limit=201", "?after=-1"])
def test_wrong_address_is_refused(backend: Backend, path: str) -> None:
    assert backend.client.get(f"/products{path}").status_code == 422
