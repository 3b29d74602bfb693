"""The caller of a request: a visitor, a user, a member of staff. Routes require one by an argument's type."""

import secrets
from typing import Annotated

from fastapi import Depends, Header, Request

from app.problems import Problem
from app.sessions import Session, Sessions, cookie

SAFE = frozenset(("GET", "HEAD", "OPTIONS"))

Token = Annotated[str | None, Header(alias="X-CSRF-Token", description="from GET /api/session")]


def sessions(request: Request) -> Sessions:
    """The app's sessions."""
    sessions: Sessions = request.app.state.sessions
    return sessions


async def visitor(request: Request, token: Token = None) -> Session | None:
    """The session of the request's cookie, unless it has ended.

    A browser sends the cookie with requests that any site makes it send, so a request that changes something must
    also have the session's token, which only our own page can read: otherwise 403. Too many requests get 429.
    """
    id = request.cookies.get(cookie(request.url.scheme))
    session = await sessions(request).find(id) if id else None
    if session is None or request.method in SAFE:
        return session
    if not secrets.compare_digest((token or "").encode(), session.csrf.encode()):
        raise Problem(403, "X-CSRF-Token differs from the one that GET /api/session returns")
    who = session.key if session.user_id is None else str(session.user_id)
    await request.app.state.rates.spend("writes", who)
    return session


Visitor = Annotated[Session | None, Depends(visitor)]


async def user(visitor: Visitor) -> Session:
    """A user who has logged in: otherwise 401."""
    if visitor is None or visitor.user_id is None:
        raise Problem(401, "log in first: POST /api/session")
    return visitor


User = Annotated[Session, Depends(user)]


async def staff(request: Request, user: User) -> Session:
    """A member of staff: otherwise 403. Read from the table each time, so that revoking it takes effect at once."""
    if not await request.app.state.pool.fetchval("SELECT is_staff FROM users WHERE id = $1", user.user_id):
        raise Problem(403, "for staff only")
    return user


Staff = Annotated[Session, Depends(staff)]
