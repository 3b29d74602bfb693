"""The states of containers in `pushrod status`."""

import datetime
from typing import Any

import pytest

from pushrod.adapters.docker import Container
from pushrod.engines.docker.states import state_of

NEVER = "0001-01-01T00:00:00Z"


def container(**changes: Any) -> Container:
    labels = {
        "pushrod.app": "shop",
        "pushrod.service": "backend",
        "pushrod.release": "7",
        "pushrod.instance": "backend-1",
    }
    given: dict[str, Any] = {
        "name": "c",
        "labels": labels,
        "image": "i",
        "state": "running",
        "started": NEVER,
    }
    return Container(**(given | changes))


@pytest.mark.parametrize(
    ("changes", "word", "detail"),
    [
        ({"pid": 7}, "running", ""),
        ({"health": "starting"}, "starting", ""),
        ({"health": "healthy"}, "running", ""),
        ({"health": "unhealthy"}, "failed", "unhealthy"),
        ({"state": "created"}, "stopped", ""),
        ({"state": "paused"}, "stopped", ""),
        ({"state": "restarting", "exit_code": 1}, "backoff", ""),
        ({"state": "removing"}, "stopping", ""),
        ({"state": "exited", "exit_code": 3, "policy": "on-failure"}, "failed", "ended with status 3"),
        ({"state": "exited", "started": "2026", "policy": "unless-stopped"}, "failed", "ended with status 0"),
        ({"state": "exited", "exit_code": 127, "error": "no such program"}, "failed", "no such program"),
        ({"state": "something new"}, "failed", "ended with status 0"),
    ],
)  # fmt: skip
def test_states_are_described_in_the_words_of_status(changes: dict[str, Any], word: str, detail: str) -> None:
    state = state_of(container(**changes))
    assert state
    assert (state.group, state.name, state.state, state.detail) == ("shop-r7", "backend-1", word, detail)


@pytest.mark.parametrize("policy", ["no", "on-failure", ""])
def test_a_worker_that_completed_is_not_shown(policy: str) -> None:
    assert state_of(container(state="exited", started="2026-01-01T00:00:00Z", policy=policy)) is None


def test_a_one_shot_container_is_not_shown() -> None:
    labels = {"pushrod.app": "shop", "pushrod.service": "backend", "pushrod.release": "7"}
    assert state_of(container(labels=labels)) is None


def test_a_store_is_in_the_group_of_its_app() -> None:
    state = state_of(container(labels={"pushrod.app": "shop", "pushrod.service": "postgres"}))
    assert state
    assert (state.group, state.name) == ("shop", "postgres")


def test_the_age_of_a_state_is_measured() -> None:
    began = datetime.datetime.now(datetime.UTC) - datetime.timedelta(seconds=90)
    stamp = began.strftime("%Y-%m-%dT%H:%M:%S.123456789Z")
    state = state_of(container(started=stamp))
    assert state
    assert 89 <= state.since <= 95
    ended = state_of(container(state="exited", exit_code=1, started=NEVER, finished=stamp))
    assert ended
    assert 89 <= ended.since <= 95
    never = state_of(container(state="created", finished=""))
    assert never
    assert never.since == 0
