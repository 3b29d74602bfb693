"""The hosts file of a release."""

import json
from pathlib import Path

import pytest

from pushrod.core.values import Instance
from pushrod.engines.embedded import rooms
from pushrod.engines.embedded.context import Context
from pushrod.state.apps import App, Root
from tests.unit.samples import release, service, store


def test_a_release_knows_its_services_by_all_of_their_names(app: App) -> None:
    app.stores.mkdir(parents=True)
    record = {"name": "postgres", "kind": "postgres", "port": 5432, "address": "127.64.0.9"}
    (app.stores / "stores.json").write_text(json.dumps([record]))
    sealed = release(
        services=(service(aliases=("webhost",)),),
        stores=(store(aliases=("shop-db", "database")),),
        instances=(Instance("backend-1", "backend", 8000, "127.64.0.10"),),
    )
    lines = rooms._hosts(app, sealed).splitlines()
    assert {tuple(line.split()) for line in lines if line.startswith("127.64.")} == {
        ("127.64.0.9", "postgres"),
        ("127.64.0.9", "shop-db"),
        ("127.64.0.9", "database"),
        ("127.64.0.10", "backend"),
        ("127.64.0.10", "webhost"),
    }


def test_a_success_is_recorded_until_the_machine_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    context = Context(Root(tmp_path))
    answers = ["no", "", "no"]
    monkeypatch.setattr(rooms, "_without_addresses", lambda _: "")
    monkeypatch.setattr(rooms, "_without_names", lambda _: answers.pop(0))
    context.supervisor.place.directory.mkdir(parents=True)
    assert [rooms.refusal(context) for _ in range(3)] == ["no", "", ""]
    monkeypatch.setattr(rooms, "_SETTINGS", ("/proc/self/comm",))
    assert rooms.refusal(context) == "no"
    assert answers == []
