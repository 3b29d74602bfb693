"""Users: registration, login, logout."""

import asyncio
from typing import Annotated

import asyncpg
from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from fastapi import APIRouter, Request, Response
from pydantic import AfterValidator, BaseModel, Field

from app.problems import RESPONSES, Problem
from app.sessions import Session, clear_cookie, set_cookie
from app.stores import Pool
from app.visitors import User, Visitor, sessions

Email = Annotated[
    str, Field(max_length=254, pattern=r"^[!-?A-~]+@[!-?A-~]+\.[!-?A-~]+$"), AfterValidator(str.lower)
]
Password = Annotated[
    str, Field(min_length=8, max_length=200)
]  # NIST SP 800-63B: at least 8, and no further rules


class Credentials(BaseModel):
    """What a user logs in with."""

    email: Email
    password: Password


class Who(BaseModel):
    """Who the visitor is (`email` is null before login), and the value for X-CSRF-Token."""

    email: str | None
    csrf: str


class Passwords:
    """Argon2id with RFC 9106's parameters for little memory: 64 MiB and about 50 ms for each.

    They are computed outside the event loop, few at a time, so that logins delay nobody and cannot use up the
    memory.
    """

    def __init__(self, at_once: int = 2) -> None:
        self._hasher = PasswordHasher()
        self._turns = asyncio.Semaphore(at_once)
        self._of_nobody = self._hasher.hash("no user has this one")

    async def hash(self, password: str) -> str:
        """The stored form of a password."""
        async with self._turns:
            return await asyncio.to_thread(self._hasher.hash, password)

    async def verify(self, kept: str | None, password: str) -> bool:
        """Whether the password is right. Takes as long without a user, so that timing does not reveal who is
        one."""
        async with self._turns:
            return await asyncio.to_thread(self._is, kept or self._of_nobody, password) and kept is not None

    def _is(self, kept: str, password: str) -> bool:
        try:
            return self._hasher.verify(kept, password)
        except (VerificationError, InvalidHashError):
            return False


class Users:
    """The table `users`."""

    def __init__(self, pool: Pool, passwords: Passwords) -> None:
        self._pool = pool
        self._passwords = passwords

    async def add(self, email: str, password: str, *, is_staff: bool = False) -> int:
        """The id of a new user. Raises Problem 409 if the address is taken."""
        sql = "INSERT INTO users (email, password, is_staff) VALUES ($1, $2, $3) RETURNING id"
        try:
            id: int = await self._pool.fetchval(sql, email, await self._passwords.hash(password), is_staff)
        except asyncpg.UniqueViolationError:
            raise Problem(409, "this address is already registered") from None
        return id

    async def check(self, email: str, password: str) -> int | None:
        """The id of the user with that password; None if it is wrong."""
        row = await self._pool.fetchrow("SELECT id, password FROM users WHERE email = $1", email)
        right = await self._passwords.verify(row["password"] if row else None, password)
        return row["id"] if row and right else None


router = APIRouter(prefix="/api", tags=["users"], responses=RESPONSES)


def _users(request: Request) -> Users:
    users: Users = request.app.state.users
    return users


@router.post("/users", status_code=201)
async def register(request: Request, response: Response, visitor: Visitor, given: Credentials) -> Who:
    """Register, and log in."""
    user_id = await _users(request).add(given.email, given.password)
    return await _log_in(request, response, visitor, user_id, given.email)


@router.post("/session")
async def log_in(request: Request, response: Response, visitor: Visitor, given: Credentials) -> Who:
    """Log in."""
    await request.app.state.rates.spend("logins", given.email)
    user_id = await _users(request).check(given.email, given.password)
    if user_id is None:
        raise Problem(401, "the address or the password is wrong")
    return await _log_in(request, response, visitor, user_id, given.email)


@router.get("/session")
async def who_am_i(request: Request, response: Response, visitor: Visitor) -> Who:
    """Who the visitor is; a new visitor gets a session."""
    if visitor is None:
        visitor, id = await sessions(request).begin()
        set_cookie(response, request.url.scheme, id)
    response.headers["Cache-Control"] = "no-store"
    return Who(email=visitor.email, csrf=visitor.csrf)


@router.delete("/session", status_code=204)
async def log_out(request: Request, response: Response, visitor: Visitor) -> None:
    """Log out on this device."""
    if visitor is not None:
        await sessions(request).end(visitor)
    clear_cookie(response, request.url.scheme)


@router.delete("/sessions", status_code=204)
async def log_out_everywhere(request: Request, response: Response, user: User) -> None:
    """Log out on every device."""
    await sessions(request).end_all(user.user_id or 0)
    clear_cookie(response, request.url.scheme)


async def _log_in(
    request: Request, response: Response, visitor: Session | None, user_id: int, email: str
) -> Who:
    session, id = await sessions(request).log_in(visitor, user_id, email)
    set_cookie(response, request.url.scheme, id)
    response.headers["Cache-Control"] = "no-store"
    return Who(email=email, csrf=session.csrf)
