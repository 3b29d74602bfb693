"""The oldest system that can be a host: Debian 12, with Docker 20.10, no buildx, and systemd 252."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from devtools.apps import complaint
from devtools.lab import images
from devtools.lab.box import Box
from devtools.lab.ground import DOCKERFILE, Ground, Shop, assert_within
from devtools.load import Load
from pushrod.system import processes
from tests.conftest import needs_lab
from tests.lab.test_host import EXPOSURE, UNITS

pytestmark = [pytest.mark.lab, pytest.mark.long]

IMAGES = ("python:3.13-slim", "postgres:18", "valkey/valkey:9")


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    """An app on a server that was bare, pushed once."""
    needs_lab(images.old_problem())
    box = Box()
    ground = Ground(box, tmp_path_factory.mktemp("desk"))
    try:
        box.create(
            images.OLD, seed="", ports=[ground.published]
        )  # an older dockerd may not be able to read that volume
        ground.init()
        _load(box, ground.directory / "images.tar")
        app = ground.app("shop")
        pushed = app.push()
        assert pushed.ok, pushed.err
        yield app
        print(box.journal())
    finally:
        box.remove()


def _load(box: Box, archive: Path) -> None:
    saved = processes.run(["docker", "save", f"--output={archive}", *IMAGES], timeout=120)
    assert saved.status == 0, saved.stderr
    with archive.open("rb") as source:
        box.exec("docker", "load", stdin=source)


def test_the_box_is_debian_12_with_its_old_docker_and_systemd(shop: Shop) -> None:
    assert 'VERSION_ID="12"' in shop.box.get("/etc/os-release").decode()
    assert shop.box.docker("version", "--format={{.Server.Version}}").startswith("20.10.")
    assert shop.box.exec("docker", "buildx", "version", check=False).status != 0
    assert shop.box.exec("systemctl", "--version").stdout.startswith("systemd 252 ")


def test_a_second_push_fails_no_request(shop: Shop) -> None:
    with Load(shop.url, rate=50, seconds=60) as load:
        shop.push_version("two")
    assert load.report.total.failed == 0, load.report.table()
    assert {"1", "2"} == set(load.report.total.releases)


def test_calls_of_a_key_are_within_its_limits(shop: Shop) -> None:
    with shop.asking():
        assert_within(shop.box, "lab")


def test_doctor_finds_nothing_and_prune_runs(shop: Shop) -> None:
    done = shop.ground.pushrod("doctor", check=False)
    assert done.status == 0, done.stdout
    assert "warning" not in done.stdout
    shop.box.exec("systemctl", "start", "pushrod-prune.service")


def test_systemd_accepts_the_units_and_they_are_sandboxed(shop: Shop) -> None:
    done = shop.box.exec("systemd-analyze", "verify", "--man=no", *UNITS, check=False)
    assert (done.status, done.stdout, done.stderr) == (0, "", "")
    services = [unit for unit in UNITS if unit.endswith(".service")]
    look = "for unit; do systemd-analyze security --no-pager $unit; done"
    output = shop.box.exec("sh", "-c", look, "sh", *services).stdout
    result = re.findall(r"Overall exposure level for \S+: ([\d.]+)", output)
    assert len(result) == len(services), output
    assert max(map(float, result)) <= EXPOSURE, output


def test_the_app_serves_after_a_reboot(shop: Shop) -> None:
    shop.post("a row")
    rows = shop.rows()
    shop.box.reboot()
    shop.back(2, "after a reboot of Debian 12")
    assert shop.rows() == rows
    shop.push_version("three")


def test_builds_use_buildkit_in_the_apps_own_builder(shop: Shop) -> None:
    """Without buildx, the client uses the builder from before BuildKit unless told otherwise."""
    step = (
        "RUN --mount=type=cache,target=/kept touch /kept/one && cat /proc/self/cgroup >/cgroup\nUSER nobody"
    )
    shop.push_version("cached", {"Dockerfile": DOCKERFILE.replace("USER nobody", step)})
    web = shop.box.docker("ps", "--quiet", "--filter=label=pushrod.service=web")
    assert "/builds/buildkit/" in shop.box.docker("exec", web, "cat", "/cgroup")
    template = "--format={{range .NetworkSettings.Networks}}{{.IPAddress}} {{end}}"
    address = shop.box.docker("inspect", template, web).split()[0]
    fetch = f"ADD http://{address}:8080/ /page\nUSER nobody"
    shop.tree.commit({"Dockerfile": DOCKERFILE.replace("USER nobody", fetch)}, "fetch")
    assert "permission denied" in complaint(shop.push()).what
