"""A container's own health check, and how it ended."""

from typing import Any

import pytest

from pushrod.adapters.docker import healthcheck


@pytest.mark.parametrize(
    ("config", "argv"),
    [
        ({"Healthcheck": {"Test": ["CMD", "pg_isready", "-q"]}}, ("pg_isready", "-q")),
        ({"Healthcheck": {"Test": ["CMD-SHELL", "curl -f /"]}}, ("/bin/sh", "-c", "curl -f /")),
        ({"Healthcheck": {"Test": ["CMD-SHELL", "x"]}, "Shell": ["bash", "-lc"]}, ("bash", "-lc", "x")),
        ({"Healthcheck": {"Test": ["NONE"]}}, ()),
        ({"Healthcheck": None}, ()),
        ({}, ()),
    ],
)
def test_a_check_is_a_command(config: dict[str, Any], argv: tuple[str, ...]) -> None:
    assert healthcheck.argv({"Config": config}) == argv


@pytest.mark.parametrize(
    ("state", "result"),
    [({"Health": {"Status": "starting"}}, "starting"), ({"Health": {"Status": "none"}}, ""), ({}, "")],
)
def test_the_latest_result(state: dict[str, Any], result: str) -> None:
    assert healthcheck.status({"State": state}) == result


@pytest.mark.parametrize(
    ("status", "code", "started", "policy", "well"),
    [
        ("exited", 0, "2026", "on-failure", True),
        ("exited", 0, "2026", "no", True),
        ("exited", 0, "2026", "unless-stopped", False),
        ("exited", 1, "2026", "no", False),
        ("exited", 0, "0001-01-01T00:00:00Z", "no", False),
        ("running", 0, "2026", "no", False),
    ],
)
def test_successful_completion_is_recognized(
    status: str, code: int, started: str, policy: str, well: bool
) -> None:
    assert healthcheck.ended_well(status, code, started, policy) is well
