"""The Docker engine's settings: what is added, what is kept, what is refused."""

import json
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any

import pytest

from pushrod.adapters import systemd
from pushrod.core.errors import HostError, StateError
from pushrod.provisioning import docker_daemon

BLOCK = IPv4Network("10.214.0.0/16")
OURS = {
    "live-restore": True,
    "log-driver": "json-file",
    "log-opts": {"max-size": "10m", "max-file": "3"},
    "userland-proxy": False,
    "default-address-pools": [{"base": "10.214.0.0/16", "size": 24}],
}


@pytest.fixture
def idle(monkeypatch: pytest.MonkeyPatch) -> None:
    """No engine is running that would have to reload."""
    monkeypatch.setattr(systemd, "is_active", lambda _unit: False)


def test_missing_settings_are_added() -> None:
    merged = docker_daemon.merge({}, BLOCK)
    assert merged.settings == OURS
    assert (merged.added, merged.kept) == (tuple(OURS), ())


def test_complete_settings_are_unchanged() -> None:
    merged = docker_daemon.merge(OURS, IPv4Network("10.220.0.0/16"))
    assert (merged.settings, merged.added, merged.kept) == (OURS, (), ())


def test_existing_keys_are_kept_and_reported() -> None:
    result = {"live-restore": False, "dns": ["10.0.0.2"], "log-opts": {"max-size": "1g"}}
    merged = docker_daemon.merge(result, BLOCK)
    assert {key: merged.settings[key] for key in result} == result
    assert merged.kept == ("live-restore", "log-opts")


@pytest.mark.parametrize("driver", ["journald", "syslog", "none"])
def test_options_are_not_given_to_a_log_driver_that_would_refuse_them(driver: str) -> None:
    assert "log-opts" not in docker_daemon.merge({"log-driver": driver}, BLOCK).settings


@pytest.mark.parametrize("text", ['{"live-restore": true', "[]", '"x"', "{'a': 1}"])
def test_a_file_that_is_no_json_object_is_refused_and_untouched(text: str, tmp_path: Path) -> None:
    path = tmp_path / "daemon.json"
    path.write_text(text)
    with pytest.raises(StateError) as refused:
        docker_daemon.plan(BLOCK, lambda: None, path)
    assert refused.value.where == str(path)
    assert path.read_text() == text
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("text", [None, "", "\n", "{}"])
def test_a_missing_or_empty_file_is_no_error(text: str | None, tmp_path: Path, idle: None) -> None:
    path = tmp_path / "daemon.json"
    if text is not None:
        path.write_text(text)
    (work,) = docker_daemon.plan(BLOCK, lambda: None, path)
    work.carry_out()
    assert json.loads(path.read_text()) == OURS
    (again,) = docker_daemon.plan(BLOCK, lambda: None, path)
    assert again.change.action == "same"


def test_the_previous_settings_are_kept_next_to_the_new_ones(tmp_path: Path, idle: None) -> None:
    path = tmp_path / "daemon.json"
    path.write_text('{"dns":["10.0.0.2"]}')
    work, *_ = docker_daemon.plan(BLOCK, lambda: None, path)
    work.carry_out()
    assert json.loads(path.read_text()) == {"dns": ["10.0.0.2"], **OURS}
    assert (tmp_path / "daemon.json.before-pushrod").read_text() == '{"dns":["10.0.0.2"]}'


@pytest.mark.parametrize(
    ("result", "running", "expected"),
    [
        ({}, None, ""),
        ({}, 0, "the Docker engine is restarted"),
        ({}, 2, "the Docker engine is restarted; its 2 containers keep running"),
        (
            {"live-restore": False},
            1,
            "the Docker engine is restarted; its container is restarted too",
        ),
    ],
)
def test_a_restart_is_announced_in_the_plan(
    result: dict[str, Any], running: int | None, expected: str, tmp_path: Path
) -> None:
    path = tmp_path / "daemon.json"
    path.write_text(json.dumps(result))
    work, *_ = docker_daemon.plan(BLOCK, lambda: running, path)
    assert work.change.detail.partition("; ")[2] == expected


def test_an_engine_that_does_not_restart_gets_its_old_settings_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "daemon.json"
    path.write_text('{"dns":["10.0.0.2"]}')
    asked: list[str] = []

    def call(*argv: str, timeout: float = 0) -> str:
        asked.append(argv[0])
        if argv[0] == "restart":
            raise HostError("systemctl restart docker.service failed")
        return ""

    monkeypatch.setattr(systemd, "is_active", lambda _unit: True)
    monkeypatch.setattr(systemd, "call", call)
    monkeypatch.setattr(docker_daemon, "_restores", lambda: bool(asked.append("asked") or True))
    work, *_ = docker_daemon.plan(BLOCK, lambda: 0, path)
    with pytest.raises(HostError, match="restart docker"):
        work.carry_out()
    assert path.read_text() == '{"dns":["10.0.0.2"]}'
    assert asked == ["reload", "asked", "restart", "reset-failed", "start"]


def test_unreadable_pools_are_ignored() -> None:
    for value in ({"base": "x"}, [{"size": 24}], 3, [3]):
        assert docker_daemon.pools({docker_daemon.POOLS: value}) == []
    assert docker_daemon.pools(OURS) == [BLOCK]
