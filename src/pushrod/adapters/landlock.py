"""Run a program that can read only a few places, write none, and use limited resources: Landlock, the kernel's own
sandbox (5.13 on), and resource limits (setrlimit(2)).

 python -I -S landlock.py PLACE... -- PROGRAM ARGUMENT...

Without a PLACE, for a kernel without Landlock, only the resource limits apply. Else the kernel refuses (EACCES) every
file that is not below a PLACE, however it is named: absolute, by `..`, or through a symbolic link. This needs no
privilege and cannot be undone; children inherit it. If the kernel supports it (6.7 on), the program cannot use TCP
either. The numbers are those of linux/landlock.h, landlock(7) and of the system calls, which are the same on every
architecture that Docker supports. Standard library only: importing pushrod would take longer than the program itself.
"""

import contextlib
import ctypes
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
_NULL = Path("/dev/null")  # the standard streams that a program may give its own children
_NETWORK = 3  # TCP: bind, connect
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
    if ctypes.CDLL(None).prctl(_SET_NO_NEW_PRIVILEGES, 1, 0, 0, 0) != 0:
        raise OSError("prctl: no_new_privs was refused")
    _call(_RESTRICT_SELF, rules, 0)
    os.close(rules)


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
        if words[:middle]:
            restrict([Path(word) for word in words[:middle]])
        os.execv(words[middle + 1], list(words[middle + 1 :]))  # noqa: S606 (an argv, as everywhere)
    except OSError as e:
        sys.stderr.write(f"{words[middle + 1]} could not be confined and started: {e}\n")
    return FAILED


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
