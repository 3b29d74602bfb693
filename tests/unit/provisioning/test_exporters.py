"""Turning exporters on and off, with a systemd that only notes its calls."""

import socket
from pathlib import Path

import msgspec
import pytest
import yaml

from pushrod.adapters import systemd
from pushrod.core.errors import HostError
from pushrod.provisioning import account, exporters, metrics, packages, units
from pushrod.state.apps import HostSettings, Monitor, Root

OF_STORES = {"pushrod-postgres-exporter@.service", "pushrod-redis-exporter@.service"}
NODE, NGINX = "pushrod-node-exporter.service", "pushrod-nginx-exporter.service"


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What was called, in order."""
    made: list[str] = []
    monkeypatch.setattr(systemd, "call", lambda *words: made.append(" ".join(words)))
    monkeypatch.setattr(packages, "install", lambda names, _: made.append(f"apt-get {' '.join(names)}"))
    monkeypatch.setattr(packages, "is_there", lambda program: "redis" not in program)
    monkeypatch.setattr(units, "run_as_account", lambda _, *words, failed: made.append(" ".join(words)))
    return made


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Root:
    made = Root(tmp_path / "root")
    made.path.mkdir()
    made.host_settings_path.write_bytes(msgspec.json.encode(HostSettings(metrics=59180)))
    (tmp_path / "units").mkdir()
    monkeypatch.setattr(systemd, "DIRECTORY", tmp_path / "units")
    monkeypatch.setattr(metrics, "_DROP_IN", tmp_path / "units/watch.d/metrics.conf")
    monkeypatch.setattr(exporters, "_DROP_IN", tmp_path / "units/watch.d/exporters.conf")
    monkeypatch.setattr(units, "MONITOR", tmp_path / "etc/prometheus")
    monkeypatch.setattr(units, "GRAFANA", tmp_path / "etc/grafana")
    monkeypatch.setattr(units, "NODE_PORT", 59100)
    monkeypatch.setattr(units, "NGINX_PORT", 59113)
    monkeypatch.setattr(units, "edge_counts", lambda root: True)
    status = made.path.stat()
    monkeypatch.setattr(account, "owner", lambda: (status.st_uid, status.st_gid))
    return made


def settings(root: Root) -> HostSettings:
    read = root.host_settings
    assert read is not None
    return read


def written() -> set[str]:
    return {path.name for path in systemd.DIRECTORY.glob("*.service")}


def jobs() -> list[str]:
    return [
        job["job_name"]
        for job in yaml.safe_load((units.MONITOR / "prometheus.yml").read_text())["scrape_configs"]
    ]


def with_prometheus(root: Root) -> None:
    kept = msgspec.structs.replace(settings(root), monitor=Monitor(port=59090, days=7, disk=256, memory=200))
    root.host_settings_path.write_bytes(msgspec.json.encode(kept))
    for item in (*units.monitor(root, kept), *units.exporters(root, kept)):
        item.carry_out()


@pytest.mark.usefixtures("calls")
def test_the_units_know_their_store_by_a_file_that_they_cannot_reach(root: Root) -> None:
    assert exporters.turn_on(root, lambda _: None)
    assert written() == {NODE, NGINX, *OF_STORES}
    for name in OF_STORES:
        unit = (systemd.DIRECTORY / name).read_text()
        for part in (
            f"EnvironmentFile={root.path}/exporters/%i.env\n",
            "IPAddressAllow=localhost 10.213.0.0/16",
            "StopWhenUnneeded=yes\n",
            f"InaccessiblePaths=-/run/docker.sock -/run/containerd -{root.path}\n",
        ):
            assert part in unit
    assert "-nginx.scrape-uri=http://127.0.0.1:59180/nginx_status" in (systemd.DIRECTORY / NGINX).read_text()
    assert f"ReadWritePaths={systemd.WANTS}\n" in (systemd.DIRECTORY / "watch.d/exporters.conf").read_text()


def test_a_missing_package_is_masked_before_it_is_installed(root: Root, calls: list[str]) -> None:
    exporters.turn_on(root, lambda _: None)
    package = "prometheus-redis-exporter"
    assert calls[:2] == [f"mask {package}.service", f"apt-get {package}"]
    assert calls[-3:] == [f"enable {NODE} {NGINX}", f"restart {NODE} {NGINX}", "metrics --write"]


def test_a_prometheus_of_ours_scrapes_them_and_keeps_the_machines(root: Root, calls: list[str]) -> None:
    with_prometheus(root)
    assert jobs() == ["pushrod", "node", "prometheus", "apps"]
    exporters.turn_on(root, lambda _: None)
    assert jobs() == ["pushrod", "node", "prometheus", "apps", "postgres", "redis", "nginx"]
    assert calls[-2:] == [f"restart {NODE} {NGINX} {units.PROMETHEUS}", "metrics --write"]
    exporters.turn_off(root)
    assert jobs() == ["pushrod", "node", "prometheus", "apps"]
    assert written() == {NODE, units.PROMETHEUS}
    assert f"disable --now {NGINX}" in calls


def test_turned_off_nothing_of_them_is_left(root: Root, calls: list[str]) -> None:
    exporters.turn_on(root, lambda _: None)
    calls.clear()
    exporters.turn_off(root)
    assert calls == ["metrics --write", f"disable --now {NODE} {NGINX}", "daemon-reload"]
    assert (written(), settings(root).exporters) == (set(), False)
    assert not (systemd.DIRECTORY / "watch.d/exporters.conf").exists()
    exporters.turn_off(root)  # again
    assert len(calls) == 3


def test_another_programs_port_changes_nothing(
    root: Root, calls: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        monkeypatch.setattr(units, "NGINX_PORT", taken.getsockname()[1])
        with pytest.raises(HostError, match="another program"):
            exporters.turn_on(root, lambda _: None)
    assert (settings(root).exporters, calls) == (False, [])
