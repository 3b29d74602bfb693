"""`x-pushrod.routes` and everything else the manifest says about requests. Pure."""

import ipaddress
import posixpath
import re
from collections.abc import Collection, Iterator, Mapping
from typing import Any, NamedTuple, get_type_hints

from pushrod.core.errors import ManifestError
from pushrod.core.patterns import lazy
from pushrod.core.values import Auth, Cache, Rate, Route, Routing
from pushrod.manifest.document import Key

_PREFIX = lazy(r"/|(?:/[A-Za-z0-9._~@+-]+)+/?")
_OURS = ("/.pushrod", "/.well-known/acme-challenge")
_RATE = lazy(r"([1-9][0-9]{0,5})/(s|second|m|min|minute)")
_HEADER = lazy(r"[A-Za-z0-9-]{1,64}")
_TEXT = lazy(r"[ -#%-~]{0,1000}")  # printable, without `$`, which nginx would expand
_TARGET = lazy(r"(?:https?://[!#%-&(-~]+|/[!#%-&(-~]*)(?:\$request_uri)?")
_KEY = lazy(
    r"(?:[A-Za-z0-9/:._-]|\$(?:args|host|is_args|request_uri|scheme|uri|arg_\w+|cookie_\w+|http_\w+))+",
    re.ASCII,
)
_STATUS = (301, 302, 303, 307, 308)
_FRAMING = ("connection", "content-length", "content-type", "date", "server", "transfer-encoding", "upgrade")
_SECRET = lazy(r"[A-Za-z_][A-Za-z0-9_]*")
_ACCESS = ("allow", "auth", "deny", "rate_limit")
_PATTERN = "docker/nginx/*.conf"

# Limits on what an app may use of the shared edge: all of it is read again whenever any app switches, and some of
# it is searched for each request.
_MOST_ROUTES = 200
_MOST_RATES = 20  # each uses 2 MB of memory
_MOST_NETWORKS = 300  # in one list: as many as a CDN publishes
_MOST_ALL_NETWORKS = 2000
_MOST_HEADERS = 50  # of a route
_MOST_ALL_HEADERS = 500
_MOST_ITEMS = 20  # of `bypass`, of `passes`
_MOST_ALL_BYPASSED = 40
_MOST_VARIABLES = 10  # of a cache's key
_LONGEST = 1000  # characters of a path, an address, a key


class _Plain(NamedTuple):
    """A key with a plain value: the field of a route that it sets, and the field's type."""

    field: str
    type: type
    most: int
    http_1: bool


def _plain_keys() -> Iterator[tuple[str, _Plain]]:
    for field, hint in get_type_hints(Route, include_extras=True).items():
        for meta in getattr(hint, "__metadata__", ()):
            extra = dict(meta.extra)
            yield extra.pop("key"), _Plain(field, hint.__origin__, **extra)


PLAIN = dict(sorted(_plain_keys()))
"""The keys that a field of Route declares, by name."""

_PASSED = ("cache", *PLAIN)  # valid only for requests to a service
_HTTP_1 = ("cache", *(name for name, plain in PLAIN.items() if plain.http_1))


def read(services: Mapping[str, Key], top: Key) -> Routing:
    """The routes of all services (their `x-pushrod` by name), longest prefix first, and the proxies of `top`.

    Raises ManifestError for an invalid key, prefix, rate or address, and for two routes with the same prefix.
    """
    keyed = [(route, key) for name, own in services.items() for route, key in _routes(name, own, services)]
    owners: dict[str, Key] = {}
    for route, key in keyed:
        other = owners.setdefault(route.prefix.rstrip("/"), key)
        if other is not key:
            raise ManifestError(
                f"two routes for `{route.prefix}`",
                where=key.path,
                hint=f"the other is {other.path}: leave one of them out",
            )
    routes = sorted((route for route, _ in keyed), key=lambda r: (-len(r.prefix), r.prefix))
    proxies = tuple(_networks(top.get("trusted_proxies")))
    _check_share(routes, proxies)
    sticky = tuple(sorted(name for name, own in services.items() if own.get("sticky").yes()))
    return Routing(tuple(routes), sticky, proxies)


def _check_share(routes: Collection[Route], proxies: Collection[str]) -> None:
    bypassed = {item for r in routes if r.cache for item in r.cache.bypass}
    networks = len(proxies) + sum(len(r.allow) + len(r.deny) for r in routes)
    for count, most, what, hint in (
        (
            len(routes),
            _MOST_ROUTES,
            "routes",
            "a shorter path covers everything below it; or let the app decide",
        ),
        (
            sum(r.rate is not None for r in routes),
            _MOST_RATES,
            "rates",
            "one at a shorter path counts for all below it",
        ),
        (networks, _MOST_ALL_NETWORKS, "addresses and networks", "merge them into larger networks"),
        (
            len(bypassed),
            _MOST_ALL_BYPASSED,
            "conditions of `bypass`",
            "let the app say what must not be cached",
        ),
        (sum(len(r.headers) for r in routes), _MOST_ALL_HEADERS, "headers", "let the app set them"),
    ):
        if count > most:
            raise ManifestError(
                f"{count} {what}, of at most {most} per app: all apps share the edge",
                where="services.*.x-pushrod.routes",
                hint=hint,
            )


def snippets(top: Key) -> tuple[str, ...]:
    """The patterns of `x-pushrod.nginx`, which match files of the commit."""
    key = top.get("nginx")
    items = key.sequence() if isinstance(key.value, list) else [key] if key.given else []
    for item in items:
        if not item.text() or posixpath.normpath(item.text()).startswith(("/", "..")):
            item.wrong(f"files inside the repository, such as {_PATTERN}")
    return tuple(posixpath.normpath(item.text()) for item in items)


def _routes(name: str, own: Key, services: Mapping[str, Key]) -> Iterator[tuple[Route, Key]]:
    for prefix, key in own.get("routes").mapping().items():
        if len(prefix) > _LONGEST or not _PREFIX.fullmatch(prefix) or {".", ".."} & {*prefix.split("/")}:
            raise ManifestError(
                f"`{prefix}` is not a route",
                where=key.path,
                hint="a path from its root on, such as /api/ or /",
            )
        if any(f"{prefix.rstrip('/')}/".startswith(f"{ours}/") for ours in _OURS):
            raise ManifestError(
                f"`{prefix}` is reserved by pushrod", where=key.path, hint="choose another path"
            )
        yield _route(prefix, name, key, services), key


def _route(prefix: str, service: str, key: Key, services: Mapping[str, Key]) -> Route:
    key.only(
        *("allow", "auth", "cache", "deny", "files", "headers", "rate_limit", "redirect", "try"),
        *PLAIN,
    )
    files, redirect = key.get("files"), key.get("redirect")
    if files.given and redirect.given:
        redirect.wrong("either `files` or `redirect`")
    if key.get("try").given and not files.given:
        key.get("try").wrong("nothing: `try` goes with `files`")
    for name in _PASSED:
        if key.get(name).given and (files.given or redirect.given):
            other = "files" if files.given else "redirect"
            key.get(name).wrong(
                f"nothing: `{name}` is for requests to a service, and this route has `{other}`"
            )
    for name in _HTTP_1:
        if key.get("grpc").yes() and key.get(name).given:
            key.get(name).wrong(f"nothing: `{name}` has no effect on a gRPC call, which is always a stream")
    for name in _ACCESS:
        if key.get(name).given and redirect.given:
            key.get(name).wrong(f"nothing: this route redirects, which nginx does before it applies `{name}`")
    target, status = _redirect(redirect)
    return Route(
        prefix=prefix,
        service="" if files.given or redirect.given else service,
        files=_inside(files) if files.given else "",
        fallback=_inside(key.get("try")) if key.get("try").given else "",
        redirect=target,
        status=status,
        rate=_rate(key.get("rate_limit")),
        cache=_cache(key.get("cache")),
        auth=_auth(key.get("auth"), service, services),
        allow=tuple(_networks(key.get("allow"))),
        deny=tuple(_networks(key.get("deny"))),
        headers=_headers(key.get("headers")),
        **{plain.field: _plain(key.get(name), plain) for name, plain in PLAIN.items()},
    )


def _plain(key: Key, plain: _Plain) -> Any:
    if plain.type is bool:
        return key.yes()
    return key.seconds(0.0) if plain.type is float else _size(key, plain.most)


def _size(key: Key, most: int) -> int:
    size = key.size()
    if size > most:
        number, unit = (most >> 30, "g") if most >> 30 else (most >> 10, "k")
        key.wrong(f"a size of at most {number}{unit}")
    return size


def _short(key: Key) -> str:
    """The key's text, bounded because nginx keeps it several times."""
    text = key.text()
    if len(text) > _LONGEST:
        key.wrong(f"text of at most {_LONGEST} characters")
    return text


def _inside(key: Key) -> str:
    path = posixpath.normpath(_short(key) or "/")
    if path.startswith(("/", "..")) or re.search(r"[\x00-\x1f$\"\\]", path):
        key.wrong("a directory inside the repository, such as ./frontend/dist")
    return path


def _redirect(key: Key) -> tuple[str, int]:
    status = Route("").status
    if isinstance(key.value, dict):
        key.only("status", "to")
        status = key.get("status").whole(status)
        if status not in _STATUS:
            key.get("status").wrong(" or ".join(map(str, _STATUS)))
        key = key.get("to")
        if not key.given:
            key.wrong("where to")
    if key.given and not _TARGET.fullmatch(_short(key)):
        key.wrong("a path or an address (https://example.com/), which may end with $request_uri")
    return key.text(), status


def _rate(key: Key) -> Rate | None:
    if not key.given:
        return None
    whole = key if isinstance(key.value, dict) else Key(key.path, {"rate": key.value})
    whole.only("burst", "by", "rate")
    rate = whole.get("rate") if isinstance(key.value, dict) else key
    match = _RATE.fullmatch(rate.text())
    if not match:
        rate.wrong("a rate such as 50/s or 300/min")
    count, period = int(match[1]), 1 if match[2].startswith("s") else 60
    return Rate(count, period, whole.get("burst").whole(max(1, count // period)), _by(whole.get("by")))


def _by(key: Key) -> str:
    """The header that distinguishes clients; empty for their address."""
    word = key.text() or "address"
    if word == "address":
        return ""
    name = word.removeprefix("header:")
    if name == word or not _HEADER.fullmatch(name):
        key.wrong("`address`, or a header such as `header:X-Api-Key`")
    return name


def _cache(key: Key) -> Cache | None:
    if not key.given:
        return None
    whole = key if isinstance(key.value, dict) else Key(key.path, {"time": key.value})
    whole.only("bypass", "key", "time")
    time = whole.get("time") if isinstance(key.value, dict) else key
    seconds = time.seconds(0.0)
    if seconds < 1:
        time.wrong("a time of at least 1s")
    usual, own = Cache(seconds), whole.get("key")
    if own.given and (not _KEY.fullmatch(_short(own)) or own.text().count("$") > _MOST_VARIABLES):
        own.wrong("text with variables of the request, such as $host$uri$is_args$args")
    bypass = _few(whole.get("bypass"), _MOST_ITEMS)
    items = tuple(_bypass(item) for item in bypass.sequence()) if bypass.given else usual.bypass
    return Cache(seconds, own.text() or usual.key, items)


def _bypass(key: Key) -> str:
    kind, _, name = key.text().partition(":")
    good = key.text() == "cookie" or (kind == "cookie" and re.fullmatch(r"\w{1,64}", name, re.ASCII))
    if not good and not (kind == "header" and _HEADER.fullmatch(name)):
        key.wrong("`cookie`, `cookie:NAME` or `header:NAME`")
    return key.text()


def _auth(key: Key, service: str, services: Mapping[str, Key]) -> Auth | None:
    if not key.given:
        return None
    key.only("basic", "passes", "path", "service")
    basic, path = key.get("basic"), key.get("path")
    if basic.given:
        if not _SECRET.fullmatch(basic.text()):
            basic.wrong("the name of a secret with lines of `user:password`")
        if len(key.mapping()) > 1:
            key.wrong("either `basic`, or `path` with `service`")
        return Auth(basic=basic.text())
    if not re.fullmatch(r"/[A-Za-z0-9._~@+/-]*", _short(path)):
        path.wrong("a path that answers 2xx for permitted requests, such as /auth/check; or `basic`")
    asked = key.get("service").text() or service
    if asked not in services:
        key.get("service").wrong(f"one of the services: {', '.join(sorted(services))}")
    passes = tuple(item.text() for item in _few(key.get("passes"), _MOST_ITEMS).sequence())
    for item in key.get("passes").sequence():
        if not _HEADER.fullmatch(item.text()):
            item.wrong("the name of a header")
    return Auth(service=asked, path=path.text(), passes=passes)


def _few(key: Key, most: int) -> Key:
    if isinstance(key.value, list | dict) and len(key.value) > most:
        key.wrong(f"at most {most} of them")
    return key


def _networks(key: Key) -> Iterator[str]:
    for item in _few(key, _MOST_NETWORKS).sequence():
        try:
            network = str(ipaddress.ip_network(item.text()))
        except ValueError:
            network = "%"
        if "%" in network:  # an address's zone may be any text
            item.wrong("an address or a network such as 203.0.113.0/24")
        yield network


def _headers(key: Key) -> dict[str, str]:
    headers = {name: item.text() for name, item in _few(key, _MOST_HEADERS).mapping().items()}
    for name, item in key.mapping().items():
        if not _HEADER.fullmatch(name) or name.lower() in _FRAMING:
            raise ManifestError(
                f"`{name}` is not a header that can be added", where=item.path, hint="such as X-Robots-Tag"
            )
        if not _TEXT.fullmatch(item.text()):
            item.wrong("text without `$` and line breaks, at most 1000 characters")
    return headers
