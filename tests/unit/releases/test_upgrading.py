"""An upgrade that fails, or whose command ends, at each of its steps; tests/lab has real servers."""

import dataclasses
from collections.abc import Callable, Iterator

import msgspec
import pytest

from pushrod.cli.output import Steps
from pushrod.core.errors import StoreError
from pushrod.core.upgrades import Carried, Cluster, UpgradePlan
from pushrod.core.values import Maintenance, Release, Service
from pushrod.engines.protocols import OnLine
from pushrod.releases.pipeline import Pipeline
from pushrod.releases.upgrading import Upgrading
from pushrod.state import releases, upgrades
from pushrod.state.apps import App, Root
from tests.unit.engines.memory import Memory, NoUpgrades
from tests.unit.samples import make_live

STORE = Service("db", role="store", store="postgres", image="postgres:15")
PLAN = UpgradePlan("db", "15", "17", "old", "new")
OWN = Maintenance(retry_after=7)


class Gone(BaseException):
    """The process ends here: nothing is caught, nothing is undone."""


class Steps17(NoUpgrades):
    """Steps that note which data the store is on; `ends` raises at the step of that name."""

    def __init__(self, engine: Memory) -> None:
        self.on = "old"
        self.done: list[str] = []
        self.ends: dict[str, BaseException] = {}
        self._engine = engine

    def plan(
        self, app: App, release: Release, store: Service, after: str, given: str, on_line: OnLine
    ) -> UpgradePlan:
        """As `Upgrades.plan`."""
        return PLAN

    def steps(self, app: App, release: Release, plan: UpgradePlan) -> "Steps17":
        """As `Upgrades.steps`."""
        assert plan == PLAN
        return self

    def remove_old(self, app: App, store: str) -> Iterator[str]:
        """As `Upgrades.remove_old`."""
        yield "old"

    def at(self, step: str) -> None:
        """Note a step, or end there."""
        if error := self.ends.pop(step, None):
            raise error
        self.done.append(step)

    def rehearse(self) -> Carried:
        """As `Upgrade.rehearse`."""
        return Carried(1.0, 20, 100, 90, 30)

    def prepare(self) -> None:
        """As `Upgrade.prepare`."""
        self.at("prepare")

    def copy(self) -> Carried:
        """As `Upgrade.copy`."""
        self.at("copy")
        return Carried(1.0, 20, 100, 90, 30)

    def switch(self) -> None:
        """As `Upgrade.switch`."""
        self.at("switch")
        self.on = "new"

    def back(self) -> None:
        """As `Upgrade.back`."""
        self.at("back")
        self.on = "old"

    def finish(self) -> None:
        """As `Upgrade.finish`."""
        self.at("finish")


class Ground:
    """An app with a store on the old data, and a pipeline for each command."""

    def __init__(self, app: App, root: Root) -> None:
        make_live(app, 1)
        self.app = app
        memory = Memory(root)
        self.steps = Steps17(memory)
        self.engine = dataclasses.replace(memory.engine, upgrades=self.steps)
        app.save(msgspec.structs.replace(app.settings, down=False, maintenance=OWN))

    def pipeline(self) -> Pipeline:
        return Pipeline(self.app, self.engine, Steps())

    def upgrade(self) -> None:
        Upgrading(self.app, self.pipeline()).run("db", "17", "")

    def next_command(self) -> None:
        with self.pipeline().locked("something else"):
            pass

    @property
    def settled(self) -> str:
        """The data the store is on, once nothing is left over."""
        assert not upgrades.pending(self.app)
        assert self.app.settings.maintenance == OWN
        return self.steps.on


@pytest.fixture
def ground(app: App, root: Root, monkeypatch: pytest.MonkeyPatch) -> Ground:
    made = Ground(app, root)
    running = releases.running

    def with_store(app: App) -> Release:
        return msgspec.structs.replace(running(app), stores=(STORE,))

    monkeypatch.setattr(releases, "running", with_store)
    monkeypatch.setattr(Pipeline, "promote", promote(made))
    return made


def promote(ground: Ground) -> Callable[..., None]:
    """A promotion that has only what matters here: a step that may fail before the commit point, and one after it."""

    def of(*_: object, on_live: Callable[[], None] = lambda: None, **__: object) -> None:
        ground.steps.at(f"start on {ground.steps.on}")
        on_live()
        ground.steps.at(f"after on {ground.steps.on}")

    return of


BEFORE = ("prepare", "copy", "switch", "start on new")


def test_an_upgrade_opens_the_app_as_it_was(ground: Ground) -> None:
    ground.upgrade()
    assert ground.settled == "new"
    assert ground.steps.done == ["prepare", "copy", "switch", "start on new", "after on new", "finish"]


@pytest.mark.parametrize("step", BEFORE)
def test_a_step_that_fails_before_the_commit_point_is_undone(ground: Ground, step: str) -> None:
    ground.steps.ends[step] = StoreError("no")
    with pytest.raises(StoreError, match="no"):
        ground.upgrade()
    assert (ground.settled, ground.steps.done[-1]) == ("old", "after on old")


@pytest.mark.parametrize("step", BEFORE)
def test_a_command_that_ends_before_the_commit_point_is_undone_by_the_next(ground: Ground, step: str) -> None:
    ground.steps.ends[step] = Gone()
    with pytest.raises(Gone):
        ground.upgrade()
    assert upgrades.pending(ground.app)
    ground.next_command()
    assert (ground.settled, ground.steps.done[-1]) == ("old", "after on old")


@pytest.mark.parametrize("step", ["after on new", "finish"])
def test_a_command_that_ends_after_the_commit_point_is_finished_by_the_next(
    ground: Ground, step: str
) -> None:
    ground.steps.ends[step] = Gone()
    with pytest.raises(Gone):
        ground.upgrade()
    ground.next_command()
    assert (ground.settled, ground.steps.done[-1], "back" in ground.steps.done) == ("new", "finish", False)


def test_an_undoing_that_fails_is_tried_again(ground: Ground) -> None:
    ground.steps.ends = {"copy": StoreError("no"), "back": StoreError("not yet")}
    with pytest.raises(StoreError, match="not yet"):
        ground.upgrade()
    assert upgrades.pending(ground.app)
    ground.next_command()
    assert ground.settled == "old"


def test_statistics_that_fail_do_not_fail_the_upgrade(ground: Ground) -> None:
    ground.steps.ends["finish"] = StoreError("no")
    ground.upgrade()
    assert ground.settled == "new"


def test_old_clusters_are_removed_on_request(ground: Ground) -> None:
    assert list(Upgrading(ground.app, ground.pipeline()).remove_old("db")) == ["old"]


def test_a_marker_is_read_as_it_was_written(app: App, root: Root) -> None:
    make_live(app, 1)
    cluster = Cluster("17", "image", "volume", "/data", ".", 1, "c" * 40)
    marker = upgrades.Marker(
        msgspec.structs.replace(PLAN, cluster=cluster), 1, "2026-11-23T05:56:45.911+00:00"
    )
    assert upgrades.read(app) is None
    upgrades.write(app, marker)
    assert upgrades.read(app) == marker
    upgrades.remove(app)
    upgrades.remove(app)
    assert not upgrades.pending(app)
