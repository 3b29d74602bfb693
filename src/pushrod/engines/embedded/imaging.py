"""The images of services on the embedded engine: Python environments, built once for each lock."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from pushrod.core.plan import Change, Need
from pushrod.core.values import Image, Manifest, Service
from pushrod.engines.embedded import images
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
        return images.build(service, checkout, self._context.root.environments, on_line)

    def identify(self, app: App, commit: str, service: Service, checkout: Path) -> str:
        """The identity of a service's image, without building it."""
        return images.identify(service, checkout)

    def preview(
        self, app: App, commit: str, document: Document, manifest: Manifest, checkout: Path
    ) -> tuple[list[Change], list[Need]]:
        """Nothing beyond the plan itself."""
        return [], []

    def notes(
        self,
        app: App,
        document: Document,
        manifest: Manifest,
        checkout: Path,
        images: Mapping[str, str],
    ) -> Sequence[str]:
        """None: processes have the rights of their account, as the notes on keys explain."""
        return ()
