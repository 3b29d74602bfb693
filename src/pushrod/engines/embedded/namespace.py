# ruff: noqa: PTH102, PTH211, PTH103, PTH110, PTH112, PTH114, PTH115, PTH120, PTH123, PTH208
# Imports only modules that load quickly: this runs before every instance.
"""Gives a program the names and paths of a container, without one: its own /etc/hosts, and files of the commit where
its image has them.

`python -I -S namespace.py ROOM ARGV...` makes a mount namespace, for an ordinary user in a user namespace with the
same user, arranges it as the JSON in ROOM says, and executes the argv:

- `hosts`: a file that becomes /etc/hosts; empty for none;
- `places`: in this order, each a path on this machine, its path in the namespace, and perhaps options: `ro`; with
  `tmpfs` as the path on this machine it is an empty file system in memory, with these options of a mount, which ends
  with the program;
- `writable`: if it names places, everything but these, /dev and /proc is read-only;
- `cwd`: the working directory.

Nothing outside the namespace changes. A directory that the machine does not have is made in an empty file system that
shows everything beside it. If the kernel refuses a namespace, the reason goes to standard error and the program
runs without one, in its current directory. With an empty argv nothing is executed, and a refusal is exit status 1.

It uses only the standard library, so that it works without pushrod.
"""

from __future__ import annotations

import ctypes
import json
import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NoReturn

_NEWNS, _NEWUSER = 0x00020000, 0x10000000
_RDONLY, _NOSUID, _NODEV, _NOEXEC, _REMOUNT = 1, 2, 4, 8, 32
_BIND, _REC, _SLAVE, _DETACH = 0x1000, 0x4000, 1 << 19, 2
_NOATIME, _NODIRATIME, _RELATIME = 1024, 2048, 1 << 21
# What statvfs(3) says of a mount, and the flag of mount(2) that keeps it so.
_KEPT = {2: _NOSUID, 4: _NODEV, 8: _NOEXEC, 1024: _NOATIME, 2048: _NODIRATIME, 4096: _RELATIME}
_ALWAYS = ("/dev", "/proc", "/sys")  # of the kernel itself
_PIVOT_ROOT = {"x86_64": 155, "aarch64": 41}
_BASES = ("/mnt", "/media", "/srv", "/opt")  # where the new root is assembled: hidden there, restored in it
_MOST = 1000  # entries of a directory that are shown beside a new one


def main(room: str, argv: list[str]) -> NoReturn:
    """Arrange the namespace and become the program."""
    done = move(json.loads(room))
    if not argv:
        sys.exit(0 if done else 1)
    try:
        os.execvp(argv[0], argv)  # noqa: S606
    except OSError as e:
        sys.stderr.write(f"namespace: cannot execute {argv[0]}: {e.strerror}\n")
        sys.exit(126)


def move(room: dict[str, Any]) -> bool:
    """Arrange the namespace and change to its working directory; false, with a line on standard error, if the kernel
    refuses.
    """
    try:
        if room["hosts"] or room["places"]:
            arrange(room["hosts"], room["places"])
        if room.get("writable"):
            _seal(room["writable"])
        os.chdir(room["cwd"])
    except OSError as e:
        why = f"{e.strerror}{f': {e.filename}' if e.filename else ''}" if e.strerror else str(e)
        sys.stderr.write(f"namespace: names and paths are those of the machine: {why}\n")
        return False
    return True


def arrange(hosts: str, places: list[list[str]]) -> None:
    """Enter a namespace with these names and places. Raises OSError if the kernel refuses a step."""
    unshare()
    view = _View()
    if hosts:
        mount(hosts, "/etc/hosts", "", _BIND)
    for source, target, *options in places:
        view.show(source, target, "".join(options))


def unshare() -> None:
    """Enter a mount namespace whose changes nobody else sees."""
    uid, gid = os.getuid(), os.getgid()
    own = os.geteuid() == 0
    _call("unshare", ctypes.c_int(_NEWNS if own else _NEWNS | _NEWUSER))
    if not own:
        for file, text in (
            ("setgroups", "deny"),
            ("uid_map", f"{uid} {uid} 1"),
            ("gid_map", f"{gid} {gid} 1"),
        ):
            with open(f"/proc/self/{file}", "w", encoding="ascii") as f:
                f.write(text)
    mount("", "/", "", _REC | _SLAVE)


def mount(source: str, target: str, kind: str, flags: int, data: str = "") -> None:
    """mount(2)."""
    words = (source, target, kind)
    _call("mount", *(os.fsencode(w) for w in words), ctypes.c_ulong(flags), os.fsencode(data), what=target)


class _View:
    """The file systems of the namespace, while they are arranged."""

    def __init__(self) -> None:
        self._shown: list[str] = []  # directories of the commit, in which something may be made
        self._made: set[str] = set()  # directories that exist in the namespace only

    def show(self, source: str, target: str, options: str = "") -> None:
        """Show a file or a directory at a path. Raises OSError."""
        directory = source == "tmpfs" or os.path.isdir(source)
        real = os.path.realpath(target)
        for own in self._shown:  # a link in the commit must not lead to a path of the machine
            if f"{target}/".startswith(f"{own}/") and not f"{real}/".startswith(f"{os.path.realpath(own)}/"):
                raise OSError(f"{target} leads out of {own}")
        if not os.path.exists(target):
            self._make(target, directory=directory)
        if source == "tmpfs":
            _in_memory(target, options.split(","))
        else:
            mount(source, target, "", _BIND | _REC)
            if options == "ro":
                _close(target)
        if directory:
            self._shown.append(target)

    def _make(self, target: str, *, directory: bool) -> None:
        parent = os.path.dirname(target)
        above = parent
        while not os.path.isdir(above):
            above = os.path.dirname(above)
        if above not in self._made and not any(f"{above}/".startswith(f"{own}/") for own in self._shown):
            if above == "/":
                _loosen_root()
            else:
                _loosen(above)
            self._made.add(above)
        os.makedirs(parent, exist_ok=True)
        while parent != above:
            self._made.add(parent)
            parent = os.path.dirname(parent)
        _mirror_one(None, target, directory=directory)


def _in_memory(target: str, options: list[str]) -> None:
    data = [word for word in options if "=" in word]
    flags = _NOSUID | _NODEV | (0 if "exec" in options else _NOEXEC) | (_RDONLY if "ro" in options else 0)
    mount("tmpfs", target, "tmpfs", flags, ",".join(data))


def _close(target: str) -> None:
    """Make a mount read-only, without a change of what else it has: the kernel refuses to loosen that."""
    given = os.statvfs(target).f_flag
    kept = sum(flag for word, flag in _KEPT.items() if given & word)
    mount("", target, "", _REMOUNT | _BIND | _RDONLY | kept)


def _seal(writable: list[str]) -> None:
    """Make every mount read-only, except the ones below these places."""
    for place in writable:
        mount(place, place, "", _BIND | _REC)  # a mount of its own, unlike the one that it is a part of
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as f:
        targets = [line.split()[4] for line in f]  # proc_pid_mountinfo(5)
    for escaped in dict.fromkeys(targets):
        target = (
            escaped.replace("\\040", " ").replace("\\011", "\t").replace("\\012", "\n").replace("\\134", "\\")
        )
        if any(f"{target}/".startswith(f"{os.path.realpath(open_)}/") for open_ in (*writable, *_ALWAYS)):
            continue
        try:
            _close(target)
        except OSError:
            if target == "/":
                raise  # others may be hidden, or closed to us


def _loosen(place: str) -> None:
    """Put an empty file system in place of a directory, with everything of the directory in it."""
    held = os.open(place, os.O_PATH | os.O_DIRECTORY)
    try:
        try:
            names = os.listdir(place)
        except PermissionError:  # what cannot be listed is not shown
            names = []
        mount("tmpfs", place, "tmpfs", 0, "mode=755")
        _mirror(f"/proc/self/fd/{held}", names, place)
    finally:
        os.close(held)


def _loosen_root() -> None:
    base = next((b for b in _BASES if os.path.isdir(b)), "")
    if not base:
        raise OSError(f"none of {', '.join(_BASES)} is a directory")
    held = os.open("/", os.O_PATH | os.O_DIRECTORY)
    inner = os.open(base, os.O_PATH | os.O_DIRECTORY)
    try:
        mount("tmpfs", base, "tmpfs", 0, "mode=755")
        names = [n for n in os.listdir("/") if f"/{n}" != base]
        _mirror(f"/proc/self/fd/{held}", names, base)
        _mirror_one(f"/proc/self/fd/{inner}", base + base, directory=True)
    finally:
        os.close(held)
        os.close(inner)
    os.chdir(base)
    number = _PIVOT_ROOT.get(os.uname().machine, 0)
    if number and _libc.syscall(ctypes.c_long(number), b".", b".") == 0:
        _call("umount2", b".", ctypes.c_int(_DETACH))
    else:  # the first root of some machines cannot be left
        os.chroot(".")
    os.chdir("/")


def _mirror(source: str, names: list[str], target: str) -> None:
    if len(names) > _MOST:
        raise OSError(f"{target} has more than {_MOST} entries")
    for name in names:
        path = f"{source}/{name}"
        if os.path.islink(path):
            os.symlink(os.readlink(path), f"{target}/{name}")
        else:
            _mirror_one(path, f"{target}/{name}", directory=os.path.isdir(path))


def _mirror_one(source: str | None, target: str, *, directory: bool) -> None:
    """Make a directory or an empty file, and show the source in it."""
    if directory:
        os.mkdir(target)
    else:
        os.close(os.open(target, os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC, 0o644))
    if source is not None:
        mount(source, target, "", _BIND | _REC)


_libc = ctypes.CDLL(None, use_errno=True)


def _call(name: str, *arguments: object, what: str = "") -> None:
    if getattr(_libc, name)(*arguments) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}", what)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
