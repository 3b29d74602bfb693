"""A real supervisord, real processes, real kill -9: what was up comes back, and nothing is left over or doubled."""

import json
import os
import shutil
import signal
import socket
import stat
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from devtools.servers import free_port
from pushrod.core.errors import HostError
from pushrod.core.processes import Process
from pushrod.core.values import ProcessState
from pushrod.engines.embedded import rpc
from pushrod.engines.embedded.supervisor import Supervisor
from pushrod.engines.embedded.supervisor_files import KEEPER_GROUP
from pushrod.system import accounts, locks, processes, waits

pytestmark = pytest.mark.integration

DEADLINE = 15.0
PYTHON = os.path.realpath(sys.executable)
ACCOUNT = accounts.child_account([Path(PYTHON)])
ENVIRONMENT = {"PATH": "/usr/local/bin:/usr/bin:/bin"}

# A main process with two children that accept on its port, as in nginx; prints its process ids.
FORKING = """
import os, signal, socket, sys, time
listener = socket.socket()
listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
listener.bind(("127.0.0.1", int(sys.argv[1])))
listener.listen()
for _ in range(2):
    if os.fork() == 0:
        if sys.argv[2] == "closing":
            os.closerange(3, listener.fileno())
            os.closerange(listener.fileno() + 1, 1000)
        while True:
            connection, _ = listener.accept()
            connection.sendall(str(os.getpid()).encode())
            connection.close()
def end(*_):
    os.killpg(0, signal.SIGKILL)
signal.signal(signal.SIGTERM, end)
print("main", os.getpid(), flush=True)
while True:
    time.sleep(60)
"""

# Reports its end; with an argument, only SIGKILL ends it.
MORTAL = """
import signal, sys, time
def end(number, _):
    print("end", sys.argv[1], time.monotonic_ns(), flush=True)
    if sys.argv[1] != "stubborn":
        sys.exit(0)
signal.signal(signal.SIGTERM, end)
print("begin", sys.argv[1], time.monotonic_ns(), flush=True)
while True:
    time.sleep(60)
"""


class Ground:
    """A directory with a supervisor, and helpers to define and watch its processes."""

    def __init__(self, path: Path, runtime: Path) -> None:
        self.path = path
        self.supervisor = Supervisor(path / "supervisor", runtime, ACCOUNT)

    def process(self, name: str, *argv: str, group: str = "shop-r1", **more: object) -> Process:
        fields: dict[str, object] = {
            "group": group,
            "name": name,
            "argv": argv or ("sleep", "1000"),
            "cwd": "/",
            "environment": ENVIRONMENT,
            "log": str(self.path / "logs" / f"{group}.{name}.log"),
            "priority": 20,
        }
        return Process(**{**fields, **more})  # type: ignore[arg-type]

    def python(self, name: str, code: str, *arguments: str, **more: Any) -> Process:
        return self.process(name, PYTHON, "-I", "-S", "-c", code, *arguments, **more)

    def log(self, name: str, group: str = "shop-r1") -> str:
        path = self.path / "logs" / f"{group}.{name}.log"
        return path.read_text() if path.exists() else ""

    def state(self, name: str, group: str = "shop-r1") -> ProcessState:
        return next(s for s in self.supervisor.states(group) if s.name == name)

    def pid(self, name: str = "a", group: str = "shop-r1") -> int:
        """The process id, once the launcher has become the process."""
        wait(lambda: self._executed(name, group))
        return self.state(name, group).pid

    def _executed(self, name: str, group: str) -> bool:
        pid = self.state(name, group).pid
        try:
            command = " ".join(psutil.Process(pid).cmdline()) if pid else ""
        except psutil.NoSuchProcess:
            return False
        before = ("launch.py", "setpriv", "supervisord.conf")  # the last: forked, but not yet executed
        return bool(command) and ("keeper.py" in command or not any(word in command for word in before))

    def daemon(self) -> psutil.Process:
        file = self.path / "supervisor" / "supervisord.pid"
        wait(lambda: file.read_text().strip().isdigit())  # it is created first and written later
        return psutil.Process(int(file.read_text()))

    def living(self) -> list[psutil.Process]:
        """All running processes of this ground, found by their command line, or by an open lock or log."""
        result = []
        for process in psutil.process_iter():
            try:
                if process.status() == psutil.STATUS_ZOMBIE or process.pid == os.getpid():
                    continue
                words = " ".join(process.cmdline())
                links = {str(f.readlink()) for f in Path(f"/proc/{process.pid}/fd").iterdir()}
                if str(self.path) in words or any(link.startswith(str(self.path)) for link in links):
                    result.append(process)
            except (psutil.Error, OSError):
                continue
        return result


def wait(condition: Callable[[], bool]) -> None:
    assert waits.wait_until(condition, DEADLINE)


def lives(pid: int) -> bool:
    """Whether a process runs; a zombie does not."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def ask(port: int) -> int:
    """The process id that answers on the port, 0 if none does."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1) as s:
            return int(s.recv(100) or b"0")
    except OSError:
        return 0


@pytest.fixture
def ground(tmp_path: Path) -> Iterator[Ground]:
    runtime = Path(tempfile.mkdtemp(prefix="pr-"))
    ground = Ground(tmp_path / "with space & 100%s", runtime)
    yield ground
    ground.supervisor.shutdown()
    left = ground.living()
    for process in left:
        process.kill()
    shutil.rmtree(runtime)
    assert not left


def test_a_supervisor_starts_once_and_leaves_no_process(ground: Ground) -> None:
    s = ground.supervisor
    assert not s.running()
    threads = [threading.Thread(target=s.ensure) for _ in range(3)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert s.running()
    pid = ground.daemon().pid
    s.ensure()
    assert ground.daemon().pid == pid
    s.apply("shop-r1", (ground.process("a"),))
    s.shutdown()
    s.shutdown()
    assert not s.running()
    assert not ground.living()
    assert s.groups() == ("shop-r1",)
    assert [(p.name, p.state) for p in s.states()] == [("a", "stopped")]
    s.ensure()
    assert ground.pid()


def test_a_process_runs_exactly_as_specified(ground: Ground) -> None:
    odd = {
        "PATH": "/usr/bin:/bin",
        "A": "50% off; \"quotes\" 'and' $X `y`",
        "B": "two\nlines # ü",
        "EMPTY": "",
    }
    ground.supervisor.apply(
        "shop-r1",
        (
            ground.process("a", "env", "-0", environment=odd),
            ground.process("b", "sh", "-c", "pwd; umask; id -u; echo; sleep 1000", cwd="/usr"),
            ground.process("c", "sh", "-c", "read x; echo stdin ended; echo to stderr >&2; sleep 1000"),
            ground.process("d", "sh", "-c", "kill -PIPE $$; echo ignored; sleep 1000"),
        ),
    )
    wait(lambda: "\n\n" in ground.log("b") and "stderr" in ground.log("c"))
    wait(lambda: len(ground.log("a").split("\0")) > len(odd))
    assert dict(e.split("=", 1) for e in ground.log("a").split("\0")[: len(odd)]) == odd
    uid = ACCOUNT.uid if ACCOUNT else os.getuid()
    assert ground.log("b").splitlines()[:3] == ["/usr", "0022", str(uid)]
    assert ground.log("c").splitlines()[:2] == ["stdin ended", "to stderr"]
    assert "ignored" not in ground.log("d")
    assert psutil.Process(ground.pid("b")).uids().real == uid


def test_files_are_private_and_logs_rotate(ground: Ground) -> None:
    secret = "tops3cret"
    ground.supervisor.apply("shop-r1", (ground.process("a", environment={**ENVIRONMENT, "KEY": secret}),))
    place = ground.supervisor.place
    for path in (place.directory, place.directory / "specs", place.specs("shop-r1")):
        assert stat.S_IMODE(path.stat().st_mode) == 0o700
    for path in (place.conf, place.group_conf("shop-r1"), place.spec("shop-r1", "a")):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(place.socket.stat().st_mode) == 0o700
    holders = [f for f in place.directory.rglob("*") if f.is_file() and secret.encode() in f.read_bytes()]
    assert holders == [place.spec("shop-r1", "a")]
    (conf,) = [c for c in ground.supervisor.control.call("supervisor.getAllConfigInfo") if c["name"] == "a"]
    assert conf["stdout_logfile"] == str(ground.path / "logs" / "shop-r1.a.log")
    assert (conf["stdout_logfile_maxbytes"], conf["stdout_logfile_backups"]) == (5 * 1024 * 1024, 3)
    assert "running as root" not in place.log.read_text()


def test_apply_restarts_only_changed_processes(ground: Ground) -> None:
    s = ground.supervisor
    a, b = ground.process("a"), ground.process("b")
    other = ground.process("x", group="other")
    s.apply("other", (other,))
    s.apply("shop-r1", (a, b))
    before = {n: ground.pid(n) for n in "ab"}
    untouched = ground.pid("x", "other")

    s.apply("shop-r1", (a, b))
    assert {n: ground.pid(n) for n in "ab"} == before

    s.apply("shop-r1", (ground.process("a", environment={**ENVIRONMENT, "NEW": "1"}),))
    assert [p.name for p in s.states("shop-r1")] == ["a"]
    assert b"NEW=1" in Path(f"/proc/{ground.pid()}/environ").read_bytes()
    assert not lives(before["b"])
    assert not s.place.spec("shop-r1", "b").exists()
    assert ground.pid("x", "other") == untouched
    assert s.groups() == ("other", "shop-r1")


def test_apply_asks_supervisord_only_what_it_needs(ground: Ground, monkeypatch: pytest.MonkeyPatch) -> None:
    """An answer about all processes of a root takes milliseconds, and a push applies five groups."""
    s, real = ground.supervisor, rpc.call
    asked: list[str] = []

    def call(path: Path, method: str, *arguments: Any, timeout: float = 10.0) -> Any:
        asked.append(method.removeprefix("supervisor."))
        return real(path, method, *arguments, timeout=timeout)

    s.apply("shop-r1", (ground.process("a"),))
    monkeypatch.setattr(rpc, "call", call)
    s.apply("shop-r1", (ground.process("a"),))
    assert asked == ["getState", "reloadConfig", "getAllProcessInfo"]
    asked.clear()
    s.apply("shop-r2", (ground.process("a", group="shop-r2"),))
    assert asked == ["getState", "reloadConfig", "addProcessGroup"]


def test_apply_completes_an_interrupted_apply(ground: Ground) -> None:
    s = ground.supervisor
    s.apply("shop-r1", (ground.process("a"),))
    new = (ground.process("a", "sleep", "2000"),)
    s._write_group("shop-r1", new)  # ended here
    s.apply("shop-r1", new)
    assert psutil.Process(ground.pid()).cmdline() == ["sleep", "2000"]


def test_processes_are_stopped_started_restarted_and_signalled(ground: Ground) -> None:
    s = ground.supervisor
    code = (
        "import signal,time\nsignal.signal(1, lambda *_: print('hup', flush=True))\nprint('up', flush=True)\n"
    )
    s.apply("shop-r1", (ground.process("a"), ground.python("b", code + "while True: time.sleep(9)")))
    first = {n: ground.pid(n) for n in "ab"}
    wait(lambda: "up" in ground.log("b"))
    s.signal("shop-r1", "b", "HUP")
    wait(lambda: "hup" in ground.log("b"))
    s.restart("shop-r1", "a")
    assert ground.pid("a") != first["a"]
    assert ground.pid("b") == first["b"]
    s.restart("shop-r1")
    assert ground.pid("b") != first["b"]
    s.stop("shop-r1")
    assert {p.state for p in s.states("shop-r1")} == {"stopped"}
    assert len(ground.living()) == 2  # supervisord and the keeper
    s.start("shop-r1")
    assert ground.pid("a") and ground.pid("b")
    s.stop("shop-r1")
    s.apply("shop-r1", (ground.process("a"), ground.python("b", code + "while True: time.sleep(9)")))
    assert ground.pid("a")
    with pytest.raises(HostError, match="has no"):
        s.restart("shop-r1", "zz")
    with pytest.raises(HostError, match="has no"):
        s.start("none")
    with pytest.raises(HostError, match="has no"):
        s.signal("shop-r1", "zz", "HUP")


def test_processes_stop_in_order_and_are_killed_if_they_do_not_end(ground: Ground) -> None:
    s = ground.supervisor
    s.apply(
        "shop-r1",
        (
            ground.python("first", MORTAL, "first", priority=1),
            ground.python("second", MORTAL, "second", priority=2),
            ground.python("stubborn", MORTAL, "stubborn", priority=3, stop_grace=0.4),
        ),
    )
    names = ("first", "second", "stubborn")
    wait(lambda: all("begin" in ground.log(n) for n in names))
    s.remove("shop-r1")
    ends = [int(ground.log(n).split()[-1]) for n in names]
    assert ends == sorted(ends, reverse=True)
    assert s.groups() == ()
    assert s.states() == ()
    place = s.place
    assert not place.specs("shop-r1").exists()
    assert not [p for p in (place.directory / "locks").iterdir() if p.name.startswith("shop-r1")]
    s.remove("shop-r1")


def test_stop_leaves_no_child_behind(ground: Ground) -> None:
    s = ground.supervisor
    port = free_port()
    code = FORKING.replace("os.killpg(0, signal.SIGKILL)", "os._exit(0)")
    s.apply("shop-r1", (ground.python("a", code, str(port), "keeping"),))
    wait(lambda: ask(port) > 0)
    s.remove("shop-r1")
    assert ask(port) == 0


def test_remove_and_shutdown_work_after_the_supervisor_was_killed(ground: Ground) -> None:
    s = ground.supervisor
    s.apply("shop-r1", (ground.process("a", death_signal=""),))
    signalled = ground.process("b", group="shop-r2")
    s.apply("shop-r2", (ground.process("a", group="shop-r2", death_signal=""), signalled))
    removed, orphan, noticed = ground.pid(), ground.pid("a", "shop-r2"), ground.pid("b", "shop-r2")
    with locks.lock(s.place.lock, purpose="test", timeout=5):  # so that the keeper cannot act yet
        ground.daemon().kill()
        wait(lambda: not s.running())
        wait(lambda: not lives(noticed))
        assert lives(orphan)
    s.shutdown()
    s.remove("shop-r1")
    assert not ground.living()
    assert not lives(removed) and not lives(orphan)
    assert s.groups() == ("shop-r2",)


def test_a_process_waits_for_its_ports(ground: Ground) -> None:
    s = ground.supervisor
    port = free_port()
    s.apply("shop-r1", (ground.process("a", "echo", "up", wait_for=(port,)),))
    wait(lambda: ground.state("a").state == "running")
    assert ground.log("a") == ""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", port))
        listener.listen()
        wait(lambda: "up" in ground.log("a"))


def test_a_process_restarts_with_backoff(ground: Ground) -> None:
    s = ground.supervisor
    s.apply(
        "shop-r1",
        (
            ground.process("a"),
            ground.process("broken", "sh", "-c", "echo tried; exit 3"),
            ground.process("missing", "no-such-program"),
            ground.process("nowhere", cwd="/no/such/directory"),
        ),
    )
    pid = ground.pid()
    wait(lambda: ground.state("a").state == "running")
    os.kill(pid, signal.SIGKILL)
    wait(lambda: ground.state("a").pid not in (0, pid))
    wait(lambda: ground.log("broken").count("tried") >= 2)
    wait(lambda: ground.state("broken").state == "backoff")
    assert "too quickly" in ground.state("broken").detail
    wait(lambda: "no-such-program: no such program (PATH=/usr/local/bin" in ground.log("missing"))
    wait(lambda: "working directory /no/such/directory: No such file" in ground.log("nowhere"))
    s.stop("shop-r1")
    assert {p.state for p in s.states("shop-r1")} == {"stopped"}


@pytest.mark.parametrize("children", ["keeping", "closing"])
def test_children_of_a_killed_process_do_not_keep_its_port(ground: Ground, children: str) -> None:
    """`keeping` children hold the lock, as forked children do; `closing` ones closed it, as a started program
    does."""
    port = free_port()
    ground.supervisor.apply("shop-r1", (ground.python("a", FORKING, str(port), children),))
    wait(lambda: ask(port) > 0)
    main = ground.pid()
    before = {p.pid for p in psutil.Process(main).children()}
    assert len(before) == 2
    os.kill(main, signal.SIGKILL)
    wait(lambda: ground.log("a").count("main") == 2)
    wait(lambda: ask(port) in {p.pid for p in psutil.Process(ground.pid()).children()})
    assert not any(lives(pid) for pid in before)


def test_everything_restarts_after_the_supervisor_was_killed(ground: Ground) -> None:
    port = free_port()
    s = ground.supervisor
    s.apply("shop-stores", (ground.process("db", group="shop-stores", priority=10, death_signal="INT"),))
    s.apply(
        "shop-r1",
        (
            ground.python("forking", FORKING, str(port), "keeping"),
            ground.python("deaf", MORTAL, "stubborn", stop_grace=0.5),
            ground.process("unnoticed", death_signal=""),
        ),
    )
    names = [("shop-stores", "db"), *(("shop-r1", n) for n in ("forking", "deaf", "unnoticed"))]
    wait(lambda: ask(port) > 0)
    before = {n: ground.pid(n[1], n[0]) for n in names}
    daemon = ground.daemon()
    daemon.kill()
    wait(lambda: s.running() and ground.daemon().pid != daemon.pid)
    wait(lambda: all(ground.pid(n[1], n[0]) != before[n] for n in names))
    wait(lambda: ask(port) > 0)
    assert not set(before.values()) & {p.pid for p in ground.living()}
    after = {ground.pid(n[1], n[0]) for n in names}
    listeners = {p.pid for p in psutil.Process(ground.pid("forking")).children()}
    keeper = {ground.pid("keeper", KEEPER_GROUP)}
    wait(lambda: {p.pid for p in ground.living()} == after | listeners | keeper | {ground.daemon().pid})
    assert "the supervisor is gone, starting it" in s.place.log.read_text()


def test_the_keeper_restarts_and_keeps_working(ground: Ground) -> None:
    s = ground.supervisor
    s.apply("shop-r1", (ground.process("a"),))
    first = ground.pid("keeper", KEEPER_GROUP)
    os.kill(first, signal.SIGKILL)
    wait(lambda: ground.state("keeper", KEEPER_GROUP).pid not in (0, first))
    assert ground.pid("keeper", KEEPER_GROUP) != first
    daemon = ground.daemon()
    daemon.kill()
    wait(lambda: s.running() and ground.daemon().pid != daemon.pid)
    assert ground.pid()


def test_survives_a_reload_by_signal(ground: Ground) -> None:
    s = ground.supervisor
    s.apply("shop-r1", (ground.process("a"),))
    pid = ground.pid()
    ground.daemon().send_signal(signal.SIGHUP)
    wait(lambda: s.running() and s._answers() and ground.state("a").pid not in (0, pid))
    ground.pid("keeper", KEEPER_GROUP)
    pid = ground.pid()
    os.kill(pid, signal.SIGKILL)
    wait(lambda: ground.state("a").pid not in (0, pid))


def test_supervisor_sleeps_when_nothing_happens(ground: Ground) -> None:
    """Descriptors of closed connections are reused for pipes; it must not go on polling those."""
    s = ground.supervisor
    s.ensure()
    daemon = ground.daemon()
    samples: list[str] = []

    def asleep() -> bool:
        samples.append(daemon.status())
        return samples[-20:] == [psutil.STATUS_SLEEPING] * 20

    for n in range(6):
        names = ("a", "b")[: 1 + n % 2]
        s.apply(f"g{n}", tuple(ground.process(name, group=f"g{n}") for name in names))
        if n == 2:
            s.remove("g1")
        samples.clear()
        wait(asleep)  # without a request, which would open and close connections


def test_sigterm_to_the_supervisor_stops_everything(ground: Ground) -> None:
    s = ground.supervisor
    s.apply("shop-r1", (ground.process("a"),))
    ground.pid()
    ground.daemon().terminate()
    wait(lambda: not ground.living())


def test_the_start_script_needs_no_environment(ground: Ground) -> None:
    """`start` restores everything, even with an empty environment."""
    s = ground.supervisor
    s.apply("shop-r1", (ground.process("a"),))
    s.shutdown()
    assert processes.run([s.place.start], env={}, timeout=DEADLINE).status == 0
    assert ground.pid()
    assert ground.pid("keeper", KEEPER_GROUP)


def test_a_copy_of_a_running_supervisor_runs_none_of_its_processes(ground: Ground, tmp_path: Path) -> None:
    s = ground.supervisor
    s.apply("shop-r1", (ground.process("a"),))
    s.apply("shop-r2", (ground.process("orphan", group="shop-r2", death_signal=""),))
    started = {ground.pid(), ground.pid("orphan", "shop-r2"), ground.pid("keeper", KEEPER_GROUP)}
    before = started | {ground.daemon().pid}
    copy = Ground(tmp_path / "copy", s.place.socket.with_name("copy"))
    processes.run(["cp", "-a", ground.path, copy.path], timeout=DEADLINE)
    processes.run(["cp", "-a", s.place.socket.parent, f"{tmp_path}/runtime"], timeout=DEADLINE)
    (tmp_path / "runtime").rename(copy.supervisor.place.socket.parent)
    try:
        refused = processes.run([copy.supervisor.place.start], timeout=DEADLINE)
        assert (refused.status, "was copied or moved from" in refused.stderr) == (1, True)
        copy.supervisor.remove("shop-r2")  # nothing runs yet: only its copied lock and spec exist
        copy.supervisor.ensure()
        assert copy.supervisor.groups() == ()
        assert copy.supervisor.states() == ()
        copy.supervisor.apply("shop-r1", (copy.process("a"),))
        assert copy.pid() not in before
        daemon = copy.daemon()
        daemon.kill()
        wait(lambda: copy.supervisor.running() and copy.daemon().pid != daemon.pid)
        assert copy.pid()
    finally:
        copy.supervisor.shutdown()
    assert not copy.living()
    assert {p.pid for p in ground.living()} == before


def test_a_failed_start_reports_the_cause(ground: Ground) -> None:
    s = ground.supervisor
    s.ensure_directories()
    bad = s.place.group_conf("bad")
    bad.write_text("[program:x]\ncommand=true\npriority=high\n")
    with pytest.raises(HostError, match="does not start") as caught:
        s.ensure()
    assert "'high'" in " ".join(caught.value.log)
    bad.unlink()
    s.apply("shop-r1", (ground.process("a"),))
    bad.write_text("[program:x]\ncommand=true\npriority=high\n")
    with pytest.raises(HostError, match="cannot read its configuration"):
        s.apply("shop-r2", (ground.process("a", group="shop-r2"),))
    bad.unlink()


def test_the_supervisor_starts_without_its_log_directory(ground: Ground) -> None:
    s = ground.supervisor
    s.apply("shop-r1", (ground.process("a"),))
    s.shutdown()
    shutil.rmtree(ground.path / "logs")
    s.ensure()
    assert ground.pid()


def test_a_socket_path_that_is_too_long_is_refused(ground: Ground, tmp_path: Path) -> None:
    s = Supervisor(tmp_path / "s", tmp_path / ("x" * 100), ACCOUNT)
    with pytest.raises(HostError, match="too long"):
        s.ensure()


def test_the_spec_contains_the_argv_of_the_launcher(ground: Ground) -> None:
    s = ground.supervisor
    s.apply("shop-r1", (ground.process("a", wait_for=()),))
    spec = json.loads(s.place.spec("shop-r1", "a").read_text())
    assert spec["argv"][-3:] == ["--", "sleep", "1000"]
    assert "--pdeathsig=TERM" in spec["argv"]
