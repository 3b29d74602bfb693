"""A container's own health check and how it ended, as `docker inspect` describes them.

Standard library only; copied below ROOT for the programs that run there without pushrod.
"""

from collections.abc import Mapping
from typing import Any

_SHELL = ["/bin/sh", "-c"]


def status(described: Mapping[str, Any]) -> str:
    """Docker's latest result of a container's own health check; empty if it has none."""
    result: str = (described["State"].get("Health") or {}).get("Status", "")
    return "" if result == "none" else result


def argv(described: Mapping[str, Any]) -> tuple[str, ...]:
    """A container's own health check as a command; empty if it has none."""
    config = described["Config"]
    match (config.get("Healthcheck") or {}).get("Test") or []:
        case ["CMD", *words]:
            return tuple(words)
        case ["CMD-SHELL", script]:
            return (*(config.get("Shell") or _SHELL), script)
    return ()


def ended_well(status: str, exit_code: int, started: str, policy: str) -> bool:
    """Whether a container has finished its work and is not one that must run forever. `started` is Docker's time."""
    ended = status == "exited" and exit_code == 0 and not started.startswith("0001")
    return ended and policy in ("no", "on-failure", "")
