"""Volumes."""

from collections.abc import Iterable, Mapping

from pushrod.adapters.docker.commands import docker, filters


def volumes(labels: Mapping[str, str]) -> list[str]:
    """The names of the volumes that have these labels."""
    return docker("volume", "ls", "--quiet", *filters(labels)).split()


def drivers() -> dict[str, str]:
    """The names of all volumes, each with its driver."""
    lines = docker("volume", "ls", "--format", "{{.Name}} {{.Driver}}").splitlines()
    return {name: driver for name, _, driver in (line.partition(" ") for line in lines)}


def has_volume(name: str) -> bool:
    """Whether a volume of that name exists."""
    return name in docker("volume", "ls", "--quiet", "--filter", f"name={name}").split()


def make_volume(
    name: str, labels: Mapping[str, str], options: Mapping[str, str], driver: str = "local"
) -> None:
    """Create a volume of that name, or leave an existing one unchanged."""
    words = [w for label, value in labels.items() for w in ("--label", f"{label}={value}")]
    words += [w for option, value in options.items() for w in ("--opt", f"{option}={value}")]
    docker("volume", "create", "--driver", driver, *words, name)


def remove_volumes(names: Iterable[str]) -> None:
    """Remove volumes with their data."""
    if names := list(names):
        docker("volume", "rm", *names)
