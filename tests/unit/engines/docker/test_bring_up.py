"""Bringing an app up, as far as that needs no engine."""

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
def test_an_edge_that_serves_another_release_is_an_error(tmp_path: Path, wrong: dict[str, Any]) -> None:
    app = places.live(tmp_path)
    places.served(tmp_path, **wrong)
    with pytest.raises(Trouble, match="does not serve shop from release 7"):
        bring_up.verify_edge(app, json.loads((app.live / "release.json").read_text()))


def test_an_app_locked_by_a_command_is_skipped(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    app = places.live(tmp_path)
    with bring_up.alone(app) as held:
        assert held
        assert bring_up.main(["up", str(tmp_path), "shop"]) == 0
    assert "a command works on it" in capsys.readouterr().out


@pytest.mark.parametrize("verb", ["up", "down"])
def test_a_destroyed_app_is_ignored(tmp_path: Path, capsys: pytest.CaptureFixture[str], verb: str) -> None:
    """Its unit stops once its link is gone, which may be the last thing that is removed."""
    assert bring_up.main([verb, str(tmp_path), "shop"]) == 0
    assert "there is no such app" in capsys.readouterr().out


def test_an_app_without_a_live_release_is_not_started(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "apps" / "shop").mkdir(parents=True)
    assert bring_up.main(["up", str(tmp_path), "shop"]) == 0
    assert "no live release" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "attempts"), [('renaming "veth1" to "eth0": file exists', 3), ("no such network", 1)]
)
def test_connecting_retries_past_an_existing_interface(
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
