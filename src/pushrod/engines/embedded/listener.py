# ruff: noqa: PTH123
# Imports only modules that load quickly: this runs before every instance.
"""Lets a program listen on every address of the machine without doing so: it gets one loopback address instead.

A container has a network of its own, so programs listen on `0.0.0.0:8000` whatever else runs on the machine. Here a
seccomp filter stops each `bind` of the program and of everything that it starts, and this process, their parent,
binds the socket instead: a TCP port of every address, and the main port of 127.0.0.1, becomes that port of the
instance's own address. Any other `bind` continues as it was called. So two releases listen on the same port.

The filter stops each `connect` too: to such a port at 127.0.0.1 it goes on to the instance's own address, which is
written over the other one in the memory of the program. So a program reaches itself as in its container.

It uses only the standard library, so that it works without pushrod. Linux 5.6 or later.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import select
import signal
import socket
import struct
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import NoReturn

# Numbers of <linux/audit.h> and of the system calls bind, connect, seccomp and pidfd_getfd, by machine.
_NUMBERS = {"x86_64": (0xC000003E, 49, 42, 317, 438), "aarch64": (0xC00000B7, 200, 203, 277, 438)}
_MODE_FILTER, _NEW_LISTENER = 1, 8  # <linux/seccomp.h>
_ALLOW, _NOTIFY, _CONTINUE = 0x7FFF0000, 0x7FC00000, 1
_RECEIVE, _SEND, _VALID = 0xC0502100, 0xC0182101, 0x40082102
_NO_NEW_PRIVS, _DEATH_SIGNAL = 38, 1  # <linux/prctl.h>
_IPV4, _IPV6 = 16, 28  # the sizes of their socket addresses
_MAPPED = bytes(10) + b"\xff\xff"  # in front of an IPv4 address in an IPv6 one
_LOOPBACK = (b"\x7f\0\0\1", bytes(15) + b"\1")
_STOPS = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)


def become(
    address: str, port: int, given: int, death_signal: str, program: Callable[[], NoReturn]
) -> NoReturn:
    """Run `program` in a child whose sockets listen on `address`, and end as it ends.

    `port` is the main port that the program is written for; its socket gets the port `given` instead, which may be
    the same. The child gets `death_signal` if the parent of this process ends. Signals that stop a process group
    reach the child too, so they are ignored here. If the kernel refuses the filter, the program runs
    without.
    """
    ours, childs = socket.socketpair()
    parent = os.getppid()
    child = os.fork()
    if child == 0:
        ours.close()
        _filtered(childs)
        program()
    childs.close()
    for number in _STOPS:
        signal.signal(number, signal.SIG_IGN)
    ended, wakes = os.pipe()
    for end in (ended, wakes):
        os.set_blocking(end, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.signal(signal.SIGPWR, lambda *_: os.kill(child, getattr(signal, f"SIG{death_signal}")))
    signal.set_wakeup_fd(wakes, warn_on_full_buffer=False)
    _libc.prctl(_DEATH_SIGNAL, ctypes.c_ulong(signal.SIGPWR))
    if os.getppid() != parent:
        os.kill(os.getpid(), signal.SIGPWR)
    _serve(ours, ended, child, _Binder(address, port, given))


def _filtered(parent: socket.socket) -> None:
    """Install the filter, and give its listener to the parent."""
    fd = install()
    if fd < 0:
        reason = os.strerror(-fd)
        sys.stderr.write(f"listener: it listens on the machine's own addresses: seccomp: {reason}\n")
    else:
        socket.send_fds(parent, [b"."], [fd])
        os.close(fd)
    parent.close()


def install() -> int:
    """Install the filter in this process; returns its listener, or a negative error number."""
    arch, bind, connect, seccomp, _ = _NUMBERS.get(os.uname().machine, (0, 0, 0, 0, 0))
    if not arch:
        return -38
    steps = [  # classic BPF on struct seccomp_data: the machine, the call, the size of its address
        (0x20, 0, 0, 4),
        (0x15, 0, 6, arch),
        (0x20, 0, 0, 0),
        (0x15, 1, 0, bind),
        (0x15, 0, 3, connect),
        (0x20, 0, 0, 32),
        (0x15, 2, 0, _IPV4),
        (0x15, 1, 0, _IPV6),
        (0x06, 0, 0, _ALLOW),
        (0x06, 0, 0, _NOTIFY),
    ]
    text = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *step) for step in steps))
    program = struct.pack("HxxxxxxP", len(steps), ctypes.addressof(text))
    if os.geteuid() != 0:
        _libc.prctl(_NO_NEW_PRIVS, *map(ctypes.c_ulong, (1, 0, 0, 0)))
    fd = int(_libc.syscall(ctypes.c_long(seccomp), _MODE_FILTER, _NEW_LISTENER, program))
    return fd if fd >= 0 else -ctypes.get_errno()


class _Binder:
    """Binds and connects the sockets of a program."""

    def __init__(self, address: str, port: int, given: int) -> None:
        self._address = address
        self._ports = {port: given}  # each port that the program is written for, and the one that it has

    def place(self, raw: bytes) -> int | None:
        """The port to bind instead for a socket address; None if the call continues unchanged."""
        host, port = _host(raw)
        if not port or (any(host) and not (port in self._ports and host in _LOOPBACK)):
            return None
        return self._ports.get(port, port)

    def lead(self, raw: bytes) -> bytes:
        """The socket address to connect to instead; empty if the call continues unchanged."""
        host, port = _host(raw)
        if port not in self._ports or (any(host) and host not in _LOOPBACK):
            return b""
        own = socket.inet_aton(self._address)
        there = raw[:2] + self._ports[port].to_bytes(2, "big")
        return there + own if len(raw) == _IPV4 else there + raw[4:8] + _MAPPED + own

    def bind(self, s: socket.socket, port: int) -> bool:
        """Bind a socket of a program; false if its own call has to do it. Raises OSError like that call."""
        if s.type & ~(socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK) != socket.SOCK_STREAM:
            return False
        self._ports.setdefault(port, port)
        if s.family == socket.AF_INET:
            s.bind((self._address, port))
        elif s.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY):
            s.bind(("::1", 0))  # its address for IPv4 has a socket of its own
        else:
            s.bind((f"::ffff:{self._address}", port))
        return True


def _host(raw: bytes) -> tuple[bytes, int]:
    """Host and port of a socket address; port 0 if it is neither IPv4 nor IPv6."""
    family, port = struct.unpack("=H", raw[:2])[0], int.from_bytes(raw[2:4], "big")
    if family == socket.AF_INET and len(raw) == _IPV4:
        return raw[4:8], port
    if family == socket.AF_INET6 and len(raw) == _IPV6:
        return raw[20:24] if raw[8:20] == _MAPPED else raw[8:24], port
    return b"", 0


def _serve(ours: socket.socket, ended: int, child: int, binder: _Binder) -> NoReturn:
    """Answer the filter until the child ends; then end in the same way."""
    _, given, _, _ = socket.recv_fds(ours, 1, 1)
    ours.close()
    poll = select.poll()
    for fd in (ended, *given):
        poll.register(fd, select.POLLIN)
    while True:
        for fd, event in poll.poll():
            if fd == ended:
                os.read(ended, 64)
            elif event & select.POLLIN:
                answer(fd, binder)
            else:
                poll.unregister(fd)
        pid, status = os.waitpid(child, os.WNOHANG)
        if pid == child:
            _end_like(status)


def answer(fd: int, binder: _Binder) -> None:
    """Answer one call that the filter has stopped."""
    request = bytearray(80)
    try:
        fcntl.ioctl(fd, _RECEIVE, request)
    except OSError:
        return  # its process has ended, or was interrupted
    number, pid, _, called = struct.unpack_from("=QIIi", request)
    arguments = struct.unpack_from("=6Q", request, 32)
    error, flags = 0, _CONTINUE
    binds = called == _NUMBERS[os.uname().machine][1]
    try:
        with open(f"/proc/{pid}/mem", "rb" if binds else "r+b", buffering=0) as memory:
            size = arguments[2] & 0xFFFFFFFF  # the kernel takes an int, and the filter has compared that
            raw = os.pread(memory.fileno(), size, arguments[1])
            fcntl.ioctl(fd, _VALID, struct.pack("=Q", number))  # the memory was that process's
            if not binds:
                os.pwrite(memory.fileno(), binder.lead(raw), arguments[1])
        port = binder.place(raw) if binds else None
        if port is not None:
            with socket.socket(fileno=_copied(pid, arguments[0])) as s:
                try:
                    flags = 0 if binder.bind(s, port) else _CONTINUE
                except OSError as e:
                    error, flags = -(e.errno or 22), 0
    except OSError:
        pass  # a process that may not be looked at binds and connects without our help
    try:
        fcntl.ioctl(fd, _SEND, struct.pack("=QqiI", number, 0, error, flags))
    except OSError:
        return


def _copied(thread: int, fd: int) -> int:
    """A copy of a descriptor of another process."""
    with open(f"/proc/{thread}/status", encoding="utf-8", errors="replace") as f:
        pid = next(int(line.split()[1]) for line in f if line.startswith("Tgid:"))
    process = os.pidfd_open(pid)
    try:
        number = ctypes.c_long(_NUMBERS[os.uname().machine][4])
        copy = int(_libc.syscall(number, process, ctypes.c_int(fd & 0x7FFFFFFF), 0))
    finally:
        os.close(process)
    if copy < 0:
        raise OSError(ctypes.get_errno(), "pidfd_getfd")
    return copy


def _end_like(status: int) -> NoReturn:
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        signal.set_wakeup_fd(-1)
        if number not in (signal.SIGKILL, signal.SIGSTOP):
            signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)
    os._exit(os.waitstatus_to_exitcode(status) & 0xFF)


_libc = ctypes.CDLL(None, use_errno=True)

if __name__ == "__main__":
    own, main, instead, *argv = sys.argv[1:]
    become(own, int(main), int(instead), "KILL", lambda: os.execv(argv[0], argv))  # noqa: S606
