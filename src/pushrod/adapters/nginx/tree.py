"""The files nginx serves a root's apps by, one tree for each generation: rendered, never edited. Pure."""

from collections.abc import Iterable, Mapping
from pathlib import Path

import msgspec

from pushrod.adapters.nginx import access, headers, locations, memory, pages, server, types
from pushrod.adapters.nginx.quoting import indented, quoted
from pushrod.adapters.nginx.sites import Known, Listening, check
from pushrod.adapters.templates import fill
from pushrod.core.site import DRAIN_BUDGET, Site

HEADERS_WITHIN = 15.0
"""Seconds in which a client has to send all headers of a request, or to shake hands; then it is cut off."""

NO_SUCH_NAME = "No app on this host answers to that name.\n"
"""What a request for a name that no app has is answered, with status 404."""

_MAIN = """\
# Generation @generation@ of the edge. Rendered by pushrod; a change made here is lost at the next switch.
daemon off;
pid @pid@;
error_log @error_log@ notice;
worker_processes 2;
worker_rlimit_nofile @files@;
worker_shutdown_timeout @drain@s;

events {
    worker_connections @connections@; # with clients and instances together; each may have a file beside it
}

http {
    default_type text/plain;
@types@    server_tokens off;
    absolute_redirect off; # the address of a redirect is what the client called us
    access_log off;
    # What is common in these maps goes before a regex, or makes it fail at once: each that matches costs a
    # request 400 to 1500 instructions, of 53,000.
    map_hash_bucket_size 1024; # two names of 253 characters and a port
    map_hash_max_size 8192;
    map $request_uri $asked_path { # as the client sent it, but for the query; $uri is what became of it
        default $request_uri;
        "~^([^?]*)\\?" $1;
    }
@log@
    client_body_temp_path @run@/client_body";
    proxy_temp_path @run@/proxy";
    fastcgi_temp_path @run@/fastcgi";
    uwsgi_temp_path @run@/uwsgi";
    scgi_temp_path @run@/scgi";

    sendfile on;
    tcp_nopush on;
    client_header_timeout @headers_within@s;
    client_body_timeout 30s; # between two pieces of a body
    send_timeout 30s; # between two pieces of an answer that a client takes
    reset_timedout_connection on;
    http2_max_concurrent_streams 128;
    keepalive_requests 1000; # of a connection: of HTTP/2's streams, those that were taken back at once among them
    # What one client can have of the edge. A whole office behind one address, or a browser with a hundred pictures on
    # one connection, has less; behind the proxies that an app trusts a client is who these say.
    limit_conn_zone $binary_remote_addr zone=clients:5m;
    limit_conn_zone $uploader zone=uploaders:1m;
    limit_conn clients @requests@;
    limit_conn uploaders @uploads@; # each may have 64m of the disk
    # And of one app: a slow one would have all connections of a worker. A worker that was killed has counted nothing
    # back, so each generation counts anew; the one before has workers, and connections, of its own.
    map "" $counted_in {
        default @generation@;
    }
    limit_conn_zone "$served $counted_in" zone=apps:1m;
    limit_conn apps @of_app@;
    limit_conn_status 429;
    limit_conn_log_level warn;
    map "$request_method$content_length$http_transfer_encoding" $uploader { # with a body of 1 MB, or of unknown size
        default $binary_remote_addr;
        GET "";
        HEAD "";
        OPTIONS "";
        DELETE "";
        "~^[A-Z_-]+[0-9]{1,6}$" "";
    }
    map "$server_protocol $request_method$content_length" $unsaid { # a body may come that is not counted as an upload
        default "";
        "HTTP/2.0 GET" yes;
        "HTTP/2.0 HEAD" yes;
        "HTTP/2.0 OPTIONS" yes;
        "HTTP/2.0 DELETE" yes;
    }
    keepalive_timeout 65s;
    # A request's pieces are of 4k. While no connection keeps one of that size, musl gives the last of them back to
    # the system, and takes it from there for the next request: with a page fault or two, a fifth of its time.
    connection_pool_size 4k;
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
    map $client_scheme $cookie_secure {
        default "";
        https "; Secure";
    }
    # A request whose target is a whole address is for the name in it, whatever its Host says (RFC 9112, 3.2.2).
    map "$host $http_host" $client_host {
        default $host;
@hosts@        "~*^(\\S+) \\1(?::[0-9]+)?$" $http_host;
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
        200 200;
        201 201;
        204 204;
        206 206;
        301 301;
        302 302;
        304 304;
        400 400;
        401 401;
        403 403;
        404 404;
        422 422;
        "~^0" 0;
    }

    limit_req_status 429;
    proxy_http_version 1.1;
    proxy_max_temp_file_size 8m; # of an answer that a client takes slowly; the rest stays with the app
    proxy_headers_hash_max_size 2048; # of the headers that are set or dropped
    proxy_headers_hash_bucket_size 128;
    proxy_connect_timeout 2s;
    proxy_read_timeout 60s;
    proxy_send_timeout 60s;
    proxy_redirect off;
@passed@    proxy_hide_header X-Request-Id;
    proxy_hide_header X-Pushrod-Release;
@maps@
    # Says which generation a worker has: a switch is believed when a new worker answers here.
    server {
        listen @socket@;
        set $served ""; # known where no site sets them
        set $unsaid_at "";
        set $away "";
        set $retry_after 1;
@memory@        return 200 "@generation@ $pid\\n";
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
    # Pieces of the 16k that is the default go back to the system too: two page faults a request, half its time again.
    ssl_buffer_size 8k;
    map $client_scheme $must_encrypt { # which is all that a request by TLS costs
        default "";
        http $proves_nothing;
    }
    map $uri $proves_nothing {
        default yes;
        "~^/\\.well-known/acme-challenge/" "";
    }
"""

_CIPHERS = (
    *("ECDHE-ECDSA-AES128-GCM-SHA256", "ECDHE-RSA-AES128-GCM-SHA256", "ECDHE-ECDSA-AES256-GCM-SHA384"),
    *("ECDHE-RSA-AES256-GCM-SHA384", "ECDHE-ECDSA-CHACHA20-POLY1305", "ECDHE-RSA-CHACHA20-POLY1305"),
)

_DEFAULT = """
    server {
@listen@@spoken@        server_name "";
        access_log @access_log@ unknown;
        include @headers@;
@handshake@        return 404 "@text@";
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
    middle of a switch cannot mix two trees; only the headers that all answers carry are read beside nginx.conf.
    """
    sites = sorted(sites, key=lambda s: s.app)
    tree = directory / "trees" / generation
    includes = "".join(f"\n    include {quoted(tree / 'sites' / f'{s.app}.conf')};" for s in sites)
    ports = {s.port for s in sites} | ({listening.port} if listening.port else set())
    nameless = sorted(ports - {s.port for s in sites if not s.domains})
    encrypted = {s.tls.port for s in sites if s.tls}
    rejecting = sorted(encrypted - {s.tls.port for s in sites if s.tls and not s.domains})
    return fill(
        _MAIN,
        generation=generation,
        pid=quoted(directory / "run" / "nginx.pid"),
        files=str(listening.bounds.files),
        connections=str(listening.bounds.connections),
        requests=str(listening.bounds.requests),
        uploads=str(listening.bounds.uploads),
        of_app=str(listening.bounds.of_app),
        error_log=quoted(directory / "logs" / "error.log"),
        log=indented(access.log_format("unknown"), 4),
        run=quoted(directory / "run")[:-1],
        drain=f"{DRAIN_BUDGET:g}",
        headers_within=f"{HEADERS_WITHIN:g}",
        socket=quoted(socket, prefix="unix:"),
        memory=f"        include {memory.NAME};\n" if known.gives_back else "",
        keepalive_min="    keepalive_min_timeout 2s;\n" if known.keepalive_min else "",
        tls=fill(_TLS, ciphers=":".join(_CIPHERS)) + _strict(sites) if encrypted else "",
        includes=f"{includes}\n" if includes else "",
        passed=indented(headers.passed(), 4),
        hosts=indented(_hosts(sites), 8),
        types=indented(types.TYPES, 4),
        maps=headers.MAPS + pages.MAPS + locations.MAPS + locations.ODD,
        defaults="".join(
            [
                *(_default(port, listening, directory) for port in nameless),
                *(_default(port, listening, directory, tls=True) for port in rejecting),
            ]
        ),
    )


def _hosts(sites: Iterable[Site]) -> str:
    """How a client says the names it may ask for: with a port where that is not its protocol's own.

    Each once: a map that names one twice is refused, where a `server_name` is only warned about.
    """
    return "".join(
        f'"{domain} {domain}{port}" $http_host;\n'
        for site in sites
        for domain in dict.fromkeys(site.domains)
        if not domain.startswith("*.")
        for port in ("", *(f":{p}" for p in site.ports if p not in (80, 443)))
    )


def _default(port: int, listening: Listening, directory: Path, *, tls: bool = False) -> str:
    """The server of a port that answers where no site does: for a name that no app has, which with TLS it can only be
    asked after a handshake for another one, and to what is no request at all."""
    return fill(
        _DEFAULT,
        listen=indented(server.listen_at(port, listening, f"{' ssl' if tls else ''} default_server"), 8),
        access_log=quoted(directory / "logs" / access.NAME),
        headers=headers.NAME,
        spoken="" if tls else server.h2c(port, listening, 8),
        handshake="        ssl_reject_handshake on;\n" if tls else "",
        text=NO_SUCH_NAME.replace("\n", "\\n"),
    )


def _strict(sites: Iterable[Site]) -> str:
    maps = dict.fromkeys(server.strict(s) for s in sites if not s.routing.proxies)
    return "".join(indented(text, 4) for text in maps)


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
    if known.http2:
        spoken = frozenset(site.port for site in sites.values() if site.routing.called)
        listening = msgspec.structs.replace(listening, h2c=spoken)
    tree = directory / "trees" / generation
    files = {headers.NAME: headers.SHARED, headers.LEFT_OUT: headers.left_out()}
    if any(site.routing.called for site in sites.values()):
        files[headers.LEFT_OUT_OF_CALLS] = headers.left_out("grpc_set_header")
    if known.gives_back:
        files[memory.NAME] = memory.held()
    for site in sites.values():
        files[f"sites/{site.app}.conf"] = server.render(
            site, listening=listening, directory=directory, tree=tree, known=known
        )
        for name, text in site.routing.snippets.items():
            files[f"sites/{site.app}.d/{name}"] = text
    files["sites.json"] = table(sites)
    files["nginx.conf"] = render_main(
        generation,
        sites.values(),
        listening=listening,
        directory=directory,
        socket=socket,
        known=known,
    )
    return files


def table(sites: Mapping[str, Site]) -> str:
    """The sites as values, which a later tree is rendered from."""
    encoded = msgspec.json.encode({app: sites[app] for app in sorted(sites)})
    return msgspec.json.format(encoded).decode() + "\n"
