"""Why a release did not start."""

from pathlib import Path

import pytest

from pushrod.adapters import docker
from pushrod.engines.docker import bring_up
from pushrod.engines.docker.hooks import Failed
from pushrod.engines.docker.projects import not_started
from pushrod.state.apps import App, Root
from tests.unit import samples


@pytest.mark.parametrize("log", [("sh: last words",), ()])
def test_a_failed_hook_is_named_and_not_confused_with_the_containers_program(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, log: tuple[str, ...]
) -> None:
    """Docker reports a missing hook command like a missing program of the container."""
    monkeypatch.setattr(docker, "logs", lambda _name: ["of the container"])
    docker_says = 'exec: "/nowhere/program": stat /nowhere/program: no such file or directory'
    why = f"shop-r1-backend-1: its post_start command `/nowhere/program` ended with status 126: {docker_says}"
    with pytest.raises(bring_up.HookTrouble) as refused:
        bring_up.refuse(Failed(why, log))
    app = App(Root(tmp_path), "shop")
    error = not_started(app, samples.release(1), refused.value)
    assert error.what == why
    assert (error.where, error.log) == ("service backend", log)
