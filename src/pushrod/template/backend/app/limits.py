"""How much a client may ask for."""

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app import problems

BODY = 64 * 1024  # bytes; nothing here takes files


class BodyLimit:
    """Refuses a body of more than BODY bytes, whether it says its length or not: 413.

    FastAPI's own `max_body_size` does too, but answers with plain text in place of a problem.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] in ("GET", "HEAD"):
            return await self.app(scope, receive, send)
        length = dict(scope["headers"]).get(b"content-length", b"0")
        if length.isdigit() and int(length) > BODY:
            return await problems.response(413, f"a body has at most {BODY} bytes")(scope, receive, send)
        seen = 0

        async def receiving() -> Message:
            nonlocal seen
            message = await receive()
            seen += len(message.get("body", b""))
            if seen > BODY:
                raise HTTPException(413, f"a body has at most {BODY} bytes")
            return message

        return await self.app(scope, receiving, send)
