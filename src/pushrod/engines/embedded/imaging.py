"""The images of services on the embedded engine: environments, built once for each lock or state of the sources.

What builds them is imported only when it is needed: most commands build nothing.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

from pushrod.core import plan
from pushrod.core.plan import Change, Need
from pushrod.core.values import Image, Manifest, Route, Service
from pushrod.engines import jvm
from pushrod.engines.embedded import rooms, volumes
from pushrod.engines.embedded.context import Context
from pushrod.engines.protocols import Document, OnLine
from pushrod.state.apps import App


class Imaging:
    """The environments of a root."""

    def __init__(self, context: Context) -> None:
        self._context = context

    def needed(self, manifest: Manifest) -> Sequence[Service]:
        """The app's own services: stores use the engine's programs."""
        return manifest.stateless

    def build(self, app: App, commit: str, service: Service, checkout: Path, on_line: OnLine) -> Image:
        """The Python environment of a service, built once for each lock, and its command."""
        from pushrod.engines.embedded.builds import images

        account = self._context.account
        return images.build(service, checkout, self._context.root.environments, on_line, account)

    def identify(self, app: App, commit: str, service: Service, checkout: Path) -> str:
        """The identity of a service's image, without building it."""
        from pushrod.engines.embedded.builds import images

        return images.identify(service, checkout)

    def preview(
        self, app: App, commit: str, document: Document, manifest: Manifest, checkout: Path
    ) -> tuple[list[Change], list[Need]]:
        """Which stores have settings that wait for their next start."""
        waiting = self._context.stores(app).waiting(manifest)
        return [plan.waiting(name, settings) for name, settings in waiting.items() if settings], []

    def file_routes(self, app: App, manifest: Manifest, checkout: Path) -> Sequence[Route]:
        """From volumes and directories of the commit that the web server mounts."""
        from pushrod.engines.embedded import edge_files

        return edge_files.of(app, manifest, checkout)

    def makes(self, directory: str, checkout: Path) -> bool:
        """Whether it is what a Node project of the commit builds."""
        from pushrod.engines.embedded.builds import front_ends

        return front_ends.makes(directory, checkout)

    def make(self, directory: str, checkout: Path, on_line: OnLine) -> None:
        """Build that project, once for each state of it."""
        from pushrod.engines.embedded.builds import front_ends

        front_ends.make(directory, checkout, self._context.root.environments, on_line)

    def notes(
        self,
        app: App,
        document: Document,
        manifest: Manifest,
        checkout: Path,
        images: Mapping[str, str],
    ) -> Sequence[str]:
        """What the images of services have that is not on this machine, what the kernel refuses, and the heaps of
        JVMs. Rights get none: processes have those of their account, as the notes on keys explain.
        """
        from pushrod.engines.embedded.builds import build_steps

        lacking = [note for s in manifest.stateless for note in build_steps.notes(s, checkout)]
        refused = list(rooms.remarks(self._context, manifest))
        refusal = rooms.refusal(self._context)
        paths = [note for s in manifest.stateless for note in volumes.notes(s, refusal)]
        return [*lacking, *paths, *refused, *jvm.remarks(manifest, checkout, contained=False)]
