"""Whether a store without a password in the manifest stays open, and why."""

import pytest

from pushrod.core.values import Health, Manifest, Service
from pushrod.stores import clients


def judge(*, read: bool = False, secrets: dict[str, str] | None = None, **web: object) -> Manifest:
    """An app with a Redis; `web` are settings of its service, `read` whether a file names REDIS_URL."""
    service = Service("web", "entry", **web)  # type: ignore[arg-type]
    store = Service("redis", "store", image="redis:8", store="redis", aliases=("shop-redis",))
    manifest = Manifest((service, store), notes=("first",))
    return clients.judged(manifest, "shop", secrets or {}, lambda name: read and name == "REDIS_URL")


@pytest.mark.parametrize(
    ("environment", "read"),
    [
        ({}, True),
        ({"REDIS_URL": "redis://redis:6379/0"}, False),
        ({"BROKER": "redis://:@shop-redis:6379/3"}, False),
        ({"CACHE_DRIVER": "redis", "SESSION_STORE": "redis"}, True),
        ({"SPRING_DATA_REDIS_HOST": "redis", "SPRING_DATA_REDIS_PORT": "6379"}, False),
        ({"IMAGE": "redis:8", "HOST": "redis.example.org"}, True),
    ],
)
def test_a_store_whose_clients_have_an_account_is_closed(environment: dict[str, str], read: bool) -> None:
    manifest = judge(read=read, environment=environment)
    assert manifest.service("redis").closed
    assert manifest.notes == ("first",)


@pytest.mark.parametrize(
    ("environment", "why"),
    [
        ({}, "no file of the commit reads `REDIS_URL`"),
        ({"REDIS_HOST": "redis"}, "web reaches it by `REDIS_HOST`"),
        ({"CACHE": "Shop-Redis"}, "web reaches it by `CACHE`"),
        ({"NODES": "one.example:6379,redis:6379"}, "web reaches it by `NODES`"),
        ({"ALL": "redis://one.example/0,redis://redis/0"}, "web reaches it by `ALL`"),
        ({"SETTINGS_JSON": '{"host": "redis"}'}, "web reaches it by `SETTINGS_JSON`"),
        ({"REDIS_URL": "redis://redis:6379/0", "REDIS_HOST": "redis"}, "web reaches it by `REDIS_HOST`"),
    ],
)
def test_a_store_that_the_file_names_by_hand_stays_open_with_a_note(
    environment: dict[str, str], why: str
) -> None:
    manifest = judge(read=bool(environment), environment=environment)
    assert not manifest.service("redis").closed
    first, note = manifest.notes
    assert first == "first"
    assert f"redis: every account of this machine may use it without a password, because {why};" in note
    assert note.endswith("write `REDIS_URL: redis://redis:6379/0`")


def test_a_secret_may_name_it_too() -> None:
    assert not judge(read=True, secrets={"REDIS_HOST": "redis"}).service("redis").closed
    assert judge(secrets={"BROKER_URL": "redis://redis/1"}).service("redis").closed


@pytest.mark.parametrize(
    ("argv", "closed"),
    [
        ("celery --broker=redis://redis:6379/0 worker", False),
        ("rq worker --host redis", False),
        ("redis-cli -h shop-redis ping", False),
        ("app --cache redis:6379", False),
        ("./wait-for-it.sh redis:6379 -- python app.py", True),
        ("dockerize -wait tcp://redis:6379 python app.py", True),
        ("python redis.py", True),
    ],
)
def test_a_command_that_names_it_keeps_it_open_unless_it_only_waits(argv: str, closed: bool) -> None:
    words = tuple(argv.split())
    assert judge(read=True, command=words).service("redis").closed is closed
    assert judge(read=True, health=Health(command=words)).service("redis").closed is closed


def test_a_store_with_a_password_and_a_database_stay_as_they_are() -> None:
    web = Service("web", "entry", environment={"REDIS_HOST": "redis"})
    guarded = Service("redis", "store", image="redis:8", store="redis", command=("--requirepass", "x"))
    database = Service("db", "store", image="postgres:18", store="postgres")
    manifest = Manifest((web, guarded, database))
    assert clients.judged(manifest, "shop", {}, lambda _: False) is manifest
