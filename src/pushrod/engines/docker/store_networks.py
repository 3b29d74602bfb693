"""The networks of an app's stores, created again after somebody removed one, with the existing stores on them.

Compose recreates a container that is not on the networks of its definition, and what a store keeps outside a volume
would be lost. Standard library only; copied below ROOT beside `bring_up`.
"""

import sys
from pathlib import Path

try:
    from pushrod.engines.docker import calls
except ImportError:  # the copy below ROOT has its modules in its own directory
    sys.path.insert(0, str(Path(__file__).resolve().parent))
    import calls  # type: ignore[import-not-found, no-redef, unused-ignore]


def reconnect(document: calls.Fields) -> None:
    """Connect each existing container of a resolved compose file to its networks.

    A missing network is made with the labels by which Compose knows its own.
    """
    containers = calls.inspect([its["container_name"] for its in document["services"].values()])
    listed = (
        calls.run(["docker", "network", "ls", "--no-trunc", "--format={{.Name}} {{.ID}}"])
        if containers
        else ""
    )
    there = dict(line.split() for line in listed.splitlines())
    reconnected = []
    for key, network in document["networks"].items() if containers else ():
        name = network["name"]
        for its in document["services"].values():
            container = containers.get(its["container_name"])
            if container is None or key not in (its.get("networks") or {}):
                continue
            known = (container["NetworkSettings"]["Networks"] or {}).get(name) or {}
            if known.get("NetworkID") == there.get(name, ""):
                continue
            if name not in there:
                there[name] = calls.run(creation(document["name"], key, network)).strip()
            _connect(name, its["container_name"], (its["networks"][key] or {}).get("aliases") or [])
            reconnected.append(its["container_name"])
    for name in dict.fromkeys(reconnected):  # until it runs, Docker does not say which network it is on
        calls.run(["docker", "start", name])


def creation(project: str, key: str, network: calls.Fields) -> list[str]:
    """The command that makes a network as Compose does."""
    own = {"com.docker.compose.project": project, "com.docker.compose.network": key}
    labels = {**(network.get("labels") or {}), **own}
    return [
        *("docker", "network", "create", "--driver=bridge"),
        *(["--internal"] if network.get("internal") else []),
        *(f"--label={name}={value}" for name, value in labels.items()),
        *(f"--opt={name}={value}" for name, value in (network.get("driver_opts") or {}).items()),
        network["name"],
    ]


def _connect(network: str, container: str, aliases: list[str]) -> None:
    calls.ended(
        ["docker", "network", "disconnect", "--force", network, container]
    )  # leftover of a removed network of that name
    calls.run(
        ["docker", "network", "connect", *(f"--alias={alias}" for alias in aliases), network, container]
    )
