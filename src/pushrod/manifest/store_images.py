"""The interface of a store's image: the variables it reads, the port it listens on, its password. Pure.

Sources: the documentation of the official images (https://hub.docker.com/_/postgres,
https://hub.docker.com/_/redis) and of Bitnami's, which use the same names for different images.
"""

import re
import shlex
from collections.abc import Mapping

from pushrod.core.values import Service

_DATABASE = re.compile(r"[a-z][a-z0-9_-]{0,62}")
_VARIABLE = re.compile(r"\$(?:(\w+)|\{(\w+)\})")


def takes_roles(store: Service) -> bool:
    """Whether a store is a PostgreSQL that reads `POSTGRES_USER` etc. and trusts that user on its socket."""
    other = "bitnami" in store.image or any(n.startswith("POSTGRESQL_") for n in store.environment)
    return store.store == "postgres" and not other


def database(store: Service, variables: Mapping[str, str | None], default: str) -> str:
    """The database of a PostgreSQL store in which the app gets its roles; empty if it gets none.

    The image creates POSTGRES_DB, by default named after its user; if the manifest names neither, it is `default`.
    """
    if not takes_roles(store) or {"POSTGRES_DB_FILE", "POSTGRES_USER_FILE"} & variables.keys():
        return ""
    name = variables.get("POSTGRES_DB") or variables.get("POSTGRES_USER") or default
    return name if _DATABASE.fullmatch(name) else ""


def redis_port(store: Service) -> int:
    """The port of a Redis: from its command, else 6379."""
    words = _words(store)
    given = words[words.index("--port") + 1 :][:1] if "--port" in words else []
    return int(given[0]) if given and re.fullmatch(r"[0-9]{1,5}", given[0]) else 6379


def redis_password(store: Service) -> str | None:
    """The password of a Redis; empty if it needs none, None if it cannot be determined."""
    if "bitnami" in store.image:
        return store.environment.get("REDIS_PASSWORD", "")
    words = _words(store)
    if not any("requirepass" in w or "aclfile" in w for w in words):
        return ""
    given = words[words.index("--requirepass") + 1 :][:1] if "--requirepass" in words else []
    if not given:
        return None
    if variable := _VARIABLE.fullmatch(given[0]):
        return store.environment.get(variable[1] or variable[2]) or None
    return None if "$" in given[0] else given[0]


def _words(store: Service) -> list[str]:
    """The words of a store's argv, including those of a shell script in it."""
    words: list[str] = []
    before = ""
    for word in (*store.entrypoint, *store.command):
        try:
            words += shlex.split(word) if before == "-c" else [word]
        except ValueError:
            words.append(word)
        before = word
    return words
