"""The capabilities that files of an image have (`setcap`): read from a container that is made for it, never started.

A program whose file has one that its container lacks is not executed: the kernel says `operation not permitted`.
"""

import posixpath
import struct
import tarfile
from collections.abc import Iterator

from pushrod import host
from pushrod.errors import HostError
from pushrod.gears import docker

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

_known: dict[str, dict[str, frozenset[str]]] = {}


def of_image(name: str) -> dict[str, frozenset[str]]:
    """The programs of an image whose files have capabilities, each with them; what cannot be read is left out."""
    if name not in _known:
        _known[name] = _read(name)
    return _known[name]


def _read(name: str) -> dict[str, frozenset[str]]:
    config = (docker.image(name) or {}).get("Config") or {}
    own = [*(config.get("Entrypoint") or []), *(config.get("Cmd") or [])][:1]
    places = [*_PLACES, *(word for word in own if word.startswith("/"))]
    made = docker.docker("create", "--network=none", "--entrypoint=none", name).strip()
    try:
        return dict(found for place in places for found in _below(made, place))
    finally:
        docker.remove([made])


def _below(container: str, place: str) -> Iterator[tuple[str, frozenset[str]]]:
    argv = ["docker", "cp", f"{container}:{place}", "-"]
    try:
        with (
            host.output_of(argv, env=docker.environment(), timeout=_TIME) as archive,
            tarfile.open(fileobj=archive, mode="r|") as tar,
        ):
            for member in tar:
                if raw := member.pax_headers.get(_NAME):
                    path = posixpath.join(posixpath.dirname(place), member.name)
                    yield path, capabilities(raw.encode("utf-8", "surrogateescape"))
    except (HostError, tarfile.TarError, UnicodeError):
        return


def capabilities(raw: bytes) -> frozenset[str]:
    """What the attribute of a file gives: its permitted set, of which the first half has all that are here."""
    if len(raw) < 8:
        return frozenset()
    (permitted,) = struct.unpack_from("<I", raw, 4)
    return frozenset(name for n, name in enumerate(_NAMES) if permitted >> n & 1)
