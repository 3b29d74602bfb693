"""What a promotion runs once, how it is told, and who may wait. The life of a push is in the integration tests."""

import contextlib

import pytest

from pushrod import host, pipeline
from pushrod.apps import App
from pushrod.errors import BusyError
from pushrod.pipeline import Pipeline, _one_shots
from tests.unit.samples import release, service


def test_jobs_run_in_the_manifests_order_before_the_release_commands() -> None:
    migrate, load = (service(n, role="job", replicas=0, command=("x",)) for n in ("migrate", "load"))
    backend = service("backend", release=("alembic", "upgrade", "head"))
    programs = _one_shots(release(services=(backend, migrate, load, service("worker", role="worker"))))
    assert [(p.kind, p.argv, p.shown, p.told) for p in programs] == [
        ("job", (), "migrate", "migrate"),
        ("job", (), "load", "load"),
        (
            "release command",
            ("alembic", "upgrade", "head"),
            "alembic upgrade head",
            "backend: alembic upgrade head",
        ),
    ]


class _Rests:
    """As much of an engine as a command needs that does not get its turn."""

    def rest(self) -> None:
        """Nothing runs."""


def test_few_may_wait_for_one_app(app: App) -> None:
    with contextlib.ExitStack() as others:
        others.enter_context(host.lock(app.lock, purpose="deploying", timeout=0))
        for n in range(pipeline.MOST_WAITING):
            place = app.root.runtime / f"waiting-{app.name}-{n}"
            others.enter_context(host.lock(place, purpose="waiting", timeout=0))
        line = Pipeline(app, _Rests(), None)  # type: ignore[arg-type]
        with pytest.raises(BusyError, match="4 other commands wait for shop already"), line.locked("testing"):
            raise AssertionError("it waits")
