"""image: images from files, for a host without a registry."""

import sys
from pathlib import Path

import click

from pushrod.adapters import docker
from pushrod.cli.context import find_root, with_root
from pushrod.cli.terminal import echo
from pushrod.core.errors import HostError
from pushrod.engines import registry


@click.group("image")
def image_command() -> None:
    """Manage images on a Docker host."""


@image_command.command("load")
@click.argument("file", type=click.Path(allow_dash=True))
@with_root
def load(file: str, root: str | None) -> None:
    """Load images from an archive of `docker save`.

    FILE is the archive, or - for standard input. A release that names one of its images then needs no registry:
    docker save postgres:17 | ssh pushrod@HOST image load -
    """
    where = find_root(root)
    if not registry.traits(where).takes_images:
        raise HostError(
            "only a Docker host accepts images",
            where=str(where.path),
            hint="the embedded engine builds its own",
        )
    if file == "-":
        names = docker.load(sys.stdin.buffer, echo)
    else:
        with Path(file).open("rb") as archive:
            names = docker.load(archive, echo)
    echo(f"loaded: {', '.join(names)}")
