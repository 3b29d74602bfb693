"""Which servers a push may fetch files from: those that everybody on the Internet can reach.

Whoever pushes chooses the address, so it must not lead to what only this machine or its networks can reach: itself,
apps, its private network.
"""

from collections.abc import Collection
from typing import NamedTuple

from pushrod.core.patterns import lazy
from pushrod.system import network

_URL = lazy(
    r"https://(?P<host>[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?)(?::(?P<port>[0-9]{1,5}))?(?P<path>/[!-~]*)"
)
_PORT = 443
_LONGEST = 1000  # characters of a URL; signed ones of object stores are longer


class Server(NamedTuple):
    """An HTTPS server and a path on it."""

    host: str
    port: int
    path: str

    @property
    def name(self) -> str:
        """The server in the form of a grant: `host`, or `host:port` for a port other than 443."""
        return self.host if self.port == _PORT else f"{self.host}:{self.port}"


class NotPublicError(Exception):
    """The server is not on the Internet."""


def parse(url: str, *, longest: int = _LONGEST) -> Server | None:
    """The server of an `https://` URL without a name or a password; None for any other text."""
    match = _URL.fullmatch(url) if len(url) <= longest else None
    return Server(match["host"].lower(), int(match["port"] or _PORT), match["path"]) if match else None


def addresses(server: Server, allowed: Collection[str]) -> list[str]:
    """The addresses of a server, resolved once: a second look-up could give others.

    `allowed` are servers that may be contacted wherever they are. Raises OSError for a name without an address,
    NotPublicError for a server that is not on the Internet.
    """
    resolved = network.addresses(server.host, server.port)
    if server.name not in allowed and not all(
        network.is_public(a) and not network.is_own(a) for a in resolved
    ):
        raise NotPublicError(server.name)
    return resolved


def proxy(server: Server) -> str:
    """The proxy, as `host:port`, through which the variables of this process lead to a server; empty for none.

    A proxy resolves names itself, so nothing can be said of the addresses that it contacts.
    """
    from urllib import request  # slow to import, and seldom needed

    proxies = request.getproxies_environment()
    address = proxies.get("https") or proxies.get("all") or ""
    if not address or request.proxy_bypass_environment(server.name, proxies):  # type: ignore[attr-defined]
        return ""
    return address.rpartition("://")[2].rpartition("@")[2].strip("/")
