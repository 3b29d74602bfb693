"""The images of services on Docker: built in the app's own builder, or fetched."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from pushrod.adapters import docker
from pushrod.core.plan import Change, Need
from pushrod.core.values import Image, Manifest, Route, Service
from pushrod.engines import jvm
from pushrod.engines.docker import images, preflight, rights, sealed_files, sources, volume_notes
from pushrod.engines.protocols import Document, OnLine
from pushrod.state.apps import App


class Imaging:
    """The images of a host's apps."""

    def needed(self, manifest: Manifest) -> Sequence[Service]:
        """All services, in the order of their builds: stores run from images too."""
        return images.in_order((*manifest.stateless, *manifest.stores))

    def build(self, app: App, commit: str, service: Service, checkout: Path, on_line: OnLine) -> Image:
        """Build a service's image in the build slice, or use or pull the one it names."""
        return images.build(app, commit, service, checkout, on_line)

    def identify(self, app: App, commit: str, service: Service, checkout: Path) -> str:
        """The name of the image the service would run."""
        return images.identify(app, commit, service)

    def preview(
        self, app: App, commit: str, document: Document, manifest: Manifest, checkout: Path
    ) -> tuple[list[Change], list[Need]]:
        """What happens to each image, which stores restart, and the memory and disk required."""
        images.prefetch(app, commit, manifest, checkout)
        place = sealed_files.place_of_stores(
            app, sealed_files.mounted(app, commit, manifest, document, checkout)
        )
        changes = preflight.image_changes(app, commit, manifest)
        changes += preflight.store_changes(app, commit, manifest, place, document)
        containers = docker.containers({docker.APP: app.name})
        changes += preflight.waiting(
            app, manifest, [c.name for c in changes if c.what == "store"], containers
        )
        return changes, preflight.needs(app, commit, manifest, document, containers)

    def file_routes(self, app: App, manifest: Manifest, checkout: Path) -> Sequence[Route]:
        """None: such a web server runs as it is."""
        return ()

    def makes(self, directory: str, checkout: Path) -> bool:
        """No: front ends are built in images, and served from them."""
        return False

    def make(self, directory: str, checkout: Path, on_line: OnLine) -> None:
        """Nothing."""

    def notes(
        self, app: App, document: Document, manifest: Manifest, checkout: Path, images: Mapping[str, str]
    ) -> Sequence[str]:
        """Notes on capabilities that Docker gives every container and pushrod does not, volumes of images, file
        rights, JVMs' heaps."""
        own = rights.remarks(app, document, manifest, checkout, images)
        volumes = volume_notes.of(app, document, manifest, checkout, images)
        return [*own, *volumes, *sources.remarks(document), *jvm.remarks(manifest, checkout)]
