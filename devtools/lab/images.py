"""What the lab's tests need on this machine: a Docker engine, images, and a volume of images for the boxes."""

import hashlib
import json
import re

import yaml

from pushrod.cli import scaffold
from pushrod.core.errors import HostError
from pushrod.system import processes

BOX = "pushrod-lab/box"  # a server with systemd, Docker, Git and pushrod's Python dependencies
BARE = "pushrod-lab/bare"  # a server with systemd and, of what pushrod needs, only Python
OLD = "pushrod-lab/old"  # the same with the oldest Debian that can be a host
HOST = "pushrod-lab/host"  # a BOX on which `pushrod host init` was run, with its volume of the same digest
DEBIAN = "pushrod-lab/debian"  # Debian 13, the base of these and of the stand-ins
DEBIAN_12 = "pushrod-lab/debian-12"  # the base of OLD
NETWORK = "pushrod-lab-boxes"
SUBNET = "10.212.0.0/16"  # on a server, pushrod uses 10.213.0.0/16 and 10.214.0.0/16
LABEL = "pushrod.lab"  # on every image and volume made by the lab

# The images of the classic compose file: nginx, backend, PostgreSQL 16, Redis 7.
CLASSIC = ("nginx:latest", "postgres:16", "redis:7")
JRE = "eclipse-temurin:21-jre"  # loaded only by tests that need it
JAVA = ("maven:3.9-eclipse-temurin-21", JRE)  # 1 GB: only where somebody asks for it
MARIADB = "mariadb:11"  # loaded only by tests that need it

_TIMEOUT = 30.0  # seconds for one question to the engine, which usually answers within one


def named() -> list[str]:
    """The images named in a new repository's compose file and Dockerfiles."""
    files = scaffold.template_files("shop")
    services = yaml.safe_load(files["compose.yaml"])["services"].values()
    names = {service["image"] for service in services if "image" in service}
    for text in (text for path, text in files.items() if path.endswith("/Dockerfile")):
        stages = re.findall(r"^FROM (\S+)(?: AS (\S+))?$", text, re.MULTILINE)
        names |= {image for image, _ in stages} - {name for _, name in stages}
    return sorted(names)


def inner() -> list[str]:
    """The images that every box has from the start."""
    return sorted({*named(), *CLASSIC})


def labels(image: str) -> dict[str, str] | None:
    """The labels of an image on this machine; None if it does not exist."""
    argv = ["docker", "image", "inspect", "--format", "{{json .Config.Labels}}", image]
    result = processes.run(argv, timeout=_TIMEOUT)
    return None if result.status else json.loads(result.stdout) or {}


def engine_answers() -> bool:
    """Whether `docker info` reports a server. (Some clients exit with status 0 without one.)"""
    try:
        result = processes.run(["docker", "info", "--format", "{{.ServerVersion}}"], timeout=_TIMEOUT)
    except HostError:
        return False
    return result.status == 0 and bool(result.stdout.strip())


def seed() -> str:
    """The name of the volume that boxes start with: the data of a dockerd that has loaded only `inner()`.

    The name contains a digest of those images' ids, so that an outdated volume is never used.
    """
    result = processes.run(["docker", "image", "inspect", "--format", "{{.Id}}", *inner()], timeout=_TIMEOUT)
    return f"pushrod-lab-images-{hashlib.sha256(result.stdout.encode()).hexdigest()[:12]}"


def host_volume(source: str) -> str:
    """The name of the volume that prepared hosts start with: what dockerd held after `pushrod host init`.

    `source` is a digest of pushrod's source; a host that another source has prepared is never used.
    """
    parts = (source, seed(), json.dumps(labels(BOX)))
    return f"pushrod-lab-host-{hashlib.sha256(chr(0).join(parts).encode()).hexdigest()[:12]}"


def has_volume(name: str) -> bool:
    """Whether this machine's engine has a volume with that name."""
    return processes.run(["docker", "volume", "inspect", name], timeout=_TIMEOUT).status == 0


def problem() -> str:
    """What prevents the template from running here; empty if nothing does."""
    return _problem(named())


def box_problem() -> str:
    """What prevents boxes from running here; empty if nothing does."""
    if problem := _problem([*inner(), BOX, BARE]):
        return problem
    return "" if has_volume(seed()) else "the volume of images for the boxes is missing"


def mariadb_problem() -> str:
    """What prevents boxes with a MariaDB from running here; empty if nothing does."""
    return box_problem() or _problem([MARIADB])


def jre_problem() -> str:
    """What prevents boxes with a JVM from running here; empty if nothing does."""
    return box_problem() or _problem([JRE])


def java_problem() -> str:
    """What keeps boxes with a JDK and Maven from running here; empty when nothing does."""
    return box_problem() or _problem([*JAVA])


def old_problem() -> str:
    """What prevents boxes with the oldest Debian from running here; empty if nothing does."""
    return box_problem() or _problem([OLD])


def _problem(needed: list[str]) -> str:
    if not engine_answers():
        return "no Docker engine answers (`docker info`)"
    missing = [image for image in needed if labels(image) is None]
    return f"images are missing: {', '.join(missing)}" if missing else ""
