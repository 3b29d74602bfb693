"""The resources that a deployment needs."""

from pathlib import Path
from typing import Any

import pytest

from pushrod.adapters import docker
from pushrod.adapters.docker import Container
from pushrod.core.values import Build, Manifest
from pushrod.engines.docker import names, preflight
from pushrod.state.apps import App
from pushrod.system import files
from tests.unit import samples

MB = 1 << 20


class Engine:
    """An engine with given images and free space."""

    def __init__(self) -> None:
        self.images: dict[str, dict[str, Any]] = {}
        self.containers: list[Container] = []


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> Engine:
    result = Engine()
    monkeypatch.setattr(docker, "image", result.images.get)
    monkeypatch.setattr(docker, "tags", lambda _prefix: sorted(result.images))
    monkeypatch.setattr(docker, "containers", lambda _labels: result.containers)
    monkeypatch.setattr(docker, "info", lambda: {"DockerRootDir": "/var/lib/docker"})
    monkeypatch.setattr(files, "free_space", lambda _path: 1000 * MB)
    monkeypatch.setattr(preflight, "_resident", lambda pid: pid * MB)
    return result


def needs(app: App, parsed: Manifest, **raw: Any) -> dict[str, int]:
    document = {"services": {s.name: raw.get(s.name, {}) for s in parsed.services}}
    return {
        n.what: n.required // MB for n in preflight.needs(app, "abc", parsed, document, docker.containers({}))
    }


def running(service: str, pid: int, **labels: str) -> Container:
    return Container(
        "c", {"pushrod.app": "shop", "pushrod.service": service, **labels}, "i", "running", pid=pid
    )


BACKEND = samples.service(build=Build(), replicas=2)
JOB = samples.service("job", role="job", replicas=0, build=Build())
MANIFEST = Manifest(services=(BACKEND, JOB, samples.store()))


def test_without_measurements_the_needs_are_estimated(app: App, engine: Engine) -> None:
    assert needs(app, MANIFEST) == {"memory": 3 * 128 + 64, "disk": 3 * 600 + 300}


def test_running_instances_determine_the_estimate(app: App, engine: Engine) -> None:
    engine.containers = [running("backend", 50, **{"pushrod.release": "1"}), running("postgres", 99)]
    engine.containers.append(running("backend", 70, **{"pushrod.release": "1"}))
    assert needs(app, MANIFEST)["memory"] == 2 * 70 + 64


def test_reservations_in_the_manifest_are_counted(app: App, engine: Engine) -> None:
    reserved = {"deploy": {"resources": {"reservations": {"memory": str(300 * MB)}}}}
    assert needs(app, MANIFEST, backend=reserved)["memory"] == 2 * 300 + 128 + 64
    assert needs(app, MANIFEST, backend={"mem_reservation": str(10 * MB)})["memory"] == 2 * 10 + 128 + 64
    small = Manifest(services=(samples.service(memory=32 * MB, build=Build()),))
    assert needs(app, small)["memory"] == 32 + 64


def test_present_images_need_no_disk_and_others_as_much_as_before(app: App, engine: Engine) -> None:
    engine.images = {
        "postgres:17": {"Id": "sha256:1", "Size": 9 * MB, "RepoTags": ["postgres:17"]},
        "pushrod/shop/job:abc": {"Size": MB},
    }
    engine.images["pushrod/shop/backend:old"] = {"Size": 200 * MB}
    engine.images["pushrod/shop/backend-2:old"] = {"Size": 900 * MB}
    docker.image = engine.images.get  # type: ignore[assignment]  # undone by the fixture
    assert needs(app, MANIFEST)["disk"] == 200 + 300
    changes = {c.name: (c.action, c.detail) for c in preflight.image_changes(app, "abc", MANIFEST)}
    assert changes["backend"] == ("new", "built: pushrod/shop/backend:abc")
    assert changes["job"][0] == changes["postgres"][0] == "same"


def test_a_full_disk_is_no_obstacle_if_every_image_is_present(
    app: App, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So `pushrod restart` still works then."""
    here = {"Id": "sha256:1", "Size": MB, "RepoTags": ["postgres:17"]}
    engine.images |= {"postgres:17": here, "pushrod/shop/backend:abc": here, "pushrod/shop/job:abc": here}
    monkeypatch.setattr(files, "free_space", lambda _path: 0)
    needed = {
        n.what: (n.required, n.met) for n in preflight.needs(app, "abc", MANIFEST, {"services": {}}, [])
    }
    assert needed["disk"] == (0, True)


@pytest.mark.parametrize(("free", "state"), [(899, "warning"), (900, "ok")])
def test_doctor_reports_the_disk_of_the_images(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, free: int, state: str
) -> None:
    monkeypatch.setattr(files, "free_space", lambda _path: free * MB)
    result = preflight.space()
    assert (result.state, bool(result.remedy)) == (state, state == "warning")
    assert "/var/lib/docker" in result.detail


def test_a_need_reports_free_space_and_whether_it_is_met(app: App, engine: Engine) -> None:
    disk = next(n for n in preflight.needs(app, "abc", MANIFEST, {"services": {}}, []) if n.what == "disk")
    assert (disk.free, disk.met) == (1000 * MB, False)
    assert Path("/var/lib/docker").name in disk.why


@pytest.mark.parametrize("damage", [b"", b"services:", b"\0\xff{", b"- x\n", None])
def test_a_damaged_file_of_running_stores_is_ignored(damage: bytes | None, app: App) -> None:
    path = names.running_stores(app)
    path.parent.mkdir(parents=True)
    path.mkdir() if damage is None else path.write_bytes(damage)
    assert preflight._running(app) == {}
