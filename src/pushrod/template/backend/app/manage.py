"""Commands for the shop's operators: `python -m app.manage user ada@example.com --staff`."""

import argparse
import asyncio
import secrets

from pydantic import TypeAdapter

from app.problems import Problem
from app.settings import Settings
from app.stores import open_postgres
from app.users import Email, Passwords, Users


def main() -> None:
    """Run the command; SystemExit with one line if it fails."""
    parser = argparse.ArgumentParser(prog="app.manage")
    verbs = parser.add_subparsers(dest="verb", required=True)
    user = verbs.add_parser("user", help="add a user, and print the password made for them")
    user.add_argument("email", type=TypeAdapter(Email).validate_python)
    user.add_argument("--staff", action="store_true", help="may change products")
    verbs.add_parser("dead", help="list the jobs that have failed permanently")
    verbs.add_parser("retry", help="make all of them due again")
    given = parser.parse_args()
    if given.verb == "user":
        asyncio.run(add_user(given.email, staff=given.staff))
    else:
        asyncio.run(dead_letters(again=given.verb == "retry"))


async def add_user(email: str, *, staff: bool) -> None:
    """Add a user with a random password, and print the password: it is stored nowhere."""
    password = secrets.token_urlsafe(12)
    async with open_postgres(Settings.from_environment().database_url, 1) as pool:
        try:
            await Users(pool, Passwords()).add(email, password, is_staff=staff)
        except Problem as problem:
            raise SystemExit(f"{email}: {problem.detail}") from None
    print(password)


async def dead_letters(*, again: bool) -> None:
    """Print the dead letters; with `again`, make them due again."""
    async with open_postgres(Settings.from_environment().database_url, 1) as pool:
        sql = "SELECT id, topic, payload, error FROM outbox WHERE dead_at IS NOT NULL ORDER BY id"
        if again:
            sql = """UPDATE outbox SET dead_at = NULL, tries = 0, due_at = now() WHERE dead_at IS NOT NULL
                     RETURNING id, topic, payload, error"""
        for row in await pool.fetch(sql):
            print(row["id"], row["topic"], row["payload"], row["error"])


if __name__ == "__main__":
    main()
