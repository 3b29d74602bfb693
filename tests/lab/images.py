"""What the template needs of this machine: a Docker engine, and the images that its files name."""

import json
import re

import yaml

from pushrod import host, scaffold
from pushrod.errors import HostError

_TIMEOUT = 30.0  # seconds for one question to the engine, which answers within one


def named() -> list[str]:
    """The images that a new repository's compose file and Dockerfile name."""
    files = scaffold.files("shop")
    services = yaml.safe_load(files["compose.yaml"])["services"].values()
    found = {service["image"] for service in services if "image" in service}
    stages = re.findall(r"^FROM (\S+)(?: AS (\S+))?$", files["backend/Dockerfile"], re.MULTILINE)
    found |= {image for image, _ in stages} - {name for _, name in stages}
    return sorted(found)


def labels(image: str) -> dict[str, str] | None:
    """The labels of an image on this machine; None when it is not there."""
    argv = ["docker", "image", "inspect", "--format", "{{json .Config.Labels}}", image]
    result = host.run(argv, timeout=_TIMEOUT)
    return None if result.status else json.loads(result.stdout) or {}


def engine_answers() -> bool:
    """Whether `docker info` speaks of a server. (Some clients end with status 0 where none answers.)"""
    try:
        result = host.run(["docker", "info", "--format", "{{.ServerVersion}}"], timeout=_TIMEOUT)
    except HostError:
        return False
    return result.status == 0 and bool(result.stdout.strip())


def problem() -> str:
    """What keeps the template from running here; empty when nothing does."""
    if not engine_answers():
        return "no Docker engine answers (`docker info`)"
    missing = [image for image in named() if labels(image) is None]
    return f"images are missing: {', '.join(missing)}" if missing else ""
