"""Become a program that can read a few places, write none, and take little: Landlock, the kernel's own sandbox (5.13
on), and resource limits (setrlimit(2)).

    python -I -S landlock.py PLACE... -- PROGRAM ARGUMENT...

Without a PLACE, for a kernel that has no Landlock, there are the resource limits alone. Else whatever file the
program opens lies below a PLACE, or the kernel refuses it (EACCES), whichever way it was named: absolute, by `..`, or
through a symbolic link. It needs no right and cannot be undone; children inherit it. Where the kernel knows it (6.7
on) the program cannot reach anything by TCP either. The numbers are those of linux/landlock.h, landlock(7) and of the
system calls, which are the same on every architecture that Docker runs on.
Standard library only: importing pushrod would take longer than the program itself.
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
"""The exit status when the program was not begun, because it could not be confined or is not there."""

OUTPUT = 16 << 20
"""Bytes that the program may write into each of the files that are its output."""

_RESOURCES = {
    resource.RLIMIT_DATA: 512 << 20,  # bytes of memory; the loader of Compose needs some 50 million
    resource.RLIMIT_CPU: 20,  # seconds of a processor; it needs 0.1
    resource.RLIMIT_FSIZE: OUTPUT,
    resource.RLIMIT_CORE: 0,
}
_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_SET_NO_NEW_PRIVILEGES = 38  # prctl(2)
_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIRECTORY = 1, 2, 4, 8
_NULL = Path("/dev/null")  # what a program gives its own children in the place of input and output
_NETWORK = 3  # TCP: bind, connect
_RIGHTS = {1: 13, 2: 14, 3: 15, 4: 15}  # how many kinds of access to files each version can refuse
_NEWEST_RIGHTS = 16


def version() -> int:
    """The version of Landlock that the kernel has switched on; 0 for none."""
    try:
        return max(0, _call(_CREATE_RULESET, None, ctypes.c_size_t(0), ctypes.c_uint32(1)))
    except OSError:
        return 0


def bound() -> None:
    """Let this process, for good, take no more than _RESOURCES; or than it may already, where that is less."""
    for name, most in _RESOURCES.items():
        hard = resource.getrlimit(name)[1]
        value = most if hard == resource.RLIM_INFINITY else min(most, hard)
        with contextlib.suppress(ValueError, OSError):  # a kernel that has no such limit
            resource.setrlimit(name, (value, value))


def restrict(places: Sequence[Path]) -> None:
    """Let this process, for good, read and execute what is below `places` alone. Raises OSError."""
    found = version()
    attributes = struct.pack("=Q", (1 << _RIGHTS.get(found, _NEWEST_RIGHTS)) - 1)
    attributes += struct.pack("=Q", _NETWORK) if found >= 4 else b""
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
    """Confine this process and become the program; returns only when that fails."""
    middle = words.index("--")
    try:
        bound()
        if words[:middle]:
            restrict([Path(word) for word in words[:middle]])
        os.execv(words[middle + 1], list(words[middle + 1 :]))  # noqa: S606 (an argv, as everywhere)
    except OSError as e:
        sys.stderr.write(f"{words[middle + 1]} could not be confined and begun: {e}\n")
    return FAILED


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
