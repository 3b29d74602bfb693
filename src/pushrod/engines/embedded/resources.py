"""Resources of the machine that releases of the embedded engine use: ports, environments, logs."""

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from pushrod.core.errors import PushrodError, StateError
from pushrod.core.values import Image, Instance, Manifest, Placement, Release
from pushrod.engines.embedded import images, ports
from pushrod.engines.embedded.context import Context
from pushrod.engines.protocols import Document
from pushrod.state.apps import App
from pushrod.state.releases import Releases
from pushrod.system import files

_KEPT_LOGS = 5  # failed and pruned releases whose logs are kept


class Resources:
    """The ports, environments and logs of a root."""

    def __init__(self, context: Context) -> None:
        self._context = context

    @contextlib.contextmanager
    def place(
        self, app: App, number: int, manifest: Manifest, images: Mapping[str, Image]
    ) -> Iterator[Placement]:
        """Give every instance a port that no kept release of any app has, held until the release is sealed."""
        with ports.choosing(self._context.root):
            names = [(f"{s.name}-{n}", s.name) for s in manifest.stateless for n in range(1, s.replicas + 1)]
            chosen = ports.several(self._context.root, ports.INSTANCES, len(names))
            yield Placement(tuple(Instance(*name, port) for name, port in zip(names, chosen, strict=True)))

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
        total, gone = 2 * len(live.instances) + sum(len(r.instances) for r in older), 0
        while gone < len(older) and total > ports.SHARE:
            total, gone = total - len(older[gone].instances), gone + 1
        return gone

    def remove_unused(self, app: App) -> None:
        """Remove environments and logs that no kept release needs."""
        kept = set(Releases(app).numbers())
        for directory in app.logs.glob("r*"):
            if (
                int(directory.name[1:]) not in kept
                and int(directory.name[1:]) < max(kept, default=0) - _KEPT_LOGS
            ):
                files.remove_tree(directory)
        with contextlib.suppress(StateError):  # while any app is damaged, it is unknown which are used
            used = {
                i.id for a in self._context.root.apps() for r in Releases(a).all() for i in r.images.values()
            }
            images.remove_unused(self._context.root.environments, used)

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
