"""The files in an app's gate."""

from pathlib import Path

import pytest

from pushrod.engines.docker import bring_up, calls, gates, names
from pushrod.state.apps import App, Root


def test_the_edge_is_opened_for_one_release_and_closed_for_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gates, "GATES", tmp_path)
    monkeypatch.setattr(calls, "run", lambda _argv: "")
    app = bring_up.App(str(tmp_path), "shop")
    gates.open_gate(app.name)
    gates.open_edge(app.name, 7)
    gates.open_edge(app.name, 70)
    gates.close_edge(app.name, 7)
    assert (gates.is_open(app.name, 7), gates.is_open(app.name, 70)) == (False, True)
    assert names.up(App(Root(tmp_path), "shop"), 70).name == "up-70"
    bring_up.down(app)
    assert (gates.is_open(app.name, 70), gates.is_stopped(app.name)) == (False, True)
    gates.open_gate(app.name)
    assert not gates.is_stopped(app.name)


def test_an_app_that_was_never_up_can_be_taken_down(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gates, "GATES", tmp_path)
    monkeypatch.setattr(calls, "run", lambda _argv: "")
    bring_up.down(bring_up.App(str(tmp_path), "shop"))
    gates.close_edge("shop")
    assert list(tmp_path.iterdir()) == []


def test_a_file_instead_of_a_gate_directory_opens_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gates, "GATES", tmp_path)
    (tmp_path / "shop").touch()
    gates.close_edge("shop", 3)
    gates.close_edge("shop")
    assert not gates.is_open("shop", 3)
