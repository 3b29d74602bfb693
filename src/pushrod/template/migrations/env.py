"""How a migration connects: DATABASE_URL, one transaction, no waiting for locks.

On a server this runs as the role that owns the tables, while the old release keeps serving. So a migration that
does not get its lock within LOCK_TIMEOUT fails, rather than queue every query behind it.
"""

import asyncio
import logging
import os

from alembic import context
from sqlalchemy import Connection, make_url, pool, text
from sqlalchemy.ext.asyncio import create_async_engine

LOCK_TIMEOUT = "5s"

logging.basicConfig(level=logging.INFO, format="%(message)s")
logging.getLogger("alembic.runtime.plugins").setLevel(logging.WARNING)


def migrate(connection: Connection) -> None:
    """Apply all pending migrations, or none; a concurrent run waits for the first."""
    context.configure(connection=connection)
    with context.begin_transaction():
        connection.execute(text("SELECT pg_advisory_xact_lock(hashtext('alembic'))"))
        connection.execute(text(f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT}'"))
        context.run_migrations()


async def main() -> None:
    url = make_url(os.environ["DATABASE_URL"]).set(drivername="postgresql+asyncpg")
    engine = create_async_engine(url, poolclass=pool.NullPool, connect_args={"timeout": 10})
    async with engine.connect() as connection:
        await connection.run_sync(migrate)


asyncio.run(main())
