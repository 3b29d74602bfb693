"""What the lab's tests need of this machine: a Docker engine, images, and a volume of images for the boxes."""

import hashlib
import json
import re

import yaml

from pushrod.cli import scaffold
from pushrod.core.errors import HostError
from pushrod.system import processes

BOX = "pushrod-lab/box"  # a server with systemd, Docker, Git and what pushrod needs of Python
BARE = "pushrod-lab/bare"  # a server with systemd and nothing that pushrod needs but Python
OLD = "pushrod-lab/old"  # the same of the oldest Debian that can be a host
DEBIAN = "pushrod-lab/debian"  # what these and the stand-ins begin with: Debian 13
DEBIAN_12 = "pushrod-lab/debian-12"  # what OLD begins with
NETWORK = "pushrod-lab-boxes"
SUBNET = "10.212.0.0/16"  # what pushrod takes on a server is 10.213.0.0/16 and 10.214.0.0/16
LABEL = "pushrod.lab"  # on every image and volume that the lab has made

# What the classic compose file names: nginx, backend, PostgreSQL 16, Redis 7.
CLASSIC = ("nginx:latest", "postgres:16", "redis:7")

_TIMEOUT = 30.0  # seconds for one question to the engine, which answers within one


def named() -> list[str]:
    """The images that a new repository's compose file and Dockerfiles name."""
    files = scaffold.template_files("shop")
    services = yaml.safe_load(files["compose.yaml"])["services"].values()
    found = {service["image"] for service in services if "image" in service}
    for text in (text for path, text in files.items() if path.endswith("/Dockerfile")):
        stages = re.findall(r"^FROM (\S+)(?: AS (\S+))?$", text, re.MULTILINE)
        found |= {image for image, _ in stages} - {name for _, name in stages}
    return sorted(found)


def inner() -> list[str]:
    """The images that every box has from its first second."""
    return sorted({*named(), *CLASSIC})


def labels(image: str) -> dict[str, str] | None:
    """The labels of an image on this machine; None when it is not there."""
    argv = ["docker", "image", "inspect", "--format", "{{json .Config.Labels}}", image]
    result = processes.run(argv, timeout=_TIMEOUT)
    return None if result.status else json.loads(result.stdout) or {}


def engine_answers() -> bool:
    """Whether `docker info` speaks of a server. (Some clients end with status 0 where none answers.)"""
    try:
        result = processes.run(["docker", "info", "--format", "{{.ServerVersion}}"], timeout=_TIMEOUT)
    except HostError:
        return False
    return result.status == 0 and bool(result.stdout.strip())


def seed() -> str:
    """The name of the volume that boxes begin with: what a dockerd leaves that has loaded `inner()` and nothing else.

    It is named by the ids of those images, so that a volume of older ones is never taken for it.
    """
    result = processes.run(["docker", "image", "inspect", "--format", "{{.Id}}", *inner()], timeout=_TIMEOUT)
    return f"pushrod-lab-images-{hashlib.sha256(result.stdout.encode()).hexdigest()[:12]}"


def has_volume(name: str) -> bool:
    """Whether this machine's engine has a volume of that name."""
    return processes.run(["docker", "volume", "inspect", name], timeout=_TIMEOUT).status == 0


def problem() -> str:
    """What keeps the template from running here; empty when nothing does."""
    return _problem(named())


def box_problem() -> str:
    """What keeps boxes from running here; empty when nothing does."""
    if found := _problem([*inner(), BOX, BARE]):
        return found
    return "" if has_volume(seed()) else "the volume of images for the boxes is missing"


def old_problem() -> str:
    """What keeps boxes of the oldest Debian from running here; empty when nothing does."""
    return box_problem() or _problem([OLD])


def _problem(needed: list[str]) -> str:
    if not engine_answers():
        return "no Docker engine answers (`docker info`)"
    missing = [image for image in needed if labels(image) is None]
    return f"images are missing: {', '.join(missing)}" if missing else ""
