"""Calls of Docker's programs, and their errors."""

import pytest

from pushrod.engines.docker import calls
from pushrod.engines.docker.calls import Trouble

DAEMON = "Error response from daemon: "


def test_a_failed_program_is_reported_with_its_last_line() -> None:
    with pytest.raises(Trouble, match=r"^second$"):
        calls.run(["sh", "-c", "echo first >&2; echo second >&2; exit 3"])
    with pytest.raises(Trouble, match="no-such-program"):
        calls.run(["no-such-program"])
    with pytest.raises(Trouble, match="timed out"):
        calls.run(["sleep", "5"], timeout=0.1)


def test_composes_own_variables_are_not_handed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COMPOSE_PROFILES", "run")
    monkeypatch.setenv("DOCKER_HOST", "unix:///x")
    assert calls.run(["sh", "-c", "echo ${COMPOSE_PROFILES-none} $DOCKER_HOST"]) == "none unix:///x\n"


@pytest.mark.parametrize(
    ("message", "why"),
    [
        (f"{DAEMON}no such program\nError: failed to start containers: a\n", "a: no such program"),
        (f"{DAEMON}one\n{DAEMON}two\nError: failed to start containers: a, b\n", "a: one; b: two"),
        (f"{DAEMON}one\nError: failed to start containers: a, b\n", "one"),
        (f" Container a  Starting\n{DAEMON}the reason\n", "the reason"),
        (f"{DAEMON}the reason\n{DAEMON}the reason\nexit status 1\n", "the reason"),
        ("something\nlast words\n", "last words"),
        ("\n", ""),
    ],
)
def test_the_reason_of_a_failure_is_extracted(message: str, why: str) -> None:
    assert calls.reason(message) == why
