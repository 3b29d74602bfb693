"""The servers of an app's own metrics, as a file for Prometheus: each instance of the live release that has them.

ROOT/targets/<app>.json     for `file_sd_configs`; absent while the app is down
"""

from collections.abc import Iterator
from pathlib import Path

from pushrod.adapters import prometheus
from pushrod.adapters.prometheus import Target
from pushrod.core.values import Release
from pushrod.state.apps import App
from pushrod.system import files


def path(app: App) -> Path:
    """The file of an app."""
    return app.root.path / "targets" / f"{app.name}.json"


def write(app: App, release: Release | None) -> None:
    """Make the file follow a release, atomically; None removes it."""
    listed = list(_targets(release)) if release else []
    if not listed:
        files.remove(path(app))
        return
    files.make_open(path(app).parent)
    files.write(path(app), prometheus.targets(listed), mode=0o644)


def _targets(release: Release) -> Iterator[Target]:
    for service in release.services:
        if service.metrics is None:
            continue
        port, where = service.metrics
        for instance in release.instances_of(service.name):
            own = instance.port if port == service.port and instance.port else port
            labels = {"app": release.app, "service": service.name, "release": str(release.number)}
            yield Target(f"{instance.address}:{own}", where, labels)
