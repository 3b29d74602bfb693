"""The capabilities that files of an image have (`setcap`): read from a container that is made for it, never started.

A program whose file has one that its container lacks is not executed: the kernel says `operation not permitted`.
"""

import contextlib
import hashlib
import json
import posixpath
import re
import struct
import tarfile
from concurrent import futures
from functools import partial
from pathlib import Path

from pushrod.adapters import docker
from pushrod.core.errors import HostError
from pushrod.system import files, processes

_PLACES = ("/usr/bin", "/usr/sbin", "/usr/local/bin", "/usr/local/sbin", "/bin", "/sbin")
_NAME = "SCHILY.xattr.security.capability"  # how tar keeps the attribute (pax)
_TIME = 10.0  # seconds for the files of one place

# capabilities(7), linux/capability.h, by their numbers; those after are newer than what images give to files.
_NAMES = (
    *("CHOWN", "DAC_OVERRIDE", "DAC_READ_SEARCH", "FOWNER", "FSETID", "KILL", "SETGID", "SETUID", "SETPCAP"),
    *(
        "LINUX_IMMUTABLE",
        "NET_BIND_SERVICE",
        "NET_BROADCAST",
        "NET_ADMIN",
        "NET_RAW",
        "IPC_LOCK",
        "IPC_OWNER",
    ),
    *(
        "SYS_MODULE",
        "SYS_RAWIO",
        "SYS_CHROOT",
        "SYS_PTRACE",
        "SYS_PACCT",
        "SYS_ADMIN",
        "SYS_BOOT",
        "SYS_NICE",
    ),
    *(
        "SYS_RESOURCE",
        "SYS_TIME",
        "SYS_TTY_CONFIG",
        "MKNOD",
        "LEASE",
        "AUDIT_WRITE",
        "AUDIT_CONTROL",
        "SETFCAP",
    ),
)

_COPIED = re.compile(
    r"\b(?:file|dir|multi):[0-9a-f]{64}"
)  # how Docker's older builder tells of what it copied
_AT_ONCE = 4  # places of an image that are read at the same time
_MOST = 200  # images of which an app's file keeps what was found

Files = dict[str, frozenset[str]]


class Found:
    """What was found in an app's images, kept in a file.

    Images that were made by the same commands on the same first layer are looked into once. What was copied into them
    may differ: a push whose code alone has changed must not wait for it, and code gives its files no capabilities.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._known: dict[str, dict[str, list[str]]] = {}
        with contextlib.suppress(OSError, ValueError):
            self._known = json.loads(path.read_text())

    def of_image(self, name: str) -> Files:
        """The programs of an image whose files have capabilities, each with them; what cannot be read is left out."""
        identity = _identity(name)
        if identity not in self._known:
            read = {path: sorted(given) for path, given in _read(name).items()}
            self._known = dict([*self._known.items(), (identity, read)][-_MOST:])
            with contextlib.suppress(OSError):  # it is only there to save time
                files.write(self._path, json.dumps(self._known))
        return {path: frozenset(given) for path, given in self._known[identity].items()}


def _identity(name: str) -> str:
    layers = ((docker.image(name) or {}).get("RootFS") or {}).get("Layers") or [""]
    made_by = [_COPIED.sub("", line) for line in docker.made_by(name)]
    return hashlib.sha256("\n".join([layers[0], *made_by]).encode()).hexdigest()


def _read(name: str) -> Files:
    config = (docker.image(name) or {}).get("Config") or {}
    own = [*(config.get("Entrypoint") or []), *(config.get("Cmd") or [])][:1]
    places = [*_PLACES, *(word for word in own if word.startswith("/"))]
    made = docker.docker("create", "--network=none", "--entrypoint=none", name).strip()
    try:
        with futures.ThreadPoolExecutor(_AT_ONCE) as pool:
            return dict(found for below in pool.map(partial(_below, made), places) for found in below)
    finally:
        docker.remove([made])


def _below(container: str, place: str) -> list[tuple[str, frozenset[str]]]:
    found = []
    argv = ["docker", "cp", f"{container}:{place}", "-"]
    try:
        with (
            processes.output_of(argv, env=docker.environment(), timeout=_TIME) as archive,
            tarfile.open(fileobj=archive, mode="r|") as tar,
        ):
            for member in tar:
                if raw := member.pax_headers.get(_NAME):
                    path = posixpath.join(posixpath.dirname(place), member.name)
                    found.append((path, capabilities(raw.encode("utf-8", "surrogateescape"))))
    except (HostError, tarfile.TarError, UnicodeError):
        return []
    return found


def capabilities(raw: bytes) -> frozenset[str]:
    """What the attribute of a file gives: its permitted set, of which the first half has all that are here."""
    if len(raw) < 8:
        return frozenset()
    (permitted,) = struct.unpack_from("<I", raw, 4)
    return frozenset(name for n, name in enumerate(_NAMES) if permitted >> n & 1)
