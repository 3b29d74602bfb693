"""The headers that the edge adds to answers and to requests. Pure."""

from pushrod.adapters.nginx.quoting import name
from pushrod.adapters.templates import beside, fill

NAME = "headers.conf"
"""The name of the file with SHARED. nginx looks for it beside its nginx.conf, so that the files of sites, which name
no tree, can be equal in several.
"""

SHARED = beside(__file__, "headers.conf")

LEFT_OUT = "left_out.conf"
"""The name of the file with the dropped headers, likewise."""


LEFT_OUT_OF_CALLS = "left_out_of_calls.conf"
"""The same for gRPC."""


def left_out(verb: str = "proxy_set_header") -> str:
    """The text of that file."""
    head = "# Headers that no app receives. Rendered by pushrod; a change made here is lost at the next switch.\n"
    return head + "".join(f'{verb} {header} "";\n' for header in (*FROM_PROXIES, *DROPPED))


MAPS = beside(__file__, "header_maps.conf")

_PASSED = beside(__file__, "request_headers.conf")

FROM_PROXIES = (
    *("Forwarded", "X-Forwarded-Host", "X-Forwarded-Port", "X-Forwarded-Prefix", "X-Forwarded-Server"),
    *("X-Original-Host", "CF-Connecting-IP", "True-Client-IP", "X-Forwarded-User", "X-Forwarded-Client-Cert"),
)
"""Request headers about the client's origin: passed on from the app's own proxies, dropped from everybody else. An
app would trust them as a proxy's, and use them in an answer, a link in a mail, a cache.
"""

SEEN_IN_ANSWERS = FROM_PROXIES[:6]
"""Those from which an app builds addresses: a cache keeps answers that differ by them apart."""

DROPPED = (
    # some frameworks prefer these to the request's own path, host, scheme or method
    *(
        "X-Original-URL",
        "X-Rewrite-URL",
        "X-Original-URI",
        "X-Original-Method",
        "X-HTTP-Host-Override",
        "X-Host",
    ),
    *("X-Forwarded-Scheme", "X-Forwarded-Protocol", "X-Forwarded-Ssl", "X-Forwarded-Path", "X-Forwarded-Uri"),
    *("X-Forwarded-Method", "X-Scheme", "X-Url-Scheme", "Front-End-Https", "X-Script-Name"),
    # some applications read the client's address from these
    *("X-Forwarded", "Forwarded-For", "X-Forwarded-By", "Client-IP", "X-Client-IP", "X-Cluster-Client-IP"),
    *(
        "X-Remote-IP",
        "X-Remote-Addr",
        "X-Originating-IP",
        "X-ProxyUser-Ip",
        "Fastly-Client-IP",
        "WL-Proxy-Client-IP",
    ),
    *(
        "Remote-User",
        "X-Remote-User",
        "X-Forwarded-Email",
        "X-Forwarded-Groups",
        "X-Forwarded-Preferred-Username",
    ),
    *(
        "X-Forwarded-Access-Token",
        "X-SSL-Client-Cert",
        "X-SSL-Client-Verify",
        "X-SSL-Client-DN",
        "SSL-Client-Cert",
    ),
    # CGI turns it into HTTP_PROXY (CVE-2016-5385); headers between a front server and its backend; hop-by-hop headers
    *(
        "Proxy",
        "X-Accel-Mapping",
        "X-Accel-Redirect",
        "X-Sendfile-Type",
        "Proxy-Connection",
        "Proxy-Authorization",
    ),
    *("Trailer", "HTTP2-Settings"),
)
"""Always dropped, whoever sends them. nginx itself drops TE, Keep-Alive, Transfer-Encoding and Expect, and names with
an underscore. Dropping a header costs nothing.
"""

_UPGRADED = """\
proxy_set_header Upgrade $upgrade_to;
proxy_set_header Connection $upgrade_connection;
"""

# An authorization request has no body, and is never a WebSocket.
_ASKED = beside(__file__, "authorization_headers.conf")

_SCHEME = beside(__file__, "believed_scheme.conf")

_HANDED_ON = beside(__file__, "believed_header.conf")

MACHINE = ("127.0.0.0/8", "::1")
"""Proxies that are always trusted: those on this machine (for example a TLS terminator or a tunnel)."""


def passed(scheme: str = "$client_scheme", app: str = "") -> str:
    """The headers of a request to an instance. All of them together, because one header in an inner block hides all
    outer ones.

    `app` is set if the app trusts proxies of its own.
    """
    return fill(_PASSED, scheme=scheme) + _UPGRADED + _left(app)


def called(scheme: str, app: str) -> str:
    """The headers of a gRPC call to an instance; its server speaks HTTP/2, from which nothing is upgraded."""
    text = fill(_PASSED, scheme=scheme) + _left(app)
    return text.replace("proxy_set_header", "grpc_set_header").replace(LEFT_OUT, LEFT_OUT_OF_CALLS)


def asked(scheme: str, app: str = "") -> str:
    """The headers of an authorization request."""
    return fill(_PASSED, scheme=scheme) + _ASKED + _left(app)


def _left(app: str) -> str:
    """nginx replaces headers that are set to a value, and removes those that are set to nothing, even duplicates."""
    text = "".join(f"proxy_set_header {h} {handed_on(app, h)};\n" for h in FROM_PROXIES if app)
    return f"{text}include {LEFT_OUT};\n"


def handed_on(app: str, header: str) -> str:
    """The variable with a header as sent by an app's own proxies; empty if the app has none."""
    return f"$from_{name(app)}_{name(header)}" if app else ""


def scheme(app: str) -> str:
    """The variable with the scheme of an app's client, if the app has proxies of its own."""
    return f"$scheme_{name(app)}"


def proxy_maps(app: str, proxies: tuple[str, ...]) -> str:
    """The maps of an app that trusts these proxies about its clients."""
    near = "".join(f"    {network} near;\n" for network in (*MACHINE, *proxies))
    handed_on = (fill(_HANDED_ON, app=name(app), name=name(header)) for header in FROM_PROXIES)
    return fill(_SCHEME, app=name(app), near=near) + "".join(handed_on)


def clients(proxies: tuple[str, ...]) -> str:
    """The lines that name the proxies a server trusts about client addresses."""
    return "".join(f"set_real_ip_from {network};\n" for network in (*MACHINE, *proxies))
