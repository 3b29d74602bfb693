"""Locks on data that an instance of the old release may hold."""

import pytest

from pushrod.core.errors import BuildError, ReadyError
from pushrod.engines import data_locks
from tests.unit.samples import service


@pytest.mark.parametrize(
    ("line", "held"),
    [
        ("unable to lock level db at /data/queues/common: resource temporarily unavailable", True),
        ('err="opening storage failed: lock DB directory: resource temporarily unavailable"', True),
        ("IO error: While lock file: /data/LOCK: Resource temporarily unavailable", True),
        ('IO Error: Could not set lock on file "/data/x.duckdb": Conflicting lock is held in python', True),
        ('Cannot acquire directory lock on "/data". Another process is using this database.', True),
        ("sqlite3.OperationalError: database is locked", True),
        ("Database may be already in use: null. Possible solutions: close all other connections", True),
        ("org.apache.lucene.store.LockObtainFailedException: Lock held by another program", True),
        ("session.lock: already locked (possibly by other instance?)", True),
        ('could not obtain lock on row in relation "things"', False),
        ("canceling statement due to lock timeout", False),
        ("listening on :8080, clock is synchronous", False),
    ],
)
def test_a_lock_in_the_log_gives_advice(line: str, held: bool) -> None:
    error = ReadyError("web ended while starting", hint="fix it", log=("begin", line))
    data_locks.explain(error, [service()])
    assert ("stop-first" in error.hint) == held
    assert error.hint.endswith("fix it")


def test_a_service_that_stops_first_and_another_error_get_none() -> None:
    errors = (
        ReadyError("ended", log=("database is locked",)),
        BuildError("failed", log=("database is locked",)),
    )
    data_locks.explain(errors[0], [service(stop_first=True)])
    data_locks.explain(errors[1], [service()])
    assert [e.hint for e in errors] == ["", ""]
