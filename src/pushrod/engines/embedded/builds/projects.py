"""Projects of the commit that this machine's own tools build: Java and Node.js. Each has a module with its rules."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

from pushrod.adapters.dockerfile import Recipe
from pushrod.core.values import Build
from pushrod.engines.embedded.builds import java_builds, node_builds


class Project(Protocol):
    """A project that is built as an environment, whose `run` is the directory that its service starts in."""

    def identity(self, service: str, checkout: Path) -> str:
        """A digest of the tools and of everything that goes into it. Raises BuildError like `check`."""

    def check(self, service: str, checkout: Path) -> None:
        """Raise BuildError, naming the service, if this machine lacks what its build needs."""

    def without_install(self, argv: tuple[str, ...]) -> tuple[str, ...]:
        """The argv without what it installs before it starts: the build has done that."""

    def make(self, service: str, checkout: Path, place: Path, on_line: Callable[[str], None]) -> None:
        """Build it at `place`. Raises BuildError."""


def find(
    source: Build, text: str, recipe: Recipe, argvs: Sequence[Sequence[str]], checkout: Path
) -> Project | None:
    """What is to be built for a service, by its Dockerfile and its commands; None for a service that needs no build
    of this kind.
    """
    return java_builds.find(source, text, recipe, argvs, checkout) or node_builds.find(
        source, recipe, argvs, checkout
    )
