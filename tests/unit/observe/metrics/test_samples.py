"""The families are valid in both text formats, whatever their labels hold."""

import shutil
import subprocess
from collections.abc import Sequence

import pytest
from prometheus_client import generate_latest
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from pushrod.observe.metrics.deployments import Step
from pushrod.observe.metrics.requests import Counts, Latency
from pushrod.observe.metrics.samples import AppFacts, HostFacts, families, registry, render

HOST = HostFacts("0.1.0", 100, 50, 20, 10, 1.7e9)
FULL = AppFacts(
    "shop",
    up=True,
    release=7,
    live_since=1.5e9,
    instances={"web": (1, 2)},
    outcomes=(3, 1),
    steps=(Step("start", 0.5),),
    repairs=2,
    certificate_ends=1.6e9,
    last_backup=1.4e9,
    backup_period=3600.0,
    store_sizes={"postgres": 2000},
    backup_sizes={"db": 12},
    last_proof=1.3e9,
    copy_period=86400.0,
    logs={"db": 1.2e9},
    waiting=2,
)
ODD = '/a "quoted" \\ path\nand {more}'


def traffic() -> Counts:
    return Counts(
        requests={"shop": {f"GET 2xx {ODD}": 4, "other 5xx /": 1}},
        latency={"shop": {ODD: Latency([1, 2, *[0] * 10, 1], 3.5)}},
        sent={"shop": 99},
        upstream_errors={"shop": 1},
    )


def values(apps: Sequence[AppFacts], counts: Counts) -> dict[tuple[str, ...], float]:
    """Every sample, by its name and its labels' values."""
    parsed = text_string_to_metric_families(render(families(HOST, apps, counts)))  # type: ignore[no-untyped-call]
    return {(s.name, *s.labels.values()): s.value for family in parsed for s in family.samples}


def test_every_figure_of_an_app_is_there() -> None:
    seen = values([FULL], traffic())
    assert seen["pushrod_app_up", "shop"] == 1
    assert seen["pushrod_release", "shop"] == 7
    assert seen["pushrod_instances_running", "shop", "web"] == 1
    assert seen["pushrod_instances_required", "shop", "web"] == 2
    assert seen["pushrod_deployments_total", "shop", "failed"] == 1
    assert seen["pushrod_deployment_step_seconds", "shop", "start"] == 0.5
    assert seen["pushrod_watchdog_repairs_total", "shop"] == 2
    assert seen["pushrod_certificate_end_timestamp_seconds", "shop"] == 1.6e9
    assert seen["pushrod_backup_last_timestamp_seconds", "shop"] == 1.4e9
    assert seen["pushrod_backup_period_seconds", "shop"] == 3600
    assert seen["pushrod_backup_size_bytes", "shop", "db"] == 12
    assert seen["pushrod_backup_proven_timestamp_seconds", "shop"] == 1.3e9
    assert seen["pushrod_backup_copy_period_seconds", "shop"] == 86400
    assert seen["pushrod_wal_copied_timestamp_seconds", "shop", "db"] == 1.2e9
    assert seen["pushrod_deployments_waiting", "shop"] == 2
    assert seen["pushrod_host_disk_free_bytes",] == 50
    assert seen["pushrod_collected_timestamp_seconds",] == 1.7e9


def test_labels_with_quotes_and_newlines_come_back_unchanged() -> None:
    seen = values([FULL], traffic())
    assert seen["pushrod_http_requests_total", "shop", "GET", ODD, "2xx"] == 4


def test_a_histogram_is_cumulative() -> None:
    seen = values([FULL], traffic())
    name = "pushrod_http_request_duration_seconds"
    buckets = [v for k, v in seen.items() if k[0] == f"{name}_bucket"]
    assert buckets == [1, *[3] * 11, 4]
    assert seen[f"{name}_count", "shop", ODD] == 4
    assert seen[f"{name}_sum", "shop", ODD] == 3.5


def test_an_unreadable_app_is_reported_as_such_only() -> None:
    seen = values([AppFacts("shop", readable=False)], Counts())
    assert {k: v for k, v in seen.items() if "shop" in k} == {("pushrod_app_readable", "shop"): 0}


def test_an_app_without_a_time_has_no_such_sample() -> None:
    seen = values([AppFacts("shop")], Counts())
    assert not [k for k in seen if "timestamp" in k[0] and "shop" in k]


@pytest.mark.skipif(not shutil.which("promtool"), reason="needs promtool (Debian: prometheus)")
def test_promtool_finds_nothing_to_complain_about() -> None:
    text = generate_latest(registry(families(HOST, [FULL], traffic())))
    done = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True, timeout=30)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
