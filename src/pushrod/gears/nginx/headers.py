"""The headers that the edge adds to answers and to requests. Pure."""

from pushrod.gears.nginx.words import fill, name

NAME = "headers.conf"
"""The file of SHARED in its tree. nginx looks for it beside its nginx.conf, so the files of the sites, which name no
tree, can be the same in several."""

SHARED = """\
# What every answer of the edge carries. Rendered by pushrod; a change made here is lost at the next switch.
add_header X-Request-Id $request_id always;
add_header X-Content-Type-Options $nosniff always;
add_header X-Frame-Options $frame_options always;
add_header Referrer-Policy $referrer_policy always;
"""

# An app that sets one of them has decided: an empty value is no header.
MAPS = """
    map $upstream_http_x_content_type_options $nosniff {
        "" nosniff;
        default "";
    }
    map $upstream_http_x_frame_options $frame_options {
        "" SAMEORIGIN;
        default "";
    }
    map $upstream_http_referrer_policy $referrer_policy {
        "" strict-origin-when-cross-origin;
        default "";
    }
"""

_PASSED = """\
proxy_set_header Host $client_host;
proxy_set_header X-Real-IP $remote_addr;
proxy_set_header X-Forwarded-For $remote_addr;
proxy_set_header X-Forwarded-Proto @scheme@;
proxy_set_header X-Request-Id $request_id;
"""

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

_SCHEME = """
geo $realip_remote_addr $peer_@app@ {
    default far;
@near@}
map "$peer_@app@:$http_x_forwarded_proto" $scheme_@app@ {
    default $scheme;
    "near:https" https;
}
"""

MACHINE = ("127.0.0.0/8", "::1")
"""Proxies that are always believed: those on this machine (one that ends TLS, a tunnel)."""


def passed(scheme: str = "$client_scheme") -> str:
    """What a request to an instance carries. All of it, because one of them in an inner block hides all above it."""
    return fill(_PASSED, scheme=scheme) + _UPGRADED


def asked(scheme: str) -> str:
    """What the question carries whether a request may pass."""
    return fill(_PASSED, scheme=scheme) + _ASKED


def scheme(app: str) -> str:
    """The variable with the scheme that a client of an app used, where the app has proxies of its own."""
    return f"$scheme_{name(app)}"


def believed(app: str, proxies: tuple[str, ...]) -> str:
    """The maps of an app that believes these proxies about its clients."""
    near = "".join(f"    {network} near;\n" for network in (*MACHINE, *proxies))
    return fill(_SCHEME, app=name(app), near=near)


def clients(proxies: tuple[str, ...]) -> str:
    """Whom a server believes about who asks."""
    return "".join(f"set_real_ip_from {network};\n" for network in (*MACHINE, *proxies))
