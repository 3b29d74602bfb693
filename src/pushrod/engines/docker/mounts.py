"""What containers mount from the host, and the check that nobody may write above a mount's source.

Standard library only; copied below ROOT beside `bring_up`.
"""

import json
import os
import sys
from pathlib import Path
from typing import NamedTuple

try:
    from pushrod.engines.docker import calls, gates
except ImportError:  # the copy below ROOT has its modules in its own directory
    sys.path.insert(0, str(Path(__file__).resolve().parent))
    import calls  # type: ignore[import-not-found, no-redef, unused-ignore]
    import gates  # type: ignore[import-not-found, no-redef, unused-ignore]


class Mount(NamedTuple):
    """A bind mount of a container: its source as configured, and where that leads now."""

    container: str
    source: Path
    paths: frozenset[Path]
    writable: bool


def mounted(container: str, source: str, writable: bool) -> Mount:
    """A mount of a source as it is now."""
    return Mount(container, Path(source), frozenset((Path(source), Path(os.path.realpath(source)))), writable)


def mounts(containers: dict[str, calls.Fields]) -> list[Mount]:
    """The bind mounts of containers, without the app's gate; includes those that Docker makes from a volume's
    options.
    """
    every = [(name, mount) for name, container in containers.items() for mount in container["Mounts"]]
    devices = bound({mount["Name"] for _, mount in every if mount["Type"] == "volume"})
    bind_mounts = []
    for name, mount in every:
        source = mount["Source"] if mount["Type"] == "bind" else devices.get(mount.get("Name", ""), "")
        path = Path(source)
        if source and gates.GATES not in (path, *path.parents):
            bind_mounts.append(
                Mount(name, path, frozenset((path, Path(os.path.realpath(path)))), bool(mount["RW"]))
            )
    return bind_mounts


def bound(volumes: set[str]) -> dict[str, str]:
    """The path that Docker binds for each of these volumes that is a bind mount; Docker resolves it at each start."""
    options = {name: its.get("Options") or {} for name, its in described(volumes).items()}
    return {name: its["device"] for name, its in options.items() if its.get("device", "").startswith("/")}


def described(volumes: set[str]) -> dict[str, calls.Fields]:
    """Docker's description of the existing ones of these volumes, by name."""
    if not volumes:
        return {}
    done = calls.ended(["docker", "volume", "inspect", *sorted(volumes)])
    if done.returncode != 0 and "no such volume" not in done.stderr.lower():
        raise calls.Trouble(done.stderr.strip() or "docker volume inspect failed")
    return {v["Name"]: v for v in json.loads(done.stdout or "[]")}


def held(*filters: str) -> list[Mount]:
    """The mounts of all containers, running or not; with filters, of the containers that match Docker's filters."""
    return mounts(
        calls.inspect(calls.run(["docker", "ps", "--all", "--quiet", "--no-trunc", *filters]).split())
    )


def separate(mine: list[Mount], everyone: list[Mount]) -> None:
    """Raise Trouble if one of the mounts `mine` lies below a source that others may write into, or the other way
    round.
    """
    for lower, upper in ((mine, everyone), (everyone, mine)):
        writers = {path: m.container for m in upper if m.writable for path in m.paths}
        for mount in lower:
            above = {directory for path in mount.paths for directory in path.parents}
            for place in above & writers.keys():
                raise calls.Trouble(
                    f"{mount.container} mounts {mount.source}, and {writers[place]} may write above "
                    "that path, so it could lead anywhere. Deploy a commit that does not mount both; if one is "
                    "running: pushrod down, then deploy"
                )
