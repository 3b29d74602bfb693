"""A program `docker` in a test's directory, which describes containers and writes down its calls."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

SLICE = "pushrod-store-shop.slice"
Calls = Callable[[], list[list[str]]]


def described(name: str, started: str = "2026-11-22T14:00:00Z") -> dict[str, object]:
    """A container as Docker describes it."""
    state = {"Status": "running", "ExitCode": 0, "Pid": 1, "StartedAt": started, "FinishedAt": ""}
    policy = {"RestartPolicy": {"Name": "no"}, "CgroupParent": SLICE}
    config: dict[str, object] = {"Labels": {}}
    return {
        "Name": f"/{name}",
        "Image": "sha256:1",
        "State": state,
        "Config": config,
        "HostConfig": policy,
        "NetworkSettings": {},
    }


def install(place: Path, monkeypatch: pytest.MonkeyPatch) -> Calls:
    """Install it first in PATH; returns what gives its calls. In `place`, `known` has its containers, `listed` the
    names that `ps` prints; `run` takes long if there is a file `slow`."""
    program = place / "docker"
    program.write_text(
        f"""#!/bin/sh
for word; do printf '%s\\n' "$word"; done >> {place}/calls; echo >> {place}/calls
case "$1 $2" in
"ps --all") [ ! -e {place}/listed ] || cat {place}/listed;;
"container inspect") cat {place}/known;;
"run --rm") [ ! -e {place}/slow ] || exec sleep 60;;
esac
"""
    )
    program.chmod(0o755)
    (place / "known").write_text(json.dumps([described("shop-db")]))
    monkeypatch.setenv("PATH", f"{place}:{os.environ['PATH']}")
    return lambda: [call.splitlines() for call in (place / "calls").read_text().split("\n\n") if call]
