"""What the front gate serves for an app, and a request it has served. Pure.

These values are independent of the kind of front gate; both current engines have the edge, an nginx.
"""

from pathlib import Path

import msgspec

from pushrod.core.errors import EdgeError
from pushrod.core.patterns import lazy
from pushrod.core.values import Maintenance, Routing, Value

CHAIN, KEY = "chain.pem", "key.pem"
"""The files of a certificate, in its own directory: the chain with the intermediate certificates, and the private
key."""

METRICS = Path("metrics", "metrics.prom")
"""The file with metrics, in the front gate's directory; it can serve it."""

DRAIN_BUDGET = 30.0
"""Seconds that old workers have for their open requests; then nginx itself closes what is left."""

POOL = "pool"
"""The directory, among an app's static files, of files with a content hash in their name from all kept releases."""

DATA = "data"
"""The directory, among a release's static files, of links to data of the app that routes serve."""

SNIPPET = lazy(r"(?:[A-Za-z0-9_][A-Za-z0-9._-]{0,63}/){0,8}[A-Za-z0-9_][A-Za-z0-9._-]{0,63}\.conf")
"""The path of a snippet in its repository, which is also its path below `sites/<app>.d`."""


class Tls(Value, frozen=True):
    """How a site is served with TLS: a certificate, the names it is for, and the port.

    `generation` is the directory of CHAIN and KEY, below the app's in the edge's `certificates`. It never changes,
    so a new certificate is a new tree. `names` are the site's domains that the certificate covers; the others stay
    without TLS. `hsts` is the number of seconds for which browsers use TLS only (0: no header).
    """

    generation: str
    names: tuple[str, ...] = ()
    port: int = 443
    hsts: int = 0


class Site(Value, frozen=True):
    """What the edge serves for one app: its port, and the live release's instances behind it.

    `backends` are the addresses (`127.0.0.1:20001`) of the instances of `entry`, `others` those of each further
    service that a route leads to. Sites on one port are distinguished by their `domains`, which are lower-case
    ASCII and may begin with `*.`; a site without any answers to every name that no other has. `challenges` means
    that an ACME server finds its answers there. `passwords` are the password files, by the name of the secret. If
    `ready_marker` is set and that file does not exist, the edge answers that the app is starting.
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
        """The ports at which it is served, without and with TLS."""
        return (self.port, self.tls.port) if self.tls else (self.port,)

    @property
    def services(self) -> dict[str, tuple[str, ...]]:
        """The instances' addresses of each service by name; the entry comes first."""
        return {self.entry: self.backends, **self.others}


class Request(Value, frozen=True):
    """A logged request. `seconds` is the time from its first byte to the last byte of its answer.

    `app` is empty and `release` 0 for a request that reached no app. `upstream` are the addresses that were asked,
    with their statuses and seconds in `upstream_status` and `upstream_seconds`: several if one took over from
    another, none if the edge answered itself. `instance` are their names, if known.
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


def both_nameless(app: str, other: str, port: int | str) -> EdgeError:
    """The error for two apps without names of their own on one port."""
    return EdgeError(
        f"{other} and {app} would both answer to every name on port {port}",
        where=f"{other} and {app}",
        hint="give one of them names of its own in its compose file, "
        "x-pushrod: {domains: [shop.example.com]}, or another port, `pushrod up --port N`",
    )


def same_domain(app: str, other: str, name: str) -> EdgeError:
    """The error for an app that wants another app's domain."""
    return EdgeError(
        f"the domain {name} is {other}'s",
        where=f"{other} and {app}",
        hint="remove it from `x-pushrod.domains` of one of them, or destroy the unused app",
    )
