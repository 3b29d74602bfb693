"""Resources of the machine that releases of the embedded engine use: ports, environments, logs."""

import contextlib
import itertools
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from pushrod.core.errors import PushrodError, StateError
from pushrod.core.values import Image, Instance, Manifest, Placement, Release
from pushrod.engines import retention
from pushrod.engines.embedded import ports, rooms
from pushrod.engines.embedded.builds import environments
from pushrod.engines.embedded.context import Context
from pushrod.engines.protocols import Document
from pushrod.state.apps import App
from pushrod.state.releases import Releases
from pushrod.system import files, network

_PORT = 8000  # of a service whose port nothing names


class Resources:
    """The ports, environments and logs of a root."""

    def __init__(self, context: Context) -> None:
        self._context = context

    @contextlib.contextmanager
    def place(
        self, app: App, number: int, manifest: Manifest, images: Mapping[str, Image]
    ) -> Iterator[Placement]:
        """Give every instance an address that no kept release of any app has, with the port that the manifest names;
        a port of its own where the kernel refuses that, or another program has the port. Held until the release is
        sealed.
        """
        with ports.choosing(self._context.root):
            names = [(f"{s.name}-{n}", s) for s in manifest.stateless for n in range(1, s.replicas + 1)]
            chosen = ports.several(self._context.root, ports.INSTANCES, len(names))
            refused = rooms.address_refusal(self._context)
            own = itertools.repeat(ports.SHARED) if refused else ports.addresses(self._context.root)
            placed = []
            for (name, service), port, address in zip(names, chosen, own, strict=False):
                main = service.port or images[service.name].port or _PORT
                free = not refused and network.port_is_free(main, address)
                placed.append(Instance(name, service.name, main if free else port, address))
            yield Placement(tuple(placed))

    def render(
        self,
        app: App,
        release: Release,
        document: Document,
        manifest: Manifest,
    ) -> dict[str, str]:
        """None: the supervisor's files contain passwords, so they are kept apart from the state."""
        return {}

    def excess(self, app: App, older: Sequence[Release], live: Release) -> int:
        """The share is one of ports that instances listen on."""
        return retention.excess(len(live.instances), [len(r.instances) for r in older], ports.SHARE)

    def remove_unused(self, app: App) -> None:
        """Remove environments and logs that no kept release needs."""
        retention.remove_old_logs(app, Releases(app).numbers())
        with contextlib.suppress(StateError):  # while any app is damaged, it is unknown which are used
            used = {
                i.id for a in self._context.root.apps() for r in Releases(a).all() for i in r.images.values()
            }
            environments.remove_unused(self._context.root.environments, used)

    def remove_stale_builds(self) -> list[PushrodError]:
        """Nothing: an environment that no release needs is removed with the release."""
        return []

    def remove_release_volumes(self, app: App, number: int) -> None:
        """Nothing: a release creates nothing outside the app's directory."""

    def remove_directory(self, app: App, directory: Path) -> None:
        """Remove a directory tree."""
        files.remove_tree(directory)

    def remove_app(self, app: App) -> None:
        """Nothing: everything of an app is in its own directory."""
