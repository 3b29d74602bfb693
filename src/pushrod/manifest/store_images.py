"""What the image of a store promises: which variables it reads, where it listens, what password it wants. Pure.

The source is the official images' own documentation (https://hub.docker.com/_/postgres, https://hub.docker.com/_/redis)
and Bitnami's, whose images are other ones under the same names.
"""

import re
import shlex
from collections.abc import Mapping

from pushrod.core.values import Service

_DATABASE = re.compile(r"[a-z][a-z0-9_-]{0,62}")
_VARIABLE = re.compile(r"\$(?:(\w+)|\{(\w+)\})")


def takes_roles(store: Service) -> bool:
    """Whether a store is a PostgreSQL that reads `POSTGRES_USER` and the like, and trusts that user on its socket."""
    other = "bitnami" in store.image or any(n.startswith("POSTGRESQL_") for n in store.environment)
    return store.store == "postgres" and not other


def database(store: Service, variables: Mapping[str, str | None], default: str) -> str:
    """The database of a PostgreSQL store in which the app is given roles; empty where it is given none.

    The image makes POSTGRES_DB, by default named as its user; where the manifest names neither, it is `default`.
    """
    if not takes_roles(store) or {"POSTGRES_DB_FILE", "POSTGRES_USER_FILE"} & variables.keys():
        return ""
    name = variables.get("POSTGRES_DB") or variables.get("POSTGRES_USER") or default
    return name if _DATABASE.fullmatch(name) else ""


def redis_port(store: Service) -> int:
    """Where a Redis listens: at what its command says, else 6379."""
    words = _words(store)
    given = words[words.index("--port") + 1 :][:1] if "--port" in words else []
    return int(given[0]) if given and re.fullmatch(r"[0-9]{1,5}", given[0]) else 6379


def redis_password(store: Service) -> str | None:
    """What a Redis asks of its clients: nothing (empty), a password, or None where that cannot be known."""
    if "bitnami" in store.image:
        return store.environment.get("REDIS_PASSWORD", "")
    words = _words(store)
    if not any("requirepass" in w or "aclfile" in w for w in words):
        return ""
    given = words[words.index("--requirepass") + 1 :][:1] if "--requirepass" in words else []
    if not given:
        return None
    if found := _VARIABLE.fullmatch(given[0]):
        return store.environment.get(found[1] or found[2]) or None
    return None if "$" in given[0] else given[0]


def _words(store: Service) -> list[str]:
    """The words of a store's argv, those of a script in it too."""
    found: list[str] = []
    before = ""
    for word in (*store.entrypoint, *store.command):
        try:
            found += shlex.split(word) if before == "-c" else [word]
        except ValueError:
            found.append(word)
        before = word
    return found
