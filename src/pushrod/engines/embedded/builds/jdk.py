"""The JDKs of this machine and their versions."""

import os
import re
import shutil
from pathlib import Path
from typing import NamedTuple

from pushrod.core.patterns import lazy
from pushrod.engines.embedded.commands import PATH

_PLACES = Path("/usr/lib/jvm")
_VERSION = lazy(r'^JAVA_VERSION="(?:1\.)?((\d+)[^"]*)"', re.MULTILINE)


class Kit(NamedTuple):
    """A JDK: its directory, its version, and the number that `--release` takes."""

    home: Path
    version: str
    feature: int


def kits() -> list[Kit]:
    """The JDKs found: that of `java` on the path first, then JAVA_HOME's, then the others, the newest first."""
    homes = [_home(shutil.which("javac", path=PATH)), os.environ.get("JAVA_HOME")]
    others = sorted(filter(None, map(_kit, _PLACES.iterdir() if _PLACES.is_dir() else ())), key=_newest)
    first = [kit for home in homes if home and (kit := _kit(Path(home)))]
    return list({kit.home: kit for kit in (*first, *others)}.values())


def suitable(feature: int) -> Kit | None:
    """The first JDK that compiles for this version of Java (0: any)."""
    return next((kit for kit in kits() if kit.feature >= feature), None)


def _newest(kit: Kit) -> int:
    return -kit.feature


def _home(javac: str | None) -> str | None:
    return str(Path(javac).resolve().parents[1]) if javac else None


def _kit(home: Path) -> Kit | None:
    """The JDK in a directory; None for a JRE (it has no compiler) and for anything else."""
    try:
        home = home.resolve()
        match = _VERSION.search((home / "release").read_text(errors="replace"))
    except OSError:
        return None
    if not match or not os.access(home / "bin" / "javac", os.X_OK):
        return None
    return Kit(home, match[1], int(match[2]))
