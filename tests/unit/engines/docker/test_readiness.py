"""When an instance is ready, by a sequence of states that Docker reports."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from pushrod.adapters import docker
from pushrod.adapters.docker import Container
from pushrod.core.errors import ReadyError
from pushrod.core.values import Health, Instance
from pushrod.engines.docker import readiness
from pushrod.engines.docker.readiness import Readiness
from pushrod.system import processes
from tests.unit import samples

Looks = Callable[..., Readiness]


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> Looks:
    """A worker for which Docker reports these states in order, and then the last one again and again."""

    def make(*states: dict[str, Any], health: Health | None = None) -> Readiness:
        given: dict[str, Any] = {"name": "worker-1", "labels": {}, "image": "i", "state": "running"}
        rest: Iterator[dict[str, Any]] = iter(states)
        last = [states[0]]

        def inspect(_names: object) -> list[Container]:
            last[0] = next(rest, last[0])
            return [] if last[0].get("gone") else [Container(**(given | last[0]))]

        monkeypatch.setattr(docker, "inspect", inspect)
        monkeypatch.setattr(docker, "logs", lambda _name: ["last words"])
        monkeypatch.setattr(readiness, "_POLL", 0)
        monkeypatch.setattr(readiness, "_DEADLINE", 0.2)
        worker = samples.service("worker", role="worker", port=0, health=health or Health())
        release = samples.release(
            7, services=(samples.service(), worker), instances=(Instance("worker-1", "worker"),)
        )
        return Readiness(release, lambda i: i.name)

    return make


def test_an_instance_is_ready_if_its_own_check_is_healthy(looks: Looks) -> None:
    looks({"state": "created"}, {"health": "starting"}, {"health": "healthy"}).wait()


def test_the_check_runs_before_docker_runs_it(looks: Looks, monkeypatch: pytest.MonkeyPatch) -> None:
    commands: list[tuple[str, ...]] = []

    def execute(_name: str, argv: tuple[str, ...], **_: Any) -> processes.Completed:
        commands.append(argv)
        return processes.Completed(0, "", "")

    monkeypatch.setattr(docker, "execute", execute)
    looks({"health": "starting", "check": ("ok",)}).wait()
    assert commands == [("ok",)]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("states", "why"),
    [
        (({"gone": True},), "its container is gone"),
        (({"state": "exited", "exit_code": 3},), "ended while starting, with status 3"),
        (({"state": "exited", "exit_code": 137, "out_of_memory": True},), "exceeded its memory limit"),
        (({"state": "restarting", "exit_code": 1},), "ended while starting, with status 1"),
        (({"health": "starting"}, {"health": "starting", "restarts": 1}), "ended while starting"),
        (({"health": "unhealthy"},), "is unhealthy"),
        (({"health": "starting"},), "after 0.2 s: is starting"),
    ],
)  # fmt: skip
def test_the_reason_for_not_being_ready_is_reported(
    looks: Looks, states: tuple[dict[str, Any], ...], why: str
) -> None:
    with pytest.raises(ReadyError) as caught:
        looks(*states).wait()
    assert why in caught.value.what
    assert caught.value.log == ("last words",)


def test_an_old_restart_does_not_matter(looks: Looks) -> None:
    looks({"health": "healthy", "restarts": 3}).wait()


def test_a_worker_that_completed_is_ready(looks: Looks) -> None:
    looks({"state": "exited", "started": "2026", "policy": "on-failure"}).wait()


def test_an_images_own_check_determines_the_deadline(looks: Looks) -> None:
    slow = looks({"health": "starting", "patience": 300.0})
    instance = slow._release.instances[0]
    container = docker.inspect(["worker-1"])[0]
    assert slow._deadline(instance, {"worker-1": container}) == 300
    limited = looks({"health": "starting", "patience": 300.0}, health=Health(deadline=7))
    assert limited._deadline(limited._release.instances[0], {"worker-1": container}) == 7
