"""Networks."""

import re
from collections.abc import Mapping, Sequence

import msgspec

from pushrod.adapters.docker.commands import QUICK, at_once, docker, environment, failed, filters
from pushrod.system import processes


def networks(labels: Mapping[str, str]) -> list[str]:
    """The names of the networks that have these labels."""
    return docker("network", "ls", "--format", "{{.Name}}", *filters(labels)).split()


def remove_network(name: str) -> None:
    """Remove a network, as `remove_networks` does."""
    remove_networks([name])


def remove_networks(names: Sequence[str]) -> None:
    """Remove networks, first disconnecting everything from them; ignores missing ones.

    A network that still records a container that is long gone (a Docker bug, until Docker restarts) stays.
    """
    if not names:
        return
    done = processes.run(["docker", "network", "inspect", *names], env=environment(), timeout=QUICK)
    if done.status != 0 and not re.search(r"No such network|not found", done.stderr):
        raise failed(done.stderr, "docker network inspect")
    there = msgspec.json.decode(done.stdout or "[]")
    off = ["docker", "network", "disconnect", "--force"]
    at_once([[*off, n["Name"], c["Name"]] for n in there for c in (n.get("Containers") or {}).values()])
    for done in at_once([["docker", "network", "rm", network["Name"]] for network in there]):
        if done.status != 0 and not re.search(r"has active endpoints|No such network|not found", done.stderr):
            raise failed(done.stderr, "docker network rm")
