"""Which containers are healthy, and how long pushrod waits."""

import os
import tracemalloc
from pathlib import Path
from typing import Any

import pytest

from pushrod.engines.docker import calls, container_health
from pushrod.engines.docker.calls import Trouble


def inspected(status: str = "running", restarts: int = 0, **state: Any) -> dict[str, Any]:
    return {
        "Name": "/c",
        "RestartCount": restarts,
        "State": {"Status": status, "ExitCode": 3, "StartedAt": "2026", **state},
        "HostConfig": {"RestartPolicy": {"Name": "unless-stopped"}},
        "Config": {"Labels": {}},
    }


@pytest.mark.slow
def test_the_first_that_is_not_healthy_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calls, "inspect", lambda _: {"a": inspected(), "b": inspected("exited")})
    with pytest.raises(Trouble, match=r"after 0\.3 s: b is exited, c is not there"):
        container_health.healthy(["a", "b", "c"], 0.3)


def test_a_container_that_restarts_in_a_loop_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    counts = iter(range(7, 100))
    monkeypatch.setattr(calls, "inspect", lambda _: {"a": inspected("restarting", next(counts))})
    monkeypatch.setattr(container_health, "_POLL", 0)
    with pytest.raises(Trouble, match="a ends with status 3 each time it starts"):
        container_health.healthy(["a"], 60)
    assert next(counts) == 7 + container_health._LOOP + 1


@pytest.mark.slow
def test_the_output_of_a_check_is_not_kept_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The watchdog and the boot of the machine run it, and it is the app's own program."""
    docker = tmp_path / "docker"
    docker.write_text("#!/bin/sh\nhead -c 50000000 /dev/zero; head -c 50000000 /dev/zero >&2\n")
    docker.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    container = inspected() | {"Config": {"Healthcheck": {"Test": ["CMD", "check"]}}}
    tracemalloc.start()
    try:
        assert container_health.checked(container)
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()
