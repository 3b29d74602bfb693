"""Where a front gate of tests reads files of apps."""

from pathlib import Path

from pushrod.ingress.protocol import Places


def places(directory: Path) -> Places:
    """Places below a directory."""
    edge = directory / "edge"
    return Places(edge / "static", edge / "passwords", edge / "acme")
