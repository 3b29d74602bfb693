"""Run Docker's programs with a time-out, and read what they report about containers.

Standard library only; copied below ROOT beside `bring_up`.
"""

import json
import os
import subprocess
from typing import Any

Fields = dict[str, Any]

_COMMAND = 300.0  # seconds for one Docker command
_REASON = "Error response from daemon: "
_FAILED = "failed to start containers: "


class Trouble(Exception):
    """What failed, in one sentence."""


def run(argv: list[str], timeout: float = _COMMAND) -> str:
    """Run a program and return its output. Raises Trouble with its last line if it fails."""
    done = ended(argv, timeout)
    if done.returncode != 0:
        raise Trouble(reason(done.stderr or done.stdout) or f"{argv[0]} failed without an error message")
    return done.stdout


def reason(output: str) -> str:
    """Why a program failed. Docker reports the reasons on lines of their own, then the containers that were not
    started.
    """
    words = [line.strip() for line in output.splitlines() if line.strip()]
    why = [line.partition(_REASON)[2] for line in words if _REASON in line]
    failed = [line.partition(_FAILED)[2] for line in words[-1:] if _FAILED in line]
    if not why:
        return words[-1] if words else ""
    names = failed[0].split(", ") if failed else []
    if len(names) == len(why):
        why = [f"{name}: {each}" for name, each in zip(names, why, strict=True)]
    return "; ".join(dict.fromkeys(why))


def ended(argv: list[str], timeout: float = _COMMAND) -> "subprocess.CompletedProcess[str]":
    """Run a program to its end, whatever its status. Raises Trouble if it cannot be run or takes too long."""
    # The caller's environment may have COMPOSE_PROFILES or similar variables, which would change what starts.
    variables = {name: value for name, value in os.environ.items() if not name.startswith("COMPOSE_")}
    try:
        return subprocess.run(
            argv,
            env=variables,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as e:
        raise Trouble(f"{argv[0]}: {e}") from e


def inspect(names: list[str]) -> dict[str, Fields]:
    """The existing containers of these names as Docker describes them, by name."""
    if not names:
        return {}
    done = ended(["docker", "container", "inspect", *names])
    if done.returncode != 0 and "No such container" not in done.stderr:
        raise Trouble(done.stderr.strip() or "docker inspect failed")
    return {c["Name"].lstrip("/"): c for c in json.loads(done.stdout or "[]")}


def networks(containers: dict[str, Fields]) -> dict[str, dict[str, str]]:
    """The networks each container is connected to, with its fixed address there."""
    return {
        name: {
            network: ((n or {}).get("IPAMConfig") or {}).get("IPv4Address", "")
            for network, n in (c["NetworkSettings"]["Networks"] or {}).items()
        }
        for name, c in containers.items()
    }
