"""Bringing an app back, as far as it needs no engine."""

import contextlib
import json
from pathlib import Path
from typing import Any

import pytest

from pushrod.engines.docker import bring_up, calls
from pushrod.engines.docker.calls import Trouble
from tests.unit.engines.docker import places


def test_the_edge_must_serve_the_live_release(tmp_path: Path) -> None:
    app = places.live(tmp_path)
    places.served(tmp_path)
    bring_up.verify_edge(app, json.loads((app.live / "release.json").read_text()))


@pytest.mark.parametrize("wrong", [{"release": 6}, {"backends": ["10.213.0.3:8080"]}, {"backends": []}])
def test_an_edge_that_serves_another_is_trouble(tmp_path: Path, wrong: dict[str, Any]) -> None:
    app = places.live(tmp_path)
    places.served(tmp_path, **wrong)
    with pytest.raises(Trouble, match="does not serve shop from release 7"):
        bring_up.verify_edge(app, json.loads((app.live / "release.json").read_text()))


def test_an_app_that_a_command_works_on_is_left_to_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    app = places.live(tmp_path)
    with bring_up.alone(app) as held:
        assert held
        assert bring_up.main(["up", str(tmp_path), "shop"]) == 0
    assert "a command works on it" in capsys.readouterr().out


@pytest.mark.parametrize("verb", ["up", "down"])
def test_an_app_that_was_destroyed_is_none(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], verb: str
) -> None:
    """Its unit is stopped once its link is gone, which may be after all else is."""
    assert bring_up.main([verb, str(tmp_path), "shop"]) == 0
    assert "there is no such app" in capsys.readouterr().out


def test_nothing_live_is_nothing_to_bring_back(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "apps" / "shop").mkdir(parents=True)
    assert bring_up.main(["up", str(tmp_path), "shop"]) == 0
    assert "no live release" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "attempts"), [('renaming "veth1" to "eth0": file exists', 3), ("no such network", 1)]
)
def test_an_interface_that_is_there_is_gone_past(
    monkeypatch: pytest.MonkeyPatch, words: str, attempts: int
) -> None:
    tried: list[list[str]] = []

    def refuse_twice(argv: list[str]) -> str:
        tried.append(argv)
        if len(tried) < 3:
            raise Trouble(words)
        return ""

    monkeypatch.setattr(calls, "run", refuse_twice)
    row = {"container": "shop-postgres", "network": "shop-r8-stores", "address": "10.213.0.9", "aliases": []}
    with contextlib.nullcontext() if attempts == 3 else pytest.raises(Trouble):
        bring_up.connect(row, {})
    assert len(tried) == attempts


# ---- mounts --------------------------------------------------------------------------------------------------------
