"""Running programs: from argv lists, never through a shell, always with a deadline."""

import collections
import contextlib
import io
import os
import resource
import select
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO, Any, NamedTuple

from pushrod.core import lines
from pushrod.core.errors import HostError
from pushrod.system import outputs, streams
from pushrod.system.accounts import Account
from pushrod.system.files import os_error
from pushrod.system.signals import ignored, postponed, signals_held

_KEPT = 1 << 20  # characters kept from the end of a program's output that is passed on line by line


class _Child:
    """A program in a session of its own during a block; if it still runs at the end, its group is killed.

    An interruption waits until the start is complete; otherwise the program would outlive the command.
    Raises HostError if it cannot be started.
    """

    def __init__(self, args: Sequence[str], *, cwd: Path | None = None, **options: Any) -> None:
        self._args = args
        self._cwd = cwd
        self._options = options
        self._child: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> subprocess.Popen[bytes]:
        try:
            with postponed():
                self._child = subprocess.Popen(
                    self._args, cwd=self._cwd, start_new_session=True, **self._options
                )
        except FileNotFoundError as e:
            if self._cwd is not None and not self._cwd.is_dir():
                raise os_error(e, str(self._cwd)) from e
            program = self._args[0]
            raise HostError(
                f"{program}: {e.strerror}", hint=f"install {Path(program).name}, or check PATH"
            ) from e
        except OSError as e:
            raise os_error(e, self._args[0]) from e
        except BaseException:
            self._kill()
            raise
        return self._child

    def __exit__(self, *_: object) -> None:
        self._kill()

    def _kill(self) -> None:
        if self._child is not None and self._child.poll() is None:
            outputs.kill_group(self._child)


class TimedOutError(HostError):
    """A program did not end in time."""


class Completed(NamedTuple):
    """The result of a finished program: its exit status and what it printed."""

    status: int
    stdout: str
    stderr: str


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
    most: int = outputs.MOST,
) -> Completed:
    """Run a program to its end and return its status and output; never raises for a non-zero status.

    Only the program's own end counts: a process that it leaves behind with the output open is killed after a few
    seconds.
    `env` replaces the whole environment. After `timeout` seconds the program's process group is killed. `on_line`
    receives each line of output (stdout and stderr together) as it appears; the lines are also returned as
    `stdout`. `umask` is the program's (-1: inherited). Raises HostError if the program is missing, the time runs out,
    or it prints more than `most` bytes.
    """
    if isinstance(stdin, str) and on_line:  # nothing could write to a pipe while the output is read
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
        with _Child(
            args,
            cwd=cwd,
            env=None if env is None else dict(env),
            stdin=source,
            stdout=stdout or subprocess.PIPE,
            stderr=stderr or (subprocess.STDOUT if on_line else subprocess.PIPE),
            umask=umask,
        ) as child:
            if on_line:
                return _stream(child, on_line, time.monotonic() + timeout)
            out, err = outputs.communicate(child, text_in, time.monotonic() + timeout, most)
    except subprocess.TimeoutExpired as e:
        raise TimedOutError(
            f"{args[0]} did not end within {timeout:g} s", hint="run it by hand to see where it waits"
        ) from e
    return Completed(child.returncode, lines.decode(out), lines.decode(err))


def run_bounded(
    argv: Sequence[str | os.PathLike[str]],
    *,
    most: int,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    timeout: float = 60.0,
) -> Completed:
    """As `run`, for a program that may print more than fits in memory: returns at most `most` bytes of each stream.
    They pass through files; the program's own RLIMIT_FSIZE must bound their size."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        status = run(argv, cwd=cwd, env=env, timeout=timeout, stdout=out, stderr=err).status
        out.seek(0)
        err.seek(0)
        return Completed(status, lines.decode(out.read(most)), lines.decode(err.read(most)))


def _stream(child: subprocess.Popen[bytes], on_line: Callable[[str], None], deadline: float) -> Completed:
    """Pass on output line by line; a timer thread kills a child that exceeds its deadline.

    Unbounded output is cut and marked: a line beyond `lines.LONGEST`, and everything before the last _KEPT
    characters.
    """
    expired = threading.Event()

    def expire() -> None:
        expired.set()
        outputs.kill_group(child)

    timer = threading.Timer(max(0.0, deadline - time.monotonic()), expire)
    timer.daemon = True
    with signals_held():
        timer.start()
    kept: collections.deque[str] = collections.deque()
    size = 0
    assert child.stdout is not None  # noqa: S101  it is a pipe
    output = outputs.Output(child, child.stdout)
    reader = io.BufferedReader(output)
    try:
        while raw := reader.readline(lines.LONGEST):
            line = lines.decode(raw.removesuffix(b"\n"))
            line += f" {lines.CUT}" if len(raw) == lines.LONGEST and not raw.endswith(b"\n") else ""
            on_line(line)
            kept.append(line + "\n" if raw.endswith(b"\n") else line)
            size += len(kept[-1])
            while size > _KEPT:
                size -= len(kept.popleft())
        if output.left_open:
            outputs.kill_group(child)
        child.wait()
    finally:
        timer.cancel()
        child.stdout.close()
    if expired.is_set():
        raise subprocess.TimeoutExpired(child.args, 0)
    return Completed(child.returncode, "".join(kept), "")


@contextlib.contextmanager
def beside(
    argv: Sequence[str | os.PathLike[str]], *, env: Mapping[str, str], stdin: str, timeout: float = 60.0
) -> Iterator[str]:
    """Run a program during the block: send it `stdin`, and yield its first line of output.

    That line (stdout and stderr together) is empty if the program exits without printing one. After the block its
    standard input is closed, which must make it exit. Raises HostError if the program is missing; kills it if it
    prints nothing, or does not exit, within `timeout` seconds.
    """
    args = [os.fspath(a) for a in argv]
    pipe = subprocess.PIPE
    with _Child(args, env=dict(env), stdin=pipe, stdout=pipe, stderr=subprocess.STDOUT) as child:
        assert child.stdin is not None and child.stdout is not None  # noqa: S101  both are pipes
        deadline = time.monotonic() + timeout
        with child.stdout:
            try:
                with contextlib.suppress(BrokenPipeError):  # it has exited: its earlier output counts
                    _send(child.stdin.fileno(), stdin.encode(), deadline)
                ready = select.select([child.stdout], [], [], max(0.0, deadline - time.monotonic()))[0]
                yield lines.decode(child.stdout.readline(lines.LONGEST)).strip() if ready else ""
            finally:
                child.stdin.close()
                with contextlib.suppress(subprocess.TimeoutExpired):
                    child.wait(timeout)


def _send(pipe: int, raw: bytes, deadline: float) -> None:
    """Write to a pipe until `deadline` (monotonic) at most: the reader may not read."""
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
    """Run a program and read its output as it arrives: for output that may be larger than the caller needs.

    The program is killed if the block ends first, and after `timeout` seconds. Raises HostError if the program is
    missing or, once all output is read, if its status is not 0. Its stderr is discarded.
    """
    args = [os.fspath(a) for a in argv]
    with tempfile.TemporaryFile() as source:
        source.write(stdin)
        source.seek(0)
        with _Child(
            args, env=dict(env), stdin=source, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        ) as child:
            assert child.stdout is not None  # noqa: S101  it is a pipe
            timer = threading.Timer(timeout, lambda: outputs.kill_group(child))
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
                child.stdout.close()


def feed(
    argv: Sequence[str | os.PathLike[str]],
    source: streams.Source,
    *,
    env: Mapping[str, str],
    timeout: float,
) -> Completed:
    """Run a program with input from a source, passed on block by block. Of its output only stderr is kept.

    It may exit before it has read everything. Raises HostError as `run` does; an error of the source kills the
    program.
    """

    def move(child: subprocess.Popen[bytes]) -> None:
        assert child.stdin is not None  # noqa: S101  it is a pipe
        with contextlib.suppress(BrokenPipeError), child.stdin:
            streams.copy(source, child.stdin)

    return _moving(argv, move, env, timeout, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)


def drain(
    argv: Sequence[str | os.PathLike[str]], sink: streams.Sink, *, env: Mapping[str, str], timeout: float
) -> Completed:
    """Run a program without input, and pass on its output block by block; stderr is kept.

    Raises HostError as `run` does; an error of the sink kills the program.
    """

    def move(child: subprocess.Popen[bytes]) -> None:
        assert child.stdout is not None  # noqa: S101  it is a pipe
        with child.stdout:
            streams.copy(child.stdout, sink)

    return _moving(argv, move, env, timeout, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)


def relay(
    first: Sequence[str | os.PathLike[str]],
    second: Sequence[str | os.PathLike[str]],
    *,
    env: Mapping[str, str],
    timeout: float,
) -> tuple[Completed, Completed]:
    """Run two programs at the same time, the output of the first being the input of the second. Raises HostError as
    `run` does.
    """
    reading, writing = os.pipe()
    with os.fdopen(reading, "rb") as source, ThreadPoolExecutor(1) as pool:
        with signals_held():
            fed = pool.submit(_fed, second, source, env, timeout)
        with os.fdopen(writing, "wb", buffering=0) as sink:
            done = Completed(1, "", "its output was not taken")
            with contextlib.suppress(BrokenPipeError):  # the second has ended: it says why
                done = drain(first, sink, env=env, timeout=timeout)
        return done, fed.result()


def _fed(
    argv: Sequence[str | os.PathLike[str]], source: IO[bytes], env: Mapping[str, str], timeout: float
) -> Completed:
    with source:  # closed when the program has ended, so that nobody writes any more
        return feed(argv, source, env=env, timeout=timeout)


def _moving(
    argv: Sequence[str | os.PathLike[str]],
    move: Callable[[subprocess.Popen[bytes]], None],
    env: Mapping[str, str],
    timeout: float,
    *,
    stdin: int,
    stdout: int,
) -> Completed:
    """Run a program while `move` reads from it or writes to it; a timer kills one that exceeds its time limit."""
    args = [os.fspath(a) for a in argv]
    expired = threading.Event()
    with _Child(
        args,
        bufsize=0 if stdout == subprocess.PIPE else -1,  # unbuffered: data is passed on as it arrives
        env=dict(env),
        stdin=stdin,
        stdout=stdout,
        stderr=subprocess.PIPE,
    ) as child:

        def expire() -> None:
            expired.set()
            outputs.kill_group(child)

        timer = threading.Timer(timeout, expire)
        timer.daemon = True
        assert child.stderr is not None  # noqa: S101  it is a pipe
        with child.stderr, outputs.Tail(child.stderr, _KEPT) as errors:
            with signals_held():
                timer.start()
            try:
                move(child)
                child.wait()
            except BaseException:
                outputs.kill_group(child)
                raise
            finally:
                timer.cancel()
    if expired.is_set():
        raise TimedOutError(
            f"{args[0]} did not end within {timeout:g} s", hint="run it by hand to see where it waits"
        )
    return Completed(child.returncode, "", lines.decode(bytes(errors.kept)))


def most_files() -> int:
    """How many files a process started by this one may have open."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    return hard if hard != resource.RLIM_INFINITY else 1 << 20


def start_apart(argv: Sequence[str], env: Mapping[str, str], *, stdin: int = subprocess.DEVNULL) -> None:
    """Start a program that outlives this process and has nothing of it: no terminal, no open files except `stdin`, no
    directory.

    Raises HostError if it cannot be started.
    """
    try:
        with postponed():
            subprocess.Popen(
                argv,
                env=dict(env),
                cwd="/",
                start_new_session=True,
                stdin=stdin,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
    except OSError as e:
        raise os_error(e, argv[0]) from e


def as_account(argv: Sequence[str], account: Account | None, *, death_signal: str = "") -> list[str]:
    """The argv that runs `argv` as `account` and, with `death_signal`, has it receive that signal when its parent
    dies.

    `setpriv` is part of util-linux, an essential package of Debian and Ubuntu.
    """
    options: list[str] = []
    if account is not None:
        options += [f"--reuid={account.uid}", f"--regid={account.gid}", "--clear-groups"]
        if account.reach:
            # no_setuid_fixup: without it access(2), which initdb calls, ignores the capabilities.
            reach = [f"--inh-caps=+{account.reach}", f"--ambient-caps=+{account.reach}"]
            options += [*reach, "--securebits=+no_setuid_fixup"]
    if death_signal:
        options.append(f"--pdeathsig={death_signal}")
    return ["setpriv", *options, "--", *argv] if options else list(argv)


def attach(argv: Sequence[str], *, cwd: Path, env: Mapping[str, str], keep: Sequence[int] = ()) -> int:
    """Run a program on this terminal with our own standard streams, and return its exit status.

    `keep` are open files that it inherits, so that their locks stay held.
    """
    try:
        with ignored(signal.SIGINT):
            return subprocess.run(
                list(argv), cwd=cwd, env=dict(env), check=False, pass_fds=tuple(keep)
            ).returncode
    except OSError as e:
        raise os_error(e, argv[0]) from e
