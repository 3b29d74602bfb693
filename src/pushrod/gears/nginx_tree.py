"""The files nginx serves a root's apps by, one tree for each generation: rendered, never edited.

Everything here is pure: sites in, text out. A path or a site that nginx would misread is refused here.
"""

import ipaddress
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

import msgspec

from pushrod.errors import EdgeError
from pushrod.values import Value

DRAIN_BUDGET = 30.0
"""Seconds that old workers have to finish their requests; nginx itself closes what is left after them."""

_APP = re.compile(r"[a-z][a-z0-9-]{0,30}")
_UNQUOTABLE = re.compile(r"[$*?\[\x00-\x1f\x7f]")


class Site(Value, frozen=True):
    """What the edge serves for one app: where it listens, and the instances of the live release behind it."""

    app: str
    release: int
    port: int
    instances: tuple[int, ...]
    address: str = "127.0.0.1"


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
@includes@}
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
    listen @listen@;
    server_name @app@;
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
    generation: str, apps: Iterable[str], *, directory: Path, socket: Path, keepalive_min: bool
) -> str:
    """nginx.conf of a generation: everything the sites share, the mark listener, and the apps' sites.

    The sites are included from this generation's own tree, never through `current`, so that a start in the
    middle of a switch cannot mix two trees. `keepalive_min` says whether this nginx knows
    `keepalive_min_timeout`, which keeps a draining worker from closing a connection just as a client uses it.
    """
    sites = directory / "trees" / generation / "sites"
    includes = "".join(f"\n    include {_quoted(sites / f'{app}.conf')};" for app in sorted(apps))
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
    )


def render_site(site: Site, *, logs: Path) -> str:
    """The upstream and the server of one app. Raises EdgeError for a site that cannot be served.

    With several instances one that refuses is left out for 2 s (a supervisor brings it back in about that
    time); a lone one is always tried, because leaving it out would answer nobody.
    """
    _check(site)
    several = len(site.instances) > 1
    limit = "max_fails=1 fail_timeout=2s" if several else "max_fails=0"
    servers = "".join(f"    server 127.0.0.1:{port} {limit};\n" for port in site.instances)
    address = f"[{site.address}]" if ":" in site.address else site.address
    return _fill(
        _SITE,
        app=site.app,
        release=str(site.release),
        servers=("    least_conn;\n" if several else "") + servers,
        listen=f"{address}:{site.port}",
        access_log=_quoted(logs / "access.log"),
    )


def render_tree(
    generation: str, sites: Mapping[str, Site], *, directory: Path, socket: Path, keepalive_min: bool
) -> dict[str, str]:
    """All files of a generation, by their path in its tree. Raises EdgeError for sites that collide."""
    _check_ports(sites.values())
    main = render_main(generation, sites, directory=directory, socket=socket, keepalive_min=keepalive_min)
    files = {f"sites/{s.app}.conf": render_site(s, logs=directory / "logs") for s in sites.values()}
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
    if not site.instances:
        problems.append("it has no instances")
    if any(not 0 < port < 65536 for port in (site.port, *site.instances)):
        problems.append("a port is not between 1 and 65535")
    try:
        ipaddress.ip_address(site.address)
    except ValueError:
        problems.append(f"{site.address!r} is not an IP address")
    if problems:
        raise EdgeError(f"this site cannot be served: {', '.join(problems)}", where=repr(site.app))


def _check_ports(sites: Iterable[Site]) -> None:
    """nginx only warns about two servers on one port, and then serves the first for both."""
    listening: dict[int, str] = {}
    for site in sites:
        if site.port in listening:
            raise EdgeError(
                f"port {site.port} is asked for by two apps",
                where=f"{listening[site.port]} and {site.app}",
                hint="give one of them another port",
            )
        listening[site.port] = site.app
    for site in sites:
        if own := sorted(listening.keys() & set(site.instances)):
            raise EdgeError(
                f"an instance has port {own[0]}, on which the edge itself listens", where=site.app
            )
