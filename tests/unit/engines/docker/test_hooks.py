"""Hooks of a container, run by stand-ins for Docker's program with a given result."""

import time
from pathlib import Path

import pytest

from pushrod.engines.docker import hooks
from pushrod.engines.docker.hooks import Hooks

NAME = "shop-r7-web-1"


def sh(script: str) -> tuple[str, ...]:
    """A shell command in place of a call of Docker's program."""
    return ("sh", "-c", script, NAME, "do", "it")


def test_hooks_run_in_sequence_until_one_fails(tmp_path: Path) -> None:
    record = tmp_path / "record"
    commands = tuple(
        sh(f"echo {n} >>{record}; echo out {n}; exit {status}") for n, status in ((1, 0), (2, 7), (3, 0))
    )
    failed = hooks.after_start(Hooks(NAME, "web-1", post_start=commands))
    assert failed is not None
    assert failed.why == f"{NAME}: its post_start command `do it` ended with status 7: out 2"
    assert record.read_text() == "1\n2\n"
    assert hooks.after_start(Hooks(NAME, "web-1", post_start=commands[:1])) is None


@pytest.mark.parametrize("script", ["sleep 60", "exec >&- 2>&-; sleep 60", "while :; do echo still; done"])
@pytest.mark.slow
def test_all_hooks_of_a_container_share_one_time_limit(script: str) -> None:
    began = time.monotonic()
    failed = hooks.after_start(Hooks(NAME, "web-1", post_start=(sh("exit 0"), sh(script))), 0.3)
    assert failed is not None
    assert "did not end within 0.3 s" in failed.why
    assert time.monotonic() - began < 20


@pytest.mark.slow
def test_only_the_end_of_a_hooks_output_is_kept() -> None:
    command = sh("i=0; while [ $i -lt 20000 ]; do echo line $i; i=$((i+1)); done; exit 1")
    failed = hooks.after_start(Hooks(NAME, "web-1", post_start=(command,)))
    assert failed is not None
    assert failed.log[-1] == "line 19999"
    assert len(failed.log) == 20


def test_pre_stop_hooks_of_several_containers_run_in_parallel(tmp_path: Path) -> None:
    """Each waits until the other has begun."""
    both = [
        Hooks(NAME, "web-1", pre_stop=(sh(f"touch {tmp_path}/{a}; until [ -e {tmp_path}/{b} ]; do :; done"),))
        for a, b in (("a", "b"), ("b", "a"))
    ]
    assert hooks.before_stop([(row, 30.0) for row in both]) == []
    wrong = Hooks(NAME, "web-1", pre_stop=(sh("exit 2"),))
    assert [f.why for f in hooks.before_stop([(wrong, 30.0), (both[0], 30.0)])] == [
        f"{NAME}: its pre_stop command `do it` ended with status 2"
    ]


def test_a_missing_program_is_reported() -> None:
    failed = hooks.after_start(Hooks(NAME, "web-1", post_start=(("/nowhere/docker", NAME),)))
    assert failed is not None
    assert "ended with status 127" in failed.why


def test_hooks_are_read_in_the_order_in_which_they_were_written(tmp_path: Path) -> None:
    rows = [
        Hooks("b", "b", (("docker", "exec", "b", "x"),)),
        Hooks("a", "a", (), (("docker", "exec", "a", "y"),)),
    ]
    (tmp_path / hooks.FILE).write_text(hooks.render(rows))
    assert list(hooks.read(tmp_path / hooks.FILE).values()) == rows
    assert hooks.read(tmp_path / "none") == {}
