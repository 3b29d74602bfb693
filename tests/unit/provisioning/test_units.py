"""The units of a host: their files, and that systemd is not called if nothing has changed."""

import socket
from pathlib import Path
from types import SimpleNamespace

import pytest

from pushrod.adapters import systemd
from pushrod.core.errors import HostError
from pushrod.engines import machine
from pushrod.engines.docker import host_edge, names
from pushrod.provisioning import units
from pushrod.state.apps import App, HostSettings, Root

ROOT = Root(Path("/var/lib/pushrod"))


def test_every_unit_is_a_file_in_etc() -> None:
    result = [work.change.what for work in units.files(ROOT, HostSettings())]
    assert f"{systemd.DIRECTORY}/pushrod-edge.service" in result
    assert set(result) == {
        *(f"{systemd.DIRECTORY}/{name}" for name in systemd.render(units.layout(ROOT, HostSettings()))),
        *(work.change.what for work in units.slices(HostSettings())),
        "/etc/systemd/system/pushrod.target.wants",
        "/etc/tmpfiles.d/pushrod.conf",
    }


@pytest.mark.parametrize(
    ("active", "load", "restart", "action"),
    [(True, False, False, "same"), (True, True, False, "changed"), (True, False, True, "changed"),
     (False, False, False, "changed")],
)  # fmt: skip
def test_systemd_is_called_only_for_changes(
    active: bool, load: bool, restart: bool, action: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(systemd, "is_active", lambda _unit: active)
    monkeypatch.setattr(systemd, "is_enabled", lambda _unit: True)
    (work,) = units.start(ROOT, load=load, restart_edge=restart)
    assert work.change.action == action
    assert ("the edge (nginx) is restarted" in work.change.detail) == restart


def test_the_unit_of_a_key_that_is_stopped_is_started_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(systemd, "is_active", lambda unit: "gate@" not in unit)
    monkeypatch.setattr(systemd, "is_enabled", lambda _unit: True)
    (work,) = units.start(ROOT, load=False, restart_edge=False, gates=["pushrod-gate@alice.service"])
    assert work.change.pending


def test_an_occupied_port_is_reported_before_anything_changes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with socket.create_server(("", 0)) as squatter:
        port = squatter.getsockname()[1]
        monkeypatch.setattr(host_edge, "of", lambda _root: SimpleNamespace(port=port))
        monkeypatch.setattr(systemd, "is_active", lambda _unit: True)
        units.check_port(ROOT)  # it is the edge's own
        monkeypatch.setattr(systemd, "is_active", lambda _unit: False)
        with pytest.raises(HostError, match=f"port {port}, which the edge needs") as error:
            units.check_port(ROOT)
    assert f":{port}" in error.value.hint
    units.check_port(ROOT)


def test_slices_limit_apps_and_need_no_root_to_be_created() -> None:
    settings = HostSettings(
        limits={"app_memory": 2.0**30, "app_tasks": 500}, app_limits={"my-shop": {"app_tasks": 9}}
    )
    result = {work.change.what.removeprefix(f"{systemd.DIRECTORY}/") for work in units.slices(settings)}
    assert {"pushrod.slice", "pushrod-app-.slice.d/10-pushrod.conf", "pushrod-store-.slice.d"} <= result
    assert "pushrod-app-my_shop.slice.d/50-app.conf" in result
    limits = machine.limits(settings)
    texts = systemd.slices(limits, {"my-shop": machine.limits(settings, "my-shop")})
    assert "MemoryMax=1073741824\nTasksMax=500\n" in texts["pushrod-app-.slice.d/10-pushrod.conf"]
    assert "TasksMax=9\n" in texts["pushrod-app-my_shop.slice.d/50-app.conf"]
    assert f"MemoryMax={limits.all_memory}\n" in texts["pushrod.slice"]
    for lasting in ("pushrod.slice", "pushrod-.slice.d/10-shutdown.conf"):
        assert "[Unit]\n" in texts[lasting]
        assert "DefaultDependencies=no\n" in texts[lasting], (
            "a shutdown would stop stores beside their instances"
        )


def test_a_slice_is_in_no_other_apps_slice() -> None:
    for name in ("my", "my-shop", "a-b-c"):
        app = App(ROOT, name)
        for store, prefix in ((False, systemd.INSTANCES), (True, systemd.STORES)):
            result = names.slice(app, store=store)
            assert result.startswith(prefix)
            assert "-" not in result.removeprefix(prefix)
