"""The logs of all apps are copied one after the other, again and again: none ends that or delays the others."""

import errno

import msgspec
import pytest
from click.testing import CliRunner

from pushrod.backups import wal, wal_copies
from pushrod.backups.wal import State, Trouble
from pushrod.cli import cli, db_wal
from pushrod.core.errors import HostError, Interrupted, PushrodError, StoreError
from pushrod.core.times import now
from pushrod.engines.protocols import Engine
from pushrod.state.apps import App
from pushrod.system import files, signals, waits
from tests.unit.samples import make_live


@pytest.fixture
def apps(app: App) -> list[App]:
    """The first one has been in trouble."""
    damaged = State(trouble=Trouble(now(), "it does not answer"))
    files.make_private(wal.place(app))
    files.make_private(wal.place(app, "db"))
    files.write(wal.place(app, "db") / "state.json", msgspec.json.encode(damaged))
    return [app, App(app.root, "zoo")]


@pytest.mark.parametrize(
    "failure", [StoreError("it is away"), OSError(errno.ENOSPC, "No space left on device")]
)
def test_a_failure_does_not_end_what_is_repeated(
    app: App, monkeypatch: pytest.MonkeyPatch, failure: Exception
) -> None:
    make_live(app, 1)
    tried: list[str] = []

    def receive(app: App, *_: object, **__: object) -> None:
        tried.append(app.name)
        raise failure

    def sleep(_: float) -> None:
        if len(tried) == 3:
            raise Interrupted("interrupted by SIGTERM")

    monkeypatch.setattr(wal_copies, "receive", receive)
    monkeypatch.setattr(wal_copies, "send", lambda *_, **__: None)
    monkeypatch.setattr("pushrod.cli.db_wal.time.sleep", sleep)
    words = ["--root", str(app.root.path), "db", "archive", "--all", "--again", "10"]
    with pytest.raises(Interrupted):
        CliRunner().invoke(cli, words, standalone_mode=False)
    assert tried == [app.name] * 3
    once = CliRunner().invoke(cli, words[:-2], standalone_mode=False)
    assert getattr(once.exception, "app", "") == app.name


def test_an_app_in_trouble_comes_last_and_what_nobody_expected_ends_only_its_turn(
    apps: list[App], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []

    def receive(app: App, engine: Engine, *, quick: bool) -> None:
        seen.append(app.name)
        raise ValueError("what its image answers")

    monkeypatch.setattr(wal_copies, "receive", receive)
    with pytest.raises(PushrodError, match="zoo, shop"):
        db_wal._run(apps, every=True)
    assert seen == ["zoo", "shop"]


@pytest.mark.slow
def test_an_app_that_answers_slowly_has_no_more_than_its_turn(
    apps: list[App], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(db_wal, "_TURN", 0.2)
    monkeypatch.setattr(wal_copies, "receive", lambda *_a, **_k: waits.wait_until(lambda: False, 60, 0.05))
    with signals.handled(), pytest.raises(HostError, match="longer than"):
        db_wal._run(apps[:1], every=True)
