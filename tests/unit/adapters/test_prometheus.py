"""The rules, as promtool evaluates them: each alert fires when it should, and is silent when it should be."""

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml

from pushrod.adapters import prometheus
from pushrod.adapters.prometheus import Target

pytestmark = pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed")

DAY = 86400
APP = {"app": "shop"}


class Case(NamedTuple):
    """Series by name (promtool's notation, one sample a minute) with which an alert fires after `minutes`, and those
    with which it does not; `labels` and `summary` are what it then has."""

    alert: str
    severity: str
    minutes: int
    fires: dict[str, str]
    silent: dict[str, str]
    summary: str
    labels: dict[str, str] = APP


def single(
    alert: str,
    severity: str,
    minutes: int,
    series: str,
    fires: str,
    silent: str,
    summary: str,
    labels: dict[str, str] = APP,
) -> Case:
    """A case of one series, with two courses of its values."""
    return Case(alert, severity, minutes, {series: fires}, {series: silent}, summary, labels)


def requests(bad: int, good: int) -> dict[str, str]:
    return {
        'pushrod_http_requests_total{app="shop",route="/",method="GET",status="5xx"}': f"0+{bad}x600",
        'pushrod_http_requests_total{app="shop",route="/",method="GET",status="2xx"}': f"0+{good}x600",
    }


def durations(slow: int, quick: int) -> dict[str, str]:
    return {
        'pushrod_http_request_duration_seconds_bucket{app="shop",route="/",le="1.0"}': f"0+{quick}x600",
        'pushrod_http_request_duration_seconds_count{app="shop",route="/"}': f"0+{slow + quick}x600",
    }


RUNS = {
    'pushrod_app_up{app="shop"}': "1x600",
    'pushrod_instances_required{app="shop",service="web"}': "2x600",
}
TAKEN_DOWN = {'pushrod_app_up{app="shop"}': "0x600"}
SIZE = {"pushrod_host_disk_size_bytes": "100x600"}
MEMORY = {"pushrod_host_memory_size_bytes": "100x600"}
PERIOD = {'pushrod_backup_period_seconds{app="shop"}': "3600x600"}
COPIED = {'pushrod_backup_copy_period_seconds{app="shop"}': "3600x600"}
HERE = {"instance": "127.0.0.1:9187"}

CASES = [
    Case(
        "PushrodAppDown",
        "critical",
        5,
        RUNS | TAKEN_DOWN,
        TAKEN_DOWN,
        "app shop: not everything of its live release runs",
    ),
    Case("PushrodAppDown", "critical", 1, RUNS | TAKEN_DOWN | {"x": "1"}, RUNS, ""),
    single(
        "PushrodAppUnreadable",
        "critical",
        10,
        'pushrod_app_readable{app="shop"}',
        "0x600",
        "1x600",
        "app shop: its state cannot be read; pushrod doctor --repair",
    ),
    Case(
        "PushrodErrorsFast",
        "critical",
        120,
        requests(2, 98),
        requests(1, 99),
        "app shop: 2% of the requests of the last hour failed",
    ),
    Case(
        "PushrodErrorsSlow",
        "warning",
        500,
        requests(1, 99),
        requests(1, 199),
        "app shop: 1% of the requests of the last 6 hours failed",
    ),
    Case(
        "PushrodLatencyFast",
        "critical",
        120,
        durations(20, 80),
        durations(10, 90),
        "app shop: 20% of the requests of the last hour took more than a second",
    ),
    Case(
        "PushrodLatencySlow",
        "warning",
        500,
        durations(10, 90),
        durations(5, 95),
        "app shop: 10% of the requests of the last 6 hours took more than a second",
    ),
    single(
        "PushrodFlapping",
        "warning",
        60,
        'pushrod_watchdog_repairs_total{app="shop"}',
        "0+1x600",
        "0 0 1 2 2x600",
        "app shop: the watchdog repaired it 60 times within an hour",
    ),
    Case(
        "PushrodDeploymentFailed",
        "warning",
        20,
        {'pushrod_deployments_total{app="shop",result="failed"}': "0x10 1x600"},
        {'pushrod_deployments_total{app="shop",result="live"}': "0x10 1x600"},
        "app shop: a deployment failed; the release before it serves",
        {"app": "shop", "result": "failed"},
    ),
    single(
        "PushrodDeploymentStuck",
        "warning",
        70,
        'pushrod_deployment_under_way{app="shop"}',
        "1x600",
        "1x30 0x600",
        "app shop: a deployment has been under way for an hour",
    ),
    single(
        "PushrodCertificateEnds",
        "warning",
        120,
        'pushrod_certificate_end_timestamp_seconds{app="shop"}',
        f"{7 * DAY + 7200}x600",
        f"{30 * DAY}x600",
        "app shop: its certificate ends in 7d 0h 0m 0s",
    ),
    Case(
        "PushrodBackupLate",
        "critical",
        180,
        PERIOD | {'pushrod_backup_last_timestamp_seconds{app="shop"}': "0x600"},
        PERIOD | {'pushrod_backup_last_timestamp_seconds{app="shop"}': "7200x600"},
        "app shop: the last backup is 3h 0m 0s old",
    ),
    Case(
        "PushrodBackupMissing",
        "critical",
        180,
        PERIOD,
        PERIOD | {'pushrod_backup_last_timestamp_seconds{app="shop"}': "7200x600"},
        "app shop: there is no backup",
    ),
    Case(
        "PushrodBackupUnproven",
        "critical",
        300,
        COPIED | {'pushrod_backup_proven_timestamp_seconds{app="shop"}': "0x600"},
        COPIED | {'pushrod_backup_proven_timestamp_seconds{app="shop"}': "14400x600"},
        "app shop: no copy of its backups in the vault was proved in time",
    ),
    Case(
        "PushrodBackupUnproven",
        "critical",
        180,
        COPIED,
        {'pushrod_backup_last_timestamp_seconds{app="shop"}': "0x600"},
        "app shop: no copy of its backups in the vault was proved in time",
    ),
    single(
        "PushrodWalStuck",
        "critical",
        30,
        'pushrod_wal_copied_timestamp_seconds{app="shop",store="db"}',
        "0x600",
        "0+60x600",
        "app shop: the log of db has not been copied for 30m 0s",
        {"app": "shop", "store": "db"},
    ),
    Case(
        "PushrodMetricsMissing",
        "critical",
        10,
        {'up{job="pushrod",instance="here"}': "0x600", 'pushrod_build_info{version="1"}': "1x600"},
        {'up{job="pushrod",instance="here"}': "1x600", 'pushrod_build_info{version="1"}': "1x600"},
        "pushrod's metrics cannot be scraped",
        {"job": "pushrod", "instance": "here"},
    ),
    single(
        "PushrodMetricsOld",
        "critical",
        20,
        "pushrod_collected_timestamp_seconds",
        "0x600",
        "0+60x600",
        "pushrod's metrics are 20m 0s old: does pushrod-watch.timer run?",
        {},
    ),
    Case(
        "PushrodDiskFull",
        "critical",
        10,
        SIZE | {"pushrod_host_disk_free_bytes": "4x600"},
        SIZE | {"pushrod_host_disk_free_bytes": "6x600"},
        "4% of the disk is free",
        {},
    ),
    Case(
        "PushrodDiskFilling",
        "warning",
        400,
        {
            "pushrod_host_disk_size_bytes": "10000x600",
            "pushrod_host_disk_free_bytes": "2900-4x600",
        },
        {
            "pushrod_host_disk_size_bytes": "10000x600",
            "pushrod_host_disk_free_bytes": "2900-1x600",
        },
        "at this rate the disk is full within a day",
        {},
    ),
    Case(
        "PushrodMemoryLow",
        "warning",
        20,
        MEMORY | {"pushrod_host_memory_available_bytes": "3x600"},
        MEMORY | {"pushrod_host_memory_available_bytes": "20x600"},
        "3% of the memory is available",
        {},
    ),
    single(
        "AppSeriesGrow",
        "warning",
        90,
        'scrape_series_added{job="apps",app="shop"}',
        "2000x600",
        "200x600",
        "app shop: its metrics began 122k series within an hour; a label has too many values",
    ),
    Case(
        "PostgresqlConnections",
        "warning",
        10,
        {
            'pg_stat_activity_count{instance="127.0.0.1:9187",state="active"}': "60x600",
            'pg_stat_activity_count{instance="127.0.0.1:9187",state="idle"}': "30x600",
            'pg_settings_max_connections{instance="127.0.0.1:9187"}': "100x600",
        },
        {
            'pg_stat_activity_count{instance="127.0.0.1:9187",state="active"}': "60x600",
            'pg_settings_max_connections{instance="127.0.0.1:9187"}': "100x600",
        },
        "PostgreSQL 127.0.0.1:9187: 90% of its connections are taken",
        HERE,
    ),
    Case(
        "RedisMemory",
        "warning",
        10,
        {
            'redis_memory_used_bytes{instance="127.0.0.1:9187"}': "95x600",
            'redis_memory_max_bytes{instance="127.0.0.1:9187"}': "100x600",
        },
        {
            'redis_memory_used_bytes{instance="127.0.0.1:9187"}': "95x600",
            'redis_memory_max_bytes{instance="127.0.0.1:9187"}': "0x600",
        },
        "Redis 127.0.0.1:9187: 95% of its memory is taken",
        HERE,
    ),
    Case(
        "ClockOff",
        "warning",
        20,
        {'node_timex_offset_seconds{instance="127.0.0.1:9187"}': "-2x600"},
        {
            'node_timex_offset_seconds{instance="127.0.0.1:9187"}': "0x600",
            'node_timex_sync_status{instance="127.0.0.1:9187"}': "1x600",
        },
        "the clock of 127.0.0.1:9187 is off, or not synchronised",
        HERE,
    ),
]


def promtool(tmp_path: Path, tests: list[dict[str, Any]], text: str = "") -> subprocess.CompletedProcess[str]:
    (tmp_path / "rules.yaml").write_text(text or prometheus.rules())
    document = {"rule_files": ["rules.yaml"], "evaluation_interval": "1m", "tests": tests}
    (tmp_path / "test.yaml").write_text(json.dumps(document))  # JSON is YAML
    return subprocess.run(
        ["promtool", "test", "rules", "test.yaml"], cwd=tmp_path, capture_output=True, text=True, timeout=60
    )


def example(case: Case, series: dict[str, str], *, fires: bool) -> dict[str, Any]:
    expected = {
        "exp_labels": {"severity": case.severity, **case.labels},
        "exp_annotations": {"summary": case.summary},
    }
    return {
        "name": case.alert,
        "interval": "1m",
        "input_series": [{"series": name, "values": values} for name, values in series.items()],
        "alert_rule_test": [
            {
                "eval_time": f"{case.minutes}m",
                "alertname": case.alert,
                "exp_alerts": [expected] if fires else [],
            }
        ],
    }


@pytest.mark.slow
def test_the_rules_are_valid(tmp_path: Path) -> None:
    (tmp_path / "rules.yaml").write_text(prometheus.rules())
    done = subprocess.run(
        ["promtool", "check", "rules", tmp_path / "rules.yaml"], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.slow
def test_each_alert_fires_when_it_should_and_only_then(tmp_path: Path) -> None:
    tests = [example(case, case.fires, fires=True) for case in CASES if case.summary]
    tests += [example(case, case.fires, fires=False) for case in CASES if not case.summary]  # too early
    tests += [example(case, case.silent, fires=False) for case in CASES]
    done = promtool(tmp_path, tests)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_alert_has_a_case() -> None:
    groups = yaml.safe_load(prometheus.rules())["groups"]
    alerts = {rule["alert"] for group in groups for rule in group["rules"] if "alert" in rule}
    assert alerts == {case.alert for case in CASES}


@pytest.mark.slow
def test_a_rule_that_never_fires_is_noticed(tmp_path: Path) -> None:
    case = next(case for case in CASES if case.alert == "PushrodDiskFull")
    broken = prometheus.rules().replace("< 0.05\n        for: 5m", "< 0.01\n        for: 5m")
    assert promtool(tmp_path, [example(case, case.fires, fires=True)], broken).returncode != 0


def test_targets() -> None:
    (group,) = json.loads(prometheus.targets([Target("127.64.0.1:9000", "/metrics", {"app": "shop"})]))
    assert group == {
        "targets": ["127.64.0.1:9000"],
        "labels": {"__metrics_path__": "/metrics", "app": "shop"},
    }
