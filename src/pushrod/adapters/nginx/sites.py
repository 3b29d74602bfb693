"""Checks of sites: nginx must not misread them, and no two apps may claim the same. Pure."""

import ipaddress
import re
from collections.abc import Container, Iterable
from typing import NamedTuple

from pushrod.core.errors import EdgeError
from pushrod.core.patterns import lazy
from pushrod.core.site import SNIPPET, Site, both_nameless, same_domain
from pushrod.core.values import Value

_APP = lazy(r"[a-z][a-z0-9-]{0,30}")
_OWN = lazy(r"_[a-z]{1,30}")
_SERVICE = lazy(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
_LABEL = r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
_DOMAIN = lazy(rf"(?=.{{1,253}}$)(?:\*\.{_LABEL}|{_LABEL})(?:\.{_LABEL})*")
_NETWORK = lazy(r"[0-9a-fA-F.:]{2,45}(?:/[0-9]{1,3})?")
_NAMED = lazy(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,61}[A-Za-z0-9])?:[1-9][0-9]{0,4}")
_GENERATION = lazy(r"[0-9a-f]{8,64}")

_Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class Known(Value, frozen=True):
    """The features of this nginx that an older one lacks.

    `keepalive_min_timeout` keeps a draining worker from closing a connection just as a client uses it. `http2` is a
    directive; before, it was a word of `listen`. `gives_back` means that memory returns to the system after each
    request (musl), except what the configuration holds. `counts` means that it has stub_status.
    """

    keepalive_min: bool = True
    http2: bool = True
    gives_back: bool = False
    named: bool = False
    counts: bool = False


class Bounds(Value, frozen=True):
    """Limits of an edge: `files` that each of its two workers may have open; `requests` in progress for one client
    address, and `uploads` with a body of 1 MB or more; `app` requests to one app from all clients (0: as many as take
    half of the connections of one worker).
    """

    files: int = 65536
    requests: int = 1000
    uploads: int = 20
    app: int = 0

    @property
    def connections(self) -> int:
        """Connections of a worker, with clients and with instances: each may need one more file."""
        return max(256, self.files // 4)

    @property
    def of_app(self) -> int:
        """Requests to one app, each of which can take two connections: a client's and an instance's."""
        return self.app or self.connections // 4


class OwnSite(Value, frozen=True):
    """A site of the host itself, no app's, at its domain: a server behind a unix socket. No app has its `name`, which
    begins with `_`. `generation` is the directory of its certificate below that name; without one, only an ACME
    server is answered.
    """

    name: str
    domain: str
    socket: str
    generation: str = ""


class Listening(Value, frozen=True):
    """Where an edge listens: at these addresses, and on `port` (0: none) even if no site uses it; its limits; the
    ports with HTTP/2 without TLS; the loopback port that serves metrics (0: none); and the sites of the host itself,
    on `port` and, with TLS, on `own_port`.
    """

    addresses: tuple[str, ...] = ("127.0.0.1",)
    port: int = 0
    bounds: Bounds = Bounds()
    h2c: frozenset[int] = frozenset()
    metrics: int = 0
    own: tuple[OwnSite, ...] = ()
    own_port: int = 443

    @property
    def encrypted(self) -> frozenset[int]:
        """The ports with TLS of the host's own sites."""
        return frozenset({self.own_port} if any(site.generation for site in self.own) else ())


OWN_HINT = "use another name, or free it as root: pushrod host web on --no-domain"


class Backend(NamedTuple):
    """An instance's address and port."""

    address: _Address
    port: int


def validate(site: Site, *, named: bool = False) -> None:
    """Raise EdgeError for a site that cannot be served; `named` as for Known."""
    problems = []
    if not _APP.fullmatch(site.app):
        problems.append("its name is not an app's name")
    problems += [f"{s!r} is not a service" for s in site.services if s and not _SERVICE.fullmatch(s)]
    for service, backends in site.services.items():
        if not backends:
            problems.append("it has no instances" if service == site.entry else f"{service} has no instances")
        problems += [
            f"{b!r} is not an IP address and a port"
            for b in backends
            if _backend(b) is None and not (named and _NAMED.fullmatch(b))
        ]
    problems += [f"{s} has no instances" for s in site.routing.services if s not in site.services]
    problems += [f"{n!r} is not a network" for n in _networks(site) if not _NETWORK.fullmatch(n)]
    problems += [f"{d!r} is not a domain" for d in site.domains if not _DOMAIN.fullmatch(d)]
    problems += [f"{n!r} is not a snippet" for n in site.routing.snippets if not SNIPPET.fullmatch(n)]
    problems += [
        f"{p!r} is not a password file" for p in site.passwords.values() if not _GENERATION.fullmatch(p)
    ]
    if not 0 < site.port < 65536:
        problems.append("its port is not between 1 and 65535")
    if site.tls and not 0 < site.tls.port < 65536:
        problems.append("its port for TLS is not between 1 and 65535")
    if site.tls and not _GENERATION.fullmatch(site.tls.generation):
        problems.append(f"{site.tls.generation!r} is not a certificate directory")
    if site.tls and (
        not set(site.tls.names) <= set(site.domains) or bool(site.tls.names) != bool(site.domains)
    ):
        problems.append("its certificate is for other names than its own")
    if problems:
        raise EdgeError(f"this site cannot be served: {', '.join(problems)}", where=repr(site.app))


def validate_own(site: OwnSite) -> None:
    """Raise EdgeError for a site of the host itself that cannot be served."""
    if (
        not _OWN.fullmatch(site.name)
        or not _DOMAIN.fullmatch(site.domain)
        or "*" in site.domain
        or (site.generation and not _GENERATION.fullmatch(site.generation))
    ):
        raise EdgeError("this site of the host cannot be served", where=repr(site.domain))


def _networks(site: Site) -> list[str]:
    closed = site.maintenance.allow if site.maintenance else ()
    return [n for r in site.routing.routes for n in (*r.allow, *r.deny)] + [*site.routing.proxies, *closed]


def _backend(text: str) -> Backend | None:
    """The address and port of an instance (`127.0.0.1:20001`, `[::1]:20001`); None if the text is neither."""
    address, _, port = text.rpartition(":")
    bare = address[1:-1] if address.startswith("[") and address.endswith("]") else address
    try:
        ip = ipaddress.ip_address(bare)
    except ValueError:
        return None
    good = (ip.version == 6) == (bare != address) and re.fullmatch(r"[0-9]{1,5}", port)
    return Backend(ip, int(port)) if good and 0 < int(port) < 65536 else None


def check(sites: Iterable[Site], listening: Listening) -> None:
    """Raise EdgeError if two sites claim the same, or the edge would be its own backend.

    nginx itself only warns about two servers with one name on one port, and then serves the first for both.
    """
    sites = list(sites)
    nameless: dict[int, str] = {}
    owners: dict[str, str] = {}
    own = {site.domain for site in listening.own}
    for site in sites:
        if taken := own.intersection(site.domains):
            raise EdgeError(
                f"the domain {min(taken)} is that of a site of this host", where=site.app, hint=OWN_HINT
            )
        if not site.domains and (other := nameless.setdefault(site.port, site.app)) != site.app:
            raise both_nameless(site.app, other, site.port)
        for domain in site.domains:
            if (other := owners.setdefault(domain, site.app)) != site.app:
                raise same_domain(site.app, other, domain)
    encrypted = dict.fromkeys(listening.encrypted, "a site of this host")
    encrypted |= {s.tls.port: s.app for s in sites if s.tls}
    for site in sites:
        if site.port in encrypted:
            raise EdgeError(
                f"{site.app} is served on port {site.port} without TLS, and {encrypted[site.port]} with it",
                where=f"{site.app} and {encrypted[site.port]}",
                hint="give one of them another port: `pushrod up --port N`",
            )
    ports = {s.port for s in sites} | {*encrypted, listening.port}
    for site in sites:
        _check_backends(site, ports, listening.addresses)


def _check_backends(site: Site, ports: Container[int], addresses: Iterable[str]) -> None:
    ours = {ipaddress.ip_address(a) for a in addresses}
    texts = [text for backends in site.services.values() for text in backends]
    for address, port in filter(None, map(_backend, texts)):
        everywhere = any(a.is_unspecified for a in ours)
        if port in ports and (address in ours or (everywhere and address.is_loopback)):
            raise EdgeError(f"an instance has port {port}, on which the edge itself listens", where=site.app)
