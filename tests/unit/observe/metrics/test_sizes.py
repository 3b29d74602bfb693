"""The sizes of running stores: one store at a time, each again after some minutes."""

import time
from typing import Any

import pytest

from pushrod.core.errors import StoreError
from pushrod.observe.metrics import collector, sizes
from pushrod.observe.metrics.sizes import PERIOD
from pushrod.state.apps import App, Root
from pushrod.stores.kinds import Server
from tests.unit.engines.memory import Memory
from tests.unit.samples import make_live, release, store

LIVE = release(stores=(store(), store("cache", store="redis", image="redis:7")))


class Asked(Server):
    def __init__(self, name: str, calls: list[str], taken: dict[str, int]) -> None:
        self._name, self._calls, self._taken = name, calls, taken

    def taken(self) -> int:
        self._calls.append(self._name)
        if self._name not in self._taken:
            raise StoreError("does not answer")
        return self._taken[self._name]


@pytest.fixture
def taken() -> dict[str, int]:
    return {"postgres": 1000, "cache": 20}


@pytest.fixture
def calls(root: Root, taken: dict[str, int], monkeypatch: pytest.MonkeyPatch) -> list[str]:
    made: list[str] = []

    def servers(_self: Any, _app: App, stores: Any) -> dict[str, Server]:
        return {s.name: Asked(s.name, made, taken) for s in stores}

    monkeypatch.setattr(type(Memory(root).engine.stores), "servers", servers)
    return made


def ask(root: Root, app: App) -> None:
    sizes.ask(root, Memory(root).engine, {app.name: (app, LIVE)})


def test_one_store_is_asked_at_a_time_and_none_twice_in_a_period(
    root: Root, app: App, calls: list[str]
) -> None:
    for expected in (["cache"], ["cache", "postgres"], ["cache", "postgres"]):
        ask(root, app)
        assert calls == expected
    assert sizes.of(sizes.known(root), "shop", ["postgres", "cache"]) == {"postgres": 1000, "cache": 20}


def test_it_is_asked_again_after_the_period(
    root: Root, app: App, calls: list[str], taken: dict[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    ask(root, app)
    ask(root, app)
    at, taken["cache"] = time.time(), 21
    monkeypatch.setattr(time, "time", lambda: at + PERIOD + 1)
    ask(root, app)
    assert calls[2:] == ["cache"]
    assert sizes.of(sizes.known(root), "shop", ["cache"]) == {"cache": 21}


def test_one_that_does_not_answer_has_no_size_and_keeps_no_other_from_its_turn(
    root: Root, app: App, calls: list[str], taken: dict[str, int]
) -> None:
    del taken["cache"]
    ask(root, app)
    ask(root, app)
    assert calls == ["cache", "postgres"]
    assert sizes.of(sizes.known(root), "shop", ["postgres", "cache"]) == {"postgres": 1000}


def test_what_is_gone_is_forgotten_and_a_damaged_file_too(root: Root, app: App, calls: list[str]) -> None:
    ask(root, app)
    sizes.ask(root, Memory(root).engine, {})
    assert sizes.known(root) == {}
    (root.runtime / "sizes.json").write_text("garbage")
    assert sizes.known(root) == {}
    ask(root, app)
    assert calls == ["cache", "cache"]


def test_the_metrics_have_them(root: Root, app: App, calls: list[str]) -> None:
    make_live(app, 7)
    engine = Memory(root).engine
    collector.write(root, engine)
    assert calls == ["postgres"]
    assert 'pushrod_store_size_bytes{app="shop",store="postgres"} 1000.0' in collector.text(root, engine)
