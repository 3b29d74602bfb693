"""Turning a host's Prometheus on and off, with a systemd that only notes its calls."""

import socket
from pathlib import Path

import msgspec
import pytest
import yaml

from pushrod.adapters import grafana, systemd
from pushrod.core.errors import HostError
from pushrod.provisioning import account, metrics, monitor, packages, units
from pushrod.state.apps import HostSettings, Monitor, Root
from pushrod.system import processes

CHOSEN = Monitor(port=59090, days=7, disk=256, memory=200)


class Calls:
    """What was called, in order."""

    def __init__(self) -> None:
        self.all: list[str] = []

    def __call__(self, *words: object, **_: object) -> processes.Completed:
        self.all.append(" ".join(map(str, words)))
        return processes.Completed(0, "", "")


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Calls:
    calls = Calls()
    monkeypatch.setattr(systemd, "call", calls)
    monkeypatch.setattr(packages, "install", lambda names, _: calls("apt-get", *names))
    monkeypatch.setattr(units, "run_as_account", lambda _, *words, failed: calls("pushrod", *words))
    monkeypatch.setattr(monitor, "_ready", lambda port: True)
    monkeypatch.setattr(monitor, "_CHECK", "true")
    monkeypatch.setattr(units, "NODE_PORT", 59100)
    return calls


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Root:
    made = Root(tmp_path / "root")
    made.path.mkdir()
    made.host_settings_path.write_bytes(msgspec.json.encode(HostSettings()))
    (tmp_path / "units").mkdir()
    monkeypatch.setattr(systemd, "DIRECTORY", tmp_path / "units")
    monkeypatch.setattr(metrics, "_DROP_IN", tmp_path / "units/watch.d/metrics.conf")
    monkeypatch.setattr(units, "MONITOR", tmp_path / "etc/prometheus")
    monkeypatch.setattr(units, "GRAFANA", tmp_path / "etc/grafana")
    status = made.path.stat()
    monkeypatch.setattr(account, "owner", lambda: (status.st_uid, status.st_gid))
    return made


def settings(root: Root) -> HostSettings:
    read = root.host_settings
    assert read is not None
    return read


def test_prometheus_is_turned_on_with_its_targets_and_rules_and_off_again(root: Root, calls: Calls) -> None:
    monitor.turn_on(root, CHOSEN, lambda _: None)
    assert (settings(root).monitor, settings(root).metrics) == (CHOSEN, metrics.USUAL)
    unit = (systemd.DIRECTORY / "pushrod-prometheus.service").read_text()
    for part in (
        "--storage.tsdb.retention.time=7d --storage.tsdb.retention.size=256MB",
        "--web.listen-address=127.0.0.1:59090\n",
        "MemoryMax=200M\n",
        "GOMEMLIMIT=160MiB\n",
        f"BindReadOnlyPaths={root.path}/targets:/run/pushrod-targets\n",
        "IPAddressAllow=localhost 10.213.0.0/16\n",
    ):
        assert part in unit
    configuration = yaml.safe_load((units.MONITOR / "prometheus.yml").read_text())
    jobs = {job["job_name"]: job.get("static_configs") for job in configuration["scrape_configs"]}
    assert jobs == {
        "pushrod": [{"targets": ["127.0.0.1:9180"]}],
        "node": [{"targets": ["127.0.0.1:59100"]}],
        "prometheus": [{"targets": ["127.0.0.1:59090"]}],
        "apps": None,
    }
    (rules,) = configuration["rule_files"]
    assert "PushrodAppDown" in Path(rules).read_text()
    source = yaml.safe_load((units.GRAFANA / "datasources/pushrod.yaml").read_text())
    assert source["datasources"][0]["url"] == "http://127.0.0.1:59090"
    (provider,) = yaml.safe_load((units.GRAFANA / "dashboards/pushrod.yaml").read_text())["providers"]
    assert len([*Path(provider["options"]["path"]).glob("*.json")]) == len(grafana.DASHBOARDS)
    assert calls.all[-3:] == [
        f"enable {' '.join(monitor.UNITS)}",
        f"restart {' '.join(monitor.UNITS)}",
        "pushrod host alarm prometheus http://127.0.0.1:59090",
    ]
    monitor.turn_off(root)
    assert (settings(root).monitor, settings(root).metrics) == (None, metrics.USUAL)
    assert not [*systemd.DIRECTORY.glob("*.service")]
    assert not units.MONITOR.exists()
    assert not units.GRAFANA.exists()
    assert f"disable --now {' '.join(monitor.UNITS)}" in calls.all
    assert "pushrod host alarm prometheus off" in calls.all


def test_a_missing_package_is_masked_before_it_is_installed(
    root: Root, calls: Calls, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Debian starts the servers of these packages on all addresses."""
    monkeypatch.setattr(packages, "is_there", lambda item: item == "/usr/bin/prometheus")
    monitor.turn_on(root, CHOSEN, lambda _: None)
    assert calls.all[:2] == ["mask prometheus-node-exporter.service", "apt-get prometheus-node-exporter"]


def test_another_programs_port_changes_nothing(root: Root, calls: Calls) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(HostError, match="another program"):
        monitor.turn_on(root, msgspec.structs.replace(CHOSEN, port=taken.getsockname()[1]), lambda _: None)
    assert (settings(root).monitor, calls.all) == (None, [])


def test_a_configuration_that_prometheus_refuses_starts_nothing(
    root: Root, calls: Calls, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(monitor, "_CHECK", "false")
    with pytest.raises(HostError, match="refuses its configuration"):
        monitor.turn_on(root, CHOSEN, lambda _: None)
    assert not [call for call in calls.all if call.startswith(("enable", "restart"))]
    assert settings(root).monitor is None


def test_host_init_writes_the_files_again(root: Root) -> None:
    kept = msgspec.structs.replace(settings(root), monitor=CHOSEN, metrics=9180)
    names = {item.change.what for item in units.files(root, kept)}
    assert {str(systemd.DIRECTORY / unit) for unit in monitor.UNITS} <= names
    assert str(units.MONITOR / "rules.yml") in names
