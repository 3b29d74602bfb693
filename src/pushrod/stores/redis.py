"""Redis and Valkey.

The contract is that of the official images (https://hub.docker.com/_/redis), and Bitnami's.
"""

import re
import shlex
from collections.abc import Mapping, Sequence
from urllib.parse import quote

from pushrod.core.patterns import lazy
from pushrod.core.values import Service
from pushrod.stores import spring
from pushrod.stores.kinds import Access, ContainerStore, Embedded, Endpoint, Kind, Password, Server

_PORT = 6379
_VARIABLE = lazy(r"\$(?:(\w+)|\{(\w+)\})")


def port(store: Service) -> int:
    """The port in its command, else 6379."""
    words = _words(store)
    given = words[words.index("--port") + 1 :][:1] if "--port" in words else []
    return int(given[0]) if given and re.fullmatch(r"[0-9]{1,5}", given[0]) else _PORT


def password(store: Service) -> str | None:
    """The password that clients need: empty for none, None if it is unknown."""
    if "bitnami" in store.image:
        return store.environment.get("REDIS_PASSWORD", "")
    words = _words(store)
    if not any("requirepass" in w or "aclfile" in w for w in words):
        return ""
    given = words[words.index("--requirepass") + 1 :][:1] if "--requirepass" in words else []
    if not given:
        return None
    if match := _VARIABLE.fullmatch(given[0]):
        return store.environment.get(match[1] or match[2]) or None
    return None if "$" in given[0] else given[0]


def is_cache(store: Service) -> bool:
    """Whether it keeps no data: by its profile, else by its name."""
    return store.profile == "cache" or (not store.profile and store.name == "cache")


def _words(store: Service) -> list[str]:
    """The words of a store's argv, including those of a shell script."""
    words: list[str] = []
    before = ""
    for word in (*store.entrypoint, *store.command):
        try:
            words += shlex.split(word) if before == "-c" else [word]
        except ValueError:
            words.append(word)
        before = word
    return words


_ENTRY = "docker-entrypoint.sh"
_DURABLE = (
    f"command -v {_ENTRY} >/dev/null || "
    "if command -v redis-server >/dev/null; then exec redis-server; else exec valkey-server; fi; "
    "if [ -e dump.rdb ] && [ ! -e appendonlydir ] && [ ! -e appendonly.aof ]; "
    f"then exec {_ENTRY} --maxmemory-policy noeviction; fi; "
    f"exec {_ENTRY} --appendonly yes --appendfsync everysec --maxmemory-policy noeviction"
)
"""A server with an append-only file does not load a snapshot that was there before: data from elsewhere (a volume of
plain Compose) would be gone. So it then starts in the image's own way. Before Redis 7 the append-only file is
`appendonly.aof`, and a snapshot beside it is older.
"""


def options(*, cache: int) -> tuple[str, ...]:
    """The command of a server, for the official images: a cache of so many bytes (0: durable)."""
    if cache:
        return (
            "--save",
            "",
            "--appendonly",
            "no",
            "--maxmemory",
            str(cache),
            "--maxmemory-policy",
            "allkeys-lru",
        )
    return ("sh", "-c", _DURABLE)


class Redis(Kind):
    """Redis or Valkey."""

    name = "redis"
    title = "Redis or Valkey"
    images = {"redis": "Redis", "valkey": "Valkey"}
    variable = "REDIS_URL"
    usual = ("redis", "valkey")
    spring = spring.REDIS
    numbered = True
    servers = ("redis-server", "valkey-server")
    keys = ("profile",)
    embeddable = True
    exporter = "redis"

    def remark(self, store: Service) -> str:
        """If its password is unknown, so is its address."""
        if password(store) is not None:
            return ""
        return "REDIS_URL does not refer to it, because its password is unknown"

    def first_command(self, store: Service, memory: int, before: Sequence[str] | None) -> list[str]:
        """Durable, or a cache within three quarters of its memory; none for an image with other arguments.

        A server that exists keeps its way, so that it is not restarted for another; unless it is to be a cache.
        """
        if store.command or store.entrypoint or "bitnami" in store.image:
            return []
        ours = before is None or tuple(before) == options(cache=0) or "allkeys-lru" in before
        if is_cache(store) and (ours or store.profile):
            return list(options(cache=memory * 3 // 4))
        return list(options(cache=0)) if ours else []

    def endpoint(
        self, store: Service, app: str, passwords: Password, *, ours: bool, login: str = "app"
    ) -> Endpoint | None:
        """Its service's name, with the password from its command or image."""
        if (secret := password(store)) is None:
            return None
        user = f":{quote(secret, '')}@" if secret else ""
        url = f"redis://{user}{store.name}:{port(store)}/0"
        return Endpoint(store.name, self.name, url, url, adopts=False)

    def place(self, store: Service) -> tuple[int, str]:
        """As in the official images."""
        return port(store), "" if "bitnami" in store.image else "/data"

    def users(self, app: str) -> Mapping[str, str]:
        """The app's own user, on the embedded engine."""
        from pushrod.adapters import redis

        return {redis.APP_USER: redis.APP_USER}

    def spring_variables(self, given: str, url: str) -> dict[str, str]:
        """`spring.data.redis`."""
        return spring.redis(url)

    def check(self, store: Service) -> list[str]:
        """A refusal counts as an answer."""
        ping = f"-p {port(store)} ping"
        asked = f"{{ redis-cli {ping} || valkey-cli {ping}; }} 2>&1 | grep -q -e PONG -e NOAUTH -e NOPERM"
        return ["CMD-SHELL", asked]

    def answers(self, store: ContainerStore) -> bool:
        """Queried on the app's own network."""
        from pushrod.stores import redis_driver

        return redis_driver.answers(store, port(store.service))

    def server(self, store: ContainerStore) -> Server:
        """Queried in its container."""
        secret = password(store.service)
        if secret is None:
            return Server()
        from pushrod.stores import redis_driver

        return redis_driver.Contained(store, port(store.service), secret)

    def access(self, store: Service, app: str) -> Access:
        """The port in its command, and the default user as the manifest lets it in."""
        return Access(port(store), password=password(store))

    def embedded(self) -> Embedded:
        """A Valkey of its own for each store."""
        from pushrod.stores import redis_driver

        return redis_driver.Process()


KIND = Redis()
