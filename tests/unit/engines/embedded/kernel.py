"""An ordinary user, and kernels that refuse namespaces or filters: for real, by a limit or by a filter."""

import os
import subprocess
from collections.abc import Sequence

USER = 65534
# Refuses the system call for what its argument names, by a filter, and executes the rest.
REFUSING = """\
import ctypes, os, struct, sys
arch, unshare, seccomp = {"x86_64": (0xC000003E, 272, 317), "aarch64": (0xC00000B7, 97, 277)}[os.uname().machine]
number = {"namespaces": unshare, "filters": seccomp}[sys.argv[1]]
steps = [(0x20, 0, 0, 4), (0x15, 0, 3, arch), (0x20, 0, 0, 0), (0x15, 0, 1, number), (6, 0, 0, 0x00050001),
         (6, 0, 0, 0x7FFF0000)]
text = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *s) for s in steps))
libc = ctypes.CDLL(None, use_errno=True)
assert libc.prctl(38, *map(ctypes.c_ulong, (1, 0, 0, 0))) == 0
program = struct.pack("HxxxxxxP", len(steps), ctypes.addressof(text))
assert libc.prctl(22, ctypes.c_ulong(2), program) == 0
os.execvp(sys.argv[2], sys.argv[2:])
"""


def as_user(argv: Sequence[str]) -> list[str]:
    """The argv run by an ordinary user, also if the tests run as root."""
    if os.geteuid() != 0:
        return list(argv)
    return ["setpriv", f"--reuid={USER}", f"--regid={USER}", "--clear-groups", "--", *argv]


def refusing(what: str, argv: Sequence[str]) -> list[str]:
    """The argv run on a kernel that refuses `namespaces` or `filters`."""
    return [PYTHON, "-I", "-c", REFUSING, what, *argv]


PYTHON = "/usr/bin/python3" if os.access("/usr/bin/python3", os.X_OK) else "python3"
"""An interpreter that an ordinary user reaches."""


def run(argv: Sequence[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
