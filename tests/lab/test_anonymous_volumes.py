"""Anonymous volumes, in a compose file and in images: what is in them survives pushes, as it does
`docker compose up`."""

import re

import pytest

from devtools.apps import complaint
from devtools.lab.ground import Ground, Shop

pytestmark = [pytest.mark.lab, pytest.mark.long]

# Two versions of a published image.
IMAGE = """\
FROM python:3.13-slim
ENV VERSION={}
RUN mkdir /files && echo old >/files/old
VOLUME ["/files", "/passing"]
"""
# What is built here: it has a file in one of its volumes.
DOCKERFILE = """\
FROM python:3.13-slim
RUN mkdir -p /uploads /public && touch /uploads/.gitkeep /public/page
VOLUME ["/uploads", "/public"]
"""
# Each instance writes its release into each of its volumes.
COMPOSE = """\
x-pushrod: {domains: [kept.localhost]}
services:
  web:
    image: acme/notes:1
    command: ["sh", "-c", "for d in files data passing; do echo $$PUSHROD_RELEASE >>/$$d/log; done;
      exec python -m http.server --directory / 8000"]
    init: true
    ports: ["8000:8000"]
    volumes: [/data]
    tmpfs: [/passing]
    depends_on: [cache]
    x-pushrod: {release: "cat /data/log /files/old"}
  worker:
    build: .
    command: ["sh", "-c", "for d in uploads public; do echo $$PUSHROD_RELEASE >>/$$d/log; done; exec sleep 600"]
    init: true
  cache:
    image: redis:7
    tmpfs: [/data]
"""


class Kept(Shop):
    """The app, and what is in its volumes."""

    def pushed(self, what: str, **changes: str) -> str:
        self.tree.commit({**changes, "what": what}, what)
        done = self.push()
        assert done.ok, done.err
        return done.err

    def read(self, path: str) -> list[str]:
        """The lines of a file that the entry serves."""
        answer = self.get(path)
        assert answer.status == 200, answer
        return answer.body.decode().split()

    def worker(self, path: str) -> list[str]:
        return self.box.docker("exec", self.container("worker", self.live), "cat", path).split()

    def volumes(self) -> list[str]:
        return self._listed("volume", "ls", "--format={{.Name}}")


@pytest.fixture(scope="module")
def app(ground: Ground) -> Kept:
    """The app, not pushed, on a host that has its image."""
    for version in "12":
        build = IMAGE.format(version)
        ground.box.exec("docker", "build", f"--tag=acme/notes:{version}", "-", stdin=build)
    made = ground.app("kept", {"compose.yaml": COMPOSE, "Dockerfile": DOCKERFILE, "what": "first"})
    ground.pushrod("apps", "create", "kept")
    return Kept(ground, "kept", made.tree)


def test_volumes_without_a_name_survive_pushes_and_rollbacks(app: Kept) -> None:
    # Known before anything is built or pulled: what the files say, and images that are here.
    planned = app.at_desk("plan").stdout
    assert "web: keeps its anonymous volume (/data) from release to release, as with Compose" in planned
    assert "web: keeps the volume of its image (/files) from release to release, as with Compose" in planned
    kept = (
        "worker: keeps the volumes of its image (/uploads, /public) from release to release, as with Compose"
    )
    assert f"{kept}, if its image has no files there" in planned

    # A release command would see the data too; there are none yet.
    app.tree.commit({"compose.yaml": re.sub(" +x-pushrod: {release.*\n", "", COMPOSE)}, "no release command")
    output = app.pushed("one")
    assert (
        "worker: its image has files in an anonymous volume (/public): each release begins with those"
        in output
    )
    assert app.read("/data/log") == app.read("/files/log") == app.worker("/uploads/log") == ["1"]
    assert app.read("/files/old") == ["old"]
    volumes = app.volumes()
    assert len(volumes) == 3

    output = app.pushed("two", **{"compose.yaml": COMPOSE})
    assert re.search(r"1\n.*old\n", output)  # the release command's output
    assert app.read("/data/log") == app.read("/files/log") == app.worker("/uploads/log") == ["1", "2"]
    assert app.read("/passing/log") == app.worker("/public/log") == ["2"]
    assert "keeps" not in output  # a note is shown once

    app.pushed("three", **{"compose.yaml": COMPOSE.replace("notes:1", "notes:2")})
    assert app.read("/data/log") == app.read("/files/log") == app.worker("/uploads/log") == ["1", "2", "3"]
    app.ssh("rollback")
    assert (
        app.read("/data/log") == app.read("/files/log") == app.worker("/uploads/log") == ["1", "2", "3", "2"]
    )
    assert app.read("/passing/log") == app.worker("/public/log") == ["2"]
    assert app.volumes() == volumes


@pytest.mark.long
def test_a_failed_push_leaves_the_volumes_unchanged(app: Kept) -> None:
    before = app.footprint()
    app.tree.commit(
        {
            "compose.yaml": COMPOSE.replace("[/data]\n    tmpfs", "[/data, /more]\n    tmpfs")
            + "  w:\n    build: .\n    command: [nowhere]\n"
        },
        "fails",
    )
    assert not app.push().ok
    assert app.footprint() == before
    assert app.read("/data/log")[:4] == ["1", "2", "3", "2"]


@pytest.mark.long
def test_a_program_that_locks_its_data_is_told_how_to_take_turns(app: Kept) -> None:
    lock = "exec 9>/data/lock; flock --nonblock 9 || { echo database is locked; exit 1; };"
    locking = COMPOSE.replace("exec python", f"{lock} exec python")
    app.pushed("locks", **{"compose.yaml": locking})
    app.tree.commit({"what": "cannot lock"}, "cannot lock")
    refused = app.push()
    assert not refused.ok
    assert "stop-first" in complaint(refused).to_do
    turns = locking.replace(
        "    init: true", "    deploy: {update_config: {order: stop-first}}\n    init: true", 1
    )
    app.pushed("takes turns", **{"compose.yaml": turns})
    assert app.read("/data/log")[-1] == str(app.live)


def test_removing_the_app_removes_its_volumes(app: Kept) -> None:
    assert app.volumes() != [""]
    app.ground.pushrod("apps", "destroy", "kept", "--yes")
    assert app.volumes() == [""]
