"""Upgrading a PostgreSQL on Docker to another major version, in a volume of its own.

The new version's own image carries the data over: a container of it shares the old one's network, and dumps from
there into its new volume. The old container is never started twice on its data: during the upgrade it loses its
networks, so that nobody can write any more, and then it ends.
"""

import os
import posixpath
import secrets
import time
from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import Any, NamedTuple

import msgspec

from pushrod.adapters import docker
from pushrod.core.errors import HostError, StoreError, UnknownNameError
from pushrod.core.times import now
from pushrod.core.upgrades import Carried, Cluster, OldCluster, UpgradePlan
from pushrod.core.values import Release, Service
from pushrod.engines.docker import clusters, images, names, rendering, stopping
from pushrod.engines.docker.stores import Stores, image_environment
from pushrod.engines.protocols import OnLine
from pushrod.state.apps import App
from pushrod.stores.postgres_upgrades import Facts, Pair
from pushrod.system import processes

_LABEL = "pushrod.upgrade"  # of the volume, with the store's name
_SPARE = 256 << 20  # bytes of the disk that stay free
_START = 300.0  # seconds until a new cluster is there
_POLL = 0.2
_QUICK = 60.0
_JOBS = 4  # processes that dump or restore at a time, at most
_MEMORY = 1 << 30
_UNCHANGED = "the data is unchanged"

# What the entry point of the official image needs, as every container that starts as root has it.
_RIGHTS = ("CHOWN", "DAC_OVERRIDE", "FOWNER", "SETGID", "SETUID")


class _Present(NamedTuple):
    """A running store: its container, the environment of its image, its own, and the mount of its data."""

    container: docker.Container
    image: Mapping[str, str]
    given: Mapping[str, str]
    mount: Mapping[str, Any]
    facts: Facts


def plan(app: App, release: Release, store: Service, after: str, image: str, on_line: OnLine) -> UpgradePlan:
    """Decide about an upgrade of a running store; the only change is to fetch a missing image.

    Raises UnknownNameError, StoreError or BuildError if it cannot be done.
    """
    present = _present(app, store)
    before = present.image.get("PG_MAJOR", "")
    if not before.isdecimal() or int(after) <= int(before):
        raise UnknownNameError(
            f"the data is PostgreSQL {before or 'of an unknown version'}",
            where=f"store {store.name}",
            hint="name a newer major version" if before else "its image does not say PG_MAJOR",
        )
    known = app.settings.clusters.get(store.name)
    reference = image or clusters.image_of(store.image, after)
    if not reference:
        raise UnknownNameError(
            f"which image is PostgreSQL {after} for `{store.image or 'a built image'}`?",
            where=f"service {store.name}",
            hint=f"name it: --image, such as postgres:{after}",
        )
    other = images.build(
        app,
        release.commit,
        msgspec.structs.replace(store, image=reference, build=None),
        app.directory,
        on_line,
    )
    its = image_environment(other.location)
    if its.get("PG_MAJOR") != after:
        raise UnknownNameError(
            f"{reference} is PostgreSQL {its.get('PG_MAJOR', 'of an unknown version')}",
            where="--image",
            hint=f"name an image of PostgreSQL {after}, by the contract of the official one",
        )
    target, path = _place(present, its, images.parts(other.location).data)
    volume = rendering.volume_name(app, {}, clusters.key(store.name, after))
    _check_volume(app, store.name, volume)
    _check_space(app, store, present.facts)
    kept = OldCluster(f"PostgreSQL {before}", _source(app, present.mount), now())
    cluster = Cluster(
        major=after,
        image=other.location,
        volume=volume,
        target=target,
        path=path,
        release=release.number,
        commit=release.commit,
        kept=(*(known.kept if known else ()), kept),
    )
    return UpgradePlan(store.name, before, after, kept.place, volume, cluster=cluster, previous=known)


def _present(app: App, store: Service) -> _Present:
    containers = docker.inspect([names.store(app, store.name)])
    if not containers or not containers[0].running:
        raise StoreError("the store does not run", where=f"store {store.name}", hint="`pushrod up` starts it")
    stores = Stores(app)
    image, given = image_environment(containers[0].image), stores.given(store.name)
    service = stores.running().get(store.name) or {}
    held = clusters.mount(service, clusters.directory(given, image))
    if held is None or held.get("type") != "volume":
        raise StoreError(
            "its data is in a directory of the machine" if held else "its data is in no volume",
            where=f"service {store.name}",
            hint="an upgrade needs a volume: dump it, name one in a new service, and restore into it",
        )
    facts = Pair(names.store(app, store.name), given).facts
    return _Present(containers[0], image, given, held, facts)


def _place(present: _Present, image: Mapping[str, str], volumes: tuple[str, ...]) -> tuple[str, str]:
    """Where the new version expects its volume, and the cluster in it, as a manifest would have it that names it."""
    data, target = clusters.directory(present.given, image), posixpath.normpath(str(present.mount["target"]))
    if data != target and not data.startswith(f"{target}/"):
        held = [posixpath.normpath(v) for v in volumes if data == v or data.startswith(f"{v.rstrip('/')}/")]
        target = max(held, key=len, default=data)
    return target, posixpath.relpath(data, target)


def _source(app: App, mount: Mapping[str, Any]) -> str:
    """The volume of a mount."""
    whole = rendering.loaded(names.running_stores(app).read_text())
    return str(((whole.get("volumes") or {}).get(mount["source"]) or {}).get("name") or mount["source"])


def _check_volume(app: App, store: str, volume: str) -> None:
    if docker.has_volume(volume) and volume not in docker.volumes({docker.APP: app.name, _LABEL: store}):
        raise StoreError(
            "there is a volume of that name already", where=f"volume {volume}", hint="rename it, or remove it"
        )
    known = app.settings.clusters.get(store)
    if known and volume in (known.volume, *(old.place for old in known.kept)):
        raise StoreError(
            "that volume holds an older cluster", where=f"volume {volume}", hint="remove it first"
        )


def _check_space(app: App, store: Service, facts: Facts) -> None:
    """Room for the data once more, and for a dump of all of it."""
    free = Pair(names.store(app, store.name), Stores(app).given(store.name)).free()
    if free is not None and free - 2 * facts.size < _SPARE:
        raise StoreError(
            f"a copy needs up to {2 * facts.size // 10**6} MB, and {free // 10**6} MB are free",
            where=f"data of {store.name}",
            hint=f"free some space on that disk; {_UNCHANGED}",
        )


class Upgrade:
    """One upgrade, as it was planned. Its steps are in the order in which they are called."""

    def __init__(self, app: App, release: Release, its: UpgradePlan) -> None:
        if its.cluster is None:
            raise AssertionError("made by `plan`")
        self.app = app
        self._plan = its
        self._cluster = its.cluster
        self._release = release
        self._old = names.store(app, its.store)
        self._new = f"{self._old}-upgrade"

    def rehearse(self) -> Carried:
        """Carry a copy of the running data, which is removed again."""
        try:
            self.prepare()
            return self._pair.carry(self._data)
        finally:
            self._remove_new(volume=True)

    def prepare(self) -> None:
        """Make an empty cluster of the new version, while the app runs."""
        self._remove_new(volume=True)
        labels = {docker.APP: self.app.name, _LABEL: self._plan.store}
        docker.make_volume(self._cluster.volume, labels, {})
        self._start()

    def copy(self) -> Carried:
        """Keep everybody away from the old data, carry it, compare it, and end both servers."""
        for network in docker.inspect([self._old])[0].networks:
            docker.docker("network", "disconnect", "--force", network, self._old)
        self._pair.alone()
        carried = self._pair.carry(self._data)
        self._pair.compare()
        self._end_in_order(self._new)
        docker.remove([self._new])
        self._end_in_order(self._old)
        docker.remove([self._old])
        return carried

    def switch(self) -> None:
        """From now on the store is on the new data."""
        self._know(self._cluster)

    def back(self) -> None:
        """As before: the store is on the old data, and does not run. From any state; repeatable."""
        self._remove_new(volume=False)
        stopping.stop(self.app, docker.inspect([self._old]))
        docker.remove([c.name for c in docker.inspect([self._old])])
        self._know(self._plan.previous)
        self._remove_new(volume=True)

    def finish(self) -> None:
        """Remove what is not needed any more, and rebuild the statistics."""
        self._remove_new(volume=False)
        self._pair.rebuild_statistics()

    def _know(self, cluster: Cluster | None) -> None:
        settings = self.app.settings
        known = {store: its for store, its in settings.clusters.items() if store != self._plan.store}
        if cluster:
            known[self._plan.store] = cluster
        self.app.save(msgspec.structs.replace(settings, clusters=known))

    # ---- the new server -------------------------------------------------------------------------------------

    def _start(self) -> None:
        (old,) = docker.inspect([self._old])
        variables = self._pair.variables(self._data, secrets.token_urlsafe())
        memory = old.memory or _MEMORY
        closed: tuple[str, ...] = (
            "--cap-drop=ALL",
            "--security-opt=no-new-privileges",
            "--no-healthcheck",
            "--pull=never",
        )
        closed += (f"--memory={memory}", "--pids-limit=256", "--shm-size=256m", "--oom-score-adj=500")
        closed += tuple(f"--cap-add={right}" for right in _RIGHTS)
        closed += (f"--cgroup-parent={old.slice}",) if old.slice else ()
        place = ("--network=none", f"--volume={self._cluster.volume}:{self._cluster.target}")
        label = f"--label={docker.CLIENT}={self.app.name}"
        argv = ["docker", "run", "--detach", "--name", self._new, label, *closed, *place]
        argv += [word for name in variables for word in ("--env", name)]  # the values stay out of argv
        argv += [self._cluster.image, *self._pair.command()]
        done = processes.run(argv, env={**docker.environment(), **variables}, timeout=_QUICK)
        if done.status != 0:
            raise docker.failed(done.stderr, "docker run")
        self._wait()

    def _wait(self) -> None:
        """Until the server itself is there: while the image makes the cluster, it answers on its socket too."""
        end = time.monotonic() + _START
        while True:
            containers = docker.inspect([self._new])
            if not containers or not containers[0].running or time.monotonic() >= end:
                raise StoreError(
                    f"PostgreSQL {self._plan.after} does not start",
                    where=f"image {self._cluster.image}",
                    hint=f"its last lines are above; {_UNCHANGED}",
                    log=tuple(docker.logs(self._new)),
                )
            if self._pair.ready():
                return
            time.sleep(_POLL)

    @cached_property
    def _pair(self) -> Pair:
        return Pair(self._old, Stores(self.app).given(self._plan.store), self._new, _jobs())

    @property
    def _data(self) -> str:
        return posixpath.normpath(posixpath.join(self._cluster.target, self._cluster.path))

    def _end_in_order(self, container: str) -> None:
        stopping.stop(self.app, docker.inspect([container]))
        ended = docker.inspect([container])
        if ended and ended[0].exit_code != 0:
            raise HostError(
                f"a server did not end in order: exit status {ended[0].exit_code}",
                where=f"container {container}",
                hint=f"its last lines are above; {_UNCHANGED}",
                log=tuple(docker.logs(container)),
            )

    def _remove_new(self, *, volume: bool) -> None:
        docker.remove([c.name for c in docker.inspect([self._new]) if docker.APP not in c.labels])
        if volume and (mine := {self._cluster.volume} & {*docker.volumes({_LABEL: self._plan.store})}):
            docker.remove_volumes(mine)


def _jobs() -> int:
    return max(1, min(_JOBS, len(os.sched_getaffinity(0))))


def remove_old(app: App, store: str) -> Iterator[str]:
    """Remove the older clusters of a store; yields each."""
    known = app.settings.clusters.get(store)
    if known is None:
        return
    for old in known.kept:
        if docker.has_volume(old.place):
            docker.remove_volumes([old.place])
        yield f"{old.series} in volume {old.place}"
    settings = app.settings
    left = msgspec.structs.replace(known, kept=())
    app.save(msgspec.structs.replace(settings, clusters={**settings.clusters, store: left}))
