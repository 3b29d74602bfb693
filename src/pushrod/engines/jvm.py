"""How much memory the JVMs of services may take for their heap, as a plan reports it.

A JVM takes its share from the limit of its container, else from the machine's memory. So the manifest's `mem_limit`
and the command's options decide together, and neither shows the result.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from pushrod.adapters import dockerfile
from pushrod.core import limits
from pushrod.core.errors import PushrodError
from pushrod.core.patterns import lazy
from pushrod.core.values import Manifest, Service
from pushrod.engines import scripts

OPTIONS = ("JDK_JAVA_OPTIONS", "JAVA_TOOL_OPTIONS")
"""The variables that a JVM reads options from. The first is read only by `java`, the program, since JDK 9."""

_SHARE = 25.0  # percent of the memory: what a JVM takes without an option
_ROOM = 0.75  # of the limit: more of a heap leaves too little for classes, threads and buffers
_PROGRAM = lazy(r"(?:^|[\s;&|(\"'/])java(?=$|[\s\"'])")
_PERCENT = lazy(r"-XX:MaxRAMPercentage=(\d+(?:\.\d+)?)")
_MOST = lazy(r"-(?:Xmx|XX:MaxHeapSize=)(\d+)([kKmMgG]?)\b")
_UNITS = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30}


def runs(argv: Sequence[str]) -> bool:
    """Whether an argv, or the script in it, calls `java`."""
    return any(_PROGRAM.search(word) for word in argv)


def remarks(manifest: Manifest, checkout: Path, *, contained: bool = True) -> list[str]:
    """A note for each of the app's own services that runs a JVM; without a container only its heap has a limit."""
    beyond = "" if contained else "; nothing bounds the rest of the process on the embedded engine"
    return [
        f"{note}{beyond if service.memory else ''}"
        for service in manifest.stateless
        for note in _of(service, checkout)
    ]


def bounded(limit: int, argv: Sequence[str]) -> dict[str, str]:
    """The variable that makes a JVM assume `limit` bytes of memory (0: none), where no container sets that limit."""
    machine = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return {OPTIONS[0]: f"-XX:MaxRAM={limit}"} if runs(argv) and 0 < limit < machine else {}


def _of(service: Service, checkout: Path) -> Iterator[str]:
    argvs = [argv for argv in scripts.argvs(service, checkout) if argv and argv != service.release]
    if service.replicas and any(map(runs, argvs)):
        # what is written last wins: the command comes after the variables, its own line before the image's
        words = [*_variables(service, checkout), *(" ".join(argv) for argv in reversed(argvs))]
        yield f"{service.name}: {heap(' '.join(words), service.memory)}"


def _variables(service: Service, checkout: Path) -> list[str]:
    """The options in variables of the image and of the manifest."""
    image: Mapping[str, str] = {}
    if service.build is not None:
        path = checkout / service.build.context / service.build.dockerfile
        try:
            image = dockerfile.read(path.read_text(errors="replace"), target=service.build.target).environment
        except (OSError, PushrodError):
            image = {}
    return [service.environment.get(name) or image.get(name, "") for name in OPTIONS]


def heap(options: str, limit: int) -> str:
    """How large a heap may get, by the options, in a memory of `limit` bytes (0: the machine's)."""
    most = [int(number) * _UNITS[unit.lower()] for number, unit in _MOST.findall(options)]
    shares = [float(percent) for percent in _PERCENT.findall(options)]
    share = shares[-1] if shares else _SHARE
    why = f"`-XX:MaxRAMPercentage={share:g}`" if shares else f"a JVM's own {_SHARE:g} %"
    if not limit:
        taken = (
            f"{_rounded(most[-1])}, as its options say"
            if most
            else f"{share:g} % of the machine's memory ({why})"
        )
        return f"its Java heap may take {taken}; `mem_limit` would bound the whole process"
    size = most[-1] if most else int(limit * share / 100)
    text = f"its Java heap may take {_rounded(size)} of `mem_limit` {limits.size(limit)}"
    text += ", as its options say" if most else f" ({why})"
    if size > limit * _ROOM:
        return f"{text}; classes, threads and buffers need room too: at most {_ROOM:.0%} leaves enough"
    return text if most or shares else f"{text}; `-XX:MaxRAMPercentage=60` in its command gives it more"


def _rounded(size: int) -> str:
    return f"{size / (1 << 20):.0f} MiB"
