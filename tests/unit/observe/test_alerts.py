"""Alerts of a real Prometheus become alarms, and end."""

import contextlib
import json
import shutil
import subprocess
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from devtools.servers import free_port
from pushrod.adapters import prometheus
from pushrod.cli import cli
from pushrod.core.errors import HostError
from pushrod.core.values import Diagnostic
from pushrod.observe import alerts
from pushrod.observe.alarms import Alarm
from pushrod.state.apps import Root
from pushrod.system.waits import wait_until
from tests.unit.observe.webhooks import Webhook

RULES = [
    ("PushrodErrorsFast", {"app": "shop", "severity": "critical"}, "{{ $value }} of the requests failed"),
    ("PushrodAppDown", {"app": "shop"}, "left out"),
    ("Mine", {"app": "else"}, "a rule of\nthe owner's"),
]


def is_ready(port: int) -> bool:
    """Whether Prometheus has finished starting: it accepts connections earlier."""
    with contextlib.suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{port}/-/ready", timeout=10):
        return True
    return False


@pytest.fixture
def address(tmp_path: Path) -> Iterator[str]:
    """A Prometheus in which each of the rules fires."""
    rules = [
        {"alert": name, "expr": "vector(0.5)", "labels": labels, "annotations": {"summary": summary}}
        for name, labels, summary in RULES
    ]
    (tmp_path / "rules.yaml").write_text(json.dumps({"groups": [{"name": "test", "rules": rules}]}))
    configuration = {"global": {"evaluation_interval": "200ms"}, "rule_files": ["rules.yaml"]}
    (tmp_path / "prometheus.yml").write_text(json.dumps(configuration))
    port = free_port()
    argv = ["prometheus", f"--config.file={tmp_path}/prometheus.yml", f"--storage.tsdb.path={tmp_path}/data"]
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen([*argv, f"--web.listen-address=127.0.0.1:{port}"], stdout=log, stderr=log)
    try:
        assert wait_until(lambda: is_ready(port), 60), (tmp_path / "log").read_text()
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(30)


@pytest.mark.skipif(not shutil.which("prometheus"), reason="needs prometheus (Debian: prometheus)")
def test_an_alert_becomes_an_alarm_and_ends(root: Root, address: str, webhook: Webhook) -> None:
    alerts.choose(root, address)
    assert wait_until(lambda: len(list(alerts.firing(root))) == 2, 60)
    assert sorted((d.what, d.state, d.detail) for d in alerts.firing(root)) == [
        ("app shop", "broken", "PushrodErrorsFast: 0.5 of the requests failed"),
        ("prometheus", "warning", "Mine: a rule of the owner's"),
    ]
    alarm = Alarm(root)
    alarm.set(webhook.url)
    for _ in range(2):
        assert alarm.check(alerts.firing(root)) == []
    alerts.choose(root, "")
    assert alarm.check(alerts.firing(root)) == []
    assert sorted(webhook.states()) == [
        ("over", "app shop"),
        ("over", "prometheus"),
        ("wrong", "app shop"),
        ("wrong", "prometheus"),
    ]


def test_a_prometheus_that_does_not_answer(root: Root) -> None:
    with pytest.raises(HostError, match="no Prometheus answers"):
        alerts.choose(root, "http://127.0.0.1:1")
    assert list(alerts.firing(root)) == []
    (root.path / "alarm").mkdir(parents=True)
    (root.path / "alarm" / "prometheus.json").write_text('{"url": "http://127.0.0.1:1"}')
    (gone,) = alerts.firing(root)
    assert (gone.what, gone.state) == ("prometheus", "broken")
    (root.path / "alarm" / "prometheus.json").write_text("{")
    (damaged,) = alerts.firing(root)
    assert damaged.state == "broken"


def test_an_answer_of_something_else(root: Root, webhook: Webhook) -> None:
    """The webhook answers GET with 200 and no body."""
    with pytest.raises(HostError, match="no Prometheus answers"):
        alerts.choose(root, webhook.url.partition("/hook")[0])


@pytest.mark.parametrize(
    "url", ["", "ftp://x", "http://", "http://a:b@host/", "http://host/?x=1", "127.0.0.1:9090"]
)
def test_other_texts_are_no_address(root: Root, url: str) -> None:
    if url:
        with pytest.raises(HostError, match="not the address"):
            alerts.choose(root, url)
    assert not (root.path / "alarm" / "prometheus.json").exists()


def test_the_verb(root: Root) -> None:
    argv = ["--root", str(root.path), "host", "alarm", "prometheus", "off"]
    done = CliRunner().invoke(cli, argv, catch_exceptions=False, standalone_mode=False)
    assert done.output == "alerts of no Prometheus are reported\n"


def test_what_is_left_out_is_a_rule() -> None:
    groups = yaml.safe_load(prometheus.rules())["groups"]
    assert {
        rule["alert"] for group in groups for rule in group["rules"] if "alert" in rule
    } >= alerts.REPEATED


def test_a_figure_that_changes_its_form_is_the_same_alarm(root: Root) -> None:
    alarm = Alarm(root)
    for figure in ("59m 3s", "1h 0m 4s", "2d 0h 0m 1s", "2.5%", "12%"):
        alarm.check([Diagnostic("prometheus", "broken", f"Old: {figure.rstrip('%')} old", "")])
    assert len(alarm.open()) == 1
