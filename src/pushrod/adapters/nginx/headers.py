"""The headers that the edge adds to answers and to requests. Pure."""

from pushrod.adapters.nginx.quoting import name
from pushrod.adapters.templates import beside, fill

NAME = "headers.conf"
"""The file of SHARED in its tree. nginx looks for it beside its nginx.conf, so the files of the sites, which name no
tree, can be the same in several."""

SHARED = beside(__file__, "headers.conf")

LEFT_OUT = "left_out.conf"
"""The file of what is dropped, likewise."""


LEFT_OUT_OF_CALLS = "left_out_of_calls.conf"
"""The same for gRPC."""


def left_out(verb: str = "proxy_set_header") -> str:
    """What that file says."""
    head = "# What no app is told. Rendered by pushrod; a change made here is lost at the next switch.\n"
    return head + "".join(f'{verb} {header} "";\n' for header in (*FROM_PROXIES, *DROPPED))


MAPS = beside(__file__, "header_maps.conf")

_PASSED = beside(__file__, "request_headers.conf")

FROM_PROXIES = (
    *("Forwarded", "X-Forwarded-Host", "X-Forwarded-Port", "X-Forwarded-Prefix", "X-Forwarded-Server"),
    *("X-Original-Host", "CF-Connecting-IP", "True-Client-IP", "X-Forwarded-User", "X-Forwarded-Client-Cert"),
)
"""What a request can say about where it came from and who sent it: of the app's own proxies it is passed on, of
everybody else it is dropped. An app would take it for what a proxy says, and put it into an answer, a link in a mail,
a cache."""

SEEN_IN_ANSWERS = FROM_PROXIES[:6]
"""Those of them that an app makes addresses of: answers that differ by them are kept apart in a cache."""

DROPPED = (
    # what some frameworks take for the path, the host, the scheme or the method instead of the request's own
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
    # whom some take for the client
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
    # CGI makes HTTP_PROXY of it (CVE-2016-5385); a front server's own words to its backend; of one connection alone
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
"""What is dropped whoever sent it; nginx drops TE, Keep-Alive, Transfer-Encoding and Expect by itself, and names with
an underscore. To leave a header out costs nothing."""

_UPGRADED = """\
proxy_set_header Upgrade $upgrade_to;
proxy_set_header Connection $upgrade_connection;
"""

# A question has no body, and is no WebSocket where its request is one.
_ASKED = """\
proxy_set_header Upgrade "";
proxy_set_header Connection "";
proxy_set_header Content-Length "";
proxy_set_header X-Original-URI $request_uri;
proxy_set_header X-Original-Method $request_method;
"""

_SCHEME = beside(__file__, "believed_scheme.conf")

_HANDED_ON = beside(__file__, "believed_header.conf")

MACHINE = ("127.0.0.0/8", "::1")
"""Proxies that are always believed: those on this machine (one that ends TLS, a tunnel)."""


def passed(scheme: str = "$client_scheme", app: str = "") -> str:
    """What a request to an instance carries. All of it, because one of them in an inner block hides all above it.

    `app` is one that believes proxies of its own.
    """
    return fill(_PASSED, scheme=scheme) + _UPGRADED + _left(app)


def called(scheme: str, app: str) -> str:
    """What a gRPC call to an instance carries; its server is reached by HTTP/2, which nothing upgrades to."""
    text = fill(_PASSED, scheme=scheme) + _left(app)
    return text.replace("proxy_set_header", "grpc_set_header").replace(LEFT_OUT, LEFT_OUT_OF_CALLS)


def asked(scheme: str, app: str = "") -> str:
    """What the question carries whether a request may pass."""
    return fill(_PASSED, scheme=scheme) + _ASKED + _left(app)


def _left(app: str) -> str:
    """nginx sends what is set to something, and leaves out what is set to nothing, also where it is there twice."""
    text = "".join(f"proxy_set_header {h} {handed_on(app, h)};\n" for h in FROM_PROXIES if app)
    return f"{text}include {LEFT_OUT};\n"


def handed_on(app: str, header: str) -> str:
    """The variable with what an app's own proxies say in a header; empty where it has none."""
    return f"$from_{name(app)}_{name(header)}" if app else ""


def scheme(app: str) -> str:
    """The variable with the scheme that a client of an app used, where the app has proxies of its own."""
    return f"$scheme_{name(app)}"


def believed(app: str, proxies: tuple[str, ...]) -> str:
    """The maps of an app that believes these proxies about its clients."""
    near = "".join(f"    {network} near;\n" for network in (*MACHINE, *proxies))
    handed_on = (fill(_HANDED_ON, app=name(app), name=name(header)) for header in FROM_PROXIES)
    return fill(_SCHEME, app=name(app), near=near) + "".join(handed_on)


def clients(proxies: tuple[str, ...]) -> str:
    """Whom a server believes about who asks."""
    return "".join(f"set_real_ip_from {network};\n" for network in (*MACHINE, *proxies))
