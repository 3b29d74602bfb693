"""host: the output of its verbs, and who may call them."""

import json
import os
import pwd
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from pushrod.adapters import systemd
from pushrod.cli import cli
from pushrod.cli.host import _show
from pushrod.core import limits
from pushrod.core.errors import HostError, UnknownNameError
from pushrod.provisioning import account, shares
from pushrod.provisioning.changes import Change, Work
from pushrod.system import processes


def run(*argv: str, stdin: str = "") -> Result:
    return CliRunner().invoke(
        cli, ["host", *argv], input=stdin, catch_exceptions=False, standalone_mode=False
    )


@pytest.fixture
def hosting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The root of a host, owned by the user who runs the tests."""
    entry = pwd.struct_passwd(("pushrod", "x", os.geteuid(), os.getegid(), "", str(tmp_path), "/bin/sh"))
    monkeypatch.setattr(account, "entry", lambda: entry)
    monkeypatch.setattr(shares, "allot", lambda _key: None)  # without this machine's systemd
    monkeypatch.setattr(shares, "withdraw", lambda _key: None)
    (tmp_path / "host.json").write_text("{}")
    return tmp_path


@pytest.fixture
def public(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("key") / "key"
    processes.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "alice", "-f", path])
    return path.with_suffix(".pub")


def test_a_key_is_added_listed_and_removed(hosting: Path, public: Path) -> None:
    assert run("keys", "list").output == "none; `pushrod host keys add FILE` adds one\n"
    assert run("keys", "add", str(public), "--app", "shop").output.startswith(
        "alice may push to shop: git remote"
    )
    assert run("keys", "list").output.splitlines()[1].split()[:2] == ["alice", "shop"]
    assert '"name": "alice"' in run("keys", "list", "--json").output
    assert run("keys", "remove", "alice").output == "alice may no longer push\n"
    assert run("keys", "add", stdin=public.read_text()).output.startswith("alice may push to every app")


def test_keys_need_an_initialized_host(hosting: Path, public: Path) -> None:
    (hosting / "host.json").unlink()
    with pytest.raises(HostError, match="not a host yet"):
        run("keys", "add", str(public))
    assert not (hosting / ".ssh").exists()


def test_only_root_can_manage_keys(hosting: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1000)
    with pytest.raises(HostError, match="only root may"):
        run("keys", "list")


def test_init_needs_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(HostError, match="it needs root"):
        run("init", "--root", str(tmp_path / "root"))
    assert not (tmp_path / "root").exists()


def works(done: list[str]) -> list[Work]:
    return [
        Work(Change("one", "same"), lambda: done.append("one")),
        Work(Change("two", "kept", "is yours"), lambda: done.append("two")),
        Work(Change("three", "new", "a thing"), lambda: done.append("three")),
    ]


def test_only_pending_steps_are_done_and_shown(capsys: pytest.CaptureFixture[str]) -> None:
    done: list[str] = []
    _show(works(done), plan=False, as_json=False)
    assert done == ["three"]
    assert capsys.readouterr().out.splitlines()[:2] == ["kept     two  is yours", "new      three  a thing"]


@pytest.mark.parametrize("as_json", [False, True])
def test_a_plan_does_nothing(as_json: bool, capsys: pytest.CaptureFixture[str]) -> None:
    done: list[str] = []
    _show(works(done), plan=True, as_json=as_json)
    assert done == []
    assert "three" in capsys.readouterr().out


def test_limits_are_shown_and_changed(hosting: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []
    monkeypatch.setattr(systemd, "DIRECTORY", hosting / "units")
    for place in ("", ".slices"):  # what this command calls itself, and what `rebound` calls
        module = f"pushrod.adapters.systemd{place}"
        monkeypatch.setattr(sys.modules[module], "call", lambda *argv: calls.append(" ".join(argv)))
    monkeypatch.setattr(
        sys.modules["pushrod.adapters.systemd.slices"],
        "is_active",
        lambda unit: unit == "pushrod-app-shop.slice",
    )
    shown = {line.split()[0]: line for line in run("limits").output.splitlines()}
    assert set(shown) == {"LIMIT", *(name.replace("_", "-") for name in limits.LIMITS)}
    run("limits", "services=7", "app-tasks=321")
    assert calls == ["daemon-reload"]
    assert "TasksMax=321\n" in (hosting / "units/pushrod-app-.slice.d/10-pushrod.conf").read_text()
    assert json.loads(run("limits", "--json").output)["services"] == 7
    (hosting / "apps/shop").mkdir(parents=True)
    (hosting / "apps/shop/app.json").write_text("{}")
    calls.clear()
    run("limits", "--app", "shop", "app-tasks=99")
    assert [t.partition(" MemoryMax=")[0] for t in calls] == [
        "daemon-reload",
        "set-property --runtime pushrod-app-shop.slice",
    ]
    assert " TasksMax=99 " in calls[1]
    own = hosting / "units/pushrod-app-shop.slice.d/50-app.conf"
    assert "TasksMax=99\n" in own.read_text()
    run("limits", "services=default")
    assert json.loads(run("limits", "--json").output)["services"] == 50
    run("limits", "--app", "shop", "app-tasks=default")
    assert not own.exists()
    with pytest.raises(UnknownNameError):
        run("limits", "--app", "shop", "all-memory=1G")
    with pytest.raises(UnknownNameError):
        run("limits", "--app", "none", "pids=100")


def test_only_root_can_change_limits(hosting: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(HostError, match="only root may"):
        run("limits", "pids=100")
