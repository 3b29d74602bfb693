"""The files nginx serves a root's apps by, one tree for each generation: rendered, never edited.

Everything here is pure: sites in, text out. A path or a site that nginx would misread is refused here.
"""

import ipaddress
import re
from collections.abc import Container, Iterable, Mapping
from pathlib import Path

import msgspec

from pushrod.errors import EdgeError
from pushrod.values import Value

DRAIN_BUDGET = 30.0
"""Seconds that old workers have to finish their requests; nginx itself closes what is left after them."""

NO_SUCH_NAME = "No app on this host answers to that name.\n"
"""What a request for a name that no app has is answered, with status 404."""

CHALLENGES = "/.well-known/acme-challenge/"
"""Where an ACME server looks for what proves a name (RFC 8555, 8.3): always answered without TLS."""

CHAIN, KEY = "chain.pem", "key.pem"
"""The files of a certificate, in a directory of their own: with the intermediate ones, and its private key."""

_APP = re.compile(r"[a-z][a-z0-9-]{0,30}")
_LABEL = r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
_DOMAIN = re.compile(rf"(?=.{{1,253}}$)(?:\*\.{_LABEL}|{_LABEL})(?:\.{_LABEL})*")
_GENERATION = re.compile(r"[0-9a-f]{8,64}")
_UNQUOTABLE = re.compile(r"[$*?\[\x00-\x1f\x7f]")


_Address = ipaddress.IPv4Address | ipaddress.IPv6Address


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

    `backends` are their addresses (`127.0.0.1:20001`). Sites on one port are told apart by their `domains`, which are
    lower-case ASCII and may begin with `*.`; a site without any answers to every name that no other has. `challenges`
    says that an ACME server finds its answers there.
    """

    app: str
    release: int
    port: int
    backends: tuple[str, ...]
    domains: tuple[str, ...] = ()
    tls: Tls | None = None
    challenges: bool = False

    @property
    def ports(self) -> tuple[int, ...]:
        """The ports it is served at, without TLS and with it."""
        return (self.port, self.tls.port) if self.tls else (self.port,)


class Known(Value, frozen=True):
    """What this nginx knows that an older one does not.

    `keepalive_min_timeout` keeps a draining worker from closing a connection just as a client uses it. `http2` is a
    directive; before, it was a word of `listen`.
    """

    keepalive_min: bool = True
    http2: bool = True


class Listening(Value, frozen=True):
    """Where an edge listens: at these addresses, and on `port` (0: none) also where no site asks for it."""

    addresses: tuple[str, ...] = ("127.0.0.1",)
    port: int = 0


_MAIN = """\
# Generation @generation@ of the edge. Rendered by pushrod; a change made here is lost at the next switch.
daemon off;
pid @pid@;
error_log @error_log@ notice;
worker_processes 2;
worker_rlimit_nofile 4096;
worker_shutdown_timeout @drain@s;

events {
    worker_connections 2048;
}

http {
    default_type text/plain;
    server_tokens off;
    access_log off;

    client_body_temp_path @run@/client_body";
    proxy_temp_path @run@/proxy";
    fastcgi_temp_path @run@/fastcgi";
    uwsgi_temp_path @run@/uwsgi";
    scgi_temp_path @run@/scgi";

    sendfile on;
    tcp_nopush on;
    keepalive_timeout 65s;
@keepalive_min@    client_max_body_size 64m;
    server_names_hash_bucket_size 512; # a name has at most 253 characters
    server_names_hash_max_size 4096;

    gzip on;
    gzip_vary on;
    gzip_proxied any;
    gzip_min_length 1024;
    gzip_types text/plain text/css text/xml text/javascript application/javascript application/json
        application/xml application/manifest+json image/svg+xml;

    # A proxy on this machine (one that ends TLS, a tunnel) is believed about its client; no other peer is.
    set_real_ip_from 127.0.0.0/8;
    set_real_ip_from ::1;
    real_ip_header X-Forwarded-For;
    real_ip_recursive on;
    geo $realip_remote_addr $peer {
        default far;
        127.0.0.0/8 near;
        ::1 near;
    }
    map "$peer:$http_x_forwarded_proto" $client_scheme {
        default $scheme;
        "near:https" https;
    }
    map $http_host $client_host {
        default $http_host;
        "" $host;
    }
    map $http_upgrade $upgrade_to {
        default "";
        "~*^websocket$" $http_upgrade;
    }
    map $http_upgrade $upgrade_connection {
        default "";
        "~*^websocket$" upgrade;
    }
    map $status $status_number {
        default $status;
        "~^0" 0;
    }

    proxy_http_version 1.1;
    proxy_connect_timeout 2s;
    proxy_read_timeout 60s;
    proxy_send_timeout 60s;
    proxy_redirect off;
    proxy_set_header Host $client_host;
    proxy_set_header X-Real-IP $remote_addr;
    proxy_set_header X-Forwarded-For $remote_addr;
    proxy_set_header X-Forwarded-Proto $client_scheme;
    proxy_set_header X-Request-Id $request_id;
    proxy_set_header Upgrade $upgrade_to;
    proxy_set_header Connection $upgrade_connection;
    proxy_hide_header X-Request-Id;
    proxy_hide_header X-Pushrod-Release;

    # Says which generation a worker has: a switch is believed when a new worker answers here.
    server {
        listen @socket@;
        return 200 "@generation@ $pid\\n";
    }
@tls@@includes@@defaults@}
"""

# Mozilla's intermediate profile, guidelines 6.0 (https://ssl-config.mozilla.org/guidelines/6.0.json), but for the
# group X25519MLKEM768, which OpenSSL has from 3.5 on: an older one refuses the whole list. Stapling is left out
# because Let's Encrypt answers no OCSP since August 2025.
_TLS = """
    ssl_protocols TLSv1.2 TLSv1.3;
    ssl_ciphers @ciphers@;
    ssl_prefer_server_ciphers off;
    ssl_ecdh_curve X25519:prime256v1:secp384r1;
    ssl_session_timeout 1d;
    ssl_session_cache shared:pushrod:10m; # about 40000 sessions; they outlive a reload
    ssl_session_tickets off;
    map "$client_scheme:$uri" $must_encrypt {
        default "";
        "~^http:/\\.well-known/acme-challenge/" "";
        "~^http:" yes;
    }
"""

_CIPHERS = (
    *("ECDHE-ECDSA-AES128-GCM-SHA256", "ECDHE-RSA-AES128-GCM-SHA256", "ECDHE-ECDSA-AES256-GCM-SHA384"),
    *("ECDHE-RSA-AES256-GCM-SHA384", "ECDHE-ECDSA-CHACHA20-POLY1305", "ECDHE-RSA-CHACHA20-POLY1305"),
)

_DEFAULT = """
    server {
@listen@        server_name "";
        return 404 "@text@";
    }
"""

_NO_HANDSHAKE = """
    server {
@listen@        server_name "";
        ssl_reject_handshake on;
    }
"""

_SITE = """\
# @app@, release @release@. Rendered by pushrod; a change made here is lost at the next switch.
log_format app-@app@ escape=json '{"time":"$time_iso8601","app":"@app@","release":@release@,'
    '"request":"$request_id","client":"$remote_addr","method":"$request_method","path":"$uri",'
    '"status":$status_number,"bytes":$body_bytes_sent,"seconds":$request_time,'
    '"upstream":"$upstream_addr","upstream_status":"$upstream_status",'
    '"upstream_seconds":"$upstream_response_time"}';

upstream app-@app@ {
@servers@    keepalive 32;
    # Below every backend's own idle time-out, so that a connection used again is not one it just closed.
    keepalive_timeout 1s;
}
"""

_SERVER = """
server {
@listen@    server_name @names@;
@tls@    access_log @access_log@ app-@app@;
    add_header X-Request-Id $request_id always;
    add_header X-Pushrod-Release @release@ always;
@strict@    error_page 502 503 504 @unanswered;
@challenges@
    location / {
        proxy_pass http://app-@app@;
    }

    # The status stays the one that led here.
    location @unanswered {
        add_header X-Request-Id $request_id always;
        add_header X-Pushrod-Release @release@ always;
@strict_inside@        add_header Cache-Control no-store always;
        add_header Retry-After 1 always;
        return 200 "$status: @app@ is not answering. Try again in a moment. Request $request_id.\\n";
    }
}
"""

_ENCRYPTED = """\
    ssl_certificate @chain@;
    ssl_certificate_key @key@;
    if ($must_encrypt) {
        return 308 https://$host@port@$request_uri;
    }
"""

# Only with TLS (RFC 6797, 7.2), and not where the app says so itself.
_STRICT = """
map "$client_scheme:$upstream_http_strict_transport_security" @variable@ {
    default "";
    "https:" "max-age=@seconds@";
}
"""

_CHALLENGES = """
    location ^~ @place@ {
        root @directory@;
        try_files $uri =404;
    }
"""


def render_main(
    generation: str,
    sites: Iterable[Site],
    *,
    listening: Listening,
    directory: Path,
    socket: Path,
    known: Known,
) -> str:
    """nginx.conf of a generation: everything the sites share, the mark listener, the apps' sites, and for each port
    on which no site answers to every name a server that says so: with TLS, one that rejects the handshake.

    The sites are included from this generation's own tree, never through `current`, so that a start in the
    middle of a switch cannot mix two trees.
    """
    sites = sorted(sites, key=lambda s: s.app)
    place = directory / "trees" / generation / "sites"
    includes = "".join(f"\n    include {_quoted(place / f'{s.app}.conf')};" for s in sites)
    ports = {s.port for s in sites} | ({listening.port} if listening.port else set())
    nameless = sorted(ports - {s.port for s in sites if not s.domains})
    encrypted = {s.tls.port for s in sites if s.tls}
    rejecting = sorted(encrypted - {s.tls.port for s in sites if s.tls and not s.domains})
    return _fill(
        _MAIN,
        generation=generation,
        pid=_quoted(directory / "run" / "nginx.pid"),
        error_log=_quoted(directory / "logs" / "error.log"),
        run=_quoted(directory / "run")[:-1],
        drain=f"{DRAIN_BUDGET:g}",
        socket=_quoted(socket, prefix="unix:"),
        keepalive_min="    keepalive_min_timeout 2s;\n" if known.keepalive_min else "",
        tls=_fill(_TLS, ciphers=":".join(_CIPHERS)) if encrypted else "",
        includes=f"{includes}\n" if includes else "",
        defaults="".join(
            [
                *(_default(port, listening) for port in nameless),
                *(
                    _fill(_NO_HANDSHAKE, listen=_listen(p, listening, 8, " ssl default_server"))
                    for p in rejecting
                ),
            ]
        ),
    )


def _default(port: int, listening: Listening) -> str:
    listen = _listen(port, listening, 8, " default_server")
    return _fill(_DEFAULT, listen=listen, text=NO_SUCH_NAME.replace("\n", "\\n"))


def render_site(site: Site, *, listening: Listening, directory: Path, known: Known) -> str:
    """The upstream of one app, and its servers: one for the names it has a certificate for, one for the others.

    With several instances one that refuses is left out for 2 s (a supervisor brings it back in about that
    time); a lone one is always tried, because leaving it out would answer nobody. Raises EdgeError for a site that
    cannot be served.
    """
    _check(site)
    several = len(site.backends) > 1
    limit = "max_fails=1 fail_timeout=2s" if several else "max_fails=0"
    servers = "".join(f"    server {backend} {limit};\n" for backend in site.backends)
    head = _fill(
        _SITE,
        app=site.app,
        release=str(site.release),
        servers=("    least_conn;\n" if several else "") + servers,
    )
    plain = tuple(d for d in site.domains if not site.tls or d not in site.tls.names)
    parts = [_server(site, site.tls, site.tls.names, listening, directory, known)] if site.tls else []
    if plain or not parts:
        parts.append(_server(site, None, plain, listening, directory, known))
    return head + "".join(parts)


def _server(
    site: Site, tls: Tls | None, names: tuple[str, ...], listening: Listening, directory: Path, known: Known
) -> str:
    mark = "" if site.domains else " default_server"
    listen = _listen(site.port, listening, 4, mark)
    encrypted = strict = ""
    if tls:
        listen += _listen(tls.port, listening, 4, f" ssl{'' if known.http2 else ' http2'}{mark}")
        listen += "    http2 on;\n" if known.http2 else ""
        place = directory / "certificates" / site.app / tls.generation
        encrypted = _fill(
            _ENCRYPTED,
            chain=_quoted(place / CHAIN),
            key=_quoted(place / KEY),
            port="" if tls.port == 443 else f":{tls.port}",
        )
    if tls and tls.hsts:
        variable = f"$hsts_{site.app.replace('-', '_')}"  # empty, there is no header
        strict = f"    add_header Strict-Transport-Security {variable} always;\n"
        policy = _fill(_STRICT, variable=variable, seconds=str(tls.hsts))
    else:
        policy = ""
    acme = _fill(_CHALLENGES, place=CHALLENGES, directory=_quoted(directory / "acme"))
    return policy + _fill(
        _SERVER,
        app=site.app,
        release=str(site.release),
        listen=listen,
        names=" ".join(names) or site.app,  # which is the Host of a request that has none
        tls=encrypted,
        access_log=_quoted(directory / "logs" / "access.log"),
        strict=strict,
        strict_inside=strict.replace("    ", "        ", 1),
        challenges=acme if site.challenges else "",
    )


def _listen(port: int, listening: Listening, indent: int, words: str) -> str:
    addresses = (f"[{a}]" if ":" in a else a for a in listening.addresses)
    return "".join(f"{' ' * indent}listen {address}:{port}{words};\n" for address in addresses)


def render_tree(
    generation: str,
    sites: Mapping[str, Site],
    *,
    listening: Listening,
    directory: Path,
    socket: Path,
    known: Known,
) -> dict[str, str]:
    """All files of a generation, by their path in its tree. Raises EdgeError for sites that collide."""
    check(sites.values(), listening)
    main = render_main(
        generation,
        sites.values(),
        listening=listening,
        directory=directory,
        socket=socket,
        known=known,
    )
    files = {
        f"sites/{s.app}.conf": render_site(s, listening=listening, directory=directory, known=known)
        for s in sites.values()
    }
    table = msgspec.json.encode({app: sites[app] for app in sorted(sites)})
    return {**files, "sites.json": msgspec.json.format(table).decode() + "\n", "nginx.conf": main}


def _fill(template: str, **values: str) -> str:
    return re.sub(r"@([a-z_]+)@", lambda found: values[found[1]], template)


def _quoted(path: Path, prefix: str = "") -> str:
    """A path as one word of nginx's configuration; refuses what nginx would expand in it."""
    if _UNQUOTABLE.search(str(path)):
        raise EdgeError(
            "nginx cannot use a path with $, *, ?, [ or a control character",
            where=str(path),
            hint="choose another place with --root",
        )
    escaped = str(path).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{prefix}{escaped}"'


def _check(site: Site) -> None:
    problems = []
    if not _APP.fullmatch(site.app):
        problems.append("its name is not an app's name")
    if not site.backends:
        problems.append("it has no instances")
    problems += [f"{b!r} is not an IP address and a port" for b in site.backends if _backend(b) is None]
    problems += [f"{d!r} is not a domain" for d in site.domains if not _DOMAIN.fullmatch(d)]
    if not 0 < site.port < 65536:
        problems.append("its port is not between 1 and 65535")
    if site.tls and not 0 < site.tls.port < 65536:
        problems.append("its port for TLS is not between 1 and 65535")
    if site.tls and not _GENERATION.fullmatch(site.tls.generation):
        problems.append(f"{site.tls.generation!r} is no certificate's directory")
    if site.tls and (
        not set(site.tls.names) <= set(site.domains) or bool(site.tls.names) != bool(site.domains)
    ):
        problems.append("its certificate is for other names than its own")
    if problems:
        raise EdgeError(f"this site cannot be served: {', '.join(problems)}", where=repr(site.app))


def _backend(text: str) -> tuple[_Address, int] | None:
    """The address and port of an instance (`127.0.0.1:20001`, `[::1]:20001`); None where it is not that."""
    address, _, port = text.rpartition(":")
    bare = address[1:-1] if address.startswith("[") and address.endswith("]") else address
    try:
        found = ipaddress.ip_address(bare)
    except ValueError:
        return None
    good = (found.version == 6) == (bare != address) and re.fullmatch(r"[0-9]{1,5}", port)
    return (found, int(port)) if good and 0 < int(port) < 65536 else None


def check(sites: Iterable[Site], listening: Listening) -> None:
    """Raise EdgeError where two sites ask for the same, or the edge would be its own backend.

    nginx itself only warns about two servers with one name on one port, and then serves the first for both.
    """
    sites = list(sites)
    nameless: dict[int, str] = {}
    owners: dict[str, str] = {}
    for site in sites:
        if not site.domains and (other := nameless.setdefault(site.port, site.app)) != site.app:
            raise EdgeError(
                f"{other} and {site.app} would both answer to every name on port {site.port}",
                where=f"{other} and {site.app}",
                hint="give one of them names of its own in its compose file, "
                "x-pushrod: {domains: [shop.example.com]}, or another port, `pushrod up --port N`",
            )
        for domain in site.domains:
            if (other := owners.setdefault(domain, site.app)) != site.app:
                raise EdgeError(
                    f"the domain {domain} is {other}'s",
                    where=f"{other} and {site.app}",
                    hint="take it out of `x-pushrod.domains` of one of them, or destroy the app that is not used",
                )
    encrypted = {s.tls.port: s.app for s in sites if s.tls}
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
    for backend in filter(None, map(_backend, site.backends)):
        address, port = backend
        if port in ports and (address in ours or address.is_loopback):
            raise EdgeError(f"an instance has port {port}, on which the edge itself listens", where=site.app)
