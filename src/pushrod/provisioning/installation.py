"""pushrod itself on a host: a permanent virtual environment, made from the running installation."""

import os
import sys
from collections.abc import Callable
from pathlib import Path

from pushrod.core.errors import HostError
from pushrod.provisioning import bundle, installer
from pushrod.provisioning.changes import Change, Work
from pushrod.system import files, processes

PREFIX = Path("/opt/pushrod")
PROGRAM = PREFIX / "bin" / "pushrod"
COMMAND = Path("/usr/local/bin/pushrod")
_STAYS = ("/opt", "/usr")
_TIMEOUT = 1200.0  # seconds; packages are fetched over the network


def program(prefix: str = sys.prefix) -> Path:
    """The pushrod program that units and keys name: the running one if its location is permanent."""
    here = Path(prefix) / "bin" / "pushrod"
    return here if stays(prefix) else PROGRAM


def stays(prefix: str = sys.prefix) -> bool:
    """Whether an installation is in a permanent place, not in a home or temporary directory."""
    return any(Path(prefix).is_relative_to(place) for place in _STAYS) and os.access(
        Path(prefix) / "bin" / "pushrod", os.X_OK
    )


def install(on_line: Callable[[str], None]) -> None:
    """Install the running version into PREFIX, in the same way as over SSH. Raises HostError if it fails."""
    wheel = bundle.write(Path(os.environ.get("TMPDIR") or "/tmp"))  # noqa: S108  a file of its own, made by mkstemp
    try:
        argv = ["/usr/bin/python3", "-I", installer.__file__, str(PREFIX), str(wheel)]
        done = processes.run(argv, timeout=_TIMEOUT, on_line=on_line)
    finally:
        wheel.unlink()
        wheel.parent.rmdir()
    if done.status != 0:
        raise HostError(
            f"pushrod could not be installed in {PREFIX}",
            hint="the lines above say why; fix it, then run `pushrod host init` again",
        )


def command() -> Work:
    """The command in root's PATH, unless something else has that name."""
    target = program()
    if COMMAND.is_symlink() and COMMAND.readlink() == target:
        return Work(Change(str(COMMAND), "same"))
    if COMMAND.is_symlink() or COMMAND.exists():
        return Work(Change(str(COMMAND), "kept", "belongs to another program"))
    return Work(Change(str(COMMAND), "new", f"-> {target}"), lambda: files.point(COMMAND, str(target)))
