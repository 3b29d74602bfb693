"""Instances whose program uses another port than the one it is given, and deadlines on a busy machine."""

import os
import socket
from pathlib import Path
from typing import Literal

import pytest

from pushrod.core.errors import ReadyError
from pushrod.core.values import Health, Instance, ProcessState, Release
from pushrod.engines.embedded import readiness
from pushrod.engines.embedded.readiness import Readiness
from pushrod.system import descendants
from tests.unit.samples import release, service


def started(port: int, deadline: float = 0.2) -> Release:
    checked = Health(command=("check",), interval=0.01, deadline=deadline)
    one = service("web", port=port, health=checked)
    return release(services=(one,), entry="web", instances=(Instance("web-1", "web", 20001),))


def ready(sealed: Release, log: Path, state: Literal["running", "failed"] = "running") -> list[str]:
    process = ProcessState(group="shop-r1", name="web-1", state=state, pid=os.getpid())
    return Readiness(sealed, lambda: [process], lambda _: "", lambda _: log).wait()


@pytest.mark.slow
def test_a_check_that_passes_on_another_port_than_the_edges_is_not_enough(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as own:
        port = own.getsockname()[1]
        with pytest.raises(ReadyError, match="was not healthy within"):
            ready(started(port), tmp_path / "log")
        monkeypatch.setattr(readiness, "_SURE", 0.0)
        with pytest.raises(ReadyError, match=f"listens on port {port}, not on 20001"):
            ready(started(port, deadline=9.0), tmp_path / "log")


@pytest.mark.parametrize(
    "line", ["OSError: [Errno 98] Address already in use", "Error: listen EADDRINUSE: 0.0.0.0:1"]
)
def test_the_error_of_a_port_in_use_says_which_one_it_is_given(tmp_path: Path, line: str) -> None:
    log = tmp_path / "log"
    log.write_text(f"Traceback\n{line}\n")
    with pytest.raises(ReadyError, match="on a port in use, not on 20001, which it is given") as ended:
        ready(started(8000), log, "failed")
    assert "read PORT in the code" in ended.value.hint
    log.write_text("ModuleNotFoundError\n")
    with pytest.raises(ReadyError, match=r"ended at boot$"):
        ready(started(8000), log, "failed")


@pytest.mark.parametrize(
    ("took", "queued", "late"),
    [
        (20.0, 0.0, ""),
        (21.0, 0.5, "was not healthy within 20 s"),
        (49.0, 30.0, ""),
        (51.0, 30.0, "within 20 s (30 s longer, because this machine had no processor for it)"),
        (59.0, 500.0, ""),
        (61.0, 500.0, "within 20 s (40 s longer, because this machine had no processor for it)"),
    ],
)
def test_time_without_a_processor_does_not_count_up_to_twice_the_deadline(
    took: float, queued: float, late: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(descendants, "queued", lambda pid: queued if pid == os.getpid() else 0.0)
    sealed = started(8000, deadline=20.0)
    process = ProcessState(group="shop-r1", name="web-1", state="running", pid=os.getpid())
    asked = Readiness(sealed, lambda: [process], lambda _: "", Path)
    assert asked._late(sealed.instances[0], process, took).endswith(late)
    assert bool(asked._late(sealed.instances[0], process, took)) == bool(late)
