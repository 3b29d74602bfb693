"""The wrapper, run as supervisord runs it, with real programs, locks and processes."""

import contextlib
import fcntl
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pushrod.engines.embedded import exec_wrapper
from pushrod.system import locks, waits

PATH = "/usr/local/bin:/usr/bin:/bin"


@pytest.fixture
def lock(tmp_path: Path) -> Path:
    return tmp_path / "shop-r1.backend-1"


def spec(lock: Path, *argv: str, **more: object) -> Path:
    fields = {
        "program": argv[0],
        "argv": list(argv),
        "cwd": "/",
        "environment": {"PATH": PATH},
        "lock": str(lock),
        "wait_for": [],
        "death_signal": "TERM",
        "stop_grace": 1.0,
        "stdin": False,
    }
    path = lock.with_suffix(".json")
    path.write_text(json.dumps({**fields, **more}))
    return path


def start(path: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-I", "-S", exec_wrapper.__file__, str(path)]
    return subprocess.Popen(command, stdout=-1, stderr=-1, text=True, process_group=0)


def run(path: Path) -> tuple[int, str, str]:
    with start(path) as child:
        out, err = child.communicate(timeout=20)
    return child.returncode, out, err


@contextlib.contextmanager
def running(path: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that has printed its first line; killed with its group at the end."""
    with start(path) as child:
        assert child.stdout
        assert child.stdout.readline()
        try:
            yield child
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGKILL)


def test_the_program_runs_with_exactly_its_environment(lock: Path) -> None:
    environment = {"PATH": PATH, "A": "x y%z\n'\""}
    status, out, _ = run(spec(lock, "env", "-0", environment=environment))
    assert status == 0
    assert dict(e.split("=", 1) for e in out.split("\0") if e) == environment


def test_program_has_default_signals_an_empty_input_and_its_directory(lock: Path) -> None:
    status, out, _ = run(spec(lock, "sh", "-c", "pwd; cat; kill -PIPE $$; echo ignored", cwd="/usr"))
    assert (status, out) == (-signal.SIGPIPE, "/usr\n")


@pytest.mark.slow
def test_program_is_found_along_the_path_of_the_spec(lock: Path, tmp_path: Path) -> None:
    program = tmp_path / "only-here"
    program.write_text("#!/bin/sh\necho found")
    program.chmod(0o755)
    assert run(spec(lock, "only-here", environment={"PATH": f"{PATH}:{tmp_path}"}))[:2] == (0, "found\n")
    assert run(spec(lock, "./only-here", cwd=str(tmp_path)))[:2] == (0, "found\n")
    status, _, err = run(spec(lock, "only-here"))
    assert (status, err) == (127, f"launch: only-here: no such program (PATH={PATH})\n")
    program.chmod(0o644)
    assert run(spec(lock, str(program)))[0] == 127


@pytest.mark.parametrize(
    ("more", "status", "message"),
    [
        ({"cwd": "/no/such"}, 66, "launch: working directory /no/such: No such file or directory\n"),
        ({"argv": ["/no/setpriv", "true"]}, 126, "launch: cannot execute /no/setpriv: No such file"),
    ],
)
def test_a_missing_part_is_reported(lock: Path, more: dict[str, object], status: int, message: str) -> None:
    ended = run(spec(lock, "true", **more))
    assert ended[0] == status
    assert ended[2].startswith(message)


@pytest.mark.slow
def test_an_unreadable_spec_is_a_configuration_error(tmp_path: Path) -> None:
    status, _, err = run(tmp_path / "none.json")
    assert status == 78
    assert "No such file" in err
    (tmp_path / "bad.json").write_text("{")
    assert run(tmp_path / "bad.json")[0] == 78


@pytest.mark.slow
def test_lock_is_held_as_long_as_a_child_lives(lock: Path) -> None:
    with running(spec(lock, "sh", "-c", "sleep 1000 & echo $!; exec sleep 1000")) as child:
        assert locks.locked(lock)
        child.kill()
        child.wait()
        assert locks.locked(lock)
        assert len(exec_wrapper.remnants(str(lock))) == 1
        assert exec_wrapper.end_leftovers(str(lock), "TERM", 1)
        assert not locks.locked(lock)


@pytest.mark.slow
def test_second_start_ends_the_first(lock: Path) -> None:
    with running(spec(lock, "sh", "-c", "echo up; exec sleep 1000")) as first:
        assert run(spec(lock, "echo", "mine"))[:2] == (0, "mine\n")
        assert first.wait(timeout=10) == -signal.SIGTERM


@pytest.mark.slow
def test_a_process_that_ignores_the_signal_is_killed_after_its_grace(lock: Path) -> None:
    with running(spec(lock, "sh", "-c", "trap '' TERM; echo up; while :; do sleep 0.2; done")) as first:
        assert run(spec(lock, "echo", "mine", stop_grace=0.3))[0] == 0
        assert first.wait(timeout=10) == -signal.SIGKILL


@pytest.mark.slow
def test_children_without_the_lock_are_found_by_their_group(lock: Path) -> None:
    code = "import os,subprocess; print(subprocess.Popen(['sleep','1000']).pid, flush=True); os.kill(os.getpid(), 9)"
    with start(spec(lock, sys.executable, "-c", code)) as first:
        assert first.stdout
        orphan = int(first.stdout.readline())
        first.wait()
        try:
            assert not locks.locked(lock)
            assert exec_wrapper.remnants(str(lock)) == {orphan}
            assert run(spec(lock, "echo", "mine"))[0] == 0
            assert exec_wrapper.remnants(str(lock)) == set()
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.kill(orphan, signal.SIGKILL)


def record(lock: Path, group: int, session: int, machine: str = "") -> None:
    lock.touch()
    lock.write_text(f"{group} {session} {machine or exec_wrapper._place(str(lock))}")


def test_a_process_with_a_reused_id_is_not_ended(lock: Path) -> None:
    """The lock is free: the recorded leader ended, and another process has its id now."""
    with subprocess.Popen(["sleep", "1000"], process_group=0) as other:
        try:
            record(lock, other.pid, os.getsid(other.pid))
            assert exec_wrapper.remnants(str(lock)) == set()
            assert exec_wrapper.end_leftovers(str(lock), "KILL", 0)
            assert other.poll() is None
        finally:
            other.kill()


@pytest.mark.slow
@pytest.mark.parametrize("foreign", ["session", "machine"])
def test_a_group_of_another_session_boot_or_root_is_never_touched(lock: Path, foreign: str) -> None:
    code = "import subprocess; print(subprocess.Popen(['sleep','1000'], stdout=-3).pid)"
    done = subprocess.run([sys.executable, "-c", code], stdout=-1, text=True, process_group=0, check=True)
    orphan = int(done.stdout)
    try:
        record(
            lock,
            os.getpgid(orphan),
            os.getsid(orphan) + (foreign == "session"),
            "another/boot" if foreign == "machine" else "",
        )
        assert exec_wrapper.end_leftovers(str(lock), "KILL", 0)
        os.kill(orphan, 0)
        record(lock, os.getpgid(orphan), os.getsid(orphan))
        assert exec_wrapper.remnants(str(lock)) == {orphan}
        copy = lock.with_name("copy")
        shutil.copy2(lock, copy)
        assert exec_wrapper.end_leftovers(str(copy), "KILL", 0)
        assert exec_wrapper.remnants(str(lock)) == {orphan}
    finally:
        os.kill(orphan, signal.SIGKILL)


def test_a_process_that_only_opens_the_lock_file_is_not_a_holder(lock: Path) -> None:
    lock.write_text("")
    with lock.open() as f:
        code = f"f=open({str(lock)!r}); print(1, flush=True); input()"
        with subprocess.Popen([sys.executable, "-c", code], stdin=-1, stdout=-1) as reader:
            assert reader.stdout
            reader.stdout.readline()
            fcntl.flock(f, fcntl.LOCK_EX)
            assert reader.pid not in exec_wrapper.remnants(str(lock))
            reader.kill()


def test_ending_leftovers_succeeds_without_a_lock_file(lock: Path) -> None:
    assert exec_wrapper.end_leftovers(str(lock), "TERM", 1)


@pytest.mark.slow
def test_ending_leftovers_reports_failure(lock: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exec_wrapper, "_KILL_DEADLINE", 0.2)
    lock.write_text("")
    with lock.open() as f:
        fcntl.flock(f, fcntl.LOCK_EX)  # held by this very process, which it does not end
        assert not exec_wrapper.end_leftovers(str(lock), "TERM", 0)


@pytest.mark.slow
def test_the_launcher_waits_for_a_port(lock: Path) -> None:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        with start(spec(lock, "echo", "up", wait_for=[s.getsockname()[1]])) as child:
            assert waits.wait_until(lambda: locks.locked(lock), 10)
            assert child.poll() is None
            s.listen()
            assert child.communicate(timeout=10)[0] == "up\n"


def test_the_launcher_gives_up_waiting_for_a_port(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(exec_wrapper, "PORT_DEADLINE", 0.0)
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
        with pytest.raises(SystemExit) as caught:
            exec_wrapper._await_ports([port], os.getppid())
        assert caught.value.code == 75
        assert f"nothing accepts on port {port}" in capsys.readouterr().err
        with pytest.raises(SystemExit):
            exec_wrapper._await_ports([port], -1)
        assert "the supervisor ended" in capsys.readouterr().err


def test_a_clean_place_needs_no_scan_of_proc(lock: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a process that ended properly, /proc is not read."""
    assert run(spec(lock, "true"))[0] == 0
    # The group is gone once its leader was waited for.
    monkeypatch.setattr(exec_wrapper, "remnants", lambda _: pytest.fail("scanned"))
    assert exec_wrapper.end_leftovers(str(lock), "TERM", 0)


@pytest.mark.slow
def test_an_interrupt_while_waiting_ends_quietly(lock: Path) -> None:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        with start(spec(lock, "true", wait_for=[s.getsockname()[1]])) as child:
            assert waits.wait_until(lambda: locks.locked(lock), 10)
            deadline = time.monotonic() + 10
            while child.poll() is None and time.monotonic() < deadline:
                child.send_signal(signal.SIGINT)
                time.sleep(0.05)
            assert child.returncode == 130
            assert child.stderr
            assert child.stderr.read() == ""
