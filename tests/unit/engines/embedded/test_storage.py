"""What becomes of the stores when a release is refused; tests/integration has the rest on real servers."""

from types import SimpleNamespace
from typing import Any

from pushrod.engines.embedded.storage import Storage
from pushrod.engines.embedded.stores import group_of
from pushrod.state.apps import App
from tests.unit import samples


def test_a_store_that_was_restarted_is_waited_for(app: App) -> None:
    """The live release uses it as soon as the push has ended."""
    done: list[str] = []
    names = ("cache", "redis")
    processes = [SimpleNamespace(group=group_of(app, name), name=name) for name in names]
    own = SimpleNamespace(
        settle=lambda stores, live: None,
        prepare=lambda stores, services: [(process, process.name == "redis") for process in processes],
        wait=lambda restarted: done.append(f"wait for {', '.join(restarted)}"),
    )
    supervisor = SimpleNamespace(
        groups=lambda: tuple(process.group for process in processes),
        apply=lambda group, processes: None,
        restart=lambda group, name: done.append(f"restart {name}"),
    )
    context: Any = SimpleNamespace(supervisor=supervisor, stores=lambda app: own)
    live = samples.release(stores=tuple(samples.store(name) for name in names))
    Storage(context).restore(app, live, 2, running=True)
    assert done == ["restart redis", "wait for redis"]
