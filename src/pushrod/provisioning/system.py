"""The operating system of a host: which ones are supported."""

import re
from pathlib import Path
from typing import NamedTuple

from pushrod.core.errors import HostError
from pushrod.system import processes

OLDEST = {"debian": (12,), "ubuntu": (24, 4)}
"""The first version of each whose own Python is 3.11 or newer: Ubuntu 22.04 has 3.10."""

_RELEASE = Path("/etc/os-release")
_INIT = Path("/proc/1/comm")
_PYTHON = (3, 11)


class System(NamedTuple):
    """A distribution and its version: `debian`, (13,)."""

    name: str
    version: tuple[int, ...]


def parse(text: str) -> System:
    """The system named in an os-release file (os-release(5)); empty name and version 0 if it names none."""
    fields = dict(re.findall(r'^(ID|VERSION_ID)="?([^"\n]*)"?$', text, re.MULTILINE))
    version = tuple(int(n) for n in re.findall(r"\d+", fields.get("VERSION_ID", ""))) or (0,)
    return System(fields.get("ID", ""), version)


def supported(release: Path = _RELEASE, init: Path = _INIT) -> System:
    """This machine's system. Raises HostError if it is not supported, or not run by systemd."""
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
    """What is wrong with the system's own Python, which the units run; empty if it exists and is new enough."""
    program = Path("/usr/bin/python3")
    if not program.exists():
        return "there is no /usr/bin/python3"
    printed = processes.run(
        [program, "-I", "-S", "-c", "import sys; print(*sys.version_info[:2])"], timeout=30
    ).stdout
    version = tuple(int(n) for n in printed.split())
    if version < _PYTHON:
        return f"/usr/bin/python3 is {'.'.join(map(str, version))}; 3.11 or newer is needed"
    return ""
