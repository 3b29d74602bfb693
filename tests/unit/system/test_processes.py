"""Processes, tested with the real system."""

import errno
import io
import os
import pwd
import signal
import subprocess
import sys
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest

from pushrod.core.errors import BusyError, HostError
from pushrod.system import accounts, files, outputs, processes, streams, waits
from tests.conftest import beside
from tests.unit.system.children import gone, mode, python, root_only


def test_run_returns_status_and_both_streams_apart() -> None:
    done = processes.run(["sh", "-c", "echo out; echo err >&2; exit 7"])
    assert done == (7, "out\n", "err\n")


def test_run_gives_no_input_unless_asked() -> None:
    assert processes.run(["cat"], timeout=10).stdout == ""


def test_run_gives_text_as_input() -> None:
    assert processes.run(["cat"], stdin="ä\n").stdout == "ä\n"


def test_run_accepts_open_files_as_input_and_output(tmp_path: Path) -> None:
    (tmp_path / "in").write_bytes(b"\x00\xff\n")
    with (tmp_path / "in").open("rb") as source, (tmp_path / "out").open("wb") as target:
        done = processes.run(["cat"], stdin=source, stdout=target)
    assert (done.status, done.stdout) == (0, "")
    assert (tmp_path / "out").read_bytes() == b"\x00\xff\n"


def test_run_replaces_the_whole_environment() -> None:
    assert processes.run(["/usr/bin/env"], env={"ONLY": "this"}).stdout == "ONLY=this\n"


def test_run_sets_directory_and_umask(tmp_path: Path) -> None:
    processes.run(["touch", "made"], cwd=tmp_path, umask=0o077)
    assert mode(tmp_path / "made") == 0o600


def test_run_replaces_bytes_that_are_not_text() -> None:
    assert processes.run(["printf", r"a\377b"]).stdout == "a\N{REPLACEMENT CHARACTER}b"


def test_run_hands_over_each_line_as_it_appears(tmp_path: Path) -> None:
    """The program waits for an action by the receiver of its first line, so a delayed line would never come."""
    answer = tmp_path / "answer"
    script = f"echo one; until [ -e '{answer}' ]; do sleep 0.01; done; echo two >&2; printf three"
    lines: list[str] = []

    def receive(line: str) -> None:
        lines.append(line)
        answer.touch()

    done = processes.run(["sh", "-c", script], on_line=receive, timeout=20)
    assert lines == ["one", "two", "three"]
    assert done == (0, "one\ntwo\nthree", "")


def test_run_reports_a_missing_program() -> None:
    with pytest.raises(HostError) as e:
        processes.run(["no-such-program", "x"])
    assert "no-such-program" in e.value.what
    assert "install no-such-program" in e.value.hint


def test_run_reports_a_missing_directory(tmp_path: Path) -> None:
    with pytest.raises(HostError) as e:
        processes.run(["true"], cwd=tmp_path / "nowhere")
    assert e.value.where == str(tmp_path / "nowhere")
    assert "install" not in e.value.hint


def test_run_reports_a_file_that_is_not_executable(tmp_path: Path) -> None:
    plain = tmp_path / "plain"
    plain.touch(0o644)
    with pytest.raises(HostError) as e:
        processes.run([plain])
    assert e.value.where == str(plain)
    assert "mode" in e.value.hint


by_lines = pytest.mark.parametrize("on_line", [None, lambda _line: None], ids=["whole", "lines"])


@by_lines
@pytest.mark.slow
def test_run_kills_the_whole_group_when_time_is_up(
    on_line: Callable[[str], None] | None, tmp_path: Path
) -> None:
    pid = tmp_path / "pid"
    script = f"sleep 300 & echo $! > {pid}; wait"
    with pytest.raises(HostError, match=r"sh did not end within 0\.5 s"):
        processes.run(["sh", "-c", script], timeout=0.5, on_line=on_line, cwd=tmp_path)
    assert waits.wait_until(lambda: gone(int(pid.read_text())), timeout=10)


@pytest.mark.parametrize("left", ["sleep 300", "while sleep 0.1; do echo; done"])
@by_lines
@pytest.mark.slow
def test_run_ends_with_the_program_and_kills_children_holding_its_output(
    left: str, on_line: Callable[[str], None] | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outputs, "_DRAIN", 0.5)
    pid = tmp_path / "pid"
    script = f"echo said; {{ {left}; }} & echo $! > {pid}; exit 3"
    done = processes.run(["sh", "-c", script], on_line=on_line, timeout=60)
    assert (done.status, done.stdout[:5]) == (3, "said\n")
    assert waits.wait_until(lambda: gone(int(pid.read_text())), timeout=10)


@pytest.mark.slow
def test_run_ends_with_the_program_even_if_a_child_prints_forever() -> None:
    assert processes.run(["sh", "-c", "yes & exit 3"], on_line=lambda _: None, timeout=60).status == 3


@by_lines
@pytest.mark.slow
def test_run_does_not_wait_for_a_process_outside_the_group(
    on_line: Callable[[str], None] | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outputs, "_DRAIN", 0.2)
    pid = tmp_path / "pid"
    left = f"setsid sh -c 'echo $$ > {pid}; exec sleep 300'"
    script = f"echo said; {left} & until [ -s {pid} ]; do sleep 0.01; done"
    assert processes.run(["sh", "-c", script], on_line=on_line, timeout=60) == (0, "said\n", "")
    os.kill(int(pid.read_text()), signal.SIGKILL)


@pytest.mark.slow
def test_run_ends_a_program_that_prints_without_end() -> None:
    """What runs in an app's container prints what it likes, and all of it would be in memory."""
    with pytest.raises(HostError, match="prints more than 1 MiB"):
        processes.run(["yes"], timeout=20, most=1 << 20)
    with pytest.raises(HostError, match="prints more than 1 MiB"):
        processes.run(["sh", "-c", "yes >&2"], timeout=20, most=1 << 20)
    done = processes.run(["cat"], stdin="é" * 400_000)
    assert done.stdout == "é" * 400_000


@pytest.mark.slow
def test_drain_keeps_only_the_end_of_standard_error() -> None:
    sink = io.BytesIO()
    shout = "head -c 5000000 /dev/zero | tr '\\0' x >&2; echo last >&2; echo out"
    done = processes.drain(["sh", "-c", shout], sink, env=os.environ, timeout=20)
    assert sink.getvalue() == b"out\n"
    assert len(done.stderr) <= 1 << 20
    assert done.stderr.endswith("xlast\n")


def test_run_hands_over_all_that_a_program_printed_before_it_ended() -> None:
    """The receiver takes its first line once the program has ended."""
    received: list[str] = []

    def receive(line: str) -> None:
        if not received:
            assert waits.wait_until(lambda: gone(int(line)), timeout=20)
        received.append(line)

    processes.run(["sh", "-c", "echo $$; exec seq 9000"], on_line=receive, timeout=60)
    assert received[1:] == [str(n) for n in range(1, 9001)]


def test_run_leaves_no_child_if_the_line_callback_fails(tmp_path: Path) -> None:
    def fail(line: str) -> None:
        raise BusyError(line)

    with pytest.raises(BusyError) as e:
        processes.run(["sh", "-c", "echo $$; exec sleep 300"], on_line=fail, timeout=60)
    assert waits.wait_until(lambda: gone(int(e.value.what)), timeout=10)


def test_run_accepts_a_child_that_ignores_its_input() -> None:
    assert processes.run(["true"], stdin="x" * 1_000_000).status == 0


@pytest.mark.slow
def test_attach_returns_the_status_of_a_program_on_our_own_streams(tmp_path: Path) -> None:
    source = (
        "from pathlib import Path; import sys; from pushrod.system import processes; sys.stdout.flush()\n"
    )
    source += (
        "print(processes.attach(['sh', '-c', 'cat; exit 9'], cwd=Path('/'), env={'PATH': '/usr/bin:/bin'}))"
    )
    done = processes.run(python(source), stdin="typed\n")
    assert done.stdout == "typed\n9\n"


def test_attach_reports_a_missing_program(tmp_path: Path) -> None:
    with pytest.raises(HostError) as e:
        processes.attach(["no-such-program"], cwd=tmp_path, env={})
    assert e.value.where == "no-such-program"


def test_run_splits_only_at_newlines_and_keeps_every_byte() -> None:
    script = r"printf 'bad \000 byte\rx\014\302\205\n\033]0;t\007\nlast'"
    got: list[str] = []
    done = processes.run(["sh", "-c", script], on_line=got.append, timeout=20)
    assert got == ["bad \0 byte\rx\x0c\x85", "\x1b]0;t\x07", "last"]
    assert done.stdout == processes.run(["sh", "-c", script], timeout=20).stdout == "\n".join(got)


@pytest.mark.slow
def test_run_cuts_an_endless_line_and_marks_it() -> None:
    got: list[str] = []
    done = processes.run(
        ["sh", "-c", "yes | head -c 9000000 | tr -d '\\n'; yes | head -c 4000000"], on_line=got.append
    )
    assert got[0] == "y" * 65536 + " […]"
    assert max(map(len, got)) == 65536 + 4
    assert len(done.stdout) <= 1 << 20


@root_only
def test_a_child_of_root_can_access_files_below_a_private_directory(
    outside: Path, account: pwd.struct_passwd
) -> None:
    closed = outside / "home"
    (closed / "data").mkdir(parents=True)
    closed.chmod(0o700)
    (closed / "data" / "file").write_text("reached\n")
    files.own(closed / "data", (result := accounts.child_account([closed / "data"])))
    assert result is not None
    assert (result.uid, result.gid) == (account.pw_uid, account.pw_gid)
    assert result.reach

    script = "cat file && touch made && id -u && id -g && id -G"
    done = processes.run(processes.as_account(["sh", "-c", script], result), cwd=closed / "data")
    assert done.stdout.split() == ["reached", *map(str, (result.uid, result.gid, result.gid))], done.stderr
    assert (closed / "data" / "made").stat().st_uid == result.uid

    plain = result._replace(reach="")
    assert processes.run(processes.as_account(["cat", str(closed / "data" / "file")], plain)).status != 0


@root_only
def test_a_child_of_root_gets_no_capability_that_it_does_not_need(
    outside: Path, account: pwd.struct_passwd
) -> None:
    result = accounts.child_account([outside])
    assert result == (account.pw_name, account.pw_uid, account.pw_gid, "")
    done = processes.run(processes.as_account(["grep", "CapEff", "/proc/self/status"], result))
    assert int(done.stdout.split()[1], 16) == 0


def test_a_child_of_the_same_user_has_no_wrapper() -> None:
    assert processes.as_account(["a", "b"], None) == ["a", "b"]
    assert processes.as_account(["a"], None, death_signal="KILL") == [
        "setpriv",
        "--pdeathsig=KILL",
        "--",
        "a",
    ]


def test_a_child_gets_its_death_signal_when_its_parent_is_killed() -> None:
    source = "import subprocess, sys; from pushrod.system import processes\n"
    source += "child = subprocess.Popen(processes.as_account(['sh', '-c', 'echo $$; exec sleep 300'], None, "
    source += "death_signal='KILL'), stdout=subprocess.PIPE, text=True)\n"
    source += "print(child.stdout.readline().strip()); sys.stdin.readline()"
    with beside(source) as parent:
        child = int(parent.line())
        assert not gone(child)
        parent.signal(signal.SIGKILL)
        parent.child.wait(timeout=10)
        assert waits.wait_until(lambda: gone(child), timeout=10)


INTERRUPTS = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to run a child as somebody else")
def test_a_user_without_a_name_is_known_by_number() -> None:
    source = (
        "import os; from pushrod.system import accounts; os.environ.clear(); "
        "os.setuid(54321); print(accounts.user_name())"
    )
    assert processes.run(python(source)).stdout == "54321\n"


@pytest.mark.parametrize("call", ["run", "attach"])
@pytest.mark.slow
def test_a_child_does_not_inherit_ignored_signals(call: str) -> None:
    """An ignored signal is inherited through exec(2): a program run by hand could not be stopped with Ctrl-C."""
    child = "['grep', 'SigIgn', '/proc/self/status']"
    how = {
        "run": f"with signals.uninterrupted(): print(processes.run({child}).stdout)",
        "attach": f"processes.attach({child}, cwd=Path('/'), env={{'PATH': '/usr/bin:/bin'}})",
    }
    done = processes.run(
        python(f"from pathlib import Path\nfrom pushrod.system import processes, signals\n{how[call]}")
    )
    ignored = int(done.stdout.split()[1], 16)
    ours = [
        n for n in INTERRUPTS if signal.getsignal(n) != signal.SIG_IGN
    ]  # nohup(1) ignores one for all below
    assert [n.name for n in ours if ignored >> (n - 1) & 1] == []


def test_input_and_line_callback_work_together() -> None:
    received: list[str] = []
    done = processes.run(["cat"], stdin="one\ntwo\n", on_line=received.append, timeout=10)
    assert (done.status, done.stdout, received) == (0, "one\ntwo\n", ["one", "two"])


def test_a_background_program_ends_with_the_block(tmp_path: Path) -> None:
    script = f"read -r word; echo $word $$; cat > /dev/null; echo ended > {tmp_path}/ended"
    with processes.beside(["sh", "-c", script], env={"PATH": "/usr/bin:/bin"}, stdin="hello\n") as output:
        word, pid = output.split()
        assert word == "hello"
        assert Path(f"/proc/{pid}").exists()
    assert (tmp_path / "ended").exists()
    assert not Path(f"/proc/{pid}").exists()


@pytest.mark.slow
def test_a_background_program_that_does_not_end_is_killed() -> None:
    argv = ["sh", "-c", "echo $$; exec sleep 60"]
    with processes.beside(argv, env={"PATH": "/usr/bin:/bin"}, stdin="", timeout=0.3) as pid:
        assert Path(f"/proc/{pid}").exists()
    assert not Path(f"/proc/{pid}").exists()


@pytest.mark.parametrize("script", ["exit 1", "sleep 60; touch went-on"])
@pytest.mark.slow
def test_a_silent_background_program_times_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str
) -> None:
    """Nor does it read: its input is larger than a pipe's buffer."""
    monkeypatch.chdir(tmp_path)
    argv = ["sh", "-c", script]
    with processes.beside(argv, env={"PATH": "/usr/bin:/bin"}, stdin="x" * 10**5, timeout=0.3) as output:
        assert output == ""
    assert not (tmp_path / "went-on").exists()


@pytest.mark.slow
def test_end_after_ends_a_process_with_its_children(tmp_path: Path) -> None:
    """Also while it waits for a program on its own streams, as `exec` does."""
    source = """if True:
        import sys
        from pathlib import Path
        from pushrod.system import processes, signals
        signals.end_after(0.3, lambda: print("too long", flush=True))
        processes.attach(["sh", "-c", "echo $$; exec sleep 60"], cwd=Path("/"), env={"PATH": "/usr/bin:/bin"})
    """
    done = processes.run([sys.executable, "-c", source], timeout=30)
    number, message = done.stdout.split("\n")[:2]
    assert (done.status, message) == (-signal.SIGTERM, "too long")
    assert waits.wait_until(lambda: not Path(f"/proc/{number}").exists(), 10)


# ---- streams --------------------------------------------------------------------------------------------------

PLAIN = {"PATH": "/usr/bin:/bin"}


class Zeros:
    """So many bytes that are never in memory together."""

    def __init__(self, size: int) -> None:
        self.left = size

    def read(self, size: int) -> bytes:
        block = bytes(min(size, self.left))
        self.left -= len(block)
        return block


@pytest.mark.slow
def test_streamed_data_is_never_completely_in_memory() -> None:
    size, measured = 1 << 26, streams.Measured(streams.Nothing())
    tracemalloc.start()
    try:
        made = processes.drain(["head", "-c", str(size), "/dev/zero"], measured, env=PLAIN, timeout=60)
        taken = processes.feed(["sh", "-c", f"test $(wc -c) = {size}"], Zeros(size), env=PLAIN, timeout=60)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert (made.status, taken.status, measured.size) == (0, 0, size)
    assert measured.sha256 == streams.digest(Zeros(size))
    assert peak < 16 * streams.BLOCK


def test_a_failed_stream_reports_the_cause_and_keeps_partial_output() -> None:
    written = io.BytesIO()
    done = processes.drain(["sh", "-c", "echo half; echo why >&2; exit 3"], written, env=PLAIN, timeout=10)
    assert (done.status, done.stderr, written.getvalue()) == (3, "why\n", b"half\n")
    done = processes.feed(["sh", "-c", "echo why >&2; exit 4"], Zeros(1 << 26), env=PLAIN, timeout=10)
    assert (done.status, done.stderr) == (4, "why\n")


def test_a_failing_reader_or_writer_ends_the_program(tmp_path: Path) -> None:
    class Full:
        def write(self, block: bytes) -> None:
            raise OSError(errno.ENOSPC, "full")

        def read(self, size: int) -> bytes:
            raise OSError(errno.EIO, "broken")

    script = ["sh", "-c", f"echo $$ > {tmp_path}/pid; echo x; exec sleep 60"]
    with pytest.raises(OSError, match="full"):
        processes.drain(script, Full(), env=PLAIN, timeout=30)
    assert not Path(f"/proc/{(tmp_path / 'pid').read_text().strip()}").exists()
    with pytest.raises(OSError, match="broken"):
        processes.feed(["sleep", "60"], Full(), env=PLAIN, timeout=30)


@pytest.mark.slow
def test_a_stalled_stream_is_ended() -> None:
    with pytest.raises(HostError, match=r"did not end within 0\.2 s"):
        processes.drain(["sleep", "60"], io.BytesIO(), env=PLAIN, timeout=0.2)
    with pytest.raises(HostError, match=r"did not end within 0\.2 s"):
        processes.feed(["sleep", "60"], Zeros(1 << 26), env=PLAIN, timeout=0.2)
    with pytest.raises(HostError, match="No such file"):
        processes.drain(["/nothing/here"], io.BytesIO(), env=PLAIN, timeout=5)


def test_await_end_waits_until_a_deadline() -> None:
    with subprocess.Popen(["sleep", "60"]) as child:
        with pytest.raises(subprocess.TimeoutExpired):
            outputs.await_end(child, time.monotonic() + 0.05)
        child.terminate()
        outputs.await_end(child, time.monotonic() + 10)
        assert child.returncode == -signal.SIGTERM
        outputs.await_end(child, time.monotonic())  # its number may be another's by now


def test_one_program_reads_what_another_prints(tmp_path: Path) -> None:
    target = tmp_path / "it"
    environment = {"PATH": "/usr/bin:/bin"}
    first = ["head", "-c", "3000000", "/dev/zero"]
    done = processes.relay(first, ["tee", str(target)], env=environment, timeout=30)
    assert ([d.status for d in done], target.stat().st_size) == ([0, 0], 3_000_000)
    ended = processes.relay(first, ["false"], env=environment, timeout=30)
    assert ended[1].status == 1
    failed = processes.relay(["sh", "-c", "echo no >&2; exit 3"], ["cat"], env=environment, timeout=30)
    assert [(d.status, d.stderr.strip()) for d in failed] == [(3, "no"), (0, "")]
