"""What whoever runs the shop does by hand: `python -m app.manage user ada@example.com --staff`."""

import argparse
import asyncio
import secrets

from pydantic import TypeAdapter

from app.problems import Problem
from app.settings import Settings
from app.stores import open_postgres
from app.users import Email, Passwords, Users


def main() -> None:
    """Do what the arguments say; SystemExit with one line when it cannot be done."""
    parser = argparse.ArgumentParser(prog="app.manage")
    verbs = parser.add_subparsers(dest="verb", required=True)
    user = verbs.add_parser("user", help="add a user, and print the password made for them")
    user.add_argument("email", type=TypeAdapter(Email).validate_python)
    user.add_argument("--staff", action="store_true", help="may change products")
    given = parser.parse_args()
    try:
        asyncio.run(add_user(given.email, staff=given.staff))
    except Problem as problem:
        raise SystemExit(f"{given.email}: {problem.detail}") from None


async def add_user(email: str, *, staff: bool) -> None:
    """Add a user with a password that nobody has chosen, and print it: it is nowhere else."""
    password = secrets.token_urlsafe(12)
    async with open_postgres(Settings.from_environment().database_url, 1) as pool:
        await Users(pool, Passwords()).add(email, password, is_staff=staff)
    print(password)


if __name__ == "__main__":
    main()
