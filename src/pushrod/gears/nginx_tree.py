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

_APP = re.compile(r"[a-z][a-z0-9-]{0,30}")
_LABEL = r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
_DOMAIN = re.compile(rf"(?=.{{1,253}}$)(?:\*\.{_LABEL}|{_LABEL})(?:\.{_LABEL})*")
_UNQUOTABLE = re.compile(r"[$*?\[\x00-\x1f\x7f]")


_Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class Site(Value, frozen=True):
    """What the edge serves for one app: its port, and the instances of the live release behind it.

    `backends` are their addresses (`127.0.0.1:20001`). Sites on one port are told apart by their `domains`, which are
    lower-case ASCII and may begin with `*.`; a site without any answers to every name that no other has.
    """

    app: str
    release: int
    port: int
    backends: tuple[str, ...]
    domains: tuple[str, ...] = ()


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
        "near:http" http;
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
@includes@@defaults@}
"""

_DEFAULT = """
    server {
@listen@        server_name "";
        return 404 "@text@";
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

server {
@listen@    server_name @names@;
    access_log @access_log@ app-@app@;
    add_header X-Request-Id $request_id always;
    add_header X-Pushrod-Release @release@ always;
    error_page 502 503 504 @unanswered;

    location / {
        proxy_pass http://app-@app@;
    }

    # The status stays the one that led here.
    location @unanswered {
        add_header X-Request-Id $request_id always;
        add_header X-Pushrod-Release @release@ always;
        add_header Cache-Control no-store always;
        add_header Retry-After 1 always;
        return 200 "$status: @app@ is not answering. Try again in a moment. Request $request_id.\\n";
    }
}
"""


def render_main(
    generation: str,
    sites: Iterable[Site],
    *,
    listening: Listening,
    directory: Path,
    socket: Path,
    keepalive_min: bool,
) -> str:
    """nginx.conf of a generation: everything the sites share, the mark listener, the apps' sites, and for each port
    on which no site answers to every name a server that says so.

    The sites are included from this generation's own tree, never through `current`, so that a start in the
    middle of a switch cannot mix two trees. `keepalive_min` says whether this nginx knows
    `keepalive_min_timeout`, which keeps a draining worker from closing a connection just as a client uses it.
    """
    sites = sorted(sites, key=lambda s: s.app)
    place = directory / "trees" / generation / "sites"
    includes = "".join(f"\n    include {_quoted(place / f'{s.app}.conf')};" for s in sites)
    ports = {s.port for s in sites} | ({listening.port} if listening.port else set())
    nameless = sorted(ports - {s.port for s in sites if not s.domains})
    return _fill(
        _MAIN,
        generation=generation,
        pid=_quoted(directory / "run" / "nginx.pid"),
        error_log=_quoted(directory / "logs" / "error.log"),
        run=_quoted(directory / "run")[:-1],
        drain=f"{DRAIN_BUDGET:g}",
        socket=_quoted(socket, prefix="unix:"),
        keepalive_min="    keepalive_min_timeout 2s;\n" if keepalive_min else "",
        includes=f"{includes}\n" if includes else "",
        defaults="".join(_default(port, listening) for port in nameless),
    )


def _default(port: int, listening: Listening) -> str:
    listen = _listen(port, listening, indent=8, default=True)
    return _fill(_DEFAULT, listen=listen, text=NO_SUCH_NAME.replace("\n", "\\n"))


def render_site(site: Site, *, listening: Listening, logs: Path) -> str:
    """The upstream and the server of one app. Raises EdgeError for a site that cannot be served.

    With several instances one that refuses is left out for 2 s (a supervisor brings it back in about that
    time); a lone one is always tried, because leaving it out would answer nobody.
    """
    _check(site)
    several = len(site.backends) > 1
    limit = "max_fails=1 fail_timeout=2s" if several else "max_fails=0"
    servers = "".join(f"    server {backend} {limit};\n" for backend in site.backends)
    return _fill(
        _SITE,
        app=site.app,
        release=str(site.release),
        servers=("    least_conn;\n" if several else "") + servers,
        listen=_listen(site.port, listening, indent=4, default=not site.domains),
        names=" ".join(site.domains) or site.app,  # which is the Host of a request that has none
        access_log=_quoted(logs / "access.log"),
    )


def _listen(port: int, listening: Listening, *, indent: int, default: bool) -> str:
    addresses = (f"[{a}]" if ":" in a else a for a in listening.addresses)
    mark = " default_server" if default else ""
    return "".join(f"{' ' * indent}listen {address}:{port}{mark};\n" for address in addresses)


def render_tree(
    generation: str,
    sites: Mapping[str, Site],
    *,
    listening: Listening,
    directory: Path,
    socket: Path,
    keepalive_min: bool,
) -> dict[str, str]:
    """All files of a generation, by their path in its tree. Raises EdgeError for sites that collide."""
    check(sites.values(), listening)
    main = render_main(
        generation,
        sites.values(),
        listening=listening,
        directory=directory,
        socket=socket,
        keepalive_min=keepalive_min,
    )
    logs = directory / "logs"
    files = {f"sites/{s.app}.conf": render_site(s, listening=listening, logs=logs) for s in sites.values()}
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
    ports = {s.port for s in sites} | {listening.port}
    for site in sites:
        _check_backends(site, ports, listening.addresses)


def _check_backends(site: Site, ports: Container[int], addresses: Iterable[str]) -> None:
    ours = {ipaddress.ip_address(a) for a in addresses}
    for backend in filter(None, map(_backend, site.backends)):
        address, port = backend
        if port in ports and (address in ours or address.is_loopback):
            raise EdgeError(f"an instance has port {port}, on which the edge itself listens", where=site.app)
