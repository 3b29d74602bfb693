"""What the front gate serves for an app, and a request that it has served. Pure.

These values are the same whatever the front gate is; on the two engines there are now it is the edge, an nginx.
"""

import re

import msgspec

from pushrod.core.values import Maintenance, Routing, Value

CHAIN, KEY = "chain.pem", "key.pem"
"""The files of a certificate, in a directory of their own: with the intermediate ones, and its private key."""

DRAIN_BUDGET = 30.0
"""Seconds that old workers have to finish their requests; nginx itself closes what is left after them."""

POOL = "pool"
"""The directory of an app's static files that holds those of all kept releases that are named by their content."""

SNIPPET = re.compile(r"(?:[A-Za-z0-9_][A-Za-z0-9._-]{0,63}/){0,8}[A-Za-z0-9_][A-Za-z0-9._-]{0,63}\.conf")
"""The path of a snippet in its repository, which it has below `sites/<app>.d` too."""


class Tls(Value, frozen=True):
    """How a site is served with TLS: a certificate, for which of the site's names, at which port.

    `generation` is the directory of CHAIN and KEY, below that of the app in the edge's `certificates`. It never
    changes, so a new certificate is a new tree. `names` are those of the site's domains that the certificate is for;
    the others stay without TLS. `hsts` is how many seconds a browser is told to use nothing but TLS (0: it is not
    told).
    """

    generation: str
    names: tuple[str, ...] = ()
    port: int = 443
    hsts: int = 0


class Site(Value, frozen=True):
    """What the edge serves for one app: its port, and the instances of the live release behind it.

    `backends` are the addresses (`127.0.0.1:20001`) of the instances of `entry`, `others` those of each further
    service that a route leads to. Sites on one port are told apart by their `domains`, which are lower-case ASCII and
    may begin with `*.`; a site without any answers to every name that no other has. `challenges` says that an ACME
    server finds its answers there. `passwords` are the files of those who may pass, by the name of the secret.
    Without the file `ready_marker`, where one is named, the app is said to be starting.
    """

    app: str
    release: int
    port: int
    backends: tuple[str, ...]
    domains: tuple[str, ...] = ()
    tls: Tls | None = None
    challenges: bool = False
    entry: str = ""
    others: dict[str, tuple[str, ...]] = {}
    routing: Routing = Routing()
    passwords: dict[str, str] = {}
    maintenance: Maintenance | None = None
    ready_marker: str = msgspec.field(name="present", default="")

    @property
    def ports(self) -> tuple[int, ...]:
        """The ports it is served at, without TLS and with it."""
        return (self.port, self.tls.port) if self.tls else (self.port,)

    @property
    def services(self) -> dict[str, tuple[str, ...]]:
        """The instances' addresses of each service, by its name; the entry's first."""
        return {self.entry: self.backends, **self.others}


class Request(Value, frozen=True):
    """A request as it was logged. `seconds` is from its first byte to the last of its answer.

    `app` is empty and `release` 0 for one that reached no app. `upstream` are the addresses that were asked, with
    their statuses and seconds in `upstream_status` and `upstream_seconds`: several where one had to take over from
    another, none where the edge answered by itself. `instance` are their names, where they are known.
    """

    time: str
    app: str = ""
    release: int = 0
    request: str = ""
    client: str = ""
    method: str = ""
    path: str = ""
    status: int = 0
    bytes: int = 0
    seconds: float = 0.0
    upstream: str = ""
    upstream_status: str = ""
    upstream_seconds: str = ""
    cache: str = ""
    instance: str = ""


def group(app: str, service: str, entry: str) -> str:
    """The name of a service's group of instances."""
    return f"app-{app}" if service == entry else f"app-{app}.{service}"
