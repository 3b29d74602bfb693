"""Addresses in place of names that do not resolve."""

import pytest

from pushrod.engines.embedded import host_names

ADDRESSES = {"db": "127.64.0.9", "api": "127.64.0.10", "api-v2": "127.64.0.11"}


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("DB_HOST", "db", "127.64.0.9"),
        ("dbhost", "db", "127.64.0.9"),
        ("POSTGRES_USER", "db", "db"),
        ("PGHOST", "db", "127.64.0.9"),
        ("CACHE_SERVER", "api", "127.64.0.10"),
        ("API", "http://api:9000/v1", "http://127.64.0.10:9000/v1"),
        ("API", "http://api-v2/v1", "http://127.64.0.11/v1"),
        ("API", "http://api", "http://127.64.0.10"),
        ("BROKERS", "db:5432,api:9000", "127.64.0.9:5432,127.64.0.10:9000"),
        ("URL", "postgres://db:5432@db:5432/db", "postgres://db:5432@127.64.0.9:5432/db"),
        ("URL", "https://db.example.com:5432/api", "https://db.example.com:5432/api"),
        ("X", "mydb:5432 db:54321x other/db:1", "mydb:5432 db:54321x other/db:1"),
        ("SECRET", "db:pass", "db:pass"),
    ],
)
def test_of_a_variable(name: str, value: str, expected: str) -> None:
    assert host_names.in_environment({name: value}, ADDRESSES) == {name: expected}
    assert host_names.in_environment({name: value}, {}) == {name: value}


def test_of_a_command() -> None:
    argv = ("./wait-for-it.sh", "db:5432", "--", "celery", "-b", "redis://db:6379/0", "db")
    assert host_names.in_argv(argv, ADDRESSES) == (
        "./wait-for-it.sh",
        "127.64.0.9:5432",
        "--",
        "celery",
        "-b",
        "redis://127.64.0.9:6379/0",
        "db",
    )
