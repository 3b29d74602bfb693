"""Resources of the host that releases on Docker use: addresses, images, volumes, build caches, logs."""

import contextlib
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path

from pushrod.adapters import docker
from pushrod.core.errors import HostError, ManifestError, PushrodError
from pushrod.core.values import Image, Instance, Manifest, Placement, Release
from pushrod.engines import retention
from pushrod.engines.docker import (
    addresses,
    autostart,
    builders,
    images,
    names,
    preflight,
    sealed_files,
    sources,
)
from pushrod.engines.docker.builders import Builder
from pushrod.engines.docker.context import Context
from pushrod.engines.docker.images import parts
from pushrod.engines.protocols import Document
from pushrod.state.apps import App
from pushrod.state.releases import Releases
from pushrod.system import files, locks, network

_UNUSED = 7 * 24  # hours without use after which a build's cache is removed
_NETWORK = re.compile(r'"network": ?"([0-9.]+/[0-9]+)"')


class Resources:
    """What the apps of a host share."""

    def __init__(self, context: Context) -> None:
        self._context = context

    @contextlib.contextmanager
    def place(
        self, app: App, number: int, manifest: Manifest, images: Mapping[str, Image]
    ) -> Iterator[Placement]:
        """Give a release a block of addresses that no kept release of any app has, nor another network of this host:
        Docker keeps a network if it lost track of a container in it, until Docker restarts.
        """
        with locks.lock(self._context.root.ports_lock, purpose="choosing addresses", timeout=60):
            count = sum(s.replicas for s in manifest.stateless if s.role != "job")
            blocks = self._blocks()
            used = network.own_addresses().union(*blocks.values())
            fixed = count + len(manifest.stores)
            pool = self._context.settings.pool
            addresses.check_share(pool, fixed)
            block = addresses.choose(pool, used, fixed, _holders(blocks))
            lower, _ = addresses.halves(block)
            instances: list[Instance] = []
            for service in manifest.stateless:
                port = addresses.port(service, parts(images[service.name].location).port, manifest)
                for n in range(1, (service.replicas if service.role != "job" else 0) + 1):
                    address = lower.address(len(instances))
                    instances.append(Instance(f"{service.name}-{n}", service.name, port, address))
            _check_ports(manifest, instances)
            yield Placement(tuple(instances), block)

    def render(self, app: App, release: Release, document: Document, manifest: Manifest) -> dict[str, str]:
        """The compose files of the release and of its stores, and which store joins which network where."""
        return sealed_files.render(app, release, document, manifest)

    def excess(self, app: App, older: Sequence[Release], live: Release) -> int:
        """The share is one of addresses. If the disk has no room for one more image, only one older release is
        kept.
        """
        blocks = [addresses.size(r.network) for r in older]
        most = addresses.share(self._context.settings.pool)
        gone = retention.excess(addresses.size(live.network), blocks, most)
        return max(gone, len(blocks) - 1) if preflight.space().state != "ok" else gone

    def remove_unused(self, app: App) -> None:
        """Remove images that no kept release needs, and old logs."""
        kept, damaged = Releases(app).whole()
        kept_files = [*(app.state / "releases").glob("*/*.yaml"), names.running_stores(app)]
        named = "".join(path.read_text(errors="replace") for path in kept_files if path.exists())
        needed = [image.location for release in kept for image in release.images.values()]
        needed += [cluster.image for cluster in app.settings.clusters.values()]
        images.remove_unused(app, needed, named if damaged else "")
        sources.remove_unused(app, named)
        retention.remove_old_logs(app, [*damaged, *(r.number for r in kept)])

    def remove_stale_builds(self) -> list[PushrodError]:
        """Remove from each app's builder what no build has used for a week, and builders of destroyed apps."""
        docker.prune_builds(_UNUSED)  # left on older hosts, where all apps built in the engine itself
        failed: list[PushrodError] = []
        for app in self._context.root.apps():
            try:
                Builder(app).remove_old_cache(_UNUSED)
            except PushrodError as e:  # an error in one app's builder must not stop the others
                failed.append(e.of(app.name))
        for name in builders.orphans(self._context.root):
            Builder(App(self._context.root, name)).remove()
        return failed

    def remove_release_volumes(self, app: App, number: int) -> None:
        """Remove the volumes that were created for a release which was never live."""
        docker.remove_volumes(docker.volumes({docker.APP: app.name, docker.MADE_BY: str(number)}))

    def remove_directory(self, app: App, directory: Path) -> None:
        """Remove a directory tree; uses a container for files that containers wrote as other accounts.

        Raises HostError if that fails too.
        """
        try:
            files.remove_tree(directory)
        except PermissionError as e:
            docker.empty(directory, docker.tags(names.images(app)))
            with contextlib.suppress(PermissionError):
                files.remove_tree(directory)
                return
            raise HostError(
                "holds files of other accounts that could not be removed",
                where=str(directory),
                hint=f"as root: rm -r {directory}",
            ) from e

    def remove_app(self, app: App) -> None:
        """Remove an app's containers, networks, volumes with their data, and images."""
        for label in (docker.APP, docker.CLIENT):
            docker.remove(docker.container_ids({label: app.name}))
        docker.remove_networks(docker.networks({docker.APP: app.name}))
        docker.remove_volumes(docker.volumes({docker.APP: app.name}))
        images.remove_unused(app, [])
        Builder(app).remove()
        files.remove(names.GATES / app.name)
        autostart.disable(app)

    def _blocks(self) -> dict[str, set[str]]:
        """The blocks of every app's releases: the kept ones and those being sealed."""
        blocks: dict[str, set[str]] = {}
        for app in self._context.root.apps():
            held = blocks.setdefault(app.name, set())
            for path in Releases(app).placed():
                # Not decoded: a damaged file of another app must not stop this one.
                with contextlib.suppress(FileNotFoundError):
                    held.update(_NETWORK.findall(path.read_text(errors="replace")))
        return blocks


def _holders(blocks: Mapping[str, Collection[str]]) -> str:
    """The apps with most addresses of the pool, for the error when it is full."""
    rows = sorted(
        ((sum(map(addresses.size, held)), name) for name, held in blocks.items() if held), reverse=True
    )
    return ", ".join(f"{name} holds {count} addresses" for count, name in rows[:3])


def _check_ports(manifest: Manifest, instances: Sequence[Instance]) -> None:
    """Refuse a service that the edge could not reach: the entry, or the target of a route."""
    reached = {manifest.entry.name, *manifest.routing.services}
    for instance in instances:
        if instance.service in reached and not instance.port:
            raise ManifestError(
                f"the port of {instance.service} is unknown",
                where=f"services.{instance.service}",
                hint='publish it (ports: ["8000:8000"]), `expose` it, or EXPOSE it in the Dockerfile',
            )
