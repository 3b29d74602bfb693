"""The shop of `pushrod new`, of any stack, on one of the engines: buyers who retry until they get an answer, a killer
of its parts, and checks of its stores afterwards.
"""

import abc
import contextlib
import http.client
import itertools
import json
import random
import secrets
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import psutil

from devtools import java
from devtools.apps import PSQL, App, Done, Machine, Tree, eventually, run
from devtools.load import Load
from pushrod.adapters import redis
from pushrod.cli import scaffold

PASSWORD = "correct horse battery"
STOCK = 1_000_000
ANSWER = 60.0  # seconds for one answer: a JVM that has just started hashes passwords slowly
BACK = 180.0  # seconds until a killed part is back
PATIENCE = 120.0  # seconds for one order, including retries
LONGEST = 420.0  # seconds for one push: Maven, and JVMs that start beside others
DEADLINE = ("deadline: 90s", "deadline: 240s")  # the JVM's, on a machine that does much else
SETTLED = 120.0  # seconds until everything that follows the last order is done
# Short steps and leases, so that much happens in little time; no limit on writes.
GIVEN = {"STEP_SECONDS": "0.2", "LEASE_SECONDS": "3", "MAX_TRIES": "50", "WRITES_PER_MINUTE": "1000000"}
KILLED = ("worker-1", "postgres", "redis")

# The content of PostgreSQL as one JSON value: the shops of all stacks have the same tables.
CONTENT = """
SELECT json_build_object(
    'users', (SELECT coalesce(json_agg(id), '[]') FROM users),
    'keys', (SELECT coalesce(json_object_agg(idempotency_key, id), '{}') FROM orders),
    'steps', (SELECT coalesce(json_agg(json_build_array(order_id, status) ORDER BY at), '[]') FROM order_steps),
    'statuses', (SELECT coalesce(json_agg(status), '[]') FROM orders),
    'sold', (SELECT coalesce(json_object_agg(product_id, n), '{}')
             FROM (SELECT product_id, sum(quantity) AS n FROM order_items GROUP BY product_id) AS sold),
    'stock', (SELECT coalesce(json_object_agg(id, stock), '{}') FROM products),
    'outbox', (SELECT count(*) FROM outbox),
    'dead', (SELECT count(*) FROM outbox WHERE dead_at IS NOT NULL))
"""
STEPS = ["placed", "paid", "packed", "shipped"]


class Stack(NamedTuple):
    """What differs between the shops: the command of their operators, and secrets that make one start quickly."""

    manage: tuple[str, ...]
    secrets: Mapping[str, str] = {}


STACKS = {
    "python": Stack(("python", "-m", "app.manage")),
    "spring": Stack(("java", "-jar", "app.jar"), {"JAVA_TOOL_OPTIONS": java.QUICK, "STEP_SECONDS": "1"}),
}


class Answer(NamedTuple):
    """An answer of the API."""

    status: int
    body: Any


class Person:
    """A browser: a kept connection, a cookie, and the token that its page has read."""

    def __init__(self, port: int, address: str = "127.0.0.1", site: str = "") -> None:
        self._connection = http.client.HTTPConnection(address, port, timeout=ANSWER)
        self._headers = {"Content-Type": "application/json"} | ({"Host": site} if site else {})

    def ask(self, method: str, path: str, body: object = None, **headers: str) -> Answer:
        """Send one request. OSError or HTTPException if there is no complete answer."""
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
        parsed = Answer(answer.status, json.loads(raw) if json_ and raw else raw.decode(errors="replace"))
        if parsed.status < 400 and isinstance(parsed.body, dict) and "csrf" in parsed.body:
            self._headers["X-CSRF-Token"] = parsed.body["csrf"]
        return parsed

    def register(self) -> None:
        """Register as a user."""
        email = f"{secrets.token_hex(8)}@example.com"
        answer = self.ask("POST", "/api/users", {"email": email, "password": PASSWORD})
        assert answer.status == 201, answer

    def log_in(self, email: str, password: str) -> None:
        """Log in as that user."""
        answer = self.ask("POST", "/api/session", {"email": email, "password": password})
        assert answer.status == 200, answer

    def be(self, other: "Person") -> None:
        """Use another person's session, on an own connection, which is then open."""
        self._headers = dict(other._headers)
        assert self.ask("GET", "/api/session").status == 200

    def buy(self, product: int, key: str) -> Answer:
        """Send an order once."""
        items = [{"product_id": product, "quantity": 1}]
        return self.ask("POST", "/api/orders", {"items": items}, **{"Idempotency-Key": key})

    def insist(self, product: int, key: str) -> tuple[Answer, int]:
        """Send an order until the answer is not a server error; returns that answer and how often it was sent."""
        end = time.monotonic() + PATIENCE
        for sent in itertools.count(1):
            with contextlib.suppress(OSError, http.client.HTTPException):
                answer = self.buy(product, key)
                if answer.status < 500:
                    return answer, sent
            assert time.monotonic() < end, f"no answer to an order within {PATIENCE:g} s"
            time.sleep(random.uniform(0.02, 0.2))
        raise AssertionError


def files(stack: str) -> dict[str, str]:
    """The template of a stack, with more time to start."""
    made = scaffold.template_files("shop", stack)
    return {**made, "compose.yaml": made["compose.yaml"].replace(*DEADLINE)}


class Shop(abc.ABC):
    """A template, deployed; `tree` is the work tree it is pushed from."""

    tree: Tree

    # Different on each engine.

    @abc.abstractmethod
    def must(self, *verb: str, stdin: str | None = None) -> str:
        """The output of a verb of pushrod, which must succeed."""

    @abc.abstractmethod
    def pushed(self) -> Done:
        """The result of pushing the work tree's commit."""

    @property
    @abc.abstractmethod
    def live(self) -> int:
        """The release that is live."""

    @abc.abstractmethod
    def person(self) -> Person:
        """A new person."""

    @abc.abstractmethod
    def load(self, path: str, rate: float, seconds: float = 120.0) -> Load:
        """A load of requests for this path."""

    @abc.abstractmethod
    def pid(self, name: str) -> int:
        """The id of the running process with that name; 0 if there is none."""

    @abc.abstractmethod
    def kill(self, pid: int) -> None:
        """Send SIGKILL to a process of it, without the engine's knowledge."""

    @abc.abstractmethod
    def rows(self) -> dict[str, Any]:
        """What `CONTENT` finds in PostgreSQL."""

    @abc.abstractmethod
    def events(self, users: Sequence[int]) -> Iterator[Mapping[str, Any]]:
        """The events of these users in Redis, each user's in their order."""

    # The same on both.

    def open(self, stack: str, workers: int) -> None:
        """Deploy it, and let its staff in."""
        self.stack = STACKS[stack]
        for name, value in {**GIVEN, **self.stack.secrets}.items():
            self.must("secret", "set", name, stdin=value)
        self.push()
        if workers > 1:
            self.must("scale", f"worker={workers}")
        self.staff = self.person()
        manage = ("exec", "backend", "--", *self.stack.manage)
        password = self.must(*manage, "user", "--staff", "staff@example.com").strip()
        self.staff.log_in("staff@example.com", password)

    def push(self) -> None:
        """Push the work tree's commit, which must go live."""
        done = self.pushed()
        assert done.ok, done.err

    def product(self, stock: int) -> int:
        """Add a product; returns its id."""
        product = {"name": "Oak stool", "price_cents": 8900, "stock": stock}
        answer = self.staff.ask("POST", "/api/products", product)
        assert answer.status == 201, answer
        return int(answer.body["id"])

    def look(self) -> dict[str, Any]:
        """The content of its stores."""
        contents = self.rows()
        streams: dict[str, list[str]] = {}
        for event in self.events(contents.pop("users")):
            streams.setdefault(str(event["order_id"]), []).append(event["status"])
        return {**contents, "events": streams}

    def serves(self) -> bool:
        """Whether PostgreSQL and Redis can be reached through it."""
        person = self.person()
        return all(person.ask("GET", path).status == 200 for path in ("/api/products", "/api/session"))


class OnThisMachine(Shop):
    """On the embedded engine."""

    def __init__(self, machine: Machine, stack: str = "python", workers: int = 2) -> None:
        for name in ("UV_OFFLINE", "UV_CACHE_DIR"):  # its dependencies come from this machine's usual source
            machine.env.pop(name, None)
        machine.env["MAVEN_OPTS"] = java.QUICK
        self.app: App = machine.app("shop", files(stack), push=False)
        self.tree = self.app.tree
        self.port: int = self.app.settings["port"]
        self.open(stack, workers)

    def must(self, *verb: str, stdin: str | None = None) -> str:
        return self.app.must(*verb, stdin=stdin)

    def pushed(self) -> Done:
        return self.tree.push(timeout=LONGEST)

    @property
    def live(self) -> int:
        return self.app.live

    def person(self) -> Person:
        return Person(self.port)

    def load(self, path: str, rate: float, seconds: float = 120.0) -> Load:
        return Load(f"{self.app.url}{path}", rate=rate, seconds=seconds)

    def pid(self, name: str) -> int:
        processes = self.app.json("status")[0]["processes"]
        return next((p["pid"] or 0 for p in processes if p["name"] == name and p["state"] == "running"), 0)

    def kill(self, pid: int) -> None:
        psutil.Process(pid).kill()

    def rows(self) -> dict[str, Any]:
        """Read with the app's own account, as `events` are."""
        variables = self._variables()
        done = run([PSQL, "-XqAt", "-c", CONTENT], self.app.directory, _for_psql(variables["DATABASE_URL"]))
        assert done.ok, done.err
        contents: dict[str, Any] = json.loads(done.out)
        return contents

    def events(self, users: Sequence[int]) -> Iterator[Mapping[str, Any]]:
        url = urlsplit(self._variables()["REDIS_URL"])
        for user in users:
            words = ("XRANGE", f"events:{user}", "-", "+")
            entries: Any = redis.command(
                url.port or 0, url.username or "", url.password or "", *words, address=url.hostname or ""
            )
            yield from map(event_of, entries)

    def _variables(self) -> dict[str, str]:
        lines = self.must("exec", "backend", "--", "env").splitlines()
        return dict(line.split("=", 1) for line in lines if "=" in line)


def event_of(entry: Any) -> Mapping[str, Any]:
    """The event of an entry of a stream: its id, and names and values in turn."""
    fields = dict(zip(entry[1][::2], entry[1][1::2], strict=True))
    event: Mapping[str, Any] = json.loads(fields["data"])
    return event


def _for_psql(url: str) -> dict[str, str]:
    parts = urlsplit(url)
    return {
        "PGHOST": parts.hostname or "",
        "PGPORT": str(parts.port),
        "PGUSER": parts.username or "",
        "PGPASSWORD": parts.password or "",
        "PGDATABASE": parts.path[1:],
    }


class Killer:
    """Kills parts of a shop at random moments, one at a time: the next when the previous one is back."""

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
        except BaseException as e:  # noqa: BLE001  reported by the killer's owner
            self.trouble = e

    def _kill(self, name: str) -> None:
        before = self._shop.pid(name)
        if not before:
            return  # it is starting
        with contextlib.suppress(psutil.NoSuchProcess):
            self._shop.kill(before)
            self.kills[name] += 1
        eventually(lambda: self._shop.pid(name) not in (0, before), f"{name} is back", BACK)
        eventually(self._shop.serves, f"the shop serves after {name} was killed", BACK)


class Bought(NamedTuple):
    """The answers to the buyers: each order's id by its key, and how often orders were sent."""

    orders: Mapping[str, int]
    sent: int
    seconds: float


class Crowd(NamedTuple):
    """Registered people, and the products they may buy."""

    people: list[Person]
    products: list[int]


def crowd(shop: Shop, people: int) -> Crowd:
    """A number of people, and products with enough stock for all."""
    gathered = Crowd([shop.person() for _ in range(people)], [shop.product(STOCK) for _ in range(5)])
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(Person.register, gathered.people))
    return gathered


def buy(crowd: Crowd, orders: int, at_once: int) -> Bought:
    """Place `orders` orders of one item each, `at_once` at a time, each retried until it is acknowledged."""
    acknowledged: dict[str, int] = {}
    sent = itertools.count()
    free = threading.Semaphore(at_once)

    def work(buyer: Person, count: int) -> None:
        for _ in range(count):
            key = secrets.token_hex(16)
            with free:
                answer, times = buyer.insist(random.choice(crowd.products), key)
            assert answer.status == 201, answer
            acknowledged[key] = answer.body["id"]
            for _ in range(times):
                next(sent)

    people = len(crowd.people)
    shares = [orders // people + (number < orders % people) for number in range(people)]
    started = time.monotonic()
    with ThreadPoolExecutor(people) as threads:
        list(threads.map(work, crowd.people, shares))
    return Bought(acknowledged, next(sent), time.monotonic() - started)


def settled(shop: Shop) -> dict[str, Any]:
    """The content of the stores once nothing is left to be done."""
    contents: dict[str, Any] = {}

    def quiet() -> bool:
        contents.update(shop.look())
        return bool(contents["outbox"] == contents["dead"])

    eventually(quiet, "nothing is left to do", SETTLED)
    return shop.look()  # what was read before the outbox was empty may be older


def wrong(acknowledged: Mapping[str, int], contents: Mapping[str, Any]) -> list[str]:
    """What is wrong: each acknowledged order must be stored, processed and published once; there must be no other
    order."""
    problems = []
    if acknowledged != contents["keys"]:
        missing, invented = acknowledged.keys() - contents["keys"], contents["keys"].keys() - acknowledged
        problems.append(f"orders lost: {len(missing)}, invented: {len(invented)}, or with another id")
    if len(set(acknowledged.values())) != len(acknowledged):
        problems.append("two orders with one id")
    done: dict[int, list[str]] = {}
    for order, status in contents["steps"]:
        done.setdefault(order, []).append(status)
    not_once = [order for order in acknowledged.values() if done.get(order) != STEPS]
    if not_once:
        problems.append(f"not each step once and in order: {len(not_once)}, as {done.get(not_once[0])}")
    events = {order: contents["events"].get(str(order), []) for order in acknowledged.values()}
    not_published = [order for order, seen in events.items() if sorted(seen, key=STEPS.index) != STEPS]
    if not_published:
        problems.append(f"not each event once: {len(not_published)}, as {events[not_published[0]]}")
    if Counter(contents["statuses"]) != {"shipped": len(acknowledged)}:
        problems.append(f"statuses: {Counter(contents['statuses'])}")
    unbalanced = [id for id, sold in contents["sold"].items() if sold + contents["stock"][id] != STOCK]
    if unbalanced or sum(contents["sold"].values()) != len(acknowledged):
        problems.append(f"stock and sales do not add up: products {unbalanced}")
    if contents["dead"]:
        problems.append(f"dead letters: {contents['dead']}")
    return problems


def last_item(shop: Shop, buyers: int) -> Counter[int]:
    """Let a number of people buy the last item at once, each on their own connection; returns the statuses."""
    product = shop.product(1)
    people = [shop.person() for _ in range(buyers)]
    known = shop.person()
    known.register()
    for person in people:  # one account on many devices: the buyer does not matter for the stock
        person.be(known)
    gate = threading.Barrier(buyers)

    def go(person: Person) -> int:
        gate.wait(30)
        return person.buy(product, secrets.token_hex(16)).status

    with ThreadPoolExecutor(buyers) as threads:
        return Counter(threads.map(go, people))
