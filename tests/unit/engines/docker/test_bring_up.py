"""Bringing an app back, as far as it needs no engine."""

import contextlib
import json
from pathlib import Path
from typing import Any

import pytest

from pushrod.engines.docker import bring_up, names
from pushrod.engines.docker.bring_up import Trouble
from pushrod.state.apps import App, Root
from tests.unit.engines.docker import places


@pytest.mark.parametrize(
    ("status", "code", "started", "policy", "well"),
    [
        ("exited", 0, "2026", "on-failure", True),
        ("exited", 0, "2026", "no", True),
        ("exited", 0, "2026", "unless-stopped", False),
        ("exited", 1, "2026", "no", False),
        ("exited", 0, "0001-01-01T00:00:00Z", "no", False),
        ("running", 0, "2026", "no", False),
    ],
)
def test_ended_well(status: str, code: int, started: str, policy: str, well: bool) -> None:
    assert bring_up.ended_well(status, code, started, policy) is well


def found(status: str = "running", restarts: int = 0, **state: Any) -> dict[str, Any]:
    return {
        "Name": "/c",
        "RestartCount": restarts,
        "State": {"Status": status, "ExitCode": 3, "StartedAt": "2026", **state},
        "HostConfig": {"RestartPolicy": {"Name": "unless-stopped"}},
        "Config": {"Labels": {}},
    }


def test_the_first_that_is_not_healthy_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bring_up, "inspect", lambda _: {"a": found(), "b": found("exited")})
    with pytest.raises(Trouble, match=r"after 0\.3 s: b is exited, c is not there"):
        bring_up.healthy(["a", "b", "c"], 0.3)


def test_one_that_ends_again_and_again_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    counts = iter(range(7, 100))
    monkeypatch.setattr(bring_up, "inspect", lambda _: {"a": found("restarting", next(counts))})
    monkeypatch.setattr(bring_up, "_POLL", 0)
    with pytest.raises(Trouble, match="a ends with status 3 as often as it is started"):
        bring_up.healthy(["a"], 60)
    assert next(counts) == 7 + bring_up._LOOP + 1


def test_the_edge_must_serve_the_live_release(tmp_path: Path) -> None:
    app = places.live(tmp_path)
    places.served(tmp_path)
    bring_up.verify_edge(app, json.loads((app.live / "release.json").read_text()))


@pytest.mark.parametrize("wrong", [{"release": 6}, {"backends": ["10.213.0.3:8080"]}, {"backends": []}])
def test_an_edge_that_serves_another_is_trouble(tmp_path: Path, wrong: dict[str, Any]) -> None:
    app = places.live(tmp_path)
    places.served(tmp_path, **wrong)
    with pytest.raises(Trouble, match="does not send shop to release 7"):
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


def test_the_edge_is_opened_for_one_release_and_closed_for_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bring_up, "GATES", tmp_path)
    monkeypatch.setattr(bring_up, "run", lambda _argv: "")
    app = bring_up.App(str(tmp_path), "shop")
    bring_up.open_gate(app)
    bring_up.open_edge(app, 7)
    bring_up.open_edge(app, 70)
    bring_up.close_edge(app, 7)
    assert (bring_up.is_open(app, 7), bring_up.is_open(app, 70)) == (False, True)
    assert names.up(App(Root(tmp_path), "shop"), 70).name == "up-70"
    bring_up.down(app)
    assert (bring_up.is_open(app, 70), bring_up.is_stopped(app)) == (False, True)
    bring_up.open_gate(app)
    assert not bring_up.is_stopped(app)


def test_what_never_was_up_can_be_taken_down(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bring_up, "GATES", tmp_path)
    monkeypatch.setattr(bring_up, "run", lambda _argv: "")
    bring_up.down(bring_up.App(str(tmp_path), "shop"))
    bring_up.close_edge(bring_up.App(str(tmp_path), "shop"))
    assert list(tmp_path.iterdir()) == []


def test_a_program_that_fails_is_told_in_its_last_words() -> None:
    with pytest.raises(Trouble, match=r"^second$"):
        bring_up.run(["sh", "-c", "echo first >&2; echo second >&2; exit 3"])
    with pytest.raises(Trouble, match="no-such-program"):
        bring_up.run(["no-such-program"])
    with pytest.raises(Trouble, match="timed out"):
        bring_up.run(["sleep", "5"], timeout=0.1)


def test_composes_own_variables_are_not_handed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COMPOSE_PROFILES", "run")
    monkeypatch.setenv("DOCKER_HOST", "unix:///x")
    assert bring_up.run(["sh", "-c", "echo ${COMPOSE_PROFILES-none} $DOCKER_HOST"]) == "none unix:///x\n"


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

    monkeypatch.setattr(bring_up, "run", refuse_twice)
    row = {"container": "shop-postgres", "network": "shop-r8-stores", "address": "10.213.0.9", "aliases": []}
    with contextlib.nullcontext() if attempts == 3 else pytest.raises(Trouble):
        bring_up.connect(row, {})
    assert len(tried) == attempts


# ---- mounts --------------------------------------------------------------------------------------------------------


def holding(*mounts: tuple[str, bool]) -> dict[str, Any]:
    """A container with bind mounts of these sources; True for one that it may write into."""
    return {"Mounts": [{"Type": "bind", "Source": source, "RW": written} for source, written in mounts]}


@pytest.mark.parametrize(
    ("new", "running", "trouble"),
    [
        (("data/a", True), ("data/b", True), False),
        (("data/a", True), ("data/a", True), False),
        (("data/ab", True), ("data/a", True), False),
        (("data/a/x", True), ("data/a", False), False),
        (("data/a/x", False), ("data/a", True), True),
        (("data/a/x/y", True), ("data/a", True), True),
        (("data/a", True), ("data/a/x", False), True),
        (("data/alias/x", True), ("data/a", True), True),
        (("data/a/gone", True), ("data/a", True), True),
        (("data/old/b", True), ("data/a", True), False),
    ],
)
def test_nobody_may_write_above_what_is_mounted(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    new: tuple[str, bool],
    running: tuple[str, bool],
    trouble: bool,
) -> None:
    app = bring_up.App(str(tmp_path), "shop")
    (app.directory / "data" / "a" / "x").mkdir(parents=True)
    (app.directory / "data" / "alias").symlink_to("a")
    (app.directory / "data" / "a" / "gone").symlink_to("/")
    (app.directory / "data" / "old").mkdir()
    (app.directory / "data" / "old" / "b").symlink_to("../old%2Fb")
    gate = (str(names.GATES / "shop"), False)
    containers = {
        name: holding((str(app.directory / source), written), gate)
        for name, (source, written) in (("new", new), ("running", running))
    }
    monkeypatch.setattr(bring_up, "inspect", lambda wanted: {n: containers[n] for n in wanted})
    monkeypatch.setattr(bring_up, "run", lambda _: "new running")
    if trouble:
        with pytest.raises(Trouble, match="above which"):
            bring_up.apart(app, ["new"])
    else:
        bring_up.apart(app, ["new"])


@pytest.mark.parametrize(
    ("device", "trouble"), [("/srv/media/x", True), ("/srv/media", False), ("/srv/other", False)]
)
def test_nobody_may_write_above_what_a_volume_binds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, device: str, trouble: bool
) -> None:
    app = bring_up.App(str(tmp_path), "shop")
    place = "/var/lib/docker/volumes/shop_v/_data"
    volume = {"Type": "volume", "Name": "shop_v", "Source": place, "Driver": "local", "RW": True}
    containers = {"new": {"Mounts": [volume]}, "running": holding(("/srv/media", True))}
    monkeypatch.setattr(bring_up, "inspect", lambda wanted: {n: containers[n] for n in wanted})
    monkeypatch.setattr(bring_up, "run", lambda _: "new running")
    monkeypatch.setattr(bring_up, "bound", lambda found: dict.fromkeys(found, device))
    if trouble:
        with pytest.raises(Trouble, match="new mounts /srv/media/x, above which running may write"):
            bring_up.apart(app, ["new"])
    else:
        bring_up.apart(app, ["new"])


def test_other_apps_are_looked_at_where_paths_of_the_host_are_mounted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = bring_up.App(str(tmp_path), "shop")
    asked: list[list[str]] = []
    containers: dict[str, Any] = {}
    monkeypatch.setattr(bring_up, "inspect", lambda wanted: {n: containers[n] for n in wanted})
    monkeypatch.setattr(bring_up, "run", lambda argv: asked.append(argv) or "new")
    for source, narrow in ((str(app.directory / "data" / "a"), True), ("/srv/media", False)):
        containers = {"new": holding((source, True))}
        bring_up.apart(app, ["new"])
        assert ("--filter=label=pushrod.app=shop" in asked[-1]) is narrow


DAEMON = "Error response from daemon: "


@pytest.mark.parametrize(
    ("said", "why"),
    [
        (f"{DAEMON}no such program\nError: failed to start containers: a\n", "a: no such program"),
        (f"{DAEMON}one\n{DAEMON}two\nError: failed to start containers: a, b\n", "a: one; b: two"),
        (f"{DAEMON}one\nError: failed to start containers: a, b\n", "one"),
        (f" Container a  Starting\n{DAEMON}the reason\n", "the reason"),
        (f"{DAEMON}the reason\n{DAEMON}the reason\nexit status 1\n", "the reason"),
        ("something\nlast words\n", "last words"),
        ("\n", ""),
    ],
)
def test_the_reason_is_said_and_not_only_that_there_is_one(said: str, why: str) -> None:
    assert bring_up.reason(said) == why
