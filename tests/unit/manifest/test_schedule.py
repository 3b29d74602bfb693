"""`x-pushrod.backups`: its allowed values, and the default."""

from typing import Any

import pytest

from pushrod import manifest
from pushrod.core.errors import ManifestError
from pushrod.core.values import EngineName, Manifest, Schedule


def read(backups: Any = None, image: str = "postgres:18", engine: EngineName = "docker") -> Manifest:
    own = {"x-pushrod": {"backups": backups}} if backups is not None else {}
    return manifest.read({**own, "services": {"web": {"build": "."}, "db": {"image": image}}}, engine=engine)


@pytest.mark.parametrize(
    ("backups", "image", "expected"),
    [
        (None, "postgres:18", Schedule("day", 14)),
        (None, "pgvector/pgvector:pg17", Schedule("day", 14)),
        (None, "redis:7", Schedule("never", 14)),
        (None, "mysql:8", Schedule("day", 14)),
        (None, "mongo:8", Schedule("never", 14)),
        ({"every": "day"}, "mongo:8", Schedule("day", 14)),
        ({"volumes": "freeze"}, "mongo:8", Schedule("day", 14, volumes={"db": "freeze"})),
        ({"volumes": "stop"}, "mongo:8", Schedule("day", 14, volumes={"db": "stop"})),
        ({"volumes": {"db": "live"}}, "mongo:8", Schedule("day", 14, volumes={"db": "live"})),
        ({"volumes": "stop"}, "postgres:18", Schedule("day", 14)),
        ({"every": "hour"}, "postgres:18", Schedule("hour", 14)),
        ({"keep": 3}, "postgres:18", Schedule("day", 3)),
        ({"keep": 3}, "redis:7", Schedule("day", 3)),
        ({"every": "never"}, "postgres:18", Schedule("never", 14)),
        ({"wal": True}, "postgres:18", Schedule("day", 14, wal=True)),
        ({"wal": False}, "postgres:18", Schedule("day", 14, wal=False)),
    ],
)
def test_the_schedule_and_its_default_are_read(backups: Any, image: str, expected: Schedule) -> None:
    assert read(backups, image).backups == expected


@pytest.mark.parametrize(
    ("volumes", "expected"),
    [
        (None, {"db": "freeze"}),
        ("none", {}),
        ("live", {"db": "live", "other": "live"}),
        ({"other": "stop"}, {"db": "freeze", "other": "stop"}),
        ({"db": "none"}, {}),
    ],
)
def test_the_volumes_of_unknown_stores_are_frozen_unless_the_manifest_says_otherwise(
    volumes: Any, expected: dict[str, str]
) -> None:
    own = {"x-pushrod": {"backups": {"volumes": volumes}}} if volumes else {}
    services = {
        "web": {"build": "."},
        "db": {"image": "mongo:8", "volumes": ["data:/data/db"]},
        "other": {"image": "mongo:8"},
    }
    document = {**own, "services": services, "volumes": {"data": None}}
    backups = manifest.read(document, engine="docker").backups
    assert (backups.volumes, backups.every) == (expected, "day" if expected or own else "never")


@pytest.mark.parametrize(
    ("backups", "where"),
    [
        ({"every": "minute"}, "x-pushrod.backups.every"),
        ({"every": 3600}, "x-pushrod.backups.every"),
        ({"keep": 0}, "x-pushrod.backups.keep"),
        ({"wal": "always"}, "x-pushrod.backups.wal"),
        ({"volumes": "always"}, "x-pushrod.backups.volumes"),
        ({"volumes": {"web": "stop"}}, "x-pushrod.backups.volumes.web"),
        ({"often": True}, "x-pushrod.backups.often"),
        ("daily", "x-pushrod.backups"),
    ],
)
def test_an_invalid_value_is_refused_with_its_key(backups: Any, where: str) -> None:
    with pytest.raises(ManifestError) as refused:
        read(backups)
    assert refused.value.where == where


def test_the_embedded_engine_notes_that_it_has_no_timer() -> None:
    reported = [n for n in read({"every": "hour"}, engine="embedded").notes if "x-pushrod.backups" in n]
    assert len(reported) == 1
    for backups in (None, {"every": "never"}):
        assert not [n for n in read(backups, engine="embedded").notes if "backups" in n]
