"""Collects the values of all metrics, and writes them."""

import contextlib
import datetime
import errno
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import msgspec

from pushrod import __version__
from pushrod.backups import catalogue, copies, wal
from pushrod.core.errors import PushrodError, contained
from pushrod.core.site import METRICS
from pushrod.core.values import ProcessState, Release
from pushrod.engines.protocols import Engine
from pushrod.ingress.certificates import Certificates
from pushrod.observe import status
from pushrod.observe.metrics import requests, sizes
from pushrod.observe.metrics.deployments import Outcomes, count, last_steps
from pushrod.observe.metrics.requests import Counts
from pushrod.observe.metrics.samples import AppFacts, HostFacts, families, render
from pushrod.releases import queue
from pushrod.state.apps import App, Root
from pushrod.state.releases import Snapshot
from pushrod.system import damaged_paths, files, locks


class _Kept(msgspec.Struct):
    """What is kept between two runs."""

    counts: Counts | None = None
    outcomes: dict[str, Outcomes] = msgspec.field(default_factory=dict)


def text(root: Root, engine: Engine) -> str:
    """All metrics of a root in the OpenMetrics text format; counters continue from the last run.

    An app that cannot be read is reported as such, and does not affect others.
    """
    return _collected(root, engine)[0]


_Live = dict[str, tuple[App, Release]]


def _collected(root: Root, engine: Engine) -> tuple[str, _Live]:
    """The text, and the apps that are up with their live releases."""
    apps = list(root.apps())
    with locks.lock(root.runtime / "metrics.lock", purpose="collecting metrics", timeout=30.0):
        kept = _load(root)
        records = {app.name: _records(app) for app in apps}
        prefixes = {name: _prefixes(read.release if read else None) for name, read in records.items()}
        counts = requests.read_on(root.edge / "logs" / "access.log", kept.counts, prefixes)
        kept = _Kept(counts, {a.name: kept.outcomes.get(a.name, Outcomes()) for a in apps})
        states, taken = _states(apps, engine), sizes.known(root)
        facts = [
            _facts(app, records[app.name], states.get(app.name), kept.outcomes[app.name], taken)
            for app in apps
        ]
        with _on_a_full_disk():  # what was not counted is counted the next time
            files.write(_kept_path(root), msgspec.json.encode(kept))
    up = {
        app.name: (app, read.release)
        for app, one in zip(apps, facts, strict=True)
        if one.readable and (read := records[app.name]) and read.release and not app.settings.down
    }
    return render(families(_host(root), facts, counts)), up


def write(root: Root, engine: Engine) -> Path:
    """Write the metrics to their file, atomically; returns its path. On a full disk they take the place of a file
    that is kept for this, then the blocks of the old one: that the disk is full must be seen."""
    path = root.edge / METRICS
    damaged_paths.make_way(path)
    content, up = _collected(root, engine)
    reserve = path.with_name(_RESERVE)
    try:
        files.write(path, content, mode=0o644)
        with _on_a_full_disk():
            if not reserve.exists():
                files.write(reserve, " " * _RESERVED)
    except OSError as e:
        if e.errno not in _FULL:
            raise
        reserve.unlink(missing_ok=True)
        _write_on_a_full_disk(path, content)
    with _on_a_full_disk():
        sizes.ask(root, engine, up)  # for the next time: a server that hangs delays no figure
    return path


_FULL = (errno.ENOSPC, errno.EDQUOT)
_RESERVE = "reserve"
_RESERVED = 256 << 10  # bytes: the metrics of some hundred apps


def _write_on_a_full_disk(path: Path, content: str) -> None:
    try:
        files.write(path, content, mode=0o644)
    except OSError as e:
        if e.errno not in _FULL or not path.exists():
            raise
        files.overwrite(path, content)


@contextlib.contextmanager
def _on_a_full_disk() -> Iterator[None]:
    """Go on if there is no space for what the block writes."""
    try:
        yield
    except OSError as e:
        if e.errno not in _FULL:
            raise


def _kept_path(root: Root) -> Path:
    return root.runtime / "metrics.json"


def _load(root: Root) -> _Kept:
    try:
        return msgspec.json.decode(_kept_path(root).read_bytes(), type=_Kept)
    except (OSError, msgspec.DecodeError):
        return _Kept()


def _records(app: App) -> Snapshot | None:
    """The journal and live release of an app, read once; None if they cannot be read."""
    try:
        return Snapshot.of(app)
    except PushrodError:
        return None


def _prefixes(release: Release | None) -> tuple[str, ...]:
    """The prefixes of the live release's routes, the longest first, and `/` for all other requests."""
    routes = {route.prefix for route in release.routing.routes} if release else set()
    return (*sorted(routes - {"/"}, key=len, reverse=True), "/")


def _states(apps: Sequence[App], engine: Engine) -> Mapping[str, Sequence[ProcessState]]:
    """What runs of each app, from one listing; one app at a time if that fails, which may be because of one app."""
    try:
        return engine.runtime.states(apps)
    except PushrodError:
        states: dict[str, Sequence[ProcessState]] = {}
        for app in apps:
            with contextlib.suppress(PushrodError):
                states.update(engine.runtime.states([app]))
        return states


def _facts(
    app: App,
    records: Snapshot | None,
    states: Sequence[ProcessState] | None,
    outcomes: Outcomes,
    taken: sizes.Sizes,
) -> AppFacts:
    if records is None:
        return AppFacts(app.name, readable=False)
    release = records.release
    count(outcomes, records.entries)
    try:
        with contained():
            seen = status.of(app, states or (), records)
            kept = Certificates(app).current()
            newest = catalogue.newest(app)
            proof, vault = copies.proved(app), copies.vault_name(app, release) if release else ""
            kept_logs = wal.stores(app) if release and wal.keeps_log(app, release) else []
            logs = {store: _timestamp(wal.state(app, store).at) for store in kept_logs}
    except (PushrodError, OSError):
        return AppFacts(app.name, readable=False)
    due = release if release and not app.settings.down else None
    return AppFacts(
        app=app.name,
        up=seen.condition == "live",
        release=seen.release,
        live_since=_timestamp(seen.since),
        maintenance=seen.maintenance is not None,
        under_way=bool(seen.under_way),
        instances=_instances(due, states) if due and states is not None else {},
        outcomes=(outcomes.live, outcomes.failed),
        steps=tuple(last_steps(records.entries)),
        repairs=_lines(app.directory / "watch.log"),
        certificate_ends=_timestamp(kept.certificate.ends) if kept else 0.0,
        last_backup=_timestamp(newest.at) if newest else 0.0,
        backup_period=catalogue.period(due) or 0.0 if due else 0.0,
        store_sizes=sizes.of(taken, app.name, [s.name for s in due.stores] if due else ()),
        backup_sizes={file.store: file.bytes for file in newest.files} if newest else {},
        last_proof=_timestamp(proof),
        copy_period=(copies.period(due, catalogue.PERIODS) or 0.0) if due and vault else 0.0,
        logs=logs,
        waiting=queue.waiting(app),
    )


def _instances(release: Release, states: Sequence[ProcessState]) -> dict[str, tuple[int, int]]:
    """The running instances of each service of a release, including those that are still starting, and the required
    ones."""
    group = f"{release.app}-r{release.number}"
    running = {s.name for s in states if s.group == group and s.state in ("running", "starting")}
    names: dict[str, list[bool]] = {}
    for instance in release.instances:
        names.setdefault(instance.service, []).append(instance.name in running)
    return {service: (sum(there), len(there)) for service, there in names.items()}


def _host(root: Root) -> HostFacts:
    import psutil

    disk, memory = shutil.disk_usage(root.path), psutil.virtual_memory()
    return HostFacts(__version__, disk.total, disk.free, memory.total, memory.available, time.time())


def _timestamp(at: str) -> float:
    return datetime.datetime.fromisoformat(at).timestamp() if at else 0.0


def _lines(path: Path) -> int:
    try:
        return path.read_bytes().count(b"\n")
    except OSError:
        return 0
