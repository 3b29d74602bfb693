"""Addresses of stores, in the variables that Spring Boot binds to its properties. Pure.

JDBC requires an address without an account in front of the host, so address, account and password are separate. They
take precedence over the application's own `application.properties`, because Spring Boot reads the environment first.
"""

from collections.abc import Iterable
from urllib.parse import SplitResult, quote, unquote, urlsplit

PREFIX = "SPRING_"
DATASOURCE = ("SPRING_DATASOURCE_URL", "SPRING_DATASOURCE_USERNAME", "SPRING_DATASOURCE_PASSWORD")
REDIS = (
    "SPRING_DATA_REDIS_HOST",
    "SPRING_DATA_REDIS_PORT",
    "SPRING_DATA_REDIS_USERNAME",
    "SPRING_DATA_REDIS_PASSWORD",
)
_ACCOUNT = ("user", "password")  # drivers prefer these parameters of the address to all others


def host(value: str, schemes: Iterable[str]) -> str | None:
    """The one host of a JDBC address that begins with one of `schemes`; None for every other value."""
    if not value.startswith(tuple(f"{scheme}//" for scheme in schemes)):
        return None
    try:
        return urlsplit(value.removeprefix("jdbc:")).hostname
    except ValueError:
        return None


def address(given: str, url: str) -> str:
    """The JDBC address of a store, with its account and password; keeps the driver and the other parameters of
    `given`.
    """
    store, scheme = urlsplit(url), given.partition("//")[0]
    account = f"user={quote(_user(store), '')}&password={quote(_password(store), '')}"
    others = _without_account(given)
    return f"{scheme}{_bare(store)}?{account}{f'&{others}' if others else ''}"


def datasource(given: str, url: str, jdbc: str) -> dict[str, str]:
    """`spring.datasource` of a store. `given` is the manifest's address, or empty; then `jdbc` is the prefix to
    use.
    """
    store, scheme = urlsplit(url), given.partition("//")[0] if "//" in given else jdbc
    others = _without_account(given)
    values = (f"{scheme}{_bare(store)}{f'?{others}' if others else ''}", _user(store), _password(store))
    return dict(zip(DATASOURCE, values, strict=True))


def redis(url: str) -> dict[str, str]:
    """`spring.data.redis` of a store; without a user or a password, those variables are left out."""
    store = urlsplit(url)
    values = (store.hostname or "", str(store.port or 6379), _user(store), _password(store))
    return {name: value for name, value in zip(REDIS, values, strict=True) if value}


def _bare(store: SplitResult) -> str:
    return f"//{store.hostname}:{store.port}{store.path}"


def _without_account(given: str) -> str:
    parameters = given.partition("?")[2].split("&")
    return "&".join(p for p in parameters if p.partition("=")[0] not in _ACCOUNT)


def _user(store: SplitResult) -> str:
    return unquote(store.username or "")


def _password(store: SplitResult) -> str:
    return unquote(store.password or "")
