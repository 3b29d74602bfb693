"""The files with which nginx serves a root's apps, one tree for each generation: rendered, never edited. Pure."""

from collections.abc import Iterable, Mapping
from pathlib import Path

import msgspec

from pushrod.adapters.nginx import access, headers, locations, memory, own_site, pages, server
from pushrod.adapters.nginx.quoting import indented, quoted
from pushrod.adapters.nginx.sites import Known, Listening, check
from pushrod.adapters.templates import beside, fill
from pushrod.core.site import DRAIN_BUDGET, METRICS, Site

HEADERS_WITHIN = 15.0
"""Seconds in which a client must send all headers of a request, or complete the handshake; then its connection
closes.
"""

NO_SUCH_NAME = "No app on this host answers to that name.\n"
"""The answer to a request for an unknown host name, with status 404."""

TYPES = beside(__file__, "types.conf")
_MAIN = beside(__file__, "nginx.conf")

_TLS = beside(__file__, "tls.conf")

_CIPHERS = (
    *("ECDHE-ECDSA-AES128-GCM-SHA256", "ECDHE-RSA-AES128-GCM-SHA256", "ECDHE-ECDSA-AES256-GCM-SHA384"),
    *("ECDHE-RSA-AES256-GCM-SHA384", "ECDHE-ECDSA-CHACHA20-POLY1305", "ECDHE-RSA-CHACHA20-POLY1305"),
)

_DEFAULT = beside(__file__, "unknown_name.conf")
_METRICS = beside(__file__, "metrics.conf")

_STATUS = """\
        location = /nginx_status {
            stub_status;
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
    without a catch-all site a server that answers 404; with TLS, one that rejects the handshake.

    The sites are included from this generation's own tree, never through `current`, so that a start during a switch
    cannot mix two trees; only the headers that all answers carry are read beside nginx.conf.
    """
    sites = sorted(sites, key=lambda s: s.app)
    tree = directory / "trees" / generation
    files = [*(s.app for s in sites), *(s.name for s in listening.own)]
    includes = "".join(f"\n    include {quoted(tree / 'sites' / f'{name}.conf')};" for name in files)
    ports = {s.port for s in sites} | ({listening.port} if listening.port else set())
    nameless = sorted(ports - {s.port for s in sites if not s.domains})
    encrypted = {s.tls.port for s in sites if s.tls} | listening.encrypted
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
        metrics=fill(
            _METRICS,
            port=str(listening.metrics),
            file=quoted(directory / METRICS),
            status=_STATUS if known.counts else "",
        )
        if listening.metrics
        else "",
        includes=f"{includes}\n" if includes else "",
        passed=indented(headers.passed(), 4),
        hosts=indented(_hosts(sites), 8),
        types=indented(TYPES, 4),
        maps=headers.MAPS + pages.MAPS + locations.MAPS + locations.ODD,
        defaults="".join(
            [
                *(_default(port, listening, directory) for port in nameless),
                *(_default(port, listening, directory, tls=True) for port in rejecting),
            ]
        ),
    )


def _hosts(sites: Iterable[Site]) -> str:
    """The host names as clients send them: with a port unless it is the protocol's default.

    Each only once: nginx refuses a map that names one twice, while it only warns about a `server_name`.
    """
    return "".join(
        f'"{domain} {domain}{port}" $http_host;\n'
        for site in sites
        for domain in dict.fromkeys(site.domains)
        if not domain.startswith("*.")
        for port in ("", *(f":{p}" for p in site.ports if p not in (80, 443)))
    )


def _default(port: int, listening: Listening, directory: Path, *, tls: bool = False) -> str:
    """The server of a port for requests that no site answers: for an unknown name, which with TLS is only possible
    after a handshake for another one, and for invalid requests.
    """
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
    for own in listening.own:
        files[f"sites/{own.name}.conf"] = own_site.render(
            own, listening=listening, directory=directory, known=known
        )
    if listening.own:
        encoded = msgspec.json.encode({own.name: own for own in listening.own})
        files[own_site.VALUES] = msgspec.json.format(encoded).decode() + "\n"
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
    """The sites as values, from which a later tree is rendered."""
    encoded = msgspec.json.encode({app: sites[app] for app in sorted(sites)})
    return msgspec.json.format(encoded).decode() + "\n"
