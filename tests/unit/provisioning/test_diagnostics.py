"""The checks of `doctor` on a host, one by one; the lab runs all of them on a real host."""

import json
import os
import pwd
from ipaddress import IPv4Network
from pathlib import Path

import pytest

from pushrod.core.errors import HostError
from pushrod.core.values import Diagnostic
from pushrod.provisioning import account, diagnostics, docker_daemon, pool
from pushrod.state.apps import Root


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Root:
    """A host's root whose account is the user who runs the tests."""
    root = Root(tmp_path / "root")
    (root.path / ".ssh").mkdir(parents=True, mode=0o700)
    root.host_settings_path.write_text('{"pool": "10.213.0.0/16"}')
    entry = pwd.struct_passwd(("pushrod", "x", os.geteuid(), os.getegid(), "", str(root.path), "/bin/sh"))
    monkeypatch.setattr(account, "entry", lambda: entry)
    monkeypatch.setattr(account, "owner", lambda: (entry.pw_uid, entry.pw_gid))
    monkeypatch.setattr(account, "is_member", lambda: True)
    return root


def only(result: list[Diagnostic]) -> Diagnostic:
    (one,) = result
    assert bool(one.remedy) == (one.state != "ok")
    return one


@pytest.mark.parametrize(
    ("settings", "state", "message"),
    [
        (docker_daemon.desired(pool.CANDIDATES[0]), "ok", "live-restore is on"),
        (
            {**docker_daemon.desired(pool.CANDIDATES[0]), "live-restore": False},
            "warning",
            "live-restore is off",
        ),
        ({"live-restore": True}, "warning", "lacks: log-driver"),
    ],
)
def test_the_engines_settings_are_checked(
    settings: dict[str, object], state: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(docker_daemon.read, "__defaults__", (tmp_path / "daemon.json",))
    (tmp_path / "daemon.json").write_text(json.dumps(settings))
    result = only(list(diagnostics._daemon()))
    assert (result.state, message in result.detail) == (state, True)


def test_a_correct_account_is_ok(root: Root) -> None:
    assert only(list(diagnostics._account(root))).state == "ok"


def test_an_account_without_the_docker_group_is_reported(root: Root, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(account, "is_member", lambda: False)
    result = only(list(diagnostics._account(root)))
    assert (result.state, "cannot reach the Docker engine" in result.detail) == ("broken", True)


def test_keys_writable_by_others_are_reported(root: Root) -> None:
    assert only(list(diagnostics._keys(root))).state == "ok"
    path = root.path / ".ssh" / "authorized_keys"
    path.write_text("")
    path.chmod(0o664)
    assert f"chmod 600 {path}" in only(list(diagnostics._keys(root))).remedy
    path.chmod(0o600)
    assert only(list(diagnostics._keys(root))).state == "ok"


def test_a_pool_that_overlaps_another_route_is_reported(root: Root, monkeypatch: pytest.MonkeyPatch) -> None:
    """Networks inside the pool are the releases' own."""
    monkeypatch.setattr(pool, "routes", lambda: [IPv4Network("10.213.4.0/24"), IPv4Network("10.9.0.0/16")])
    assert only(list(diagnostics._pool(root))).state == "ok"
    monkeypatch.setattr(pool, "routes", lambda: [IPv4Network("10.0.0.0/8")])
    assert "overlaps the route to 10.0.0.0/8" in only(list(diagnostics._pool(root))).detail


@pytest.mark.slow
def test_a_failed_check_is_a_finding_and_the_others_continue(
    root: Root, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken() -> None:
        raise HostError("it broke", where="here", hint="fix it")

    monkeypatch.setattr(docker_daemon, "read", broken)
    result = {f.what: f for f in diagnostics.examine(root)}
    assert result["daemon"] == Diagnostic("daemon", "broken", "here: it broke", "fix it")
    assert {"account", "programs", "units", "keys", "pool", "files"} <= set(result)
