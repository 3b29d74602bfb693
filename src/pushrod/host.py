"""The only door to the operating system: running programs, atomic files, locks, accounts.

Everything else in pushrod computes values or calls this module, so what can change the machine is in one
place. Programs are started from argv lists, never through a shell; nothing waits without a deadline; a file
is replaced by a synced temporary and a rename, so that a reader sees the old file or the new one.
"""

import collections
import contextlib
import errno
import fcntl
import getpass
import hashlib
import ipaddress
import os
import pwd
import resource
import select
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, NamedTuple

from pushrod import lines, trees
from pushrod.errors import BusyError, HostError, Interrupted

_KEPT = (
    1 << 20
)  # characters of a program's output, its last, that are kept when it is handed over line by line
_BLOCK, _FARTHEST = 1 << 16, 1 << 23  # bytes; how a log is read from its end, and how far back


class Completed(NamedTuple):
    """What a finished program left: its exit status and what it printed."""

    status: int
    stdout: str
    stderr: str


class Account(NamedTuple):
    """An operating system account that children run as; `reach` names a capability it needs to pass closed
    directories above it, empty where it needs none."""

    name: str
    uid: int
    gid: int
    reach: str = ""


def run(
    argv: Sequence[str | os.PathLike[str]],
    *,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    stdin: str | IO[bytes] | None = None,
    stdout: IO[bytes] | None = None,
    timeout: float = 60.0,
    on_line: Callable[[str], None] | None = None,
    umask: int = -1,
    stderr: IO[bytes] | None = None,
) -> Completed:
    """Run a program to its end and return its status and output; never raises for a non-zero status.

    `env` replaces the whole environment. `timeout` is in seconds; past it the program's process group is
    killed. `on_line` receives each line of output (stdout and stderr together) as it appears; the lines then
    come back as `stdout`. `umask` is the program's own; -1 leaves ours. Raises HostError if the program is
    missing or the time runs out.
    """
    if isinstance(stdin, str) and on_line:  # while output is read line by line, nobody could go on writing
        with tempfile.TemporaryFile() as source_file:
            source_file.write(stdin.encode())
            source_file.seek(0)
            return run(
                argv, cwd=cwd, env=env, stdin=source_file, timeout=timeout, on_line=on_line, umask=umask
            )
    args = [os.fspath(a) for a in argv]
    text_in = stdin.encode() if isinstance(stdin, str) else None
    source: int | IO[bytes] = subprocess.DEVNULL
    if stdin is not None:
        source = subprocess.PIPE if isinstance(stdin, str) else stdin
    try:
        child = subprocess.Popen(
            args,
            cwd=cwd,
            env=None if env is None else dict(env),
            stdin=source,
            stdout=stdout or subprocess.PIPE,
            stderr=stderr or (subprocess.STDOUT if on_line else subprocess.PIPE),
            start_new_session=True,
            umask=umask,
        )
    except FileNotFoundError as e:
        if cwd is not None and not cwd.is_dir():
            raise os_error(e, str(cwd)) from e
        raise HostError(
            f"{args[0]}: {e.strerror}", hint=f"install {Path(args[0]).name}, or check PATH"
        ) from e
    except OSError as e:
        raise os_error(e, args[0]) from e
    try:
        if on_line:
            return _stream(child, on_line, time.monotonic() + timeout)
        out, err = child.communicate(text_in, timeout=timeout)
    except subprocess.TimeoutExpired as e:
        _kill_group(child)  # also where the program has ended and something it left holds its output open
        raise HostError(
            f"{args[0]} did not end within {timeout:g} s", hint="run it by hand to see where it stands"
        ) from e
    finally:
        if child.poll() is None:
            _kill_group(child)
    return Completed(child.returncode, lines.decode(out or b""), lines.decode(err or b""))


def run_bounded(
    argv: Sequence[str | os.PathLike[str]],
    *,
    most: int,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    timeout: float = 60.0,
) -> Completed:
    """The same for a program that may print more than we have memory for: at most `most` bytes of each stream come
    back. They pass through files, whose size the program's own RLIMIT_FSIZE has to bound."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        status = run(argv, cwd=cwd, env=env, timeout=timeout, stdout=out, stderr=err).status
        out.seek(0)
        err.seek(0)
        return Completed(status, lines.decode(out.read(most)), lines.decode(err.read(most)))


def _stream(child: subprocess.Popen[bytes], on_line: Callable[[str], None], deadline: float) -> Completed:
    """Hand over output line by line; a timer thread ends a child that outlives its deadline.

    What has no end is cut and marked: a line past `lines.LONGEST`, and all that was printed but its last _KEPT bytes.
    """
    expired = threading.Event()

    def expire() -> None:
        expired.set()
        _kill_group(child)

    timer = threading.Timer(max(0.0, deadline - time.monotonic()), expire)
    timer.daemon = True
    with signals_held():
        timer.start()
    kept: collections.deque[str] = collections.deque()
    size = 0
    try:
        while child.stdout and (raw := child.stdout.readline(lines.LONGEST)):
            line = lines.decode(raw.removesuffix(b"\n"))
            line += f" {lines.CUT}" if len(raw) == lines.LONGEST and not raw.endswith(b"\n") else ""
            on_line(line)
            kept.append(line + "\n" if raw.endswith(b"\n") else line)
            size += len(kept[-1])
            while size > _KEPT:
                size -= len(kept.popleft())
        child.wait()
    finally:
        timer.cancel()
    if expired.is_set():
        raise subprocess.TimeoutExpired(child.args, 0)
    return Completed(child.returncode, "".join(kept), "")


def _kill_group(child: subprocess.Popen[str] | subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)
    child.wait()


@contextlib.contextmanager
def beside(
    argv: Sequence[str | os.PathLike[str]], *, env: Mapping[str, str], told: str, timeout: float = 60.0
) -> Iterator[str]:
    """Have a program run beside the block: it is told something, and its first line of output is yielded.

    That line (stdout and stderr together) is empty where the program ended without one. After the block its standard
    input is closed, by which it has to end. Raises HostError if the program is missing; it is killed where it says
    nothing, or does not end, within `timeout` seconds.
    """
    args = [os.fspath(a) for a in argv]
    try:
        child = subprocess.Popen(
            args,
            env=dict(env),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    except OSError as e:
        raise os_error(e, args[0]) from e
    assert child.stdin is not None and child.stdout is not None  # noqa: S101  both are pipes
    deadline = time.monotonic() + timeout
    try:
        with contextlib.suppress(BrokenPipeError):  # it has ended: what it said before is what counts
            _send(child.stdin.fileno(), told.encode(), deadline)
        heard = select.select([child.stdout], [], [], max(0.0, deadline - time.monotonic()))[0]
        yield lines.decode(child.stdout.readline()).strip() if heard else ""
    finally:
        child.stdin.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(timeout)
        if child.poll() is None:
            _kill_group(child)
        child.stdout.close()


def _send(pipe: int, raw: bytes, deadline: float) -> None:
    """Write to a pipe, until `deadline` (monotonic) at most: its reader may read nothing."""
    os.set_blocking(pipe, False)
    while raw and select.select([], [pipe], [], max(0.0, deadline - time.monotonic()))[1]:
        raw = raw[os.write(pipe, raw) :]


@contextlib.contextmanager
def output_of(
    argv: Sequence[str | os.PathLike[str]],
    *,
    env: Mapping[str, str],
    stdin: bytes = b"",
    timeout: float = 60.0,
) -> Iterator[IO[bytes]]:
    """Have a program run, and read what it prints as it comes: for output that may be larger than is wanted.

    It is killed where the block ends before it does, and past `timeout` seconds. Raises HostError if the program is
    missing, and, once all is read, if it has not ended well. What it says on stderr is not kept.
    """
    args = [os.fspath(a) for a in argv]
    with tempfile.TemporaryFile() as source:
        source.write(stdin)
        source.seek(0)
        try:
            child = subprocess.Popen(
                args,
                env=dict(env),
                stdin=source,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
        except OSError as e:
            raise os_error(e, args[0]) from e
    assert child.stdout is not None  # noqa: S101  it is a pipe
    timer = threading.Timer(timeout, lambda: _kill_group(child))
    timer.daemon = True
    with signals_held():
        timer.start()
    try:
        yield child.stdout
        if not child.stdout.read(1) and child.wait() != 0:
            ended = "did not end in time, or was killed" if child.returncode < 0 else "failed"
            raise HostError(f"{Path(args[0]).name} {ended} (status {child.returncode})")
    finally:
        timer.cancel()
        if child.poll() is None:
            _kill_group(child)
        child.stdout.close()


def os_error(e: OSError, where: str) -> HostError:
    """Turn an operating system error into one that says what to do about it."""
    hints = {
        errno.ENOSPC: "free some space on that disk, then run the command again",
        errno.EDQUOT: "free some of the quota, then run the command again",
        errno.EACCES: "check the owner and mode of that path",
        errno.EPERM: "check the owner and mode of that path",
        errno.EROFS: "that file system is read-only: choose another place with --root",
        errno.EEXIST: "something else is in that place: move it away, or choose another one",
        errno.ENOTDIR: "a part of that path is no directory: choose another one",
    }
    what = (e.strerror or str(e)).lower()
    return HostError(what, where=where or str(e.filename or ""), hint=hints.get(e.errno or 0, ""))


def write(path: Path, data: str | bytes, *, mode: int = 0o644, owner: tuple[int, int] | None = None) -> None:
    """Replace `path` atomically and durably: temporary file, fsync, rename, fsync of the directory.

    `owner` (user and group) is who it belongs to from the first moment; by default whoever writes.
    """
    raw = data.encode() if isinstance(data, str) else data
    path.parent.mkdir(parents=True, exist_ok=True)
    fd, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(fd, "wb") as f:
            if owner is not None:
                os.fchown(f.fileno(), *owner)
            os.fchmod(f.fileno(), mode)
            f.write(raw)
            f.flush()
            os.fsync(f.fileno())
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    sync_directory(path.parent)


def write_new(path: Path, text: str, *, mode: int = 0o644) -> None:
    """Write a file that nobody reads yet, in a directory that is there; `sync` makes it durable, with others.

    Raises OSError where it is there already.
    """
    with path.open("x") as f:
        os.fchmod(f.fileno(), mode)
        f.write(text)


def link_same(path: Path, other: Path, text: str, *, mode: int = 0o644) -> bool:
    """Make `path` the same file as `other`, if that is what `write_new` would make of it; whether it is one now.

    Neither may be written to afterwards, only replaced. False too where the file system has no such links.
    """
    try:
        if other.read_bytes() != text.encode() or stat.S_IMODE(other.stat().st_mode) != mode:
            return False
        path.hardlink_to(other)
    except OSError:
        return False
    return True


def append(path: Path, line: str, *, mode: int = 0o644) -> None:
    """Append one line durably: a single write, then fsync, and of the directory where the file is new.

    A line that could not be written and synced whole is taken back: nobody was told that it is there.
    """
    new = not path.exists()
    fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, mode)
    try:
        size = os.fstat(fd).st_size
        raw = (line + "\n").encode()
        try:
            if os.write(fd, raw) != len(raw):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
            os.fsync(fd)
        except OSError:
            os.ftruncate(fd, size)
            raise
    finally:
        os.close(fd)
    if new:
        sync_directory(path.parent)


def tail(path: Path, lines_wanted: int = 50) -> tuple[str, ...]:
    """The last lines of a log, oldest first; none when there is no such file.

    Reads at most its last _FARTHEST bytes; where they begin in the middle of a line that is marked.
    """
    try:
        with path.open("rb") as f:
            return tuple(tail_of(f, lines_wanted)[0])
    except FileNotFoundError:
        return ()


def tail_of(f: IO[bytes], lines_wanted: int) -> tuple[list[str], int]:
    """The last lines of an open log as `tail` reads them, and where it ended then; the last may lack its newline."""
    end = f.seek(0, os.SEEK_END)
    start, raw = end, b""
    while start > 0 and raw.count(b"\n") <= lines_wanted and end - start < _FARTHEST:
        step = min(max(_BLOCK, len(raw)), start)
        start -= step
        f.seek(start)
        raw = f.read(step) + raw
    found = lines.split(lines.after_cut(raw) if start > 0 else lines.decode(raw))
    return found[max(0, len(found) - lines_wanted) :], end


def point(link: Path, target: str) -> None:
    """Make `link` a symbolic link to `target` by an atomic rename, and sync its directory."""
    temporary = link.with_name(f".{link.name}.{os.getpid()}")
    temporary.unlink(missing_ok=True)
    temporary.symlink_to(target)
    temporary.replace(link)
    sync_directory(link.parent)


def sync_directory(path: Path) -> None:
    """Make the names in a directory durable."""
    _sync(path, os.O_RDONLY | os.O_DIRECTORY)


def sync(paths: Iterable[Path]) -> None:
    """Make files and directories durable, in this order: the first of many fsyncs does most of the others' work."""
    for path in paths:
        _sync(path, os.O_RDONLY)


def _sync(path: Path, flags: int) -> None:
    fd = os.open(path, flags)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def sync_all() -> None:
    """Make everything that was written so far durable, on every file system: for a tree of many files at once."""
    os.sync()


def make_private(path: Path) -> Path:
    """Create a directory that only its owner may enter (0700), and return it."""
    path.mkdir(parents=True, exist_ok=True)
    path.chmod(0o700)
    return path


def make_open(path: Path) -> Path:
    """Create a directory, and what is missing above it, that all may enter (0755) whatever the umask; return it."""
    for directory in (*reversed(path.parents), path):
        if not directory.exists():
            directory.mkdir(exist_ok=True)
            directory.chmod(0o755)
    return path


def make_closed(path: Path, group: int | None) -> bool:
    """Create a directory that no other account may pass (0700), but for a group's where it is given (0710).

    One that is there is closed too; False where that is somebody else's, or a link, which is left as it is.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with contextlib.suppress(FileExistsError):
        path.mkdir(mode=0o700)
    try:
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError as e:
        if e.errno in (errno.ENOTDIR, errno.ELOOP, errno.EACCES):
            return False
        raise
    try:
        found, mode = os.fstat(fd), 0o700 if group is None else 0o710
        if found.st_uid != os.geteuid():
            return False
        if group is not None and group != found.st_gid:
            os.fchown(fd, -1, group)
        if stat.S_IMODE(found.st_mode) != mode:
            os.fchmod(fd, mode)
        return True
    finally:
        os.close(fd)


def temporary_name(prefix: str) -> Path:
    """A new directory of ours in /tmp whose name nobody could know before."""
    return Path(tempfile.mkdtemp(prefix=prefix, dir="/tmp"))


def own(path: Path, account: Account | None) -> None:
    """Give one file or directory to the account that will write to it; nothing when children run as we do."""
    if account is not None:
        os.chown(path, account.uid, account.gid)


def chown(path: Path, owner: tuple[int, int]) -> None:
    """Give a path to a user and a group, by their numbers."""
    os.chown(path, *owner)


def copy(source: Path, target: Path) -> None:
    """Copy a file or a directory to a place that is not there yet; it appears whole or not at all."""
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{target.name}.{os.getpid()}")
    if source.is_dir():
        shutil.copytree(source, temporary, symlinks=True)
    else:
        shutil.copy(source, temporary)
    temporary.replace(target)
    sync_directory(target.parent)


def link(source: Path, target: Path) -> None:
    """Give a file a second name, which appears with all that is above it."""
    make_open(target.parent)
    target.hardlink_to(source)


def publish(root: Path, relative: str, target: Path, leave_out: Callable[[str], bool]) -> None:
    """Copy a directory of a tree for all to read, times and all, but for names that `leave_out`; whole or not at all.

    Raises HostError where one of its files cannot be copied.
    """
    make_open(target.parent)
    temporary = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        trees.copy(root, relative, temporary, follow=True, leave_out=leave_out)
        temporary.replace(target)
    except OSError as e:
        raise os_error(e, str(root / relative / (e.filename or ""))) from e
    finally:
        remove_tree(temporary)
    sync_directory(target.parent)


def seal(path: Path) -> str:
    """Make a file durable and ours alone (0600); the SHA-256 of what is in it."""
    with path.open("rb") as f:
        os.fchmod(f.fileno(), 0o600)
        os.fsync(f.fileno())
        return hashlib.file_digest(f, "sha256").hexdigest()


def digest(path: Path) -> str:
    """The SHA-256 of what is in a file."""
    with path.open("rb") as f:
        return hashlib.file_digest(f, "sha256").hexdigest()


def remove_tree(path: Path) -> None:
    """Remove a directory and all below it; nothing when it is not there."""
    with contextlib.suppress(FileNotFoundError):
        shutil.rmtree(path)


@contextlib.contextmanager
def lock(
    path: Path, *, purpose: str, timeout: float, on_wait: Callable[[str], None] | None = None
) -> Iterator[None]:
    """Hold a kernel lock on `path`; it is gone with the process, however that ends.

    `purpose` is written into the file so that whoever waits can say for what. `on_wait` is called once with
    the holder's purpose before waiting. Raises BusyError after `timeout` seconds.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with _lock_file(path) as f:
        _acquire(f, path, timeout, on_wait)
        f.seek(0)
        f.truncate()
        with contextlib.suppress(OSError):  # a full disk must not keep anybody from freeing it
            os.write(f.fileno(), f"{purpose} (process {os.getpid()})".encode())
        try:
            yield
        finally:
            f.truncate(0)


def _lock_file(path: Path) -> IO[str]:
    """A file for a lock. Whoever can open it can hold it, to read it is enough: so nobody else may."""
    fd = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    found = os.fstat(fd)
    if found.st_uid == os.geteuid() and stat.S_IMODE(found.st_mode) != 0o600:
        os.fchmod(fd, 0o600)
    return os.fdopen(fd, "a+")


def _acquire(f: IO[str], path: Path, timeout: float, on_wait: Callable[[str], None] | None) -> None:
    deadline = time.monotonic() + timeout
    said = False
    while True:
        try:
            fcntl.flock(f, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            f.seek(0)
            holder = f.read().strip() or "another pushrod command"
            if on_wait and not said:
                on_wait(holder)
                said = True
            if time.monotonic() >= deadline:
                raise BusyError(
                    f"still busy after {timeout:g} s: {holder}",
                    where=str(path),
                    hint="wait for it to end, then run the command again",
                ) from None
            time.sleep(0.05)


def locked(path: Path) -> bool:
    """Whether some process holds a lock on `path` now."""
    if not path.exists():
        return False
    with _lock_file(path) as f:
        try:
            fcntl.flock(f, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        return False


def wait_until(condition: Callable[[], bool], timeout: float, interval: float = 0.02) -> bool:
    """Ask `condition` until it holds or `timeout` seconds pass; returns whether it held."""
    deadline = time.monotonic() + timeout
    while not condition():
        if time.monotonic() >= deadline:
            return False
        time.sleep(interval)
    return True


_LISTENING = "0A"  # the kernel's TCP_LISTEN, as /proc prints it


def listens(pid: int) -> bool:
    """Whether something listens on TCP in a process's own network, loopback left out (proc_pid_net(5)).

    True too where that cannot be told: whoever asks wants to know who answers nobody.
    """
    try:
        return any(
            reachable_listeners(path.read_text())
            for path in (Path(f"/proc/{pid}/net/{table}") for table in ("tcp", "tcp6"))
            if path.exists()  # not where it has ended, or where there is no IPv6
        )
    except OSError:
        return True


def reachable_listeners(table: str) -> bool:
    """Whether a table of TCP sockets, as the kernel prints it, has one that listens elsewhere than on loopback."""
    rows = [row.split() for row in table.splitlines()[1:]]
    return any(r[3] == _LISTENING and not _address(r[1].partition(":")[0]).is_loopback for r in rows)


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """An address as the kernel prints it: words of four bytes in hex, each in the machine's own order."""
    words = (bytes.fromhex(text[i : i + 8]) for i in range(0, len(text), 8))
    found = ipaddress.ip_address(b"".join(w[::-1] if sys.byteorder == "little" else w for w in words))
    return getattr(found, "ipv4_mapped", None) or found


def port_is_free(port: int, address: str = "127.0.0.1") -> bool:
    """Whether a TCP port can be bound on `address` right now."""
    with socket.socket() as s:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            s.bind((address, port))
        except OSError:
            return False
        return True


def listener(port: int, table: Path = Path("/proc/net/tcp")) -> int | None:
    """The user whose process listens on a TCP port of 127.0.0.1; None where none does, or this system does not say.

    The table is that of proc_pid_net(5): addresses in hexadecimal, 0A for a socket that listens, then the user.
    """
    addresses = {f"{address}:{port:04X}" for address in ("0100007F", "00000000")}
    with contextlib.suppress(FileNotFoundError):
        for line in table.read_text().splitlines()[1:]:
            fields = line.split()
            if fields[1] in addresses and fields[3] == "0A":
                return int(fields[7])
    return None


def has_ipv6() -> bool:
    """Whether this machine's kernel has IPv6, so that its sockets can be made."""
    try:
        socket.socket(socket.AF_INET6).close()
    except OSError:
        return False
    return True


def accepts(port: int, address: str = "127.0.0.1", timeout: float = 1.0) -> bool:
    """Whether something accepts TCP connections on `address`:`port`."""
    try:
        with socket.create_connection((address, port), timeout=timeout):
            return True
    except OSError:
        return False


def exchange(path: Path, request: bytes, timeout: float = 1.0) -> bytes:
    """Send `request` to a unix socket and return what it answers until it closes; b"" when nothing answers.

    `timeout` is in seconds, for each step of the conversation.
    """
    answer = b""
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as s:
        s.settimeout(timeout)
        s.connect(os.fspath(path))
        s.sendall(request)
        while part := s.recv(4096):
            answer += part
    return answer


def log(identifier: str, text: str) -> None:
    """Tell the system's journal a line (syslog(3): authorisation, informational); nothing where there is none."""
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as s:
        s.settimeout(1.0)
        s.connect("/dev/log")
        s.send(f"<38>{identifier}[{os.getpid()}]: {text}".encode())


def certificate_at(address: str, port: int, name: str, timeout: float = 5.0) -> str:
    """The SHA-256 of the certificate that `address`:`port` shows who asks for `name`; empty where none is shown.

    Whether it is to be trusted is not asked.
    """
    import ssl

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    try:
        with (
            socket.create_connection((address, port), timeout=timeout) as s,
            context.wrap_socket(s, server_hostname=name) as encrypted,
        ):
            return hashlib.sha256(encrypted.getpeercert(binary_form=True) or b"").hexdigest()
    except OSError:  # ssl.SSLError is one
        return ""


def user_name() -> str:
    """Who runs this command; the number of a user that has no name, as in many containers."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # KeyError before Python 3.13
        return str(os.geteuid())


def child_account(paths: Sequence[Path]) -> Account | None:
    """The account that supervised children run as; None when pushrod is not root (they run as we do).

    As root that is `pushrod` where the machine has such an account, else `nobody`: PostgreSQL refuses to run
    as root, and nothing else needs it. Where a directory above one of `paths` is closed to the account
    (a checkout below a 0700 home), the children get the one capability that passes it.
    """
    if os.geteuid() != 0:
        return None
    entry = _account_entry()
    closed = any(not _reachable(p, entry.pw_uid, entry.pw_gid) for p in paths)
    return Account(entry.pw_name, entry.pw_uid, entry.pw_gid, _reach_capability() if closed else "")


def children_group() -> int | None:
    """The group of the account that supervised children run as; None where they run as we do.

    Raises HostError where there is no such account.
    """
    return None if os.geteuid() != 0 else _account_entry().pw_gid


def _account_entry() -> pwd.struct_passwd:
    for name in ("pushrod", "nobody"):
        with contextlib.suppress(KeyError):
            return pwd.getpwnam(name)
    raise HostError(
        "no account for supervised children: neither `pushrod` nor `nobody` exists",
        hint="create one: useradd --system --no-create-home --shell /usr/sbin/nologin pushrod",
    )


def _reachable(path: Path, uid: int, gid: int) -> bool:
    for directory in (path.resolve(), *path.resolve().parents):
        if not directory.is_dir():
            continue
        st = directory.stat()
        bit = 0o100 if st.st_uid == uid else 0o010 if st.st_gid == gid else 0o001
        if not st.st_mode & bit:
            return False
    return True


def _reach_capability() -> str:
    """The smallest capability this process may hand on that passes directories closed to others."""
    bounding = 0
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("CapBnd:"):
            bounding = int(line.split()[1], 16)
    # Numbers from capabilities(7) and linux/capability.h: CAP_DAC_OVERRIDE is 1, CAP_DAC_READ_SEARCH is 2.
    for name, number in (("dac_read_search", 2), ("dac_override", 1)):
        if bounding >> number & 1:
            return name
    return ""


def most_files() -> int:
    """How many files a process started by this one can have open at most."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    return hard if hard != resource.RLIM_INFINITY else 1 << 20


def as_account(argv: Sequence[str], account: Account | None, *, death_signal: str = "") -> list[str]:
    """The argv that runs `argv` as `account` and, with `death_signal`, sends it that when its parent dies.

    `setpriv` is part of util-linux, which Debian and Ubuntu call essential.
    """
    options: list[str] = []
    if account is not None:
        options += [f"--reuid={account.uid}", f"--regid={account.gid}", "--clear-groups"]
        if account.reach:
            # no_setuid_fixup: access(2), which initdb asks, looks at the capabilities only with it.
            reach = [f"--inh-caps=+{account.reach}", f"--ambient-caps=+{account.reach}"]
            options += [*reach, "--securebits=+no_setuid_fixup"]
    if death_signal:
        options.append(f"--pdeathsig={death_signal}")
    return ["setpriv", *options, "--", *argv] if options else list(argv)


def attach(argv: Sequence[str], *, cwd: Path, env: Mapping[str, str], keep: Sequence[int] = ()) -> int:
    """Run a program on this terminal, with our own standard streams, and return its exit status.

    `keep` are open files that it has too, by which it holds the locks on them.
    """
    try:
        with _ignored(signal.SIGINT):
            return subprocess.run(
                list(argv), cwd=cwd, env=dict(env), check=False, pass_fds=tuple(keep)
            ).returncode
    except OSError as e:
        raise os_error(e, argv[0]) from e


def end_after(seconds: float, told: Callable[[], None]) -> None:
    """End this process and what it has started once it has taken so long: `told` is called, then all get SIGTERM, by
    which a deployment that is not live yet is undone; who is still there after a minute or two is killed.

    It lasts as long as the process, which leads a process group of its own from here on.
    """
    with contextlib.suppress(PermissionError):  # it leads a session: then it leads its group already
        os.setpgid(0, 0)
    rings = iter(range(1_000_000))

    def ring(_number: int, _frame: object) -> None:
        rung = next(rings)
        if rung == 0:
            told()
        os.killpg(0, signal.SIGTERM if rung < _PLEAS else signal.SIGKILL)

    signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds, 30.0)


_PLEAS = 4  # times that a program past its time is asked to end, 30 s apart


@contextlib.contextmanager
def _ignored(*numbers: signal.Signals) -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():  # no signal interrupts another one
        yield
        return
    # A handler that does nothing, not SIG_IGN: a program started meanwhile would inherit that and be deaf too.
    before = {n: signal.signal(n, lambda _number, _frame: None) for n in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


_INTERRUPTS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextlib.contextmanager
def interruptible() -> Iterator[None]:
    """While this holds, SIGINT, SIGTERM and SIGHUP raise Interrupted in the main thread."""

    def interrupt(number: int, _frame: object) -> None:
        raise Interrupted(
            f"interrupted by {signal.Signals(number).name}",
            hint="run the command again; a deployment that was not live yet has been undone",
        )

    before = {n: signal.signal(n, interrupt) for n in _INTERRUPTS}
    try:
        yield
    finally:
        for n, handler in before.items():
            signal.signal(n, handler)


@contextlib.contextmanager
def signals_held() -> Iterator[None]:
    """While this holds, SIGINT, SIGTERM and SIGHUP wait; for the few lines that must not be left half done.

    Starting a thread is one of them: `threading` itself breaks when its `start` is interrupted. A thread that is
    started here holds them for good, and the main thread gets them.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, (*_INTERRUPTS, signal.SIGUSR1))
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextlib.contextmanager
def deadline(seconds: float, whose: str) -> Iterator[None]:
    """Raise HostError in the main thread once the block has taken so long, whatever it waits for.

    What must not be left half done (`uninterrupted`) is finished first; what cleans up afterwards has all the time it
    wants.
    """

    over = threading.Event()

    def expire(_number: int, _frame: object) -> None:
        if not over.is_set():
            over.set()
            raise HostError(
                f"{whose} has taken longer than {seconds:g} s, and was ended",
                hint="run it for that app alone to see where it stands",
            )

    def ring() -> None:
        wait = seconds
        while not over.wait(wait):
            signal.pthread_kill(main, signal.SIGUSR1)
            wait = 1.0  # again and again: the first may come while it is ignored

    main, before = threading.main_thread().ident or 0, signal.signal(signal.SIGUSR1, expire)
    clock = threading.Thread(target=ring, daemon=True)
    with signals_held():
        clock.start()
    try:
        yield
    finally:
        over.set()
        clock.join()
        signal.signal(signal.SIGUSR1, before)


@contextlib.contextmanager
def uninterrupted() -> Iterator[None]:
    """While this holds, SIGINT, SIGTERM and SIGHUP are ignored: what is under way is finished first."""
    with _ignored(*_INTERRUPTS, signal.SIGUSR1):
        yield


def free_space(path: Path) -> int:
    """Bytes that are free for us on the file system of an existing path."""
    return shutil.disk_usage(path).free
