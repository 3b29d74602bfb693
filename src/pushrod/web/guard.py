"""Decides about each request before a page sees it: its host, its session, its form; and closes each answer.

- A request must name a host of ours (`Hosts`): no other name leads here, so no page of another site can (DNS
  rebinding). On loopback it is a name that only the link shows (`access.loopback_name`).
- Everything but the log-in and the style needs a session. Without one, every path answers that a session is missing.
- A form needs its session's token, and an `Origin` that is ours.
- Answers run no script and load no style but ours, are shown in no frame, and are stored nowhere.
"""

import hmac
import time
from collections import deque
from collections.abc import Awaitable, Callable, MutableMapping
from http.cookies import CookieError, SimpleCookie
from typing import Any, NamedTuple
from urllib.parse import parse_qsl

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.responses import Response

from pushrod.web import access
from pushrod.web.access import Access, Member

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

_MOST_FORM = 64 << 10  # bytes
_OPEN = ("/enter", "/static/")
_CLOSED = {
    "content-security-policy": "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
}


class Hosts(NamedTuple):
    """The hosts of the page: its domain behind the edge, with TLS, if it has one; and its port on loopback."""

    port: int
    domain: str = ""

    def of(self, host: str, *, edge: bool) -> str:
        """The origin that a `Host` header names; empty if it is not ours. The domain's requests come from the edge
        alone, by a socket of its own, so that nobody on loopback can pass for it."""
        host = host.lower()
        if edge:
            return f"https://{self.domain}" if self.domain and host == self.domain else ""
        name, _, port = host.partition(":")
        return f"http://{host}" if access.is_loopback_name(name) and port.isdecimal() else ""


class Limiter:
    """At most `most` wrong links within `seconds`, for each client, and ten times as many for all of them."""

    def __init__(self, most: int = 10, seconds: float = 60.0) -> None:
        self.most, self.seconds = most, seconds
        self._all: deque[tuple[float, str]] = deque()

    def allows(self, client: str) -> bool:
        """Count one more try; whether it may be made."""
        at = time.monotonic()
        while self._all and self._all[0][0] < at - self.seconds:
            self._all.popleft()
        if len(self._all) >= 10 * self.most or sum(c == client for _, c in self._all) >= self.most:
            return False
        self._all.append((at, client))
        return True


class Visit(NamedTuple):
    """What the guard found out about a request. `member` is None at the log-in alone."""

    origin: str
    session: str
    member: Member | None
    form: dict[str, str]
    address: str

    @property
    def seal(self) -> str:
        """The token for forms."""
        return access.seal(self.session) if self.session else ""


def visit(request: Request) -> Visit:
    """What the guard found out about a request."""
    result: Visit = request.scope["pushrod.visit"]
    return result


def member(request: Request) -> Member:
    """Whose session a request belongs to."""
    result = visit(request).member
    assert result is not None  # noqa: S101  the guard lets nobody else through
    return result


def cookie_name(origin: str) -> str:
    """The cookie's name. With TLS its prefix keeps every other host from setting it (RFC 6265bis)."""
    return "__Host-pushrod" if origin.startswith("https:") else "pushrod"


def cookie(origin: str, value: str) -> str:
    """The `Set-Cookie` header of a session; an empty value ends it."""
    age = access.SESSION_DAYS * 86400 if value else 0
    secure = "; Secure" if origin.startswith("https:") else ""
    return f"{cookie_name(origin)}={value}; Path=/; Max-Age={age}; HttpOnly; SameSite=Strict{secure}"


class Guard:
    """The outermost part of the page; `refuse` renders an answer for people: status, title, text."""

    def __init__(
        self, app: App, who: Access, hosts: Hosts, refuse: Callable[[int, str, str], Response]
    ) -> None:
        self._app, self._who, self._hosts, self._refuse = app, who, hosts, refuse
        self._limiter = Limiter()
        self.last = time.monotonic()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or refuse it."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":  # a WebSocket
            await send({"type": "websocket.close", "code": 1008})
            return
        self.last = started = time.monotonic()

        async def closed(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(raw=message["headers"])
                for name, value in _CLOSED.items():
                    headers[name] = value
                if "cache-control" not in headers:
                    headers["cache-control"] = "no-store"
                took = (time.monotonic() - started) * 1000
                headers["server-timing"] = f"page;dur={took:.1f}"
                message["headers"] = headers.raw
            self.last = time.monotonic()
            await send(message)

        refusal = await self._examine(scope, receive)
        await (refusal or self._app)(scope, receive, closed)

    async def _examine(self, scope: Scope, receive: Receive) -> Response | None:
        """Note what there is to know about a request in its scope; a refusal if it must go no further."""
        headers = Headers(scope=scope)
        host, method, path = headers.get("host", ""), scope["method"], scope["path"]
        edge = scope.get("client") is None  # a unix socket, which only the edge's account may open
        origin = self._hosts.of(host, edge=edge)
        if not origin:
            return self._refuse(
                421,
                "Another host",
                "Open the address that `pushrod web` has printed: it has a name of its own.",
            )
        if method not in ("GET", "HEAD", "POST"):
            return self._refuse(405, "Not here", "Pages are read, and forms are sent.")
        address = headers.get("x-real-ip", "") if edge else ""
        session = _cookie(headers.getlist("cookie"), cookie_name(origin))
        member = self._who.member_of(session) if session else None
        form = await _form(headers, receive) if method == "POST" else {}
        if form is None:
            return self._refuse(413, "Too large", "A form of this page is not that large.")
        scope["pushrod.visit"] = Visit(origin, session if member else "", member, form, address[:64])
        if method == "POST" and (headers.get("origin") != origin or _elsewhere(headers)):
            return self._refuse(403, "Not from this page", "The form was not sent from this page.")
        if path == "/enter":
            # On loopback all clients have one address: somebody who guesses must not keep out who has a link.
            wrong = method == "POST" and not self._who.is_link(form.get("link", ""))
            if wrong and not self._limiter.allows(address):
                return self._refuse(429, "Too many tries", "Wait for a minute, then try again.")
            return None
        if path.startswith(_OPEN):
            return None
        if member is None:
            return self._refuse(
                401,
                "Log in",
                "Open the link that `pushrod web invite NAME` has printed; each works once. "
                f"A session ends after {access.SESSION_DAYS} days.",
            )
        if method == "POST" and not hmac.compare_digest(
            form.get("seal", "").encode(), access.seal(session).encode()
        ):
            return self._refuse(403, "An old form", "Go back, load the page again, and repeat it.")
        return None


def _elsewhere(headers: Headers) -> bool:
    """Whether a browser says that another site, or another port of this one, has sent the request."""
    return headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none")


def _cookie(given: list[str], name: str) -> str:
    """The value of a cookie; empty if there is none, if it comes twice, or if none can be read."""
    values: list[str] = []
    for header in given:
        for part in header.split(";"):
            if part.partition("=")[0].strip() == name:
                try:
                    parsed = SimpleCookie(part.strip())
                except CookieError:
                    return ""
                values += [morsel.value for morsel in parsed.values()]
    return values[0] if len(values) == 1 else ""


async def _form(headers: Headers, receive: Receive) -> dict[str, str] | None:
    """The fields of a form; None if it is too large, no fields if it is not one. A repeated field counts once, the
    last time."""
    body = b""
    more = True
    while more:
        message = await receive()
        if message["type"] != "http.request":
            return {}
        body += message.get("body", b"")
        more = message.get("more_body", False)
        if len(body) > _MOST_FORM:
            return None
    if headers.get("content-type", "").partition(";")[0].strip() != "application/x-www-form-urlencoded":
        return {}
    try:
        return dict(parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=50, errors="strict"))
    except ValueError:
        return {}
