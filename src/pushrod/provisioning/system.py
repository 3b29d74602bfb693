"""Which system a host runs: what is supported, and what it calls its packages."""

import re
from pathlib import Path
from typing import NamedTuple

from pushrod.core.errors import HostError
from pushrod.system import processes

OLDEST = {"debian": (12,), "ubuntu": (24, 4)}
"""The first of each with Python 3.11 or newer as its own: Ubuntu 22.04 has 3.10."""

_RELEASE = Path("/etc/os-release")
_INIT = Path("/proc/1/comm")
_PYTHON = (3, 11)


class System(NamedTuple):
    """A distribution and its version: `debian`, (13,)."""

    name: str
    version: tuple[int, ...]


def parse(text: str) -> System:
    """The system that an os-release file names (os-release(5)); zeros where it does not say."""
    found = dict(re.findall(r'^(ID|VERSION_ID)="?([^"\n]*)"?$', text, re.MULTILINE))
    version = tuple(int(n) for n in re.findall(r"\d+", found.get("VERSION_ID", ""))) or (0,)
    return System(found.get("ID", ""), version)


def supported(release: Path = _RELEASE, init: Path = _INIT) -> System:
    """This machine's system. Raises HostError if it is none that pushrod knows, or if systemd does not run it."""
    text = release.read_text() if release.exists() else ""
    system = parse(text)
    if system.version < OLDEST.get(system.name, (1_000_000,)):
        name = dict(re.findall(r'^(PRETTY_NAME)="?([^"\n]*)"?$', text, re.MULTILINE)).get("PRETTY_NAME")
        raise HostError(
            f"{name or 'this system'} cannot be a host",
            where=str(release),
            hint="use Debian 12 or newer, or Ubuntu 24.04 or newer",
        )
    if init.read_text().strip() != "systemd":
        raise HostError(
            f"{init.read_text().strip()} is the first process here, not systemd",
            where=str(init),
            hint="use a server or a virtual machine; a container without systemd cannot be a host",
        )
    return system


def python_problem() -> str:
    """What is wrong with the system's own Python, which the units run; nothing if it is there and new enough."""
    program = Path("/usr/bin/python3")
    if not program.exists():
        return "there is no /usr/bin/python3"
    told = processes.run(
        [program, "-I", "-S", "-c", "import sys; print(*sys.version_info[:2])"], timeout=30
    ).stdout
    version = tuple(int(n) for n in told.split())
    if version < _PYTHON:
        return f"/usr/bin/python3 is {'.'.join(map(str, version))}; 3.11 is the oldest that will do"
    return ""
