# ruff: noqa: PTH100, PTH120, PTH110, PTH113, PTH115, PTH116, PTH118, PTH123, PTH208
# Imports only modules that load quickly, so no pathlib and no typing: this runs before every start of every process.
"""The first program of every supervised process: it clears leftovers of an earlier run, then becomes the process.

`python -I -S launch.py SPEC` reads the JSON file that `supervisor_files.specification` describes, and then

1. takes the process's lock. The lock is inherited by everything the process starts, so if it is held, or if
   the last run's process group still has members, an earlier run left something behind (nginx workers whose
   master was killed, holding the port): leftovers get the stop signal, then SIGKILL;
2. waits until the ports in `wait_for` accept;
3. changes to the working directory, enters the process's room (`namespace`, `listener`) if it has one, and executes
   the argv with exactly the environment of the spec.

It uses only the standard library, so supervisord and these files are all that a restart needs. Exit statuses, each
with a reason on standard error: 66 the working directory is missing, 75 leftovers could not be ended or a port did
not accept (the supervisor tries again), 78 the spec cannot be read, 126 the program cannot be executed, 127 there is
no such program.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import signal
import sys
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NoReturn

PORT_DEADLINE = 60.0  # seconds for the ports of `wait_for`: PostgreSQL may replay its log after a power cut
_KILL_DEADLINE = 5.0  # seconds for the kernel to end processes after SIGKILL
_ORPHAN_GRACE = 5.0  # seconds for processes whose main process died: nothing will stop them in order


def main(path: str) -> NoReturn:
    """Become the process that the spec at `path` describes."""
    parent = os.getppid()
    os.umask(0o022)
    spec = _read(path)
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, lambda *_: os._exit(130))  # nothing has to be cleaned up
    _hold(spec["lock"], spec["death_signal"] or "TERM", spec["stop_grace"])
    _await_ports(spec["wait_for"], parent)
    _become(spec)


def end_leftovers(path: str, signal_name: str, grace: float) -> bool:
    """End the processes that an earlier run left behind; returns whether none is left.

    `path` is the lock file, which contains the process group of that run. Leftovers get the signal (only the main
    process while it lives), and SIGKILL after `grace` seconds. Only processes that hold the lock, or belong to that
    group of that session, are touched: never one that happens to have the same ID today.
    """
    if not os.path.exists(path):
        return True
    number: int = getattr(signal, "SIG" + signal_name)
    start, pause = time.monotonic(), 0.01
    seen: set[int] = set()
    signalled: set[int] = set()
    while not _is_free(path):
        waited = time.monotonic() - start
        if waited > grace + _KILL_DEADLINE:
            return False
        remaining = remnants(path)
        left, seen = remaining & seen, remaining  # seen twice: not a process that was only checking the lock
        main_process = left & {_recorded_group(path)}
        if waited > (grace if main_process else min(grace, _ORPHAN_GRACE)):
            _signal(left, signal.SIGKILL)
        else:
            _signal((main_process or left) - signalled, number)
            signalled |= main_process or left
        time.sleep(pause)
        pause = min(pause * 1.5, 0.2)
    return True


def remnants(path: str) -> set[int]:
    """The processes an earlier run left behind: those that hold its lock, and the rest of its process group."""
    holders = {pid for pid in _processes() if pid != os.getpid() and _holds(pid, path)}
    group = _recorded_group(path)
    members = _members(group, _recorded(path)[1]) if group and group != os.getpgrp() else set()
    # A living leader without the lock may be a newer process with the same ID: then the group is not ours.
    return holders | members if group in holders or group not in members else holders


def _read(path: str) -> dict[str, Any]:
    try:
        with open(path, encoding="utf-8") as f:
            spec: dict[str, Any] = json.load(f)
            return spec
    except (OSError, ValueError) as e:
        _fail(78, f"cannot read {path}: {e}")


def _hold(path: str, signal_name: str, grace: float) -> None:
    """Take the lock, write our process group into it, and make it inheritable."""
    if not end_leftovers(path, signal_name, grace):
        _fail(75, f"processes of an earlier run do not end: {sorted(remnants(path))} hold {path}")
    fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        _fail(75, f"another start of this process already holds {path}")
    os.ftruncate(fd, 0)
    os.pwrite(fd, f"{os.getpgrp()} {os.getsid(0)} {_place(path)}".encode(), 0)
    os.set_inheritable(fd, True)


def _await_ports(ports: list[str | int], parent: int) -> None:
    """Wait until each address (a number is a port on 127.0.0.1) accepts; give up if the supervisor that started us is
    gone.
    """
    if not ports:
        return
    import socket

    deadline = time.monotonic() + PORT_DEADLINE
    for waited in ports:
        host, _, port = str(waited).rpartition(":")
        while True:
            with contextlib.suppress(OSError), socket.create_connection((host or "127.0.0.1", port), 1):
                break
            if os.getppid() != parent:
                _fail(75, "the supervisor ended")
            if time.monotonic() > deadline:
                _fail(75, f"nothing accepts on port {port} after {PORT_DEADLINE:g} s")
            time.sleep(0.05)


def _become(spec: dict[str, Any]) -> NoReturn:
    argv, environment = spec["argv"], spec["environment"]
    path = environment.get("PATH", os.defpath)
    try:
        os.chdir(spec["cwd"])
    except OSError as e:
        _fail(66, f"working directory {spec['cwd']}: {e.strerror}")
    program = find(spec["program"], path)
    if not program:
        _fail(127, f"{spec['program']}: no such program (PATH={path})")
    if not spec["stdin"]:
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    for number in (signal.SIGPIPE, signal.SIGXFSZ, signal.SIGHUP, signal.SIGINT, signal.SIGTERM):
        # the process that started the supervisor may have left these ignored
        signal.signal(number, signal.SIG_DFL)

    def execute() -> NoReturn:
        try:
            os.execve(argv[0] if "/" in argv[0] else program, argv, environment)  # noqa: S606
        except OSError as e:
            _fail(126, f"cannot execute {argv[0]}: {e.strerror}")

    room = spec.get("room")
    if not room:
        execute()
    sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
    namespace, listener = __import__("namespace"), __import__("listener")
    namespace.move(room)
    if room["address"]:
        signalled = spec["death_signal"] or "TERM"
        listener.become(room["address"], room["port"], room["given"], signalled, execute)
    execute()


def find(program: str, path: str) -> str:
    """The file that `program` names, searched along `path` as execvp does; "" if there is none."""
    places = [program] if "/" in program else [os.path.join(d or ".", program) for d in path.split(":")]
    return next((p for p in places if os.path.isfile(p) and os.access(p, os.X_OK)), "")


def _is_free(path: str) -> bool:
    """Whether nobody holds the lock and no member of the recorded group is left; usually two system calls."""
    with open(path, "rb") as f:
        try:
            fcntl.flock(f, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
    group = _recorded_group(path)
    if not group or group == os.getpgrp():
        return True
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        pass
    return not remnants(path)


def _recorded(path: str) -> tuple[int, int, str]:
    """Process group, session and place of the last run; zeros if there is no record."""
    with contextlib.suppress(OSError, ValueError), open(path, encoding="ascii") as f:
        group, session, place = f.read().split()
        return int(group), int(session), place
    return 0, 0, ""


def _recorded_group(path: str) -> int:
    group, _, place = _recorded(path)
    return group if group and place == _place(path) else 0


def _place(path: str) -> str:
    """Where the process IDs in a lock are valid: this boot, this process ID namespace (a container has its own), this
    very file. A copy of it, in a copied root, must not end the processes of the original.
    """
    with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as f:
        return f"{f.read().strip()}/{os.readlink('/proc/self/ns/pid')}/{os.stat(path).st_ino}"


def _processes() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def _holds(pid: int, path: str) -> bool:
    """Whether the process has the lock file open by a descriptor that the lock belongs to."""
    target = os.path.realpath(path)
    with contextlib.suppress(OSError):
        for fd in os.listdir(f"/proc/{pid}/fd"):
            with contextlib.suppress(OSError):
                if os.readlink(f"/proc/{pid}/fd/{fd}") == target and _locked(f"/proc/{pid}/fdinfo/{fd}"):
                    return True
    return False


def _locked(fdinfo: str) -> bool:
    with open(fdinfo, "rb") as f:
        return b"FLOCK" in f.read()  # proc_pid_fdinfo(5): `lock: 1: FLOCK ADVISORY WRITE 359 ...`


def _members(group: int, session: int) -> set[int]:
    """The living processes of a process group, if they are of that session."""
    members = set()
    for pid in _processes():
        with contextlib.suppress(OSError), open(f"/proc/{pid}/stat", "rb") as f:
            # proc_pid_stat(5): the fields after the name in brackets are state, ppid, pgrp, session.
            state, _, pgrp, sid = f.read().rpartition(b")")[2].split()[:4]
            if (int(pgrp), int(sid)) == (group, session) and state not in (b"Z", b"X"):
                members.add(pid)
    return members


def _signal(pids: set[int], number: int) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, number)


def _fail(status: int, message: str) -> NoReturn:
    sys.stderr.write(f"launch: {message}\n")
    sys.exit(status)


if __name__ == "__main__":
    main(sys.argv[1])
