"""The plan of a host: the settings decided once, and the work that is carried out."""

from ipaddress import IPv4Network
from pathlib import Path

import pytest

from pushrod.core.errors import StateError
from pushrod.provisioning import docker_daemon, host_init, pool
from pushrod.provisioning.changes import Change, Work
from pushrod.state.apps import HostSettings, Root


@pytest.fixture
def quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine with a route into the first block, and an engine that has the second."""
    monkeypatch.setattr(pool, "routes", lambda: [IPv4Network("10.213.7.0/24")])
    monkeypatch.setattr(
        docker_daemon, "read", lambda: {docker_daemon.POOLS: [{"base": "10.214.0.0/16", "size": 24}]}
    )


def test_the_pool_avoids_all_routes_and_the_engines_own_pool(quiet: None, tmp_path: Path) -> None:
    settings = host_init._settings(Root(tmp_path))
    assert settings.pool == "10.215.0.0/16"
    assert str(docker_daemon.block(settings)) == "10.214.0.0/16"


def test_builds_may_reach_neither_the_pool_nor_the_engines_networks(
    quiet: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = HostSettings("10.215.0.0/16")
    assert list(map(str, docker_daemon.blocks(settings))) == ["10.214.0.0/16"]
    monkeypatch.setattr(
        docker_daemon, "read", lambda: {docker_daemon.POOLS: [{"base": "172.30.0.0/16", "size": 24}]}
    )
    assert list(map(str, docker_daemon.blocks(settings))) == ["172.30.0.0/16"]
    monkeypatch.setattr(docker_daemon, "read", dict)
    assert docker_daemon.blocks(settings) == [docker_daemon.block(settings)]


def test_an_earlier_decision_is_kept(quiet: None, tmp_path: Path) -> None:
    (tmp_path / "host.json").write_text('{"pool": "172.30.0.0/16"}')
    assert host_init._settings(Root(tmp_path)).pool == "172.30.0.0/16"


def test_an_unreadable_decision_is_an_error(quiet: None, tmp_path: Path) -> None:
    (tmp_path / "host.json").write_text("{")
    with pytest.raises(StateError):
        host_init._settings(Root(tmp_path))


def test_only_pending_work_is_done_in_order() -> None:
    done: list[str] = []
    works = [
        Work(Change(what, action), lambda what=what: done.append(what))  # type: ignore[arg-type,misc]
        for what, action in (("a", "new"), ("b", "same"), ("c", "kept"), ("d", "changed"))
    ]
    assert [change.what for change in host_init.carry_out(works)] == ["a", "d"]
    assert done == ["a", "d"]
