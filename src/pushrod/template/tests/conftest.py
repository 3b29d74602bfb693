"""One PostgreSQL, one Valkey and one backend for all tests; a test that stops one of them makes its own."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from parts import Keeper
from servers import Postgres, Valkey, give_directory
from services import Backend, Worker, alembic, environment


def pytest_xdist_auto_num_workers() -> int:
    """One more than there are processors: tests spend half of their time waiting."""
    return (os.cpu_count() or 1) + 1


@pytest.fixture(scope="session")
def directory() -> Iterator[Path]:
    path = Path(tempfile.mkdtemp(prefix="app-tests-"))
    give_directory(path)
    yield path
    shutil.rmtree(path)


@pytest.fixture(scope="session")
def session(directory: Path) -> Iterator[Keeper]:
    with Keeper(directory) as keep:
        yield keep


@pytest.fixture(scope="session")
def postgres(session: Keeper) -> Postgres:
    """Migrated as on a server, by the role that owns the tables."""
    part = session(Postgres)
    part.make_roles()
    part.make_database("app")
    alembic(part.url("app_owner"), "upgrade", "head")
    return part


@pytest.fixture(scope="session")
def valkey(session: Keeper) -> Valkey:
    """The durable Redis."""
    return session(Valkey)


@pytest.fixture(scope="session")
def cache(session: Keeper) -> Valkey:
    return session(Valkey)


@pytest.fixture(scope="session")
def backend(session: Keeper, postgres: Postgres, valkey: Valkey, cache: Valkey) -> Backend:
    return session(Backend, environment(postgres, valkey, cache))


@pytest.fixture(scope="module", autouse=True)
def nothing_to_do(postgres: Postgres) -> None:
    """Orders left by the tests of one file are not processed during those of another."""
    postgres.execute("TRUNCATE outbox")


@pytest.fixture(scope="module")
def worker(directory: Path, backend: Backend, valkey: Valkey) -> Iterator[Worker]:
    """One worker for the tests of a file."""
    with Keeper(directory) as keep:
        yield keep(Worker, backend.given, valkey)


@pytest.fixture
def own(directory: Path) -> Iterator[Keeper]:
    """Makes parts for a single test."""
    with Keeper(directory) as keep:
        yield keep
