"""The distribution's packages that a host needs, and the programs or files that show whether they are installed.

An installed Docker engine is used unchanged, whatever its source.
"""

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

from pushrod.core.errors import HostError
from pushrod.provisioning.changes import Change, Work
from pushrod.provisioning.system import System
from pushrod.system import processes

_PLUGINS = (
    # The client's search path, without the user's own directory (docker/cli, cli-plugins/manager).
    *map(Path, ("/usr/local/lib/docker/cli-plugins", "/usr/local/libexec/docker/cli-plugins")),
    *map(Path, ("/usr/lib/docker/cli-plugins", "/usr/libexec/docker/cli-plugins")),
)
_CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")
_BUS = Path("/run/dbus/system_bus_socket")
_APPARMOR = Path("/sys/module/apparmor/parameters/enabled")
_TIMEOUT = 1200.0  # seconds, for a slow mirror and a small machine
APT_OPTIONS = ("-y", "-o", "DPkg::Lock::Timeout=120", "-o", "Dpkg::Use-Pty=0")
"""apt-get asks nothing, and waits for another apt-get that runs."""


def plugin(name: str) -> Path | None:
    """The file of a plugin of the Docker client, such as `docker-compose`."""
    return next((d / name for d in _PLUGINS if os.access(d / name, os.X_OK)), None)


def missing(system: System, has: Callable[[str], bool]) -> list[str]:
    """The packages to install. `has` tells whether a program, plugin or file exists."""
    return [package for item, package in _needed(system, has) if not has(item)]


def _needed(system: System, has: Callable[[str], bool]) -> Iterator[tuple[str, str]]:
    """Pairs of the program or file that shows a package is installed, and the package."""
    yield from (
        ("git", "git"),
        ("ssh-keygen", "openssh-client"),
        ("iptables", "iptables"),
        ("ip", "iproute2"),
    )
    yield "openssl", "openssl"
    yield str(_CERTIFICATES), "ca-certificates"
    yield "/usr/bin/python3", "python3"
    yield str(_BUS), "dbus"  # the account uses it to have systemd move a key's calls into their unit
    if has("dockerd"):  # its installer chose the rest too
        return
    yield "dockerd", "docker.io"
    if _APPARMOR.exists() and _APPARMOR.read_text().startswith("Y"):
        yield "apparmor_parser", "apparmor"  # without it an engine cannot start containers on such a kernel
    if system.name == "ubuntu":
        yield from (("docker-compose", "docker-compose-v2"), ("docker-buildx", "docker-buildx"))
    elif system.version >= (13,):  # older: docker.io has the client, `docker-compose` is version 1
        yield "docker", "docker-cli"
        yield from (("docker-compose", "docker-compose"), ("docker-buildx", "docker-buildx"))


def is_there(item: str) -> bool:
    """Whether this machine has a program, a plugin of the Docker client, or a file."""
    if item.startswith("/"):
        return Path(item).exists()
    if item.startswith("docker-"):
        return plugin(item) is not None
    return shutil.which(item, path="/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin") is not None


def plan(system: System, on_line: Callable[[str], None]) -> list[Work]:
    """The work that installs missing packages, and a remark on one that pushrod does not install."""
    lacking = missing(system, is_there)
    works = [
        Work(
            Change("packages", "new" if lacking else "same", ", ".join(lacking)),
            lambda: install(lacking, on_line),
        )
    ]
    if not is_there("sshd"):
        detail = "not installed; pushes need it: apt-get install openssh-server"
        works.append(Work(Change("openssh-server", "kept", detail)))
    return works


def install(packages: list[str], on_line: Callable[[str], None]) -> None:
    """Install packages with apt-get; raises HostError if it fails."""
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C.UTF-8"}
    for argv in (["update"], ["install", "--no-install-recommends", *packages]):
        done = processes.run(
            ["apt-get", "-q", *APT_OPTIONS, *argv], env=environment, timeout=_TIMEOUT, on_line=on_line
        )
        if done.status != 0:
            raise HostError(
                f"apt-get {argv[0]} failed",
                where=", ".join(packages),
                hint="the lines above say why; fix it, then run `pushrod host init` again",
            )
