"""The machine's Docker engine: installed and started if none answers."""

import os
import shutil
import subprocess
from pathlib import Path

from devtools.lab import images
from pushrod.system import tails, waits
from tools.lab.effects import LabError, report, run

PACKAGES = ("docker.io", "iptables", "mmdebstrap", "debian-archive-keyring", "ca-certificates")
CLIENT = "docker-cli"  # for Debian 13, where docker.io does not contain the client
LOG = Path("/var/log/pushrod-lab-dockerd.log")
STARTS = 60.0  # seconds; it takes about five


def start() -> None:
    """Install and start an engine, and wait until it answers."""
    if os.geteuid() != 0:
        raise LabError("no Docker engine answers `docker info`; as root, `make lab` installs and starts one")
    if not all(map(shutil.which, ("dockerd", "docker"))):
        install(*PACKAGES)
    if not shutil.which("docker"):
        install(CLIENT)
    if Path("/run/systemd/system").is_dir():
        report("starting the Docker engine: systemctl start docker")
        run(["systemctl", "start", "docker"])
        command = "systemctl stop docker"
    else:
        command = f"kill {_spawn()}"
    if not waits.wait_until(images.engine_answers, STARTS, 0.5):
        last = "\n".join(tails.of_file(LOG, 10))
        raise LabError(f"the Docker engine does not answer after {STARTS:g} s\n{last}")
    report(f"the Docker engine keeps running; to stop it: {command}")


def _spawn() -> int:
    """Start dockerd on a machine without systemd, and return its process id."""
    report(f"starting dockerd; its log: {LOG}")
    with LOG.open("ab") as log:
        child = subprocess.Popen(
            ["dockerd"], cwd="/", stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
        )
    return child.pid


def install(*packages: str) -> None:
    """Install packages of Debian or Ubuntu."""
    if not shutil.which("apt-get"):
        raise LabError(f"this is neither Debian nor Ubuntu: install {', '.join(packages)} yourself")
    report(f"installing {' '.join(packages)}")
    run(["apt-get", "update"])
    run(["apt-get", "install", "--yes", "--no-install-recommends", *packages])
