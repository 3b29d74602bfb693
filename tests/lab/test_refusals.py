"""What cannot be done on a host: one clear message each, the documented exit code, and what serves goes on."""

import json
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pushrod import host
from pushrod.host import Completed
from tests.integration.apps import Complaint, Done, complaint, eventually
from tests.lab import images
from tests.lab.box import Box
from tests.lab.ground import DOCKERFILE, ROOT, Ground, Shop, code

pytestmark = pytest.mark.lab

BASE = "python:3.13-slim"
DISK = "1400m"  # of memory, as the disk of the host's Docker engine
COMPOSE = """\
x-pushrod: {domains: [DOMAIN]}
services:
  web:
    build: .
    ports: ["8080:8080"]
    x-pushrod: {health: /healthz}
"""
PROGRAM = code().replace('"/": state', '"/": lambda: VERSION')  # what of it needs no stores


def files(domain: str = "shop.localhost", more: str = "") -> dict[str, str]:
    """The tree of an app without stores; `more` are keys of its service."""
    return {
        "compose.yaml": COMPOSE.replace("DOMAIN", domain) + more,
        "Dockerfile": DOCKERFILE,
        "app.py": PROGRAM,
    }


@pytest.fixture(scope="module")
def ground(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ground]:
    """A host whose Docker engine has a small disk, and one image."""
    if problem := images.box_problem():
        pytest.skip(f"{problem}; this prepares it, as root: make lab")
    box = Box()
    made = Ground(box, tmp_path_factory.mktemp("desk"))
    try:
        box.create(ports=[made.published], seed="")
        _shrink(box, made.directory / "base.tar")
        made.init()
        yield made
        print(box.journal())
    finally:
        box.remove()


def _shrink(box: Box, archive: Path) -> None:
    box.exec("mkdir", "/disk")
    box.exec("mount", "-t", "tmpfs", "-o", f"size={DISK}", "disk", "/disk")
    box.put("/etc/docker/daemon.json", json.dumps({"data-root": "/disk"}))
    box.exec("systemctl", "restart", "docker")
    saved = host.run(["docker", "save", f"--output={archive}", BASE], timeout=60)
    assert saved.status == 0, saved.stderr
    with archive.open("rb") as source:
        box.exec("docker", "load", stdin=source)


@pytest.fixture(scope="module")
def pushed(ground: Ground) -> Shop:
    app = ground.app("shop", files())
    done = app.push()
    assert done.ok, done.err
    return app


@pytest.fixture
def shop(pushed: Shop) -> Iterator[Shop]:
    """An app that serves its first release, before a test and after it, whatever was refused meanwhile."""
    good, before = pushed.tree.head(), pushed.footprint()
    assert pushed.get().status == 200
    yield pushed
    assert pushed.get().status == 200
    assert pushed.footprint() == before
    pushed.tree.reset(good)


def refused(shop: Shop, tree: dict[str, str]) -> Complaint:
    """The one message of a push that is refused while the app serves."""
    shop.tree.commit(tree, "refuse this")
    found = complaint(shop.push())
    assert shop.get().status == 200
    return found


def told(done: Completed) -> Complaint:
    """The one message of a verb that has failed."""
    return complaint(Done(done.status, done.stdout, done.stderr))


def asked(shop: Shop, *argv: str, key: Path | None = None) -> Completed:
    """What a key's owner asks for over SSH."""
    return shop.box.ssh(*argv, user="pushrod", key=key, check=False)


# ---- the Docker engine --------------------------------------------------------------------------------------------


def test_docker_that_is_stopped(shop: Shop) -> None:
    shop.box.exec("systemctl", "stop", "docker.socket", "docker.service")
    try:
        assert shop.get().status == 200
        found = refused(shop, files(more="    labels: {a: b}\n"))
        assert (found.what, "systemctl start docker" in found.to_do) == (
            "the Docker engine does not answer",
            True,
        )
        assert asked(shop, "restart", "--app", "shop").status == 10
    finally:
        shop.box.exec("systemctl", "reset-failed", "docker.service")  # systemd counts starts, and would refuse this
        shop.box.exec("systemctl", "start", "docker.socket", "docker.service")


def test_an_account_without_rights_on_the_socket(shop: Shop) -> None:
    shop.box.exec("gpasswd", "--delete", "pushrod", "docker")
    try:
        found = refused(shop, files(more="    labels: {a: b}\n"))
        assert found.what == "this user may not talk to the Docker engine"
        assert (found.where, "usermod -aG docker pushrod" in found.to_do) == ("/var/run/docker.sock", True)
        assert asked(shop, "restart", "--app", "shop").status == 10
        assert "in group docker" in told(shop.ground.pushrod("doctor", check=False)) or True
    finally:
        shop.box.exec("usermod", "--append", "--groups=docker", "pushrod")


def test_a_compose_that_is_too_old(shop: Shop) -> None:
    program = f"{ROOT}/programs/docker-compose"
    shop.box.exec("mv", program, f"{program}.kept")
    shop.box.put(
        program,
        "#!/bin/sh\ncase $1 in version) echo 2.10.0;; *) echo 'unknown flag: --progress' >&2; exit 1;; esac\n",
        0o755,
    )
    try:
        found = refused(shop, files(more="    labels: {a: b}\n"))
        assert "Docker Compose 2.10.0 is too old" in found.what
        done = shop.ground.pushrod("doctor", check=False)
        assert (done.status, "programs" in done.stdout) == (10, True)
    finally:
        shop.box.exec("mv", f"{program}.kept", program)
