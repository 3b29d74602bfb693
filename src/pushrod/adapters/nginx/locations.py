"""The routes of an app as nginx locations, one or two each, and what they need outside the server block. Pure."""

import hashlib
import math
import re
from pathlib import Path

import msgspec

from pushrod.adapters.nginx import headers, memory
from pushrod.adapters.nginx.quoting import indented, name, quoted, word
from pushrod.adapters.nginx.sites import Bounds
from pushrod.adapters.templates import beside, fill
from pushrod.core.site import DATA, POOL, Site, group
from pushrod.core.values import Auth, Cache, Rate, Route

LONG = 3600
"""Seconds that a WebSocket or a stream may be silent, unless the manifest sets another time."""

_ON_DISK = 64 << 20
"""Bytes of a body that the edge buffers on disk until it is complete; a route for larger bodies streams them."""

_UNSAID = 1 << 20
"""Bytes of an HTTP/2 body without an announced length, for methods that need no body: it does not count as an
upload.
"""

_LEAST_HEADERS = 8 << 10

CACHE_BYTES = "256m"
"""The most disk space for an app's cache."""

MAPS = beside(__file__, "file_maps.conf")

_CACHE = beside(__file__, "cache.conf")

_AUTHORIZATION = beside(__file__, "authorization.conf")


INSIDE = """\
if ($uri ~ "(?:^|/)\\.\\.(?:/|$)") {
    return 404;
}
"""
"""No file outside the root: nginx ensures this for clients' paths, but not for paths rewritten by a snippet."""

UNSAID = 597
"""The status that leads a request to such a location; no program sends it."""

_FILE_CACHE = "add_header Cache-Control $file_cache;\n"


def upstream(site: Site, service: str) -> str:
    """The name of the upstream group for a site's requests to a service."""
    return group(site.app, service, site.entry)


def tag(*words: str) -> str:
    """A short name for arbitrary words: eight characters of their digest."""
    return hashlib.sha256("\0".join(words).encode()).hexdigest()[:8]


def routes(site: Site) -> tuple[Route, ...]:
    """The routes of a site, including the default route to the entry."""
    own = site.routing.routes
    return own if any(r.prefix == "/" for r in own) else (*own, Route("/", service=site.entry))


def zones(site: Site, directory: Path) -> str:
    """What a site's routes need in the `http` block: zones for rates, the cache, and maps for conditions."""
    text = "".join(_zone(site, r, r.rate) for r in routes(site) if r.rate)
    text += _stripping(site) + _restricted(site)
    caches = [r.cache for r in routes(site) if r.cache]
    if caches:
        place = quoted(directory / "run" / f"cache-{site.app}")
        text += (
            f"proxy_cache_path {place} levels=1:2 keys_zone=app-{site.app}:1m max_size={CACHE_BYTES} inactive=1h\n"
            "    min_free=1g use_temp_path=off;\n"
        )
    for item in sorted({item for cache in caches for item in cache.bypass}):
        text += f'map {_asked(item)} {_given(site, item)} {{\n    "" "";\n    default yes;\n}}\n'
    return text


def render(site: Site, directory: Path, shared: str, bounds: Bounds, *, http2: bool = False) -> str:
    """The locations of a site's server. `shared` are the lines that add the edge's own headers; `http2` means that
    clients may use HTTP/2.
    """
    parts = [_route(site, n, route, directory, shared, bounds, http2) for n, route in enumerate(routes(site))]
    return "\n".join(parts)


def _route(
    site: Site, number: int, route: Route, directory: Path, shared: str, bounds: Bounds, http2: bool
) -> str:
    """Prefixes match whole segments: `/api` matches `/api` and everything below `/api/`, but not `/apis`."""
    added = "".join(
        f"add_header {key} {word(value)} always;\n" for key, value in sorted(route.headers.items())
    )
    limits = _access(route) + (_limited(site, route, route.rate) if route.rate else "")
    limits += _authorized(site, number, route.auth, directory) if route.auth else ""
    inner, beside = limits, ""
    if route.redirect:
        inner = (shared + added if added else "") + f"return {route.status} {word(route.redirect)};\n"
    elif (route.files or route.volume) and not route.service:
        inner += _files(site, number, directory) + shared + added + _FILE_CACHE
        beside = _missing(site, number, route, directory, shared + added)
    elif route.grpc:
        inner += _called(site, number, route, shared, added, bounds)
    else:
        inner += _passed(site, number, route, shared, added)
        if http2 and route.max_body <= _ON_DISK:
            least = msgspec.structs.replace(route, max_body=min(route.max_body or _UNSAID, _UNSAID))
            text = limits + _passed(site, number, least, shared, added)
            place = _without_length(number)
            beside = f"location {place} {{\n{indented(text, 4)}}}\n"
            inner = f"if ($unsaid) {{\n    set $unsaid_at {place};\n    return {UNSAID};\n}}\n{inner}"
    if route.service and (route.files or route.volume):
        passed = f"location @rest-{number} {{\n{indented(inner, 4)}}}\n{beside}"
        look = _files(site, number, directory, index="") + shared + added + _FILE_CACHE
        ends = "|".join(route.suffixes)
        looking = f'location ~* "\\.(?:{ends})$" {{\n{indented(look, 4)}}}\n'
        inner = inner + looking if ends else look
        beside = passed + _missing(site, number, route, directory, shared + added)
    if route.auth and route.auth.service:
        beside += _question(site, number, route.auth)
    heads = [route.prefix] if route.prefix.endswith("/") else [f"= {route.prefix}", f"{route.prefix}/"]
    return "".join(f"location {head} {{\n{indented(inner, 4)}}}\n" for head in heads) + beside


# ---- to instances -------------------------------------------------------------------------------------------


def _passed(site: Site, number: int, route: Route, shared: str, added: str) -> str:
    text = ""
    if route.max_body:
        text += f"client_max_body_size {route.max_body};\n"
        text += "proxy_request_buffering off;\n" if route.max_body > _ON_DISK else ""
    if route.max_headers:
        size = _headers(route.max_headers)
        text += f"proxy_buffer_size {size};\nproxy_buffers 32 4k;\nproxy_busy_buffers_size {size};\n"
    silent = route.timeout or (LONG if route.stream or route.websocket else 0)
    if silent:
        text += f"proxy_read_timeout {_milliseconds(silent)};\nproxy_send_timeout {_milliseconds(silent)};\n"
    if route.stream:
        # The last request on its connection: a draining worker keeps one open for 2 s, and a client that sends the
        # next request on it right after the old instance ended the stream would reach that instance.
        text += "proxy_buffering off;\ngzip off;\nkeepalive_timeout 0;\n"
    if route.cache:
        text += _cached(site, route, route.cache)
        added = "add_header X-Cache-Status $upstream_cache_status always;\n" + added
    added = _kept_there(site, route) + added
    if route.auth and route.auth.passes:
        text += headers.passed(*_trusting(site))
        text += "".join(f"proxy_set_header {p} {_learned(number, p)};\n" for p in route.auth.passes)
    text += shared + added if added else ""
    return (
        text + _stripped(site, route) + f"proxy_pass http://{_target(site, route.service)}{_rest(route)};\n"
    )


def _kept_there(site: Site, route: Route) -> str:
    """The cookie of a client that stays at one instance."""
    sticking = sticks(site, route.service)
    return f"add_header Set-Cookie $stick_{sticky_name(site, route.service)};\n" if sticking else ""


def _called(site: Site, number: int, route: Route, shared: str, added: str, bounds: Bounds) -> str:
    """gRPC: messages are streamed in both directions for the length of the call. Nothing is buffered on disk, so a
    call is not an upload.
    """
    silent = _milliseconds(route.timeout or LONG)
    text = f"client_max_body_size {route.max_body};\n"
    text += f"limit_conn clients {bounds.requests};\nlimit_conn apps {bounds.of_app};\n"
    text += f"client_body_timeout {silent};\nsend_timeout {silent};\n"
    text += f"grpc_read_timeout {silent};\ngrpc_send_timeout {silent};\ngrpc_connect_timeout 2s;\n"
    text += f"grpc_buffer_size {_headers(route.max_headers or memory.HEADERS)};\n"
    text += "grpc_hide_header X-Request-Id;\ngrpc_hide_header X-Pushrod-Release;\n"
    text += headers.called(*_trusting(site))
    passes = route.auth.passes if route.auth else ()
    text += "".join(f"grpc_set_header {p} {_learned(number, p)};\n" for p in passes)
    added = _kept_there(site, route) + added
    text += shared + added if added else ""
    return f"{text}grpc_pass grpc://{_target(site, route.service)};\n"


def _headers(size: int) -> int:
    """The bytes of a buffer: nginx requires at least two of its others, and some sizes are expensive (memory.py)."""
    return memory.HEADERS if memory.KEPT < size <= memory.HEADERS else max(size, _LEAST_HEADERS)


def _without_length(number: int) -> str:
    """The location for a route's requests that may have a body without an announced length: nginx's limit cannot
    depend on a variable, but another location can have another limit.
    """
    return f"@unsaid-{number}"


def strips(route: Route) -> bool:
    """Whether a route's prefix is removed before the request goes to its service."""
    return bool(route.strip and route.service and route.prefix != "/")


def _rest(route: Route) -> str:
    return "$stripped" if strips(route) else ""


def _stripped(site: Site, route: Route) -> str:
    """The path without its prefix, byte for byte as it was sent. After an internal redirect, or if the path has dots
    instead of a name, the path as nginx normalised it.
    """
    if not strips(route):
        return ""
    return (
        f"set $stripped {_sent(site, route)};\n"
        f'if ($uri != {first(site.app)}) {{\n    set $stripped "";\n}}\n'
        f'rewrite "(?s)^{re.escape(route.prefix.rstrip("/"))}/?(.*)$" "/$1" break;\n'
    )


def first(app: str) -> str:
    """The variable with the path of the incoming request, before any rewrite: a map keeps its first result. For apps
    that strip prefixes.
    """
    return f"$first_{name(app)}"


def _sent(site: Site, route: Route) -> str:
    return f"$sent_{name(site.app)}_{tag(route.prefix)}"


def _stripping(site: Site) -> str:
    text = ""
    for route in filter(strips, routes(site)):
        prefix = spelled(route.prefix.rstrip("/"))
        text += f"map $request_uri {_sent(site, route)} {{\n" + _DOTTED
        text += f'    "~^{prefix}(/.*)$" $1;\n    "~^{prefix}(\\?.*)?$" /$1;\n}}\n'
    return text and f"map $uri {first(site.app)} {{\n    default $uri;\n}}\n{text}"


_DOTTED = """\
    default "";
    "~^[^?]*(?:/|%2[fF])(?:\\.|%2[eE]){1,2}(?:[/?]|%2[fF]|$)" "";
"""


def spelled(path: str) -> str:
    """An expression for a path in all spellings that a client can use: nginx normalises them to the same path."""
    return "".join(r"(?:/|%2[fF])+" if c == "/" else _letter(c) for c in path)


def _letter(character: str) -> str:
    return f"(?:{re.escape(character)}|{_encoded(character)})"


def _encoded(character: str) -> str:
    return "%" + "".join(f"[{c}{c.lower()}]" if c.isalpha() else c for c in f"{ord(character):02X}")


def _folded(character: str) -> str:
    """The character in all forms in which an app may see it; the expression's own flag handles case."""
    if character == "/":
        return "(?:;[^/]*)?/"
    return f"(?:{re.escape(character)}|{_encoded(character.lower())}|{_encoded(character.upper())})"


def _trusting(site: Site) -> tuple[str, str]:
    """The variable with the scheme of a site's clients, and the app if it trusts proxies of its own."""
    own = bool(site.routing.proxies)
    return (headers.scheme(site.app), site.app) if own else ("$client_scheme", "")


def _target(site: Site, service: str) -> str:
    return f"$pool_{sticky_name(site, service)}" if sticks(site, service) else upstream(site, service)


def sticks(site: Site, service: str) -> bool:
    """Whether a client stays at one of a service's instances: only if there are several."""
    return service in site.routing.sticky and len(site.services[service]) > 1


def sticky_name(site: Site, service: str) -> str:
    """The name of a sticky service in variables."""
    return f"{name(site.app)}_{tag(service)}"


def _cached(site: Site, route: Route, cache: Cache) -> str:
    """The key begins with what an app sees of every request and may use in an answer, the name and path as sent,
    followed by the manifest's key. So no client gets an answer to another spelling.
    """
    scheme, app = _trusting(site)
    seen = (scheme, "$client_host", *(headers.handed_on(app, h) for h in headers.SEEN_IN_ANSWERS if app))
    own = f"{site.release}:{route.prefix}:{':'.join(seen)}:$asked_path:"
    given = " ".join(_given(site, item) for item in cache.bypass)
    seconds = str(math.ceil(cache.seconds))
    lines = fill(_CACHE, app=site.app, key=word(own + cache.key), seconds=seconds)
    return lines + (f"proxy_cache_bypass {given};\nproxy_no_cache {given};\n" if given else "")


def _asked(item: str) -> str:
    kind, _, key = item.partition(":")
    if kind == "header":
        return f"$http_{name(key)}"
    return f"$cookie_{key}" if key else "$http_cookie"


def _given(site: Site, item: str) -> str:
    return f"$given_{name(site.app)}_{tag(item)}"


# ---- access and rates -----------------------------------------------------------------------------------------


def _access(route: Route) -> str:
    text = "".join(f"deny {network};\n" for network in route.deny)
    if route.allow:
        text += "".join(f"allow {network};\n" for network in route.allow) + "deny all;\n"
    return text


ODD = beside(__file__, "odd_paths.conf")


def is_restricted(route: Route) -> bool:
    """Whether a route is restricted: not every client may use it."""
    return bool(route.auth or route.allow or route.deny)


def disguised_path(app: str) -> str:
    """The variable that is set if a path is another spelling of a restricted route of the app."""
    return f"$astray_{name(app)}"


def _restricted(site: Site) -> str:
    """A restricted route is one path for nginx but may be several for an app: in capitals, with parameters
    (`/admin;x/`), double encoded. A path that an app may take for a restricted route, and nginx does not, is
    answered with 404.
    """
    restricted = [r.prefix.rstrip("/") for r in site.routing.routes if is_restricted(r)]
    if not restricted:
        return ""
    text = f'map $uri {disguised_path(site.app)} {{\n    default $odd_path;\n    "~/(?:;[^/]*/|\\.{{1,2}};)" yes;\n'
    for prefix in filter(None, restricted):
        folded = "".join(map(_folded, prefix))
        text += f'    "~*^(?!(?-i:{re.escape(prefix)})(?:/|$)){folded}(?:;[^/]*)?(?:/|$)" yes;\n'
    return text + "}\n"


def _zone(site: Site, route: Route, rate: Rate) -> str:
    """nginx keeps a zone across a reload and refuses another key for it, so the key is part of its name."""
    zone, key = _rate(site, route, rate), "$binary_remote_addr"
    text = ""
    if rate.header:
        asked, key = f"$http_{name(rate.header)}", f"$client_{name(zone)}"
        text = f'map {asked} {key} {{\n    default {asked};\n    "" $binary_remote_addr;\n}}\n'
    return (
        text
        + f"limit_req_zone {key} zone=rate-{zone}:2m rate={rate.count}r/{'s' if rate.period == 1 else 'm'};\n"
    )


def _limited(site: Site, route: Route, rate: Rate) -> str:
    burst = f" burst={rate.burst} nodelay" if rate.burst else ""
    return f"limit_req zone=rate-{_rate(site, route, rate)}{burst};\n"


def _rate(site: Site, route: Route, rate: Rate) -> str:
    return f"{site.app}-{tag(route.prefix, rate.header)}"


def _authorized(site: Site, number: int, auth: Auth, directory: Path) -> str:
    if auth.basic:
        place = directory / "passwords" / site.app / site.passwords[auth.basic]
        return f"auth_basic {word(site.app)};\nauth_basic_user_file {quoted(place)};\n"
    text = f"auth_request /.pushrod/auth/{number};\n"
    return text + "".join(
        f"auth_request_set {_learned(number, p)} $upstream_http_{name(p)};\n" for p in auth.passes
    )


def _learned(number: int, header: str) -> str:
    return f"$learned_{number}_{name(header)}"


def _question(site: Site, number: int, auth: Auth) -> str:
    address = f"http://{upstream(site, auth.service)}{auth.path}"
    inner = fill(_AUTHORIZATION, headers=headers.asked(*_trusting(site)), address=address)
    return f"location = /.pushrod/auth/{number} {{\n{indented(inner, 4)}}}\n"


# ---- files ----------------------------------------------------------------------------------------------------


_INDEX = " ${uri}index.html"


def _files(site: Site, number: int, directory: Path, index: str = _INDEX) -> str:
    """`try_files` looks for an index, so that a directory without one is treated like any missing file."""
    own = quoted(_own(site, number, directory))
    return f"{INSIDE}root {own};\ntry_files $uri{index} @missing-{number};\n"


def _own(site: Site, number: int, directory: Path) -> Path:
    return directory / "static" / site.app / str(site.release) / str(number)


def _missing(site: Site, number: int, route: Route, directory: Path, added: str) -> str:
    """A directory's name gets its slash; then files named by their content of earlier releases; then the fallback,
    except for a request for such a file. Access was checked before. A service beside the files gets the rest.
    """
    own = _own(site, number, directory)
    tried = "" if route.service else _INDEX
    index = f'if (-f {quoted(own)[:-1]}$uri/index.html") {{\n    return 308 $uri/$is_args$args;\n}}\n'
    index = "" if route.service else index
    last = f"@page-{number}" if route.fallback else f"@rest-{number}" if route.service else "=404"
    after = f"@data-{number}" if route.volume else last
    text = (
        f"{INSIDE}{index}root {quoted(own.parent.parent / POOL)};\ntry_files $uri {after};\n"
        + added
        + _FILE_CACHE
    )
    location = f"location @missing-{number} {{\n{indented(text, 4)}}}\n"
    if route.volume:
        data = own.parent / DATA / str(number)
        index = index.replace(quoted(own)[:-1], quoted(data)[:-1])
        text = f"{INSIDE}{index}root {quoted(data)};\ntry_files $uri{tried} {last};\n"
        text += added + _FILE_CACHE
        location += f"location @data-{number} {{\n{indented(text, 4)}}}\n"
    if route.fallback:
        place = f"{route.prefix.rstrip('/')}/{route.fallback}"
        text = (
            "if ($immutable) {\n    return 404;\n}\n"
            f"root {quoted(own)};\ntry_files {word(place)} =404;\n{added}add_header Cache-Control no-cache;\n"
        )
        location += f"location @page-{number} {{\n{indented(text, 4)}}}\n"
    return location


def _milliseconds(seconds: float) -> str:
    return f"{round(seconds * 1000)}ms"
