"""What a promotion runs once, how it is told, and who may wait. The life of a push is in the integration tests."""

import contextlib

import pytest

from pushrod import host, pipeline
from pushrod.apps import App
from pushrod.errors import BusyError
from pushrod.gears import git
from pushrod.pipeline import Pipeline, _one_shots
from pushrod.releases import RELEASE, Releases
from tests.unit.samples import make_live, release, service


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


def test_a_thousand_deployments_leave_no_more_than_a_hundred(
    app: App, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pipeline, "HISTORY", 4)
    line, releases = Pipeline(app, _Rests(), None), Releases(app)  # type: ignore[arg-type]
    files, events = [], []
    for number in range(1, 41):
        make_live(app, number)
        releases.remove(number - 3)
        releases.record(f"release {number} is live")
        before = line.journal.story()
        line._forget()
        assert line.journal.story() == pipeline.Journal(app.journal).story() == before
        files.append(sum(path.is_file() for path in app.state.rglob("*")))
        events.append(len(line.journal.entries()))
    assert max(files[20:]) <= max(files[:20])
    assert max(events[20:]) <= max(events[:20])
    # What stays is whole: a file that is gone comes back from the history, which Git finds in order.
    assert git.is_sound(app.state)
    git.git(app.state, "fsck", "--strict")
    (releases.directory / "39" / RELEASE).unlink()
    assert git.restore(app.state, git.history(app.state, "releases/39")[0], "releases/39")
    assert releases.read(39).number == 39
