"""The file capabilities in an image (`setcap`), read from a container that is created for it and never started.

The kernel refuses to execute a program whose file has a capability that the container lacks: `operation not
permitted`.
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
_NAME = "SCHILY.xattr.security.capability"  # the attribute's key in a tar archive (pax)
_TIME = 10.0  # seconds for the files of one directory

# capabilities(7), linux/capability.h, by number; images do not give files the later ones
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

_COPIED = re.compile(r"\b(?:file|dir|multi):[0-9a-f]{64}")  # how Docker's older builder records a copy
_AT_ONCE = 4  # directories of an image that are read at the same time
_MOST = 400  # results that an app's file keeps, two for each image

Files = dict[str, frozenset[str]]


class Cache:
    """The file capabilities in an app's images, cached in a file.

    Images made by the same commands on the same first layer are read once, even if the copied files differ: a push
    that changes only code must not wait for it, and code gives its files no capabilities.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._known: dict[str, dict[str, list[str]]] = {}
        with contextlib.suppress(OSError, ValueError):
            self._known = json.loads(path.read_text())

    def of_image(self, name: str) -> Files:
        """The programs of an image whose files have capabilities, each with them; unreadable directories are left
        out.
        """
        id_ = (docker.image(name) or {}).get("Id") or _identity(name)
        if id_ not in self._known:  # of an image that was read, the history is not asked for again
            identity = _identity(name)
            read = self._known.get(identity)
            if read is None:
                read = {path: sorted(given) for path, given in _read(name).items()}
            others = [(key, value) for key, value in self._known.items() if key != identity]
            self._known = dict([*others, (identity, read), (id_, read)][-_MOST:])
            with contextlib.suppress(OSError):  # the file only saves time
                files.write(self._path, json.dumps(self._known))
        return {path: frozenset(given) for path, given in self._known[id_].items()}


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
            return dict(file for below in pool.map(partial(_below, made), places) for file in below)
    finally:
        docker.remove([made])


def _below(container: str, place: str) -> list[tuple[str, frozenset[str]]]:
    capable = []
    argv = ["docker", "cp", f"{container}:{place}", "-"]
    try:
        with (
            processes.output_of(argv, env=docker.environment(), timeout=_TIME) as archive,
            tarfile.open(fileobj=archive, mode="r|") as tar,
        ):
            for member in tar:
                if raw := member.pax_headers.get(_NAME):
                    path = posixpath.join(posixpath.dirname(place), member.name)
                    capable.append((path, capabilities(raw.encode("utf-8", "surrogateescape"))))
    except (HostError, tarfile.TarError, UnicodeError):
        return []
    return capable


def capabilities(raw: bytes) -> frozenset[str]:
    """The capabilities in a file's attribute: its permitted set, whose first half covers all that are named here."""
    if len(raw) < 8:
        return frozenset()
    (permitted,) = struct.unpack_from("<I", raw, 4)
    return frozenset(name for n, name in enumerate(_NAMES) if permitted >> n & 1)
