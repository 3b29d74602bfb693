"""Redis and Valkey.

The contract is that of the official images (https://hub.docker.com/_/redis), and Bitnami's.
"""

import re
import shlex
from urllib.parse import quote

from pushrod.core.values import Service
from pushrod.stores import spring
from pushrod.stores.kinds import ContainerStore, Embedded, Endpoint, Kind, Password, Server

_PORT = 6379
_VARIABLE = re.compile(r"\$(?:(\w+)|\{(\w+)\})")


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


class Redis(Kind):
    """Redis or Valkey."""

    name = "redis"
    title = "Redis or Valkey"
    images = {"redis": "Redis", "valkey": "Valkey"}
    variable = "REDIS_URL"
    usual = ("redis", "valkey")
    spring = spring.REDIS
    numbered = True
    embeddable = True

    def remark(self, store: Service) -> str:
        """If its password is unknown, so is its address."""
        if password(store) is not None:
            return ""
        return "REDIS_URL does not refer to it, because its password is unknown"

    def endpoint(self, store: Service, app: str, passwords: Password, *, ours: bool) -> Endpoint | None:
        """Its service's name, with the password from its command or image."""
        if (secret := password(store)) is None:
            return None
        user = f":{quote(secret, '')}@" if secret else ""
        url = f"redis://{user}{store.name}:{port(store)}/0"
        return Endpoint(store.name, self.name, url, url, adopts=False)

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

        return redis_driver.Contained(store.service.name, store.container, port(store.service), secret)

    def embedded(self) -> Embedded:
        """A Valkey of its own for each store."""
        from pushrod.stores import redis_driver

        return redis_driver.Process()


KIND = Redis()
