"""Front ends that a Node project of the commit builds, as files for the edge (`files: ./frontend/dist`)."""

import os
import posixpath
import shutil
from collections.abc import Callable
from pathlib import Path

from pushrod.core.errors import BuildError
from pushrod.engines.embedded.builds import environments, node_builds
from pushrod.engines.embedded.builds.node_builds import Package


def makes(directory: str, checkout: Path) -> bool:
    """Whether the build of a project above a directory makes it. Raises BuildError without Node.js."""
    package = _package(directory, checkout)
    if package is not None:
        package.check(directory, checkout)
    return package is not None


def make(directory: str, checkout: Path, places: Path, on_line: Callable[[str], None]) -> None:
    """Build the project in an environment below `places`, and copy the directory into the checkout.

    Raises BuildError if the build fails, or makes no such directory.
    """
    package = _package(directory, checkout)
    if package is None:
        return
    place = places / package.identity(directory, checkout)
    purpose = f"building {directory}"
    environments.make(place, purpose, lambda: package.make(directory, checkout, place, on_line), on_line)
    environments.use(place, checkout)
    made = place / "run" / posixpath.relpath(directory, package.project)
    if not made.is_dir() or not made.resolve().is_relative_to(place.resolve()):
        raise BuildError(
            f"`npm run build` makes no directory `{directory}`",
            where=posixpath.normpath(posixpath.join(package.project, "package.json")),
            hint="write the directory that it makes into `files:`",
        )
    shutil.copytree(made, checkout / directory, symlinks=True)


def _package(directory: str, checkout: Path) -> Package | None:
    place = checkout / directory
    if os.path.lexists(place) or not place.resolve().is_relative_to(checkout.resolve()):
        return None
    return node_builds.of_files(directory, checkout)
