"""Run a program that can read only a few places, write none, reach no network, and use limited resources: Landlock,
the kernel's own sandbox (5.13 on), a filter of system calls (seccomp(2)) and resource limits (setrlimit(2)).

 python -I -S landlock.py PLACE... -- PROGRAM ARGUMENT...

Without a PLACE, for a kernel without Landlock, the files are not limited. Else the kernel refuses (EACCES) every file
that is not below a PLACE, however it is named: absolute, by `..`, or through a symbolic link. On Linux it also
refuses every socket: to any network, to the engine, to name servers. This needs no privilege and cannot be undone;
children inherit it. The numbers are those of linux/landlock.h, linux/seccomp.h and landlock(7); those of Landlock's
calls are the same on every architecture. Standard library only: importing pushrod would take longer than the program
itself.
"""

import contextlib
import ctypes
import errno
import os
import resource
import struct
import sys
from collections.abc import Sequence
from pathlib import Path

FAILED = 121
"""The exit status if the program was not started, because it could not be confined or does not exist."""

OUTPUT = 16 << 20
"""Bytes that the program may write to each output file."""

_RESOURCES = {
    resource.RLIMIT_DATA: 512 << 20,  # bytes of memory; the Compose loader needs about 50 million
    resource.RLIMIT_CPU: 20,  # processor seconds; it needs 0.1
    resource.RLIMIT_FSIZE: OUTPUT,
    resource.RLIMIT_CORE: 0,
}
_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_SET_NO_NEW_PRIVILEGES = 38  # prctl(2)
_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIRECTORY = 1, 2, 4, 8
_NETWORK = 3  # TCP: bind, connect; for a machine that _MACHINES does not have
_NULL = Path("/dev/null")  # the standard streams that a program may give its own children
_SECCOMP, _FILTER = 22, 2  # prctl(2): PR_SET_SECCOMP, SECCOMP_MODE_FILTER
_MACHINES = {
    "x86_64": (0xC000003E, 41),
    "aarch64": (0xC00000B7, 198),
}  # AUDIT_ARCH_…, the number of socket(2)
_IO_URING_SETUP = 425  # everywhere; through it sockets are made without that call
_OTHER_NUMBERS = 0x40000000  # x32: the same machine, other numbers
_LOAD, _EQUAL, _AT_LEAST, _RETURN = 0x20, 0x15, 0x35, 0x06  # linux/bpf_common.h
_ALLOW, _REFUSE = 0x7FFF0000, 0x00050000 | errno.EACCES  # SECCOMP_RET_ALLOW, SECCOMP_RET_ERRNO
_RIGHTS = {1: 13, 2: 14, 3: 15, 4: 15}  # the number of file access rights that each version knows
_NEWEST_RIGHTS = 16


def version() -> int:
    """The version of Landlock that the kernel has enabled; 0 for none."""
    try:
        return max(0, _call(_CREATE_RULESET, None, ctypes.c_size_t(0), ctypes.c_uint32(1)))
    except OSError:
        return 0


def bound() -> None:
    """Limit this process permanently to _RESOURCES, or to its current limits if those are lower."""
    for name, most in _RESOURCES.items():
        hard = resource.getrlimit(name)[1]
        value = most if hard == resource.RLIM_INFINITY else min(most, hard)
        with contextlib.suppress(ValueError, OSError):  # a kernel without this limit
            resource.setrlimit(name, (value, value))


def restrict(places: Sequence[Path]) -> None:
    """Limit this process permanently to reading and executing what is below `places`. Raises OSError."""
    supported = version()
    attributes = struct.pack("=Q", (1 << _RIGHTS.get(supported, _NEWEST_RIGHTS)) - 1)
    attributes += struct.pack("=Q", _NETWORK) if supported >= 4 else b""
    rules = _call(_CREATE_RULESET, attributes, ctypes.c_size_t(len(attributes)), ctypes.c_uint32(0))
    for place in places:
        _allow(rules, place, _EXECUTE | _READ_FILE | (_READ_DIRECTORY if place.is_dir() else 0))
    _allow(rules, _NULL, _READ_FILE | _WRITE_FILE)
    _call(_RESTRICT_SELF, rules, 0)
    os.close(rules)


def keep_privileges() -> None:
    """Prevent this process and its children from gaining privileges: only then does the kernel accept their rules.
    Raises OSError.
    """
    if ctypes.CDLL(None).prctl(_SET_NO_NEW_PRIVILEGES, 1, 0, 0, 0) != 0:
        raise OSError("prctl: no_new_privs was refused")


def disconnect() -> None:
    """Permanently forbid this process to create sockets. Raises OSError; does nothing on a machine without a number
    for socket(2) here.
    """
    if os.uname().machine not in _MACHINES:
        return
    machine, number = _MACHINES[os.uname().machine]
    lines = (
        (_LOAD, 0, 0, 4),  # struct seccomp_data: arch
        (_EQUAL, 0, 5, machine),
        (_LOAD, 0, 0, 0),  # nr
        (_AT_LEAST, 3, 0, _OTHER_NUMBERS),
        (_EQUAL, 2, 0, number),
        (_EQUAL, 1, 0, _IO_URING_SETUP),
        (_RETURN, 0, 0, _ALLOW),
        (_RETURN, 0, 0, _REFUSE),
    )
    program = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *line) for line in lines))
    described = struct.pack("@HP", len(lines), ctypes.addressof(program))
    if ctypes.CDLL(None).prctl(_SECCOMP, _FILTER, described, 0, 0) != 0:
        raise OSError("prctl: the filter of system calls was refused")


def _allow(rules: int, place: Path, rights: int) -> None:
    where = os.open(place, os.O_PATH | os.O_CLOEXEC)
    try:
        _call(_ADD_RULE, rules, 1, struct.pack("=Qi", rights, where), 0)
    finally:
        os.close(where)


def _call(number: int, *arguments: object) -> int:
    library = ctypes.CDLL(None, use_errno=True)
    answer = int(library.syscall(number, *arguments))
    if answer < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return answer


def main(words: Sequence[str]) -> int:
    """Confine this process and become the program; returns only if that fails."""
    middle = words.index("--")
    try:
        bound()
        if sys.platform == "linux":
            keep_privileges()
            disconnect()
        if words[:middle]:
            restrict([Path(word) for word in words[:middle]])
        os.execv(words[middle + 1], list(words[middle + 1 :]))  # noqa: S606 (an argv, as everywhere)
    except OSError as e:
        sys.stderr.write(f"{words[middle + 1]} could not be confined and started: {e}\n")
    return FAILED


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
