"""Directories that the edge is to serve, that the commit lacks, and that the engine builds from it."""

from pathlib import Path

from pushrod.core.values import Routing
from pushrod.engines.protocols import Images, OnLine


def build(images: Images, routing: Routing, checkout: Path, on_line: OnLine) -> None:
    """Build them into the checkout, each once. Raises BuildError."""
    for directory in dict.fromkeys(
        route.files for route in routing.routes if route.files and not route.volume
    ):
        if images.makes(directory, checkout):
            images.make(directory, checkout, on_line)
