"""The shop of the template on this machine: people who buy until they are told, what kills its parts, and what is in
its stores afterwards."""

import contextlib
import http.client
import itertools
import json
import random
import secrets
import threading
import time
from collections import Counter
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import psutil

from devtools.apps import App, Machine, eventually
from pushrod.cli import scaffold

PASSWORD = "correct horse battery"
STOCK = 1_000_000
PATIENCE = 120.0  # seconds that one order may take, however often it has to be sent
SETTLED = 120.0  # seconds until everything that is to happen after the last order has happened
# Short steps and leases, so that much happens in little time; nobody is held back.
GIVEN = {"STEP_SECONDS": "0.2", "LEASE_SECONDS": "3", "MAX_TRIES": "50", "WRITES_PER_MINUTE": "1000000"}
KILLED = ("worker-1", "postgres", "redis")

# What the stores hold, asked by the app's own libraries as the app's own account.
_LOOK = """
import asyncio, json, os
import asyncpg, redis.asyncio

async def look():
    pg = await asyncpg.connect(os.environ["DATABASE_URL"])
    streams = {}
    async with redis.asyncio.Redis.from_url(os.environ["REDIS_URL"]) as redis_:
        for user in await pg.fetch("SELECT id FROM users"):
            for _, fields in await redis_.xrange(f"events:{user['id']}"):
                event = json.loads(fields[b"data"])
                streams.setdefault(event["order_id"], []).append(event["status"])
    print(json.dumps({
        "keys": {r["idempotency_key"]: r["id"] for r in await pg.fetch("SELECT id, idempotency_key FROM orders")},
        "steps": [[r["order_id"], r["status"]] for r in await pg.fetch("SELECT * FROM order_steps ORDER BY at")],
        "statuses": [r["status"] for r in await pg.fetch("SELECT status FROM orders")],
        "sold": {r["product_id"]: r["sum"] for r in
                 await pg.fetch("SELECT product_id, sum(quantity)::int FROM order_items GROUP BY product_id")},
        "stock": {r["id"]: r["stock"] for r in await pg.fetch("SELECT id, stock FROM products")},
        "outbox": await pg.fetchval("SELECT count(*) FROM outbox"),
        "dead": await pg.fetchval("SELECT count(*) FROM outbox WHERE dead_at IS NOT NULL"),
        "events": streams,
    }))

asyncio.run(look())
"""
STEPS = ["placed", "paid", "packed", "shipped"]


class Answer(NamedTuple):
    """An answer of the API."""

    status: int
    body: Any


class Person:
    """Somebody with a browser: a connection that is kept, a cookie, and the token that their page has read."""

    def __init__(self, port: int) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=15)
        self._headers = {"Content-Type": "application/json"}

    def ask(self, method: str, path: str, body: object = None, **headers: str) -> Answer:
        """Ask once. OSError or HTTPException where no whole answer comes."""
        try:
            self._connection.request(
                method, path, None if body is None else json.dumps(body), self._headers | headers
            )
            answer = self._connection.getresponse()
            raw = answer.read()
        except (OSError, http.client.HTTPException):
            self._connection.close()
            raise
        for cookie in answer.headers.get_all("Set-Cookie") or ():
            self._headers["Cookie"] = cookie.partition(";")[0]
        json_ = "json" in answer.headers.get("Content-Type", "")
        found = Answer(answer.status, json.loads(raw) if json_ and raw else raw.decode(errors="replace"))
        if found.status < 400 and isinstance(found.body, dict) and "csrf" in found.body:
            self._headers["X-CSRF-Token"] = found.body["csrf"]
        return found

    def register(self) -> None:
        """Become a user."""
        email = f"{secrets.token_hex(8)}@example.com"
        answer = self.ask("POST", "/api/users", {"email": email, "password": PASSWORD})
        assert answer.status == 201, answer

    def log_in(self, email: str, password: str) -> None:
        """Be that user."""
        answer = self.ask("POST", "/api/session", {"email": email, "password": password})
        assert answer.status == 200, answer

    def be(self, other: "Person") -> None:
        """Use another one's session, on a connection of one's own, which is open then."""
        self._headers = dict(other._headers)
        assert self.ask("GET", "/api/session").status == 200

    def buy(self, product: int, key: str) -> Answer:
        """Send an order once."""
        items = [{"product_id": product, "quantity": 1}]
        return self.ask("POST", "/api/orders", {"items": items}, **{"Idempotency-Key": key})

    def insist(self, product: int, key: str) -> tuple[Answer, int]:
        """Send an order until there is an answer that is not the server's trouble; how often it was sent."""
        end = time.monotonic() + PATIENCE
        for sent in itertools.count(1):
            with contextlib.suppress(OSError, http.client.HTTPException):
                answer = self.buy(product, key)
                if answer.status < 500:
                    return answer, sent
            assert time.monotonic() < end, f"no answer to an order within {PATIENCE:g} s"
            time.sleep(random.uniform(0.02, 0.2))
        raise AssertionError


class Shop:
    """The template, deployed on the embedded engine with two workers."""

    def __init__(self, machine: Machine) -> None:
        for name in ("UV_OFFLINE", "UV_CACHE_DIR"):  # its dependencies come from where this machine's do
            machine.env.pop(name, None)
        self.app: App = machine.app("shop", scaffold.template_files("shop"), push=False)
        for name, value in GIVEN.items():
            self.app.must("secret", "set", name, stdin=value)
        done = self.app.tree.push()
        assert done.ok, done.err
        self.app.must("scale", "worker=2")
        self.port: int = self.app.settings["port"]
        self.staff = self.person()
        password = self.inside("-m", "app.manage", "user", "--staff", "staff@example.com").strip()
        self.staff.log_in("staff@example.com", password)

    def person(self) -> Person:
        """Somebody new."""
        return Person(self.port)

    def product(self, stock: int) -> int:
        """A new product; its id."""
        product = {"name": "Oak stool", "price_cents": 8900, "stock": stock}
        answer = self.staff.ask("POST", "/api/products", product)
        assert answer.status == 201, answer
        return int(answer.body["id"])

    def inside(self, *argv: str) -> str:
        """Run the app's Python as the backend runs."""
        return self.app.must("exec", "backend", "--", "python", *argv)

    def look(self) -> dict[str, Any]:
        """What its stores hold."""
        found: dict[str, Any] = json.loads(self.inside("-c", _LOOK).splitlines()[-1])
        return found

    def pid(self, name: str) -> int:
        """The process of that name that runs now; 0 for none."""
        processes = self.app.json("status")[0]["processes"]
        return next((p["pid"] or 0 for p in processes if p["name"] == name and p["state"] == "running"), 0)

    def serves(self) -> bool:
        """Whether PostgreSQL and Redis are reached through it."""
        person = self.person()
        return all(person.ask("GET", path).status == 200 for path in ("/api/products", "/api/session"))


class Killer:
    """Kills parts of a shop at random moments, one at a time: the next when the one before is back."""

    def __init__(
        self, shop: Shop, names: tuple[str, ...] = KILLED, pause: tuple[float, float] = (0.3, 2.0)
    ) -> None:
        self.kills: Counter[str] = Counter()
        self._shop = shop
        self._names = names
        self._pause = pause
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.trouble: BaseException | None = None

    def __enter__(self) -> "Killer":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(PATIENCE)

    def _run(self) -> None:
        try:
            turn = itertools.cycle(random.sample(self._names, len(self._names)))
            while not self._stop.wait(random.uniform(*self._pause)):
                self._kill(next(turn))
        except BaseException as e:  # noqa: BLE001  told by whoever made the killer
            self.trouble = e

    def _kill(self, name: str) -> None:
        before = self._shop.pid(name)
        if not before:
            return  # it is just being started
        with contextlib.suppress(psutil.NoSuchProcess):
            psutil.Process(before).kill()
            self.kills[name] += 1
        eventually(lambda: self._shop.pid(name) not in (0, before), f"{name} is back", 60.0)
        eventually(self._shop.serves, f"the shop serves after {name} was killed", 60.0)


class Told(NamedTuple):
    """What the buyers were told, and what it took: each order's id by its key, and how often orders were sent."""

    orders: Mapping[str, int]
    sent: int
    seconds: float


class Crowd(NamedTuple):
    """People who have an account, and what they may buy."""

    people: list[Person]
    products: list[int]


def crowd(shop: Shop, people: int) -> Crowd:
    """So many people, and products of which there are enough for all."""
    found = Crowd([shop.person() for _ in range(people)], [shop.product(STOCK) for _ in range(5)])
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(Person.register, found.people))
    return found


def buy(crowd: Crowd, orders: int, at_once: int) -> Told:
    """So many orders of one item each, so many of them at once, each sent until it is acknowledged."""
    told: dict[str, int] = {}
    sent = itertools.count()
    free = threading.Semaphore(at_once)

    def work(buyer: Person, count: int) -> None:
        for _ in range(count):
            key = secrets.token_hex(16)
            with free:
                answer, times = buyer.insist(random.choice(crowd.products), key)
            assert answer.status == 201, answer
            told[key] = answer.body["id"]
            for _ in range(times):
                next(sent)

    people = len(crowd.people)
    shares = [orders // people + (number < orders % people) for number in range(people)]
    started = time.monotonic()
    with ThreadPoolExecutor(people) as threads:
        list(threads.map(work, crowd.people, shares))
    return Told(told, next(sent), time.monotonic() - started)


def settled(shop: Shop) -> dict[str, Any]:
    """What the stores hold once nothing is left to be done."""
    found: dict[str, Any] = {}

    def quiet() -> bool:
        found.update(shop.look())
        return bool(found["outbox"] == found["dead"])

    eventually(quiet, "nothing is left to do", SETTLED)
    return shop.look()  # what was read before the outbox was empty may be older


def wrong(told: Mapping[str, int], found: Mapping[str, Any]) -> list[str]:
    """What is not as it must be: each acknowledged order there once, done once, told once; no other order."""
    problems = []
    if told != found["keys"]:
        missing, invented = told.keys() - found["keys"], found["keys"].keys() - told
        problems.append(f"orders lost: {len(missing)}, invented: {len(invented)}, or with another id")
    if len(set(told.values())) != len(told):
        problems.append("two orders with one id")
    done: dict[int, list[str]] = {}
    for order, status in found["steps"]:
        done.setdefault(order, []).append(status)
    not_once = [order for order in told.values() if done.get(order) != STEPS]
    if not_once:
        problems.append(f"not each step once and in order: {len(not_once)}, as {done.get(not_once[0])}")
    events = {order: found["events"].get(str(order), []) for order in told.values()}
    not_told = [order for order, seen in events.items() if sorted(seen, key=STEPS.index) != STEPS]
    if not_told:
        problems.append(f"not each event once: {len(not_told)}, as {events[not_told[0]]}")
    if Counter(found["statuses"]) != {"shipped": len(told)}:
        problems.append(f"statuses: {Counter(found['statuses'])}")
    unbalanced = [id for id, sold in found["sold"].items() if sold + found["stock"][id] != STOCK]
    if unbalanced or sum(found["sold"].values()) != len(told):
        problems.append(f"stock and sales do not add up: products {unbalanced}")
    if found["dead"]:
        problems.append(f"dead letters: {found['dead']}")
    return problems


def last_item(shop: Shop, buyers: int) -> Counter[int]:
    """So many people buy the last item in one moment, each on a connection of their own; the statuses."""
    product = shop.product(1)
    people = [shop.person() for _ in range(buyers)]
    known = shop.person()
    known.register()
    for person in people:  # one account on many devices: who it is does not matter for the stock
        person.be(known)
    gate = threading.Barrier(buyers)

    def go(person: Person) -> int:
        gate.wait(30)
        return person.buy(product, secrets.token_hex(16)).status

    with ThreadPoolExecutor(buyers) as threads:
        return Counter(threads.map(go, people))
