"""The metric families: the name, help and labels of every figure. Pure.

Names and units follow Prometheus's conventions (prometheus.io/docs/practices/naming). Each label's values are
bounded: apps, services, steps, and what `requests.Key` allows.
"""

from collections.abc import Iterable, Iterator, Sequence

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.openmetrics.exposition import generate_latest
from prometheus_client.registry import Collector

from pushrod.core.values import Value
from pushrod.observe.metrics.deployments import Step
from pushrod.observe.metrics.requests import BOUNDS, Counts


class AppFacts(Value, frozen=True):
    """What is known of one app. Times are seconds since 1970, 0 for none; `instances` are the running and the
    required instances of each service."""

    app: str
    up: bool = False
    readable: bool = True
    release: int = 0
    live_since: float = 0.0
    maintenance: bool = False
    under_way: bool = False
    instances: dict[str, tuple[int, int]] = {}
    outcomes: tuple[int, int] = (0, 0)
    steps: tuple[Step, ...] = ()
    repairs: int = 0
    certificate_ends: float = 0.0
    last_backup: float = 0.0
    backup_period: float = 0.0
    store_sizes: dict[str, int] = {}
    backup_sizes: dict[str, int] = {}
    last_proof: float = 0.0
    copy_period: float = 0.0
    logs: dict[str, float] = {}
    waiting: int = 0


class HostFacts(Value, frozen=True):
    """What is known of the machine, in bytes; `now` is the time of all this."""

    version: str
    disk_size: int
    disk_free: int
    memory_size: int
    memory_available: int
    now: float = 0.0


def families(host: HostFacts, apps: Sequence[AppFacts], counts: Counts) -> Iterator[Metric]:
    """Every family, in a fixed order."""
    yield _info(host)
    yield from _machine(host)
    yield from _apps(apps)
    yield from _backups([one for one in apps if one.readable])
    yield from _traffic(counts)


def render(made: Iterable[Metric]) -> str:
    """The families in the OpenMetrics text format."""
    return bytes(generate_latest(registry(made))).decode()  # type: ignore[no-untyped-call]


def registry(made: Iterable[Metric]) -> CollectorRegistry:
    """The families as prometheus_client takes them."""
    collected = CollectorRegistry()
    collected.register(_Collected(list(made)))
    return collected


class _Collected(Collector):
    def __init__(self, made: list[Metric]) -> None:
        self._made = made

    def collect(self) -> Iterable[Metric]:
        """The families."""
        return self._made


def _info(host: HostFacts) -> Metric:
    family = GaugeMetricFamily("pushrod_build_info", "The version of pushrod.", labels=["version"])
    family.add_metric([host.version], 1)
    return family


def _machine(host: HostFacts) -> Iterator[Metric]:
    for name, text, value in (
        ("disk_size", "Size of the file system with pushrod's root.", host.disk_size),
        ("disk_free", "Free space of that file system for unprivileged users.", host.disk_free),
        ("memory_size", "Memory of the machine.", host.memory_size),
        ("memory_available", "Memory available to new programs without swapping.", host.memory_available),
    ):
        yield GaugeMetricFamily(f"pushrod_host_{name}_bytes", text, value=value)
    yield GaugeMetricFamily(
        "pushrod_collected_timestamp_seconds", "Time at which all this was collected.", value=host.now
    )


def _apps(apps: Sequence[AppFacts]) -> Iterator[Metric]:
    readable = [one for one in apps if one.readable]
    yield _gauge("app_readable", "Whether the app's state can be read.", ((a.app, a.readable) for a in apps))
    yield _gauge(
        "app_up", "Whether a release is live and everything of it runs.", ((a.app, a.up) for a in readable)
    )
    yield _gauge("release", "Number of the live release.", ((a.app, a.release) for a in readable))
    yield _gauge(
        "release_live_timestamp_seconds",
        "Time at which the live release went live.",
        ((a.app, a.live_since) for a in readable if a.live_since),
    )
    yield _gauge(
        "maintenance",
        "Whether the edge answers instead of the app.",
        ((a.app, a.maintenance) for a in readable),
    )
    yield _gauge(
        "deployment_under_way",
        "Whether a command changes the app's release, or has left that unfinished.",
        ((a.app, a.under_way) for a in readable),
    )
    yield _gauge(
        "certificate_end_timestamp_seconds",
        "End of the certificate in use.",
        ((a.app, a.certificate_ends) for a in readable if a.certificate_ends),
    )
    yield _gauge(
        "deployments_waiting",
        "Commands that wait for another one of the app to end.",
        ((a.app, a.waiting) for a in readable),
    )
    yield from _instances(readable)
    yield from _deployments(readable)
    repairs = CounterMetricFamily("pushrod_watchdog_repairs", "Repairs by the watchdog.", labels=["app"])
    yield _filled(repairs, ((a.app, a.repairs) for a in readable))


def _backups(apps: Sequence[AppFacts]) -> Iterator[Metric]:
    for name, text, values in (
        ("last_timestamp", "Time of the last backup.", ((a.app, a.last_backup) for a in apps)),
        ("period", "Time between two backups.", ((a.app, a.backup_period) for a in apps)),
        (
            "proven_timestamp",
            "Time at which a copy in the vault was last proved.",
            ((a.app, a.last_proof) for a in apps),
        ),
        ("copy_period", "Time between two copies in the vault.", ((a.app, a.copy_period) for a in apps)),
    ):
        yield _gauge(f"backup_{name}_seconds", text, ((app, value) for app, value in values if value))
    labels = ["app", "store"]
    sizes = GaugeMetricFamily(
        "pushrod_backup_size_bytes", "Size of each store in the last backup.", labels=labels
    )
    logs = GaugeMetricFamily(
        "pushrod_wal_copied_timestamp_seconds",
        "Time up to which the store's log is copied, for recovery to a point in time.",
        labels=labels,
    )
    taken = GaugeMetricFamily(
        "pushrod_store_size_bytes", "What a running store takes, by its own count.", labels=labels
    )
    for one in apps:
        for store, size in one.store_sizes.items():
            taken.add_metric([one.app, store], size)
        for store, size in one.backup_sizes.items():
            sizes.add_metric([one.app, store], size)
        for store, at in one.logs.items():
            logs.add_metric([one.app, store], at)
    yield taken
    yield sizes
    yield logs


def _gauge(name: str, text: str, values: Iterable[tuple[str, float]]) -> Metric:
    return _filled(GaugeMetricFamily(f"pushrod_{name}", text, labels=["app"]), values)


def _filled(
    family: CounterMetricFamily | GaugeMetricFamily, values: Iterable[tuple[str, float]]
) -> CounterMetricFamily | GaugeMetricFamily:
    """A family with one label, the app, and its values."""
    for app, value in values:
        family.add_metric([app], float(value))
    return family


def _instances(apps: Sequence[AppFacts]) -> Iterator[Metric]:
    labels = ["app", "service"]
    running = GaugeMetricFamily(
        "pushrod_instances_running", "Instances that run, including those still starting.", labels=labels
    )
    required = GaugeMetricFamily("pushrod_instances_required", "Instances that should run.", labels=labels)
    for one in apps:
        for service, (there, due) in one.instances.items():
            running.add_metric([one.app, service], there)
            required.add_metric([one.app, service], due)
    yield running
    yield required


def _deployments(apps: Sequence[AppFacts]) -> Iterator[Metric]:
    ended = CounterMetricFamily(
        "pushrod_deployments", "Releases that went live or failed.", labels=["app", "result"]
    )
    steps = GaugeMetricFamily(
        "pushrod_deployment_step_seconds",
        "Duration of each step of the last deployment that went live.",
        labels=["app", "step"],
    )
    for one in apps:
        for result, count in zip(("live", "failed"), one.outcomes, strict=True):
            ended.add_metric([one.app, result], count)
        for step in one.steps:
            steps.add_metric([one.app, step.name], step.took)
    yield ended
    yield steps


def _traffic(counts: Counts) -> Iterator[Metric]:
    requests = CounterMetricFamily(
        "pushrod_http_requests",
        "Requests to the edge, by the app's route that they matched.",
        labels=["app", "route", "method", "status"],
    )
    for key, count in sorted(counts.by_key()):
        requests.add_metric([key.app, key.route, key.method, key.status], count)
    yield requests
    durations = HistogramMetricFamily(
        "pushrod_http_request_duration_seconds",
        "Time from a request's first byte to the last byte of its answer.",
        labels=["app", "route"],
    )
    for app, routes in sorted(counts.latency.items()):
        for route, latency in sorted(routes.items()):
            durations.add_metric([app, route], _cumulative(latency.buckets), latency.total)
    yield durations
    for name, text, values in (
        ("http_response_bytes", "Bytes of answers' bodies.", counts.sent),
        ("http_upstream_errors", "Instances that did not answer a request.", counts.upstream_errors),
    ):
        yield _filled(CounterMetricFamily(f"pushrod_{name}", text, labels=["app"]), sorted(values.items()))
    yield GaugeMetricFamily(
        "pushrod_access_log_unread_bytes",
        "Bytes of the access log that are not counted yet.",
        value=counts.unread,
    )


def _cumulative(buckets: Sequence[int]) -> list[tuple[str, float]]:
    total, rows = 0, []
    for bound, count in zip((*map(repr, BOUNDS), "+Inf"), buckets, strict=True):
        total += count
        rows.append((bound, float(total)))
    return rows
