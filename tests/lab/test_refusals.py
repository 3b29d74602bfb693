"""Refusals on a host: one clear message each, the documented exit code, and the live release keeps serving."""

import json
import re
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from devtools.apps import Complaint, Done, complaint, eventually
from devtools.lab import images
from devtools.lab.box import Box
from devtools.lab.ground import DOCKERFILE, ROOT, Ground, Shop, code
from pushrod.system import processes
from pushrod.system.processes import Completed
from tests.conftest import needs_lab, spread

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
CHANGE = "    labels: {a: b}\n"
PROGRAM = code().replace('"/": state', '"/": lambda: VERSION')  # the parts that need no stores


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
    needs_lab(images.box_problem())
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
    saved = processes.run(["docker", "save", f"--output={archive}", BASE], timeout=60)
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
    """An app that serves its first release, before and after a test, whatever was refused."""
    good, before = pushed.tree.head(), pushed.footprint()
    assert pushed.get().status == 200
    yield pushed
    assert pushed.get().status == 200
    assert pushed.footprint() == before
    pushed.tree.reset(good)


def refused(shop: Shop, tree: dict[str, str]) -> Complaint:
    """The one error message of a push that is refused while the app serves."""
    shop.tree.commit(tree, "refuse this")
    result = complaint(shop.push())
    assert shop.get().status == 200
    return result


def complaint_of(done: Completed) -> Complaint:
    """The one error message of a failed verb."""
    return complaint(Done(done.status, done.stdout, done.stderr))


def doctor(shop: Shop) -> str:
    """The output of `pushrod doctor` on a host with something broken."""
    done = shop.ground.pushrod("doctor", check=False)
    assert done.status == 10, done.stdout
    return done.stdout


def asked(shop: Shop, *argv: str, key: Path | None = None) -> Completed:
    """A call with a key over SSH."""
    return shop.box.ssh(*argv, user="pushrod", key=key, check=False)


# ---- the Docker engine --------------------------------------------------------------------------------------------


def test_a_stopped_docker_engine_is_reported(shop: Shop) -> None:
    # Otherwise the watchdog would have it started again.
    stop = ("systemctl", "stop", "--job-mode=replace-irreversibly")
    shop.box.exec(*stop, "docker.socket", "docker.service")
    try:
        assert shop.get().status == 200
        result = refused(shop, files(more=CHANGE))
        assert (result.what, "systemctl start docker" in result.to_do) == (
            "the Docker engine does not answer",
            True,
        )
        assert asked(shop, "restart", "--app", "shop").status == 10
    finally:
        shop.box.exec(
            "systemctl", "reset-failed", "docker.service"
        )  # systemd counts starts, and would refuse this one
        shop.box.exec("systemctl", "start", "docker.socket", "docker.service")


def test_a_missing_docker_is_reported(shop: Shop) -> None:
    shop.box.exec("mv", "/usr/bin/docker", "/root/docker")
    try:
        result = refused(shop, files(more=CHANGE))
        assert (result.what, result.to_do) == ("Docker is not installed", "as root: pushrod host init")
        assert asked(shop, "restart", "--app", "shop").status == 10
        assert re.search(r"^broken +docker +Docker is not installed", doctor(shop), re.MULTILINE)
    finally:
        shop.box.exec("mv", "/root/docker", "/usr/bin/docker")


def test_an_account_without_rights_on_the_docker_socket_is_reported(shop: Shop) -> None:
    shop.box.exec("gpasswd", "--delete", "pushrod", "docker")
    try:
        result = refused(shop, files(more=CHANGE))
        assert result.what == "this user may not talk to the Docker engine"
        assert (result.where, "usermod -aG docker pushrod" in result.to_do) == ("/var/run/docker.sock", True)
        assert asked(shop, "restart", "--app", "shop").status == 10
        assert re.search(r"^broken +account +pushrod is not in group docker", doctor(shop), re.MULTILINE)
    finally:
        shop.box.exec("usermod", "--append", "--groups=docker", "pushrod")


def test_a_compose_version_that_is_too_old_is_reported(shop: Shop) -> None:
    """Another Compose has replaced the one that `host init` checked."""
    program = f"{ROOT}/programs/docker-compose"
    shop.box.exec("mv", program, f"{program}.kept")
    shop.box.put(program, "#!/bin/sh\necho 'unknown flag: --progress' >&2\nexit 1\n", 0o755)
    try:
        result = refused(shop, files(more=CHANGE))
        assert (result.what, "pushrod doctor" in result.to_do) == ("unknown flag: --progress", True)
        assert re.search(rf"^broken +programs +{program} is changed", doctor(shop), re.MULTILINE)
    finally:
        shop.box.exec("mv", f"{program}.kept", program)


def test_a_build_that_fills_the_disk_is_stopped(shop: Shop) -> None:
    """The previous image was small, so this could not be predicted; what the build has written is removed."""
    free = _free(shop.box)
    began = time.monotonic()
    result = refused(
        shop, {**files(), "Dockerfile": DOCKERFILE + f"RUN head -c {DISK} /dev/zero >/tmp/much\n"}
    )
    print(f"no space for the build: refused after {time.monotonic() - began:.1f} s")
    assert re.match(
        r"the build was stopped: (the app's builds hold \d+ MB of the disk|only \d+ MB are free on the disk)",
        result.what,
    ), result
    assert result.where == "Dockerfile"
    eventually(lambda: _free(shop.box) > free - 100_000, "the builder has given the space back")  # KiB


@contextmanager
def almost_full(box: Box) -> Iterator[None]:
    """Leave 200 MB on Docker's disk during the block."""
    left = "$(($(df --output=avail -B1 /disk | tail -1) - 200000000))"
    box.exec("sh", "-c", f"head -c {left} /dev/zero >/disk/much")
    try:
        yield
    finally:
        box.exec("rm", "/disk/much")


def test_a_push_whose_images_do_not_fit_on_the_disk_is_refused(shop: Shop) -> None:
    with almost_full(shop.box):
        result = refused(shop, files(more=CHANGE))
        assert re.match(r"it does not fit: \d+ MiB of disk are needed, 1\d\d MiB are free", result.what), (
            result
        )
        planned = shop.at_desk("plan")
        assert re.search(r"^needs .* of disk, .* too little$", planned.stdout, re.MULTILINE), planned
        looked = shop.ground.pushrod("doctor").stdout
        assert re.search(r"^warning +disk +\d+ MB free at /disk", looked, re.MULTILINE), looked


def test_a_restart_with_all_images_present_needs_no_disk(pushed: Shop) -> None:
    with almost_full(pushed.box):
        done = asked(pushed, "restart", "--app", "shop")
    assert done.status == 0, done
    assert pushed.get().status == 200


def _free(box: Box) -> int:
    return int(box.exec("df", "--output=avail", "/disk").stdout.split()[-1])


# ---- ports ---------------------------------------------------------------------------------------------------------


@contextmanager
def squatter(box: Box, port: int) -> Iterator[None]:
    """Another program that listens on a port of the host."""
    listen = f"import socket; s = socket.create_server(('', {port})); s.accept()"
    box.exec("systemd-run", "--unit=squatter", "/usr/bin/python3", "-c", listen)
    eventually(lambda: f":{port} " in box.exec("ss", "-ltn").stdout, "it listens")
    try:
        yield
    finally:
        box.exec("systemctl", "stop", "squatter")


def test_an_app_port_in_use_is_reported(ground: Ground, shop: Shop) -> None:
    """For an app with its own port; the other app is not affected."""
    with squatter(ground.box, 8090):
        other = ground.app("other", files("other.localhost"))
        ground.pushrod("apps", "create", "other", "--port", "8090")
        result = complaint(other.push())
        assert "8090" in result.what + result.where, result
        assert result.to_do
        assert shop.get().status == 200
    again = other.push()
    assert again.ok, again.err
    assert ground.box.get_page(site="other.localhost", port=8090).status == 200
    ground.pushrod("apps", "destroy", "other", "--yes")


def test_an_edge_port_in_use_is_reported(ground: Ground, shop: Shop) -> None:
    ground.box.exec("systemctl", "stop", "pushrod-edge")
    try:
        with squatter(ground.box, 80):
            done = ground.pushrod("host", "init", check=False)
            result = complaint_of(done)
            assert (done.status, result.what) == (
                10,
                "port 80, which the edge needs, is in use",
            )
            assert "ss -ltnp sport = :80" in result.to_do
            shop.tree.commit(files(more=CHANGE), "refuse this")
            assert complaint(shop.push()).what == "the edge (nginx) is not running"
    finally:
        ground.box.exec("systemctl", "start", "pushrod-edge")
        eventually(lambda: _open(ground.box, 80), "the edge is back")


def _open(box: Box, port: int) -> bool:
    """Whether something listens there, seen from this machine."""
    with suppress(OSError), socket.create_connection((box.address, port), 2):
        return True
    return False


# ---- manifests
# ----------------------------------------------------------------------------------------------------

SOCKET = "/var/run/docker.sock"
ASKS = [
    ("privileged: true", "privileged", "privileged"),
    ("network_mode: host", "network_mode", "host-network"),
    ("pid: host", "pid", "host-pid"),
    ('volumes: ["/:/host"]', "volumes[0].source", "/"),
    (f'volumes: ["{SOCKET}:{SOCKET}"]', "volumes[0].source", "docker-socket"),
    ("cap_add: [NET_ADMIN]", "cap_add[0]", "NET_ADMIN"),
]


@pytest.mark.parametrize(("keys", "where", "word"), spread(ASKS, 3), ids=[word for *_, word in ASKS])
def test_a_request_without_the_owners_permission_is_refused(
    shop: Shop, keys: str, where: str, word: str
) -> None:
    result = refused(shop, files(more=f"    {keys}\n"))
    assert result.what.endswith(", which this host does not allow the app")
    assert (result.where, result.to_do) == (
        f"services.web.{where}",
        f"the host's owner can allow it: pushrod apps allow shop {word}",
    )
    planned = shop.at_desk("plan", check=False)
    assert (planned.status, complaint_of(planned)) == (3, result)


def test_the_commit_of_a_refused_push_cannot_be_planned(shop: Shop) -> None:
    """Nothing of a refused push is kept, so its commit must be sent again."""
    refused(shop, files(more="    privileged: true\n"))
    planned = asked(shop, "plan", shop.tree.head(), "--app", "shop")
    result = complaint_of(planned)
    assert (planned.status, result.what) == (4, f"the app's repository has no commit `{shop.tree.head()}`")
    assert "`pushrod plan` in your work tree" in result.to_do


def test_no_permission_gives_access_to_pushrods_own_files(shop: Shop) -> None:
    shop.ground.pushrod("apps", "allow", "shop", "/")
    try:
        for path in (f"{ROOT}/apps", f"{ROOT}/apps/shop/secrets"):
            result = refused(shop, files(more=f'    volumes: ["{path}:/x:ro"]\n'))
            assert "among pushrod's own files" in result.what
    finally:
        shop.ground.pushrod("apps", "allow", "shop", "/", "--remove")


def test_a_permission_applies_to_one_app_until_revoked_and_only_root_gives_it(ground: Ground) -> None:
    """For that app only, until it is revoked, and only by root."""
    media, net = '    volumes: ["/srv/media:/media:ro"]\n', "    cap_add: [NET_ADMIN]\n    user: root\n"
    ground.box.put("/srv/media/photo", "a photo")
    app = ground.app("media", files("media.localhost", media + net))
    assert complaint(app.push()).to_do.endswith("pushrod apps allow media NET_ADMIN /srv/media")
    over_ssh = app.box.ssh("apps", "allow", "media", "/srv", user="pushrod", check=False)
    assert (over_ssh.status, "may not do that" in over_ssh.stderr) == (12, True)
    ground.pushrod("apps", "allow", "media", "/srv", "NET_ADMIN")
    pushed = app.push()
    assert pushed.ok, pushed.err
    assert app.box.docker("exec", app.container("web", app.live), "cat", "/media/photo") == "a photo"
    given = app.inspect("web", app.live)["HostConfig"]["CapAdd"]
    assert "NET_ADMIN" in {name.removeprefix("CAP_") for name in given}
    ground.pushrod("apps", "allow", "media", "/srv", "--remove")
    app.tree.commit({}, "once more")
    assert complaint(app.push()).to_do.endswith("pushrod apps allow media /srv/media")
    assert app.get().status == 200
    ground.pushrod("apps", "destroy", "media", "--yes")


# ---- permissions of keys
# ------------------------------------------------------------------------------------------


def test_a_key_for_one_app_cannot_push_to_another(ground: Ground, shop: Shop, tmp_path: Path) -> None:
    """It may push to its own app, and neither to another's nor to a new one."""
    key = tmp_path / "key"
    processes.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "ci", "-f", key])
    ground.box.exec(
        "pushrod", "host", "keys", "add", "-", "--app", "blog", stdin=key.with_suffix(".pub").read_text()
    )
    environment = {**shop.tree.env, **ground.box.git_environment(key)}
    for name in ("shop", "fresh"):
        argv = ["git", "push", f"pushrod@{ground.box.address}:{name}", "HEAD:main"]
        done = processes.run(argv, cwd=shop.tree.path, env=environment, timeout=60)
        assert (done.status, f"this key is not for `{name}`" in done.stderr) == (128, True), done
    assert "fresh" not in ground.pushrod("apps", "list").stdout
    assert asked(shop, "status", "--app", "shop", key=key).status == 12
    ground.pushrod("apps", "create", "blog")
    shop.tree.commit(files("blog.localhost"), "the blog")
    argv = ["git", "push", f"pushrod@{ground.box.address}:blog", "HEAD:main"]
    done = processes.run(argv, cwd=shop.tree.path, env=environment, timeout=60)
    assert done.status == 0, done.stderr
    ground.pushrod("apps", "destroy", "blog", "--yes")


@pytest.mark.parametrize(
    "command",
    ["id", "bash -i", "cat /etc/passwd", "host init", "status; id", "apps allow shop /", "git-upload-archive shop",
     "scp -t /etc", "exec --root=/ web -- id", "image load /etc/passwd"],
)  # fmt: skip
def test_a_command_that_is_not_allowed_is_refused(shop: Shop, command: str) -> None:
    ssh = [*shop.box.ssh_command(), f"pushrod@{shop.box.address}", command]
    done = processes.run(ssh, timeout=30)
    assert (done.status, done.stdout) == (12, ""), done
    assert complaint_of(done).what
