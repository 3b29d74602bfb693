"""What the engine refuses before anything is started."""

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from pushrod.adapters import docker
from pushrod.core.errors import ManifestError
from pushrod.core.values import Auth, Diagnostic, Instance, Manifest, Placement, Release, Route, Routing
from pushrod.engines.docker import bring_up, engine, preflight
from pushrod.engines.docker.engine import Docker, _check_ports, _check_volumes, _has_quota
from pushrod.engines.docker.hooks import Failed
from pushrod.engines.docker.rendering import Parts
from pushrod.state.apps import App, HostSettings, Root
from pushrod.state.releases import Releases
from tests.unit import samples

WANTED = Manifest(
    services=(
        samples.service(),
        *(samples.service(n, role="worker", port=0) for n in ("api", "judge", "job")),
    ),
    routing=Routing(routes=(Route("/api/", service="api", auth=Auth(service="judge", path="/")),)),
)


@pytest.mark.parametrize("without", ["backend", "api", "judge"])
def test_what_the_edge_reaches_has_a_port(without: str) -> None:
    instances = [Instance(f"{s.name}-1", s.name, 0 if s.name == without else 8080) for s in WANTED.services]
    with pytest.raises(ManifestError, match=f"on which port {without} listens") as refused:
        _check_ports(WANTED, instances)
    assert refused.value.where == f"services.{without}"


def test_a_worker_needs_none() -> None:
    instances = [Instance(f"{s.name}-1", s.name, 0 if s.name == "job" else 8080) for s in WANTED.services]
    _check_ports(WANTED, instances)


def host_of(root: Path, pool: str = "10.0.0.0/20") -> Docker:
    found = Docker(Root(root))
    found.__dict__["settings"] = HostSettings(pool=pool)
    return found


def older(*blocks: str) -> Sequence[Release]:
    return [samples.release(n, network=block) for n, block in enumerate(blocks, start=1)]


@pytest.mark.parametrize(
    ("blocks", "room", "gone"),
    [
        (["10.0.0.0/26"] * 5, "ok", 0),
        (["10.0.0.0/26"] * 6, "ok", 0),  # with the live one, and room for the next: 512 of 4096
        (["10.0.0.0/26"] * 7, "ok", 1),
        (["10.0.0.0/24", "10.0.1.0/26", "10.0.1.64/26", "10.0.1.128/26"], "ok", 1),
        (["10.0.0.0/26"] * 5, "warning", 4),
        ([], "warning", 0),
    ],
)
def test_an_app_keeps_its_share(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, blocks: list[str], room: str, gone: int
) -> None:
    monkeypatch.setattr(preflight, "space", lambda: Diagnostic("disk", room, ""))  # type: ignore[arg-type]
    live = samples.release(99, network="10.0.8.0/26")
    assert max(0, host_of(tmp_path).excess(App(Root(tmp_path), "shop"), older(*blocks), live)) == gone


def test_addresses_are_taken_from_when_they_are_chosen_on(tmp_path: Path) -> None:
    """Nobody holds a lock while a release is sealed, which another app can make long."""
    app = App(Root(tmp_path), "shop")
    app.directory.mkdir(parents=True)
    (app.directory / "app.json").write_text("{}")
    sealed = app.state / "releases" / "1" / "release.json"
    sealed.parent.mkdir(parents=True)
    sealed.write_text(json.dumps({"network": "10.0.0.0/26"}))
    Releases(app).reserve(2, Placement((), "10.0.0.64/26"))
    assert host_of(tmp_path)._blocks() == {"shop": {"10.0.0.0/26", "10.0.0.64/26"}}
    assert Releases(app).numbers() == [1]
    assert engine._holders({"a": {"10.0.0.0/26"}, "b": {"10.0.1.0/25"}, "c": set()}) == (
        "b holds 128 addresses, a holds 64 addresses"
    )


def test_images_that_ask_for_many() -> None:
    images = {"web": Parts("web", root=True, data=tuple(f"/{n}" for n in range(51)))}
    _check_volumes({}, 50, 50)
    for asked, made, where in ((images, 0, "services.web"), ({}, 51, "volumes")):
        with pytest.raises(ManifestError, match="51 volumes") as error:
            _check_volumes(asked, made, 50)
        assert error.value.where == where
        assert "volumes=51" in error.value.hint


def test_no_quota_is_asked_for_where_the_engine_keeps_none() -> None:
    assert not _has_quota({"Driver": "overlay2", "DockerRootDir": "/proc"})
    assert not _has_quota({"Driver": "vfs", "DockerRootDir": "/"})


@pytest.mark.parametrize("log", [("sh: last words",), ()])
def test_a_hook_that_fails_is_named_and_not_taken_for_the_program_of_its_container(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, log: tuple[str, ...]
) -> None:
    """Docker says of a command that is not there what it says of a container's own program."""
    monkeypatch.setattr(docker, "logs", lambda _name: ["of the container"])
    docker_says = 'exec: "/nowhere/program": stat /nowhere/program: no such file or directory'
    why = f"shop-r1-backend-1: its post_start command `/nowhere/program` ended with status 126: {docker_says}"
    with pytest.raises(bring_up.Trouble) as refused:
        bring_up.refuse(Failed(why, log))
    app = App(Root(tmp_path), "shop")
    error = host_of(tmp_path)._not_started(app, samples.release(1), refused.value)
    assert error.what == why
    assert (error.where, error.log) == ("service backend", log)
