"""What the dashboards show: rows of panels with queries for Prometheus. Pure.

`$app` and `$instance` are chosen on the dashboard; `$__rate_interval` is Grafana's own.
"""

from collections.abc import Mapping
from typing import NamedTuple

_RATE = "[$__rate_interval]"
_IN = '{app="$app"}'
_AT = '{instance="$instance"}'


class Panel(NamedTuple):
    """A plot: its title, its unit (Grafana's name of it), and its queries by their legends."""

    title: str
    unit: str
    queries: dict[str, str]


class Dashboard(NamedTuple):
    """A dashboard: its title, the variable that is chosen on it with the query of its values (empty: none), what
    marks deployments in every plot, and the panels of each row."""

    title: str
    variable: str
    values: str
    deployments: str
    rows: Mapping[str, tuple[Panel, ...]]


def _quantiles(metric: str) -> dict[str, str]:
    rate = f"sum by (le) (rate({metric}_bucket{_IN}{_RATE}))"
    return {f"p{share * 100:g}": f"histogram_quantile({share}, {rate})" for share in (0.5, 0.95, 0.99)}


def _share(part: str, whole: str) -> str:
    """A share of a rate; 0 while there is no such part."""
    return f"(sum(rate({part}{_RATE})) or vector(0)) / sum(rate({whole}{_RATE}))"


def _ratio(part: str, other: str) -> str:
    """The share of one rate in the sum of two."""
    first, second = f"sum(rate({part}{_AT}{_RATE}))", f"sum(rate({other}{_AT}{_RATE}))"
    return f"{first} / ({first} + {second})"


_HOST = {
    "Apps": (
        Panel("Apps", "short", {"up": "sum(pushrod_app_up)", "all": "count(pushrod_app_readable)"}),
        Panel(
            "Requests by app",
            "reqps",
            {"{{app}}": f"sum by (app) (rate(pushrod_http_requests_total{_RATE}))"},
        ),
        Panel(
            "Deployments within a day",
            "short",
            {"{{app}} {{result}}": "increase(pushrod_deployments_total[1d])"},
        ),
        Panel("Commands that wait", "short", {"{{app}}": "pushrod_deployments_waiting"}),
        Panel("Alerts", "short", {"firing": 'count(ALERTS{alertstate="firing"}) or vector(0)'}),
    ),
    "Machine": (
        Panel(
            "Processors",
            "percentunit",
            {
                "{{mode}}": f'sum by (mode) (rate(node_cpu_seconds_total{{mode!="idle"}}{_RATE}))'
                ' / scalar(count(node_cpu_seconds_total{mode="idle"}))'
            },
        ),
        Panel("Load", "short", {"1 min": "node_load1", "15 min": "node_load15"}),
        Panel(
            "Memory",
            "bytes",
            {"available": "pushrod_host_memory_available_bytes", "size": "pushrod_host_memory_size_bytes"},
        ),
        Panel(
            "Disk",
            "bytes",
            {"free": "pushrod_host_disk_free_bytes", "size": "pushrod_host_disk_size_bytes"},
        ),
        Panel(
            "Disk traffic",
            "Bps",
            {
                "read": f"sum(rate(node_disk_read_bytes_total{_RATE}))",
                "written": f"sum(rate(node_disk_written_bytes_total{_RATE}))",
            },
        ),
        Panel(
            "Network",
            "Bps",
            {
                "received": f'sum(rate(node_network_receive_bytes_total{{device!="lo"}}{_RATE}))',
                "sent": f'sum(rate(node_network_transmit_bytes_total{{device!="lo"}}{_RATE}))',
            },
        ),
        Panel(
            "Waiting for",
            "percentunit",
            {
                "processors": f"rate(node_pressure_cpu_waiting_seconds_total{_RATE})",
                "memory": f"rate(node_pressure_memory_waiting_seconds_total{_RATE})",
                "disks": f"rate(node_pressure_io_waiting_seconds_total{_RATE})",
            },
        ),
        Panel("Clock", "s", {"offset": "abs(node_timex_offset_seconds)"}),
    ),
    "Collection": (
        Panel("Age of the metrics", "s", {"age": "time() - pushrod_collected_timestamp_seconds"}),
        Panel("Access log not counted yet", "bytes", {"unread": "pushrod_access_log_unread_bytes"}),
        Panel("Targets that answer", "percentunit", {"{{job}}": "avg by (job) (up)"}),
        Panel("Series", "short", {"held": "prometheus_tsdb_head_series"}),
    ),
}

_APP = {
    "Requests of $app": (
        Panel(
            "Requests",
            "reqps",
            {"{{status}}": f"sum by (status) (rate(pushrod_http_requests_total{_IN}{_RATE}))"},
        ),
        Panel(
            "Errors",
            "percentunit",
            {
                "5xx": _share(
                    'pushrod_http_requests_total{app="$app",status="5xx"}',
                    f"pushrod_http_requests_total{_IN}",
                )
            },
        ),
        Panel("Durations", "s", _quantiles("pushrod_http_request_duration_seconds")),
        Panel(
            "Requests by route",
            "reqps",
            {
                "{{route}} {{method}}": f"sum by (route, method) (rate(pushrod_http_requests_total{_IN}{_RATE}))"
            },
        ),
        Panel("Bytes sent", "Bps", {"sent": f"rate(pushrod_http_response_bytes_total{_IN}{_RATE})"}),
        Panel(
            "Instances that did not answer",
            "reqps",
            {"errors": f"sum(rate(pushrod_http_upstream_errors_total{_IN}{_RATE})) or vector(0)"},
        ),
    ),
    "Releases of $app": (
        Panel("Live release", "none", {"release": f"pushrod_release{_IN}"}),
        Panel(
            "Instances",
            "short",
            {
                "{{service}} running": f"pushrod_instances_running{_IN}",
                "{{service}} required": f"pushrod_instances_required{_IN}",
            },
        ),
        Panel("Steps of the last deployment", "s", {"{{step}}": f"pushrod_deployment_step_seconds{_IN}"}),
        Panel(
            "Deployments within a day",
            "short",
            {"{{result}}": f"increase(pushrod_deployments_total{_IN}[1d])"},
        ),
        Panel("Commands that wait", "short", {"waiting": f"pushrod_deployments_waiting{_IN}"}),
        Panel(
            "Repairs by the watchdog within an hour",
            "short",
            {"repairs": f"increase(pushrod_watchdog_repairs_total{_IN}[1h])"},
        ),
    ),
    "Backups and certificate of $app": (
        Panel("Age of the last backup", "s", {"age": f"time() - pushrod_backup_last_timestamp_seconds{_IN}"}),
        Panel(
            "Age of the last proof", "s", {"age": f"time() - pushrod_backup_proven_timestamp_seconds{_IN}"}
        ),
        Panel("Size of the stores", "bytes", {"{{store}}": f"pushrod_store_size_bytes{_IN}"}),
        Panel("Size of the last backup", "bytes", {"{{store}}": f"pushrod_backup_size_bytes{_IN}"}),
        Panel("Log not copied", "s", {"{{store}}": f"time() - pushrod_wal_copied_timestamp_seconds{_IN}"}),
        Panel(
            "Certificate ends in", "s", {"left": f"pushrod_certificate_end_timestamp_seconds{_IN} - time()"}
        ),
    ),
}

_TEMPLATE = {
    "Requests that $app has answered": (
        Panel(
            "By route",
            "reqps",
            {"{{route}} {{method}}": f"sum by (route, method) (rate(http_requests_total{_IN}{_RATE}))"},
        ),
        Panel(
            "By status", "reqps", {"{{status}}": f"sum by (status) (rate(http_requests_total{_IN}{_RATE}))"}
        ),
        Panel("Durations", "s", _quantiles("http_request_seconds")),
    ),
    "Cache and queue": (
        Panel(
            "Hit rate of the cache",
            "percentunit",
            {
                "{{kind}}": f'sum by (kind) (rate(cache_reads_total{{app="$app",result="hit"}}{_RATE}))'
                f" / sum by (kind) (rate(cache_reads_total{_IN}{_RATE}))"
            },
        ),
        Panel(
            "Loads from PostgreSQL",
            "reqps",
            {"{{kind}}": f"sum by (kind) (rate(cache_loads_total{_IN}{_RATE}))"},
        ),
        Panel("Queue", "short", {"due": f"max(outbox_due{_IN})", "failed": f"max(outbox_dead{_IN})"}),
        Panel("Oldest in the queue", "s", {"due for": f"max(outbox_late_seconds{_IN})"}),
    ),
    "Instances": (
        Panel("Memory", "bytes", {"{{instance}}": f"process_resident_memory_bytes{_IN}"}),
        Panel("Processors", "short", {"{{instance}}": f"rate(process_cpu_seconds_total{_IN}{_RATE})"}),
        Panel("Open files", "short", {"{{instance}}": f"process_open_fds{_IN}"}),
    ),
}

_POSTGRES = {
    "$instance": (
        Panel(
            "Connections",
            "short",
            {
                "{{state}}": f"sum by (state) (pg_stat_activity_count{_AT})",
                "most": f"max(pg_settings_max_connections{_AT})",
            },
        ),
        Panel(
            "Transactions",
            "ops",
            {
                "{{datname}}": f"sum by (datname) (rate(pg_stat_database_xact_commit{_AT}{_RATE}))",
                "{{datname}} rolled back": f"sum by (datname) (rate(pg_stat_database_xact_rollback{_AT}{_RATE}))",
            },
        ),
        Panel(
            "Blocks found in memory",
            "percentunit",
            {"share": _ratio("pg_stat_database_blks_hit", "pg_stat_database_blks_read")},
        ),
        Panel(
            "Rows",
            "ops",
            {
                word: f"sum(rate(pg_stat_database_tup_{word}{_AT}{_RATE}))"
                for word in ("fetched", "inserted", "updated", "deleted")
            },
        ),
        Panel("Size", "bytes", {"{{datname}}": f"pg_database_size_bytes{_AT}"}),
        Panel(
            "Longest transaction",
            "s",
            {"{{datname}}": f"max by (datname) (pg_stat_activity_max_tx_duration{_AT})"},
        ),
        Panel("Locks", "short", {"{{mode}}": f"sum by (mode) (pg_locks_count{_AT})"}),
        Panel("Deadlocks", "ops", {"{{datname}}": f"rate(pg_stat_database_deadlocks{_AT}{_RATE})"}),
        Panel("Temporary files", "Bps", {"{{datname}}": f"rate(pg_stat_database_temp_bytes{_AT}{_RATE})"}),
    ),
}

_REDIS = {
    "$instance": (
        Panel(
            "Memory",
            "bytes",
            {"used": f"redis_memory_used_bytes{_AT}", "most": f"redis_memory_max_bytes{_AT}"},
        ),
        Panel("Commands", "ops", {"processed": f"rate(redis_commands_processed_total{_AT}{_RATE})"}),
        Panel(
            "Keys found",
            "percentunit",
            {"share": _ratio("redis_keyspace_hits_total", "redis_keyspace_misses_total")},
        ),
        Panel("Clients", "short", {"connected": f"redis_connected_clients{_AT}"}),
        Panel("Keys", "short", {"{{db}}": f"redis_db_keys{_AT}"}),
        Panel(
            "Keys removed",
            "ops",
            {
                "evicted": f"rate(redis_evicted_keys_total{_AT}{_RATE})",
                "expired": f"rate(redis_expired_keys_total{_AT}{_RATE})",
            },
        ),
    ),
}

_APPS = "label_values(pushrod_app_readable, app)"
_ALL_DEPLOYMENTS = "changes(pushrod_release[1m]) > 0"
_OWN_DEPLOYMENTS = f"changes(pushrod_release{_IN}[1m]) > 0"

DASHBOARDS = {
    "host": Dashboard("pushrod: host", "", "", _ALL_DEPLOYMENTS, _HOST),
    "app": Dashboard("pushrod: app", "app", _APPS, _OWN_DEPLOYMENTS, _APP),
    "template": Dashboard("pushrod: the template's own metrics", "app", _APPS, _OWN_DEPLOYMENTS, _TEMPLATE),
    "postgres": Dashboard(
        "pushrod: PostgreSQL", "instance", "label_values(pg_up, instance)", _ALL_DEPLOYMENTS, _POSTGRES
    ),
    "redis": Dashboard(
        "pushrod: Redis", "instance", "label_values(redis_up, instance)", _ALL_DEPLOYMENTS, _REDIS
    ),
}
"""The dashboards by their names."""
