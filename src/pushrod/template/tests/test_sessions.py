"""Users and their sessions, as browsers see them; and attempts to impersonate others."""

import time

import httpx
import pytest

from parts import Keeper, wait_until
from servers import Postgres, Valkey
from services import PASSWORD, Backend, Visitor, environment

BASKET = {"items": [{"product_id": 1, "quantity": 2}, {"product_id": 3, "quantity": 1}]}


@pytest.fixture
def visitor(backend: Backend) -> Visitor:
    return Visitor(backend.url)


def test_a_visitor_has_an_anonymous_session(visitor: Visitor) -> None:
    cookie = visitor.cookie
    assert visitor.refresh() is None
    assert visitor.cookie == cookie


def test_user_registers_and_logs_in_and_out(backend: Backend, visitor: Visitor) -> None:
    email = visitor.register()
    assert visitor.refresh() == email
    assert visitor.delete("/api/session").status_code == 204
    assert visitor.refresh() is None
    assert visitor.log_in(email.upper()).json()["email"] == email
    assert visitor.refresh() == email


def test_wrong_password_and_unknown_user_look_the_same(visitor: Visitor) -> None:
    email = visitor.register()
    wrong, unknown = visitor.log_in(email, "something else"), visitor.log_in(f"x{email}")
    assert wrong.status_code == unknown.status_code == 401
    assert wrong.json() == unknown.json()


def test_an_email_address_can_be_registered_once(backend: Backend, visitor: Visitor) -> None:
    email = visitor.register()
    again = Visitor(backend.url).post("/api/users", {"email": email.upper(), "password": PASSWORD})
    assert again.status_code == 409


@pytest.mark.parametrize(
    "wrong",
    [
        {"email": "nobody"},
        {"email": "a b@c.d"},
        {"email": "é@c.de"},
        {"password": "short"},
        {"password": None},
    ],
    ids=str,
)
def test_wrong_credentials_are_refused(visitor: Visitor, wrong: dict[str, object]) -> None:
    given = {"email": "new@example.com", "password": PASSWORD, **wrong}
    assert visitor.post("/api/users", given).status_code == 422


def test_login_replaces_the_session_id(backend: Backend, visitor: Visitor) -> None:
    planted, token = visitor.cookie, visitor.client.headers["X-CSRF-Token"]
    email = visitor.register()
    assert visitor.cookie != planted
    assert visitor.client.headers["X-CSRF-Token"] != token
    thief = Visitor(backend.url, session=planted)
    assert (thief.refresh(), visitor.refresh()) == (None, email)
    before = visitor.cookie
    visitor.log_in(email)
    assert Visitor(backend.url, session=before).refresh() is None


def test_a_basket_survives_login_and_is_private(backend: Backend, visitor: Visitor) -> None:
    assert visitor.get("/api/basket").json() == {"items": []}
    assert visitor.put("/api/basket", BASKET).json() == BASKET
    visitor.register()
    assert visitor.get("/api/basket").json() == BASKET
    assert Visitor(backend.url).get("/api/basket").json() == {"items": []}


@pytest.mark.parametrize(
    "items",
    [
        [{"product_id": 1, "quantity": 0}],
        [{"product_id": 0, "quantity": 1}],
        [{"product_id": 1, "quantity": 1}] * 2,
        [{"product_id": n, "quantity": 1} for n in range(1, 52)],
        "none",
    ],
    ids=["none of it", "no product", "twice", "too many", "no list"],
)
def test_wrong_basket_is_refused(visitor: Visitor, items: object) -> None:
    assert visitor.put("/api/basket", {"items": items}).status_code == 422


def test_a_basket_in_another_format_is_empty(visitor: Visitor, valkey: Valkey) -> None:
    visitor.put("/api/basket", BASKET)
    for key in valkey.client.keys("session:*"):
        if valkey.client.hexists(key, "basket"):
            valkey.client.hset(key, "basket", '{"lines": [1]}')
    assert visitor.get("/api/basket").json() == {"items": []}


def test_logging_out_everywhere_ends_every_session(backend: Backend) -> None:
    here, there, other = (Visitor(backend.url) for _ in range(3))
    email = here.register()
    there.log_in(email)
    somebody = other.register()
    assert there.delete("/api/sessions").status_code == 204
    assert [v.refresh() for v in (here, there, other)] == [None, None, somebody]


def test_a_change_requires_the_csrf_token_of_the_session(backend: Backend, visitor: Visitor) -> None:
    token = visitor.client.headers["X-CSRF-Token"]
    foreign = Visitor(backend.url).client.headers["X-CSRF-Token"]
    for wrong in ("", "x", foreign):
        answer = visitor.client.put("/api/basket", json=BASKET, headers={"X-CSRF-Token": wrong})
        assert (answer.status_code, answer.json()["title"]) == (403, "Forbidden")
    del visitor.client.headers["X-CSRF-Token"]
    assert visitor.put("/api/basket", BASKET).status_code == 403
    assert visitor.post("/api/session", {"email": "a@b.cd", "password": PASSWORD}).status_code == 403
    assert visitor.client.put("/api/basket", json=BASKET, headers={"X-CSRF-Token": token}).status_code == 200


@pytest.mark.parametrize("forged", ["x", "", "a" * 5000, '"; DROP', "session%3A1"])
def test_a_forged_cookie_gives_an_anonymous_session(backend: Backend, forged: str) -> None:
    answer = httpx.get(f"{backend.url}/api/session", headers={"Cookie": f"session={forged}"})
    assert answer.json()["email"] is None
    assert "session=" in answer.headers["Set-Cookie"]


def test_the_cookie_is_limited_to_this_host_and_hidden_from_scripts(backend: Backend) -> None:
    plain = httpx.get(f"{backend.url}/api/session").headers["Set-Cookie"]
    assert "HttpOnly" in plain and "SameSite=lax" in plain and "Secure" not in plain
    assert "Domain" not in plain and "Path=/" in plain
    tls = httpx.get(f"{backend.url}/api/session", headers={"X-Forwarded-Proto": "https"}).headers[
        "Set-Cookie"
    ]
    assert tls.startswith("__Host-session=") and "Secure" in tls and "HttpOnly" in tls


def test_id_of_a_session_is_not_in_redis(visitor: Visitor, valkey: Valkey) -> None:
    visitor.register()
    keys = [str(key) for key in valkey.client.keys("*")]
    assert keys and not [key for key in keys if visitor.cookie in key]


def test_a_session_expires_without_requests_and_is_renewed_by_them(
    own: Keeper, postgres: Postgres, valkey: Valkey, cache: Valkey
) -> None:
    backend = own(Backend, environment(postgres, valkey, cache, SESSION_SECONDS="2"))
    idle, busy = Visitor(backend.url), Visitor(backend.url)
    idle.register()
    email = busy.register()
    expired = idle.cookie
    end = time.monotonic() + 3
    while time.monotonic() < end:
        assert busy.refresh() == email
        time.sleep(0.2)
    assert Visitor(backend.url, session=expired).refresh() is None


def test_a_session_has_a_maximum_age(visitor: Visitor, valkey: Valkey) -> None:
    visitor.register()
    month_ago = time.time() - 31 * 24 * 3600
    for key in valkey.client.keys("session:*"):
        valkey.client.hset(key, "since", month_ago)
    assert visitor.refresh() is None


def test_some_requests_need_a_user_and_some_need_staff(backend: Backend, visitor: Visitor) -> None:
    product = {"name": "Oak stool", "price_cents": 100, "stock": 1}

    def tried() -> list[int]:
        answers = (visitor.post("/api/products", product), visitor.put("/api/products/1", product))
        return [answer.status_code for answer in answers]

    assert tried() == [401, 401]
    assert visitor.delete("/api/sessions").status_code == 401
    visitor.register()
    assert tried() == [403, 403]


def test_the_writes_of_one_user_are_limited(
    own: Keeper, postgres: Postgres, valkey: Valkey, cache: Valkey
) -> None:
    given = environment(postgres, valkey, cache, WRITES_PER_MINUTE="5")
    one, other = own(Backend, given), own(Backend, given)
    busy, calm = Visitor(one.url), Visitor(one.url)
    busy.register()
    answers = [busy.put("/api/basket", BASKET) for _ in range(3)]
    elsewhere = Visitor(other.url, session=busy.cookie)  # another instance, the same count
    answers += [elsewhere.put("/api/basket", BASKET) for _ in range(3)]
    assert [a.status_code for a in answers] == [200] * 5 + [429]
    assert 1 <= int(answers[-1].headers["Retry-After"]) <= 60
    assert calm.put("/api/basket", BASKET).status_code == 200
    assert busy.get("/api/basket").status_code == 200


def test_guesses_of_a_password_are_limited(
    own: Keeper, postgres: Postgres, valkey: Valkey, cache: Valkey
) -> None:
    backend = own(Backend, environment(postgres, valkey, cache, LOGINS_PER_MINUTE="3"))
    visitor, other = Visitor(backend.url), Visitor(backend.url)
    email, somebody = visitor.register(), other.register()
    guesses = [Visitor(backend.url).log_in(email, f"my best guess {n}").status_code for n in range(4)]
    assert guesses == [401, 401, 401, 429]
    assert Visitor(backend.url).log_in(email).status_code == 429
    assert Visitor(backend.url).log_in(somebody).status_code == 200


def test_an_unavailable_redis_is_reported_for_requests_with_a_session(
    own: Keeper, postgres: Postgres, cache: Valkey
) -> None:
    valkey = own(Valkey)
    backend = own(Backend, environment(postgres, valkey, cache))
    visitor = Visitor(backend.url)
    valkey.stop()
    for answer in (visitor.get("/api/session"), visitor.put("/api/basket", BASKET)):
        assert (answer.status_code, answer.headers["Retry-After"]) == (503, "1")
    assert visitor.get("/api/products").status_code == 200
    valkey.start()
    wait_until(lambda: Visitor(backend.url).put("/api/basket", BASKET).status_code == 200, "sessions again")


def test_a_user_is_created_with_the_management_command(backend: Backend) -> None:
    made = backend.manage("user", "Grace@example.com", "--staff")
    visitor = Visitor(backend.url)
    assert visitor.log_in("grace@example.com", made.strip()).status_code == 200
    assert visitor.put("/api/products/0", {}).status_code == 422  # past the check for staff
    with pytest.raises(ChildProcessError, match="this address is already registered"):
        backend.manage("user", "grace@example.com")
