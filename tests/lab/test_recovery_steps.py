"""On a Docker host: what recovery reads is damaged in turn, and the app is mended, rolled back, stopped, removed."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from devtools.lab import images
from devtools.lab.box import PUSHROD, Box
from devtools.lab.ground import DOCKERFILE, Ground, Shop, code
from pushrod.system.processes import Completed

pytestmark = pytest.mark.lab

COMPOSE = """\
x-pushrod: {domains: [shop.localhost]}
services:
  web:
    build: .
    ports: ["8080:8080"]
    depends_on: [redis]
    stop_grace_period: 2s
    x-pushrod: {health: /healthz}
  redis: {image: "valkey/valkey:9"}
"""

RELEASE, SEALED = "state/releases/{live}", "secrets/releases/{live}"
UNIT = "/etc/systemd/system/pushrod.target.wants/pushrod-app@shop.service"

GONE, CUT, GARBLED = "rm -rf {0}", "truncate --size=20 {0}", "printf '\\0\\377{{' >{0}"
DIRECTORY = "rm -rf {0}; mkdir {0}; touch {0}/x"
FILE = "rm -rf {0}; echo x >{0}"

FAULTS = {
    "the release's containers: cut": (f"{RELEASE}/compose.yaml", CUT),
    "the release's addresses: gone": (f"{RELEASE}/attachments.json", GONE),
    "the release: a directory": (f"{RELEASE}/release.json", DIRECTORY),
    "the stores: garbled": ("state/stores/compose.yaml", GARBLED),
    "the stores: a directory": ("state/stores/compose.yaml", DIRECTORY),
    "the environments: gone": (SEALED, GONE),
    "the environment of a store: a directory": ("secrets/stores/redis.env", DIRECTORY),
    "the secrets: gone": ("secrets", GONE),
    "the gate: a file": ("/run/pushrod/shop", FILE),
    "the unit: a directory": (UNIT, DIRECTORY),
    "the lock: a directory": ("lock", DIRECTORY),
    "the pointer: a directory": ("state/live", DIRECTORY),
    "the containers: gone": ("", "docker rm --force $(docker ps --quiet --filter label=pushrod.app=shop)"),
}


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory, wheel: Path) -> Iterator[Shop]:
    if problem := images.box_problem():
        pytest.skip(f"{problem}; this prepares it, as root: make lab")
    box = Box()
    ground = Ground(box, tmp_path_factory.mktemp("desk"))
    try:
        box.create(ports=[ground.published]).install(wheel)
        box.exec(f"{PUSHROD}/bin/pushrod", "host", "init")
        ground.add_key()
        app = ground.app("shop", tree("first"))
        push(app, "first")
        push(app, "second")
        yield app
    finally:
        print(box.journal(40, "--unit=pushrod*"))
        box.remove()


def tree(version: str) -> dict[str, str | bytes]:
    program = code(version).replace('"/": state', '"/": lambda: VERSION')
    return {"app.py": program, "Dockerfile": DOCKERFILE, "compose.yaml": COMPOSE}


def push(shop: Shop, version: str) -> None:
    shop.tree.commit(tree(version), version)
    done = shop.tree.push("--force", "pushrod", "HEAD:main")
    assert done.ok, done.err
    assert json.loads(shop.get().body) == version


def befall(shop: Shop, name: str) -> None:
    place, way = FAULTS[name]
    path = place.format(live=shop.journal_live)
    path = path if path.startswith("/") else f"{shop.directory}/{path}"
    user = "root" if path.startswith(("/etc", "/run")) or not place else "pushrod"
    shop.box.exec("sh", "-c", way.format(path), user=user)


def there(shop: Shop, *argv: str) -> Completed:
    done = shop.box.exec("pushrod", *argv, check=False)
    print(" ".join(argv), done.stdout, done.stderr)
    assert "Traceback" not in done.stderr
    return done


def must(shop: Shop, *argv: str) -> str:
    done = there(shop, *argv)
    assert done.status == 0, done.stderr
    return done.stdout


def answers(shop: Shop) -> int:
    """The release that answers."""
    answer = shop.get()
    assert answer.status == 200, answer
    return int(answer.headers["x-pushrod-release"])


@pytest.mark.parametrize("name", FAULTS)
def test_a_step_that_is_impossible(shop: Shop, name: str) -> None:
    befall(shop, name)
    there(shop, "doctor")
    before = shop.journal_live
    must(shop, "rollback", "--app", "shop")
    assert answers(shop) < before

    befall(shop, name)
    must(shop, "doctor", "--repair", "--app", "shop")
    assert "nothing was damaged" in must(shop, "doctor", "--repair", "--app", "shop")
    push(shop, f"after {name}")


def test_all_of_it_at_once_is_stopped_and_removed(shop: Shop) -> None:
    for verb in (("down", "--app", "shop"), ("apps", "destroy", "shop", "--yes")):
        for name in FAULTS:
            befall(shop, name) if name != "the containers: gone" else None
        must(shop, *verb)
        assert shop.box.docker("ps", "--quiet", "--filter=label=pushrod.app=shop") == ""
    shop.box.exec("test", "!", "-e", shop.directory)
