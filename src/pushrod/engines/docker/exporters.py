"""Exporters of the stores' figures: one unit of systemd for each store that runs, started and ended by a link.

    ROOT/exporters/shop.postgres.env       where it listens, the store's address, user and password: variables that
                                           systemd gives to that unit alone
    ROOT/exporters/known.json              of each store: its exporter, and the container that it was made for
    ROOT/targets/stores/postgres.json      the exporters, for Prometheus (`file_sd`)

`follow` makes all of this fit what runs. It is called every 10 s, so no deployment waits for an exporter, and what a
store forgets when it starts (a user of Redis), or loses when it is replaced, comes back.
"""

import secrets
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import msgspec

from pushrod.adapters import docker, prometheus
from pushrod.adapters.prometheus import Target
from pushrod.core.errors import HostError, PushrodError, StoreError
from pushrod.core.values import Service, Value
from pushrod.engines.docker import names
from pushrod.engines.docker.stores import Stores
from pushrod.state import releases
from pushrod.state.apps import App, Root
from pushrod.stores import registry
from pushrod.stores.kinds import Figures, Server
from pushrod.system import files, locks, network

FIRST_PORT, LAST_PORT = 9401, 9899
"""Ports of loopback for the exporters of stores."""

_DATABASE = "postgres"  # never the app's own


class Known(Value, frozen=True):
    """An exporter: the job of its figures, its port, its user's password, and the store's container: when it was
    started, its address."""

    job: str
    port: int
    password: str
    started: str
    address: str


class _Store(NamedTuple):
    """A store that runs, its exporter's job, and its container: when it was started, its address."""

    app: App
    service: Service
    job: str
    started: str
    address: str


def follow(root: Root, *, enabled: bool) -> list[str]:
    """Make the exporters fit the stores that run; none if they are not `enabled`. Returns what failed, in a sentence
    for each store; the others are not affected."""
    place = root.path / "exporters"
    if not enabled and not place.exists():
        return []
    problems = []
    with locks.lock(root.runtime / "exporters.lock", purpose="following the stores", timeout=30.0):
        known = _read(place)
        running = {f"{s.app.name}.{s.service.name}": s for s in _running(root)}
        files.make_private(place)
        kept: dict[str, Known] = {}
        for name, store in running.items() if enabled else ():
            try:
                kept[name] = _followed(place, name, store, known.get(name), {k.port for k in known.values()})
                known[name] = kept[name]
            except (PushrodError, OSError) as e:
                problems.append(f"{name}: {e}")
                if name in known:
                    kept[name] = known[name]
        for name in known.keys() - kept.keys():
            _remove(place, name, known[name])
            if not enabled and name in running:
                with suppress(PushrodError):
                    _server(running[name]).unwatch()
        _write(place / "known.json", msgspec.json.format(msgspec.json.encode(kept)).decode(), 0o600)
        _announce(root, kept)
        if not enabled:
            files.remove_tree(place)
    return problems


def _running(root: Root) -> Iterator[_Store]:
    """The stores of apps that are up, with an exporter for their kind, whose containers run."""
    there: dict[str, tuple[App, Service, str]] = {}
    for app in root.apps():
        with suppress(PushrodError, OSError):
            release = releases.up(app)
            for service in release.stores if release else ():
                if job := registry.of(service.store).exporter:
                    there[names.store(app, service.name)] = app, service, job
    for container in docker.inspect([*there]):
        app, service, job = there[container.name]
        address = container.networks.get(app.name, "")
        if container.running and address and container.labels.get(docker.APP) == app.name:
            yield _Store(app, service, job, container.started, address)


def _followed(place: Path, name: str, store: _Store, before: Known | None, taken: set[int]) -> Known:
    """Ensure the user, the files and the link of one exporter. Where the files change, the link goes first: systemd
    ends the unit, and the next call starts it with the new ones."""
    link = _link(store.job, name)
    port, password = (before.port, before.password) if before else (_free(taken), secrets.token_hex(24))
    now = Known(store.job, port, password, store.started, store.address)
    if now != before:
        figures = _server(store).watch(password)
        if figures is None:
            raise StoreError(
                "has no user for an exporter", where=f"container {store.app.name}-{store.service.name}"
            )
        text, path = _text_of(now, figures), place / f"{name}.env"
        if _text(path) != text:
            was_there = link.is_symlink()
            files.remove(link)
            files.write(path, text, mode=0o600)
            if was_there:
                return now
    if not link.is_symlink():
        files.point(link, f"../pushrod-{store.job}-exporter@.service")
    return now


def _server(store: _Store) -> Server:
    return Stores(store.app).servers([store.service])[store.service.name]


def _text_of(known: Known, figures: Figures) -> str:
    """The variables of an exporter. That of Redis has the password in its address, so that it sends it to no other
    server that somebody asks it about."""
    at = f"{known.address}:{figures.port}"
    own = (
        {"REDIS_ADDR": f"redis://{figures.user}:{known.password}@{at}"}
        if known.job == "redis"
        else {
            "DATA_SOURCE_URI": f"{at}/{_DATABASE}?sslmode=disable",
            "DATA_SOURCE_USER": figures.user,
            "DATA_SOURCE_PASS": known.password,
        }
    )
    return "".join(
        f"{name}={value}\n" for name, value in {"LISTEN": f"127.0.0.1:{known.port}", **own}.items()
    )


def _free(taken: set[int]) -> int:
    """A port of loopback that neither another exporter has nor anybody else."""
    for port in range(FIRST_PORT, LAST_PORT + 1):
        if port not in taken and network.port_is_free(port):
            return port
    raise HostError(f"no port from {FIRST_PORT} to {LAST_PORT} of 127.0.0.1 is free for an exporter")


def _announce(root: Root, kept: Mapping[str, Known]) -> None:
    """Write Prometheus's targets: each exporter under the name of its store."""
    place = root.path / "targets" / "stores"
    for job in {kind.exporter for kind in registry.KINDS if kind.exporter}:
        listed = []
        for name, known in sorted(kept.items()):
            if known.job == job:
                app, _, store = name.partition(".")
                labels = {"instance": f"{app}/{store}", "app": app, "store": store}
                listed.append(Target(f"127.0.0.1:{known.port}", "/metrics", labels))
        if listed:
            files.make_open(place.parent)
            files.make_open(place)
            _write(place / f"{job}.json", prometheus.targets(listed), 0o644)
        else:
            files.remove(place / f"{job}.json")


def _remove(place: Path, name: str, known: Known) -> None:
    files.remove(_link(known.job, name))
    files.remove(place / f"{name}.env")


def _link(job: str, name: str) -> Path:
    return names.UNITS / f"pushrod-{job}-exporter@{name}.service"


def _read(place: Path) -> dict[str, Known]:
    try:
        return msgspec.json.decode((place / "known.json").read_bytes(), type=dict[str, Known])
    except (OSError, msgspec.DecodeError):
        return {}


def _text(path: Path) -> str | None:
    try:
        return path.read_text()
    except (OSError, UnicodeDecodeError):
        return None


def _write(path: Path, text: str, mode: int) -> None:
    """Write a file unless it says so already."""
    if _text(path) != text:
        files.write(path, text, mode=mode)
