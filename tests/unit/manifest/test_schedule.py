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
    ("backups", "image", "wanted"),
    [
        (None, "postgres:18", Schedule("day", 14)),
        (None, "pgvector/pgvector:pg17", Schedule("day", 14)),
        (None, "redis:7", Schedule("never", 14)),
        (None, "mysql:8", Schedule("day", 14)),
        (None, "mongo:8", Schedule("never", 14)),
        ({"every": "hour"}, "postgres:18", Schedule("hour", 14)),
        ({"keep": 3}, "postgres:18", Schedule("day", 3)),
        ({"keep": 3}, "redis:7", Schedule("day", 3)),
        ({"every": "never"}, "postgres:18", Schedule("never", 14)),
    ],
)
def test_what_holds(backups: Any, image: str, wanted: Schedule) -> None:
    assert read(backups, image).backups == wanted


@pytest.mark.parametrize(
    ("backups", "where"),
    [
        ({"every": "minute"}, "x-pushrod.backups.every"),
        ({"every": 3600}, "x-pushrod.backups.every"),
        ({"keep": 0}, "x-pushrod.backups.keep"),
        ({"often": True}, "x-pushrod.backups.often"),
        ("daily", "x-pushrod.backups"),
    ],
)
def test_what_is_refused_names_its_key(backups: Any, where: str) -> None:
    with pytest.raises(ManifestError) as refused:
        read(backups)
    assert refused.value.where == where


def test_the_embedded_engine_says_that_it_has_no_timer() -> None:
    said = [n for n in read({"every": "hour"}, engine="embedded").notes if "x-pushrod.backups" in n]
    assert len(said) == 1
    for backups in (None, {"every": "never"}):
        assert not [n for n in read(backups, engine="embedded").notes if "backups" in n]
