"""One app's file: its log, its instances, and its servers. Pure."""

from pathlib import Path

import msgspec

from pushrod.adapters.nginx import access, headers, locations, memory, pages
from pushrod.adapters.nginx.quoting import indented, name, quoted
from pushrod.adapters.nginx.sites import Bounds, Known, Listening, validate
from pushrod.adapters.templates import beside, fill
from pushrod.core.site import CHAIN, KEY, Site, Tls

CHALLENGES = "/.well-known/acme-challenge/"
"""Where an ACME server looks for its proof (RFC 8555, 8.3): always answered without TLS."""

_BEHIND = 4
"""Backup instances behind the one at which a client stays: limited, so that a hundred do not make ten thousand
lines.
"""

_USUAL_MEMORY = 192 << 10
"""Bytes that a request takes at most unless custom nginx lines change it: 64k for an answer's headers, the most that
a route can have, 128k for the rest.
"""

_LEAST_REQUESTS = 50

_HEAD = beside(__file__, "site_head.conf")

_UPSTREAM = beside(__file__, "upstream.conf")

_SERVER = beside(__file__, "server.conf")

_LEADING = beside(__file__, "redirect.conf")

_BUFFERS = fill(beside(__file__, "buffers.conf"), headers=f"{memory.HEADERS >> 10}k")

_CERTIFIED = """\
    ssl_certificate @chain@;
    ssl_certificate_key @key@;
"""

_ENCRYPTED = """\
    if (@must_encrypt@) {
        return 308 https://$host@port@$request_uri;
    }
"""

_STRICT = beside(__file__, "strict_transport.conf")

_MUST_ENCRYPT = beside(__file__, "must_encrypt.conf")

_CHALLENGED = beside(__file__, "challenges.conf")

_AWAY = beside(__file__, "away.conf")

_ASTRAY = """\
    if (@variable@) {
        return 404;
    }
"""

_FIRST = """\
    set $stripped @first@; # looked at once, before anything has changed the path
"""

_HERE = """\
    set $away "";
    set $retry_after 1;
"""


def render(site: Site, *, listening: Listening, directory: Path, tree: Path, known: Known) -> str:
    """The upstreams of one app, and its servers: one for the names in its certificate, one for the others.

    One of several instances that refuses is left out for 2 s (a supervisor restarts it in about that time); a single
    one is always tried, because leaving it out would answer nobody. `tree` is the directory of the generation. Raises
    EdgeError for a site that cannot be served.
    """
    validate(site, named=known.named)
    listening = msgspec.structs.replace(listening, bounds=_bounds(site, listening.bounds))
    upstreams = "".join(_upstreams(site, service) for service in site.services)
    led = site.routing.redirects
    encrypted = tuple(d for d in site.tls.names if d not in led) if site.tls else ()
    plain = tuple(d for d in site.domains if d not in led and (not site.tls or d not in site.tls.names))
    parts = []
    if site.tls and (encrypted or not site.tls.names):
        parts.append(_server(site, site.tls, encrypted, listening, directory, tree, known))
    if plain or not parts:
        parts.append(_server(site, None, plain, listening, directory, tree, known))
    parts += _leading(site, listening, directory, known)
    log = access.log_format(f"app-{site.app}", site.app, site.release)
    head = fill(_HEAD, app=site.app, release=str(site.release), log=log)
    return head + upstreams + _maps(site, directory) + "".join(parts)


def _bounds(site: Site, bounds: Bounds) -> Bounds:
    """The limits for this app's concurrent requests: lower if each may take more memory than usual."""
    if site.routing.memory <= _USUAL_MEMORY:
        return bounds
    fewer = max(_LEAST_REQUESTS, bounds.of_app * _USUAL_MEMORY // site.routing.memory)
    return msgspec.structs.replace(bounds, app=min(bounds.of_app, fewer))


def _bounded(site: Site, bounds: Bounds) -> str:
    """The lines with these limits; one such line in a server hides all that are set for every server."""
    if site.routing.memory <= _USUAL_MEMORY:
        return ""
    return (
        f"    limit_conn clients {bounds.requests};\n    limit_conn uploaders {bounds.uploads};\n"
        f"    limit_conn apps {bounds.of_app};\n"
    )


def _upstreams(site: Site, service: str) -> str:
    backends = site.services[service]
    several = len(backends) > 1
    limit = "max_fails=1 fail_timeout=2s" if several else "max_fails=0"
    servers = "".join(f"    server {backend} {limit};\n" for backend in backends)
    group = locations.upstream(site, service)
    # Without a zone each worker of nginx would count its own requests and failures.
    choice = f"    zone of-{group} 64k;\n    least_conn;\n" if several else ""
    text = fill(_UPSTREAM, name=group, servers=choice + servers)
    return text + (_sticky(site, service, group, limit) if locations.sticks(site, service) else "")


def _sticky(site: Site, service: str, group: str, limit: str) -> str:
    """A group for each instance, with the others as backups, and the cookie that leads a client back there.

    Its value is the instance's number, so that it means the same in every release. A client whose instance is gone,
    or does not answer, gets another one, and its cookie.
    """
    backends, variable = site.services[service], locations.sticky_name(site, service)
    cookie = f"pushrod_{name(site.app)}_{name(service)}"
    text, pools, cookies = "", "", ""
    for number, own in enumerate(backends, 1):
        servers = f"    server {own} {limit};\n"
        others = (*backends[number:], *backends[: number - 1])[:_BEHIND]
        servers += "".join(f"    server {other} {limit} backup;\n" for other in others)
        text += fill(_UPSTREAM, name=f"{group}+{number}", servers=servers)
        pools += f'    "{number}" {group}+{number};\n'
        cookie_line = f"{cookie}={number}; Path=/; HttpOnly; SameSite=Lax$cookie_secure"
        cookies += f'    "{number}:{own}" "";\n    "~[: ]{_regex(own)}$" "{cookie_line}";\n'
    text += f"\nmap $cookie_{cookie} $pool_{variable} {{\n    default {group};\n{pools}}}\n"
    return text + (
        f'map "$cookie_{cookie}:$upstream_addr" $stick_{variable} {{\n    default "";\n{cookies}}}\n'
    )


def _regex(address: str) -> str:
    return address.replace(".", "\\.").replace("[", "\\[").replace("]", "\\]")


def _maps(site: Site, directory: Path) -> str:
    """What the site's servers need outside the server blocks."""
    text, scheme = locations.zones(site, directory), _scheme(site)
    if site.routing.proxies:
        text += headers.proxy_maps(site.app, site.routing.proxies)
        text += fill(_MUST_ENCRYPT, scheme=scheme, variable=_must_encrypt(site)) if site.tls else ""
        text += strict(site)
    if site.maintenance and site.maintenance.allow:
        passing = "".join(f'    {network} "";\n' for network in site.maintenance.allow)
        text += f"\ngeo $closed_{name(site.app)} {{\n    default yes;\n{passing}}}\n"
    return text


def _scheme(site: Site) -> str:
    return headers.scheme(site.app) if site.routing.proxies else "$client_scheme"


def _must_encrypt(site: Site) -> str:
    return f"$must_encrypt_{name(site.app)}" if site.routing.proxies else "$must_encrypt"


def strict(site: Site) -> str:
    """The map with the time for which a client of this site must use only TLS; empty if the site does not set one.

    Sites without trusted proxies and with the same time share one map: each map makes a reload longer, by 0.9 ms,
    measured with a hundred.
    """
    seconds = _strictly(site)
    return fill(_STRICT, variable=_hsts(site), seconds=str(seconds), scheme=_scheme(site)) if seconds else ""


def _strictly(site: Site) -> int:
    return site.tls.hsts if site.tls else 0


def _hsts(site: Site) -> str:
    """The variable with the header; if it is empty, the header is not sent."""
    return f"$hsts_{name(site.app) if site.routing.proxies else _strictly(site)}"


def _server(
    site: Site,
    tls: Tls | None,
    names: tuple[str, ...],
    listening: Listening,
    directory: Path,
    tree: Path,
    known: Known,
) -> str:
    listen, encrypted = _listening(site, tls, listening, directory, known)
    if tls:
        encrypted += fill(_ENCRYPTED, must_encrypt=_must_encrypt(site), port=_port(tls.port))
    shared, http2 = _shared(site, tls), bool(tls) or site.port in listening.h2c
    proxies = site.routing.proxies
    believed = headers.clients(proxies) + headers.passed(_scheme(site), site.app) if proxies else ""
    answered = (
        shared + "add_header Cache-Control no-store always;\nadd_header Retry-After $retry_after always;\n"
    )
    snippets = "".join(
        f"    include {quoted(tree / 'sites' / f'{site.app}.d' / snippet)};\n"
        for snippet in sorted(site.routing.snippets)
    )
    return fill(
        _SERVER,
        app=site.app,
        listen=indented(listen, 4),
        names=" ".join(names) or site.app,  # which is the Host of a request that has none
        tls=encrypted,
        access_log=quoted(directory / "logs" / access.NAME),
        bounded=_bounded(site, listening.bounds),
        believed=indented(believed, 4),
        headers=indented(shared, 4),
        buffers="" if any("proxy_b" in text for text in site.routing.snippets.values()) else _BUFFERS,
        unsaid=f"    error_page {locations.UNSAID} = $unsaid_at;\n" if http2 else "",
        away=_away(site),
        astray=_kept(site),
        challenges=_challenged(directory) if site.challenges else "",
        locations=indented(locations.render(site, directory, shared, listening.bounds, http2=http2), 4),
        pages=pages.locations(site.app, indented(answered, 8)),
        snippets=f"\n{snippets}" if snippets else "",
    )


def _listening(
    site: Site, tls: Tls | None, listening: Listening, directory: Path, known: Known
) -> tuple[str, str]:
    """Where a server listens, and with which certificate."""
    mark = "" if site.domains else " default_server"
    listen = listen_at(site.port, listening, mark)
    if not tls:
        return listen + h2c(site.port, listening), ""
    listen += listen_at(tls.port, listening, f" ssl{'' if known.http2 else ' http2'}{mark}")
    listen += "http2 on;\n" if known.http2 else ""
    place = directory / "certificates" / site.app / tls.generation
    return listen, fill(_CERTIFIED, chain=quoted(place / CHAIN), key=quoted(place / KEY))


def _port(port: int) -> str:
    """A port in an address, unless it is its protocol's default."""
    return "" if port in (80, 443) else f":{port}"


def _shared(site: Site, tls: Tls | None) -> str:
    """The lines that add the edge's own headers."""
    text = f"include {headers.NAME};\nadd_header X-Pushrod-Release {site.release} always;\n"
    return text + (
        f"add_header Strict-Transport-Security {_hsts(site)} always;\n" if tls and tls.hsts else ""
    )


def _leading(site: Site, listening: Listening, directory: Path, known: Known) -> list[str]:
    """The servers of names that redirect to another one: with a certificate for the names that have one."""
    groups: dict[tuple[str, bool], list[str]] = {}
    for source, target in site.routing.redirects.items():
        if source in site.domains:
            encrypted = bool(site.tls and source in site.tls.names)
            groups.setdefault((target, encrypted), []).append(source)
    parts = []
    for (target, encrypted), sources in groups.items():
        tls = site.tls if encrypted else None
        listen, certificate = _listening(site, tls, listening, directory, known)
        secure = site.tls if site.tls and target in site.tls.names else None
        parts.append(
            fill(
                _LEADING,
                app=site.app,
                listen=indented(listen, 4),
                names=" ".join(sources),
                tls=certificate,
                access_log=quoted(directory / "logs" / access.NAME),
                headers=indented(headers.clients(site.routing.proxies) + _shared(site, tls), 4),
                challenges=_challenged(directory) if site.challenges else "",
                scheme="https" if secure else _scheme(site),
                target=target,
                port=_port(secure.port if secure else site.port),
            )
        )
    return parts


def _challenged(directory: Path) -> str:
    inside = indented(locations.INSIDE, 8)
    return fill(_CHALLENGED, place=CHALLENGES, inside=inside, directory=quoted(directory / "acme"))


def _away(site: Site) -> str:
    """Whether and why the edge answers for the app; maintenance takes precedence over starting."""
    reasons = ""
    if site.ready_marker:
        reasons += f"    if (!-f {quoted(Path(site.ready_marker))}) {{\n        set $away {pages.STARTING};\n    }}\n"
    if site.maintenance:
        settings = f"set $away {pages.CLOSED};\n        set $retry_after {site.maintenance.retry_after};"
        if site.maintenance.allow:
            reasons += f"    if ($closed_{name(site.app)}) {{\n        {settings}\n    }}\n"
        else:
            reasons += f"    if ($uri) {{\n        {settings}\n    }}\n"
    return fill(_AWAY, reasons=reasons) if reasons else _HERE


def _kept(site: Site) -> str:
    """Checks before a request is routed."""
    text = ""
    if any(map(locations.is_restricted, site.routing.routes)):
        text += fill(_ASTRAY, variable=locations.disguised_path(site.app))
    if any(map(locations.strips, site.routing.routes)):
        text += fill(_FIRST, first=locations.first(site.app))
    return text


def h2c(port: int, listening: Listening, indent: int = 0) -> str:
    """Lets a server without TLS speak HTTP/2 too. nginx reads this from the first server of a port, so all of them
    have it.
    """
    return " " * indent + "http2 on;\n" if port in listening.h2c else ""


def listen_at(port: int, listening: Listening, words: str) -> str:
    """The `listen` lines of a server on a port."""
    addresses = (f"[{a}]" if ":" in a else a for a in listening.addresses)
    return "".join(f"listen {address}:{port}{words};\n" for address in addresses)
