"""Pruning all apps, one of which fails."""

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from pushrod.cli import cli
from pushrod.cli.output import print_error
from pushrod.core.errors import PushrodError
from pushrod.state.apps import App, Root, Settings
from pushrod.system import locks
from tests.unit.samples import make_live


@pytest.fixture
def apps(app: App) -> list[App]:
    """Three apps, each with a log that is no longer needed."""
    result = [app]
    for name in ("blog", "wiki"):
        other = App(app.root, name)
        other.directory.mkdir(parents=True)
        other.save(Settings(name=name, port=9000, engine="embedded", created="now"))
        result.append(other)
    for one in result:
        make_live(one, *range(1, 9))
        log(one).mkdir(parents=True)
    return result


def log(app: App) -> Path:
    return app.logs / "r0"


def prune(root: Root) -> Result:
    return CliRunner().invoke(cli, ["--root", str(root.path), "prune"], standalone_mode=False)


@pytest.mark.slow
def test_a_busy_app_is_skipped_without_a_failure(apps: list[App]) -> None:
    with locks.lock(apps[0].lock, purpose="deploying", timeout=0):
        done = prune(apps[0].root)
    assert done.exception is None
    assert "shop is skipped" in done.output
    assert [log(app).exists() for app in apps] == [True, False, False]


@pytest.mark.slow
def test_a_damaged_app_fails_and_is_named(apps: list[App]) -> None:
    apps[0].journal.write_text("garbage\n")
    done = prune(apps[0].root)
    assert isinstance(done.exception, PushrodError)
    assert done.exception.exit_code == 11
    assert done.exception.where.startswith("app shop: ")
    assert [log(app).exists() for app in apps] == [True, False, False]


@pytest.mark.slow
def test_a_system_error_in_one_app_does_not_stop_the_others(apps: list[App]) -> None:
    """The system's own errors are reported too; if they ended the round, the other apps would never be pruned."""
    (apps[1].directory / "journal").unlink()
    (apps[1].directory / "journal").mkdir()
    done = prune(apps[0].root)
    assert isinstance(done.exception, PushrodError)
    assert (done.exception.exit_code, done.exception.app) == (11, "blog")
    assert [log(app).exists() for app in apps] == [False, True, False]


@pytest.mark.slow
def test_the_last_error_names_every_failed_app(apps: list[App], capsys: pytest.CaptureFixture[str]) -> None:
    for app in apps[:2]:
        app.journal.write_text("garbage\n")
    done = prune(apps[0].root)
    assert isinstance(done.exception, PushrodError)
    print_error(done.exception)
    assert capsys.readouterr().err.startswith("pushrod: failed for blog, shop\n")
    assert done.exception.exit_code == 11
    assert [log(app).exists() for app in apps] == [True, True, False]
