"""The protocols are all that the pipeline needs: it deploys on an engine whose front gate is no nginx."""

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor

import pytest

from pushrod.adapters import git
from pushrod.core.errors import EdgeError, PushrodError, ReadyError
from pushrod.core.progress import Progress
from pushrod.releases import app_lifecycle, liveness
from pushrod.releases.pipeline import Pipeline
from pushrod.state.apps import App, Root
from tests.conftest import Tree
from tests.unit import reads
from tests.unit.engines.memory import Memory

FILES: Mapping[str, str] = {
    "compose.yaml": "services:\n  web:\n    build: .\n    command: serve\n    ports: ['8000:8000']\n",
    "pyproject.toml": "[project]\nname = 'shop'\nversion = '1'\n",
}


class Silent:
    """A progress display that prints nothing."""

    def begin(self, step: str, detail: str) -> None:
        """Nothing."""

    def end(self, step: str, detail: str, took: float) -> None:
        """Nothing."""

    def fail(self, step: str, took: float) -> None:
        """Nothing."""

    def line(self, text: str) -> None:
        """Nothing."""

    def note(self, text: str) -> None:
        """Nothing."""


@pytest.fixture
def memory(root: Root) -> Memory:
    return Memory(root)


@pytest.fixture
def shop(memory: Memory, tree: Tree) -> App:
    return app_lifecycle.create(memory.engine, "shop", source=tree.path)


def deploy(memory: Memory, shop: App, tree: Tree, text: str) -> Pipeline:
    """Deploy a commit with this text, and return the pipeline that did."""
    progress: Progress = Silent()
    line = Pipeline(shop, memory.engine, progress)
    commit = tree.commit(text, **FILES, text=text)
    git.transfer(tree.path, shop.repository, commit)
    memory.actions.clear()
    line.deploy(commit)
    return line


def live(line: Pipeline) -> int:
    return line.journal.story().live


@pytest.mark.slow
def test_a_release_goes_live_and_the_previous_one_drains_and_stops(
    memory: Memory, shop: App, tree: Tree
) -> None:
    line = deploy(memory, shop, tree, "one")
    assert memory.actions == ["started 1", "switched to 1"]
    assert (live(line), memory.gate.sites["shop"].backends) == (1, ("127.0.0.1:20000",))

    line = deploy(memory, shop, tree, "two")
    assert memory.actions == ["started 2", "switched to 2", "drained 1", "stopped 1"]
    assert (live(line), memory.instances.up) == (2, [2])

    memory.actions.clear()
    line.rollback()
    assert memory.actions == ["started 1", "switched to 1", "drained 2", "stopped 2"]
    memory.actions.clear()
    line.down()
    assert memory.actions == ["switched to nothing", "drained 1", "stopped 1"]


@pytest.mark.slow
def test_deployments_and_rollbacks_work_outside_the_main_thread(
    memory: Memory, shop: App, tree: Tree
) -> None:
    """The pipeline changes no signal handler, which only a main thread may."""
    with ThreadPoolExecutor(1) as beside:
        for text in ("one", "two"):
            line = beside.submit(deploy, memory, shop, tree, text).result()
        beside.submit(line.rollback).result()
    assert (live(line), memory.instances.up) == (1, [1])


@pytest.mark.parametrize(("since", "expected"), [(3.0, ["started 1", "switched to 1"]), (3600.0, [])])
@pytest.mark.slow
def test_a_recently_restarted_instance_does_not_count_as_healthy(
    memory: Memory, shop: App, tree: Tree, monkeypatch: pytest.MonkeyPatch, since: float, expected: list[str]
) -> None:
    line = deploy(memory, shop, tree, "one")
    monkeypatch.setattr(liveness, "seconds_since", lambda _at: 7200.0)
    memory.instances.since = since
    memory.actions.clear()
    line.deploy(line.releases.read(1).commit)
    assert memory.actions == expected


@pytest.mark.parametrize(("what", "error"), [("sick", ReadyError), ("refused", EdgeError)])
@pytest.mark.slow
def test_a_release_that_fails_is_undone(
    memory: Memory, shop: App, tree: Tree, what: str, error: type[PushrodError]
) -> None:
    line = deploy(memory, shop, tree, "one")
    (memory.instances.sick if what == "sick" else memory.gate.refused).add(2)
    with pytest.raises(error):
        deploy(memory, shop, tree, "two")
    assert (live(line), memory.gate.sites["shop"].release, memory.instances.up) == (1, 1, [1])
    assert line.releases.numbers() == [1]


@pytest.mark.slow
def test_a_push_reads_the_journal_once(memory: Memory, shop: App, tree: Tree) -> None:
    deploy(memory, shop, tree, "one")
    with reads.counted() as paths:
        deploy(memory, shop, tree, "two")
    assert paths.count(str(shop.journal)) == 1
