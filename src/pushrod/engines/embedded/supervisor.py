"""The process manager of the embedded engine: supervisord, configured by plain files and controlled over its socket.

`supervisor_files` renders the files; the script `start` among them starts everything, and none needs pushrod
installed. supervisord starts each process through `exec_wrapper` and is itself watched by `supervisord_watchdog`, so
`kill -9` of any one process is repaired. A process that ends is restarted at once; one that ends within a second is
restarted after 1, 2, 3 ... seconds, without limit, because there may be nobody to do it by hand.
"""

import contextlib
import importlib.util
import json
import os
import re
import resource
import socket
import sys
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

from pushrod.adapters.systemd import BootUnit
from pushrod.core.errors import HostError
from pushrod.core.patterns import lazy
from pushrod.core.processes import Process
from pushrod.core.values import ProcessState
from pushrod.engines.embedded import exec_wrapper
from pushrod.engines.embedded.supervisor_control import Control
from pushrod.engines.embedded.supervisor_files import (
    KEEPER_GROUP,
    PROGRAMS,
    Place,
    is_group,
    render_daemon,
    render_group,
    render_start,
    specification,
    specs_named,
)
from pushrod.system import damaged_paths, files, locks, processes, tails, waits
from pushrod.system.accounts import Account

_START_DEADLINE = 15.0  # seconds; starting takes a third of one
_LOCK_DEADLINE = 60.0
_DESCRIPTORS = 1024  # supervisord's own default for minfds
# unix(7): sun_path has 108 bytes with its final zero. supervisord binds SOCKET.<pid> first; pids have 7 digits.
_SOCKET_LIMIT = 107 - len(".4194304")

_NAME = lazy(r"[A-Za-z0-9_-]+")


class Supervisor:
    """The supervisor of one directory. `runtime` contains its socket and must have a short path. If `boot_unit` is
    installed, the supervisor is started as that unit.

    Creating the value starts nothing. Every method may raise HostError; a failed call can be repeated.
    """

    def __init__(
        self, directory: Path, runtime: Path, account: Account | None, boot_unit: BootUnit | None = None
    ) -> None:
        self.place = Place(directory, runtime / "supervisor.sock", account)
        self._boot_unit = boot_unit
        self.control = Control(self.place)

    def running(self) -> bool:
        """Whether a supervisor accepts on the socket. Raises HostError if it belongs to another account."""
        with socket.socket(socket.AF_UNIX) as s:
            s.settimeout(1.0)
            try:
                s.connect(str(self.place.socket))
            except PermissionError as e:
                hint = "run pushrod as the account that started it"
                raise HostError(
                    "the supervisor belongs to another account", where=str(self.place.socket), hint=hint
                ) from e
            except OSError:
                return False
            return True

    def ensure(self) -> None:
        """Start the supervisor, and with it every group, unless it runs; return once it answers."""
        if self.running() and self._answers():
            return
        with self._starting("starting the supervisor"):
            # A supervisor that is stopping still accepts for a moment.
            waits.wait_until(lambda: not self.running() or self._answers(), _START_DEADLINE)
            if not self.running():
                self._start()

    def shutdown(self) -> None:
        """Stop every process in order, the highest priority first, then the supervisor; return when all have
        ended.
        """
        with self._starting("stopping the supervisor"):
            if self.running():
                self._shut_down()
            for lock in self._locks():
                self._end_leftovers(lock)

    def apply(self, group: str, processes: tuple[Process, ...]) -> None:
        """Make `group` consist of these processes and start them; does not wait until they are ready.

        If a group is loaded and unchanged, only its stopped processes are started.
        """
        _check_names(group, processes)
        with self._changing(group):
            self.ensure_directories()
            replaced = self._write_group(group, processes)
            self.ensure()
            self._set_damaged_aside()
            order = self.control.order(group) if replaced else []
            added, changed, _ = self.control.call("supervisor.reloadConfig")[0]
            if group in changed:  # without `replaced`: a killed command had written the files
                self.control.stop(order or self.control.order(group))
                self.control.call("supervisor.removeProcessGroup", group)
            if group in added or group in changed:
                self.control.call("supervisor.addProcessGroup", group)
            else:
                self.control.start(group)

    def remove(self, group: str) -> None:
        """Stop `group` in order and remove its files. No process of it is left afterwards."""
        with self._changing(group):
            files.remove(self.place.group_conf(group))
            with self._starting("removing a group"):
                running = self.running()
            if running and (order := self.control.order(group)):  # a loaded group has a process
                self.control.stop(order)
                self.control.call("supervisor.removeProcessGroup", group)
            for lock in self._locks(group):
                self._end_leftovers(lock)
                files.remove(lock)
            files.remove(self.place.specs(group))
            files.remove(self._group_lock(group))

    def stop(self, group: str, names: Collection[str] = ()) -> None:
        """Stop the processes of a group, or those of these names, in order; they stay configured, and start again
        with the supervisor.
        """
        with self._changing(group):
            if self.running():
                self.control.stop(t for t in self.control.order(group) if not names or t.name in names)
            for lock in self._locks(group):
                if not names or lock.name.partition(".")[2] in names:
                    self._end_leftovers(lock)

    def start(self, group: str) -> None:
        """Start the stopped processes of a group."""
        with self._changing(group):
            self.control.known(group)
            self.control.start(group)

    def restart(self, group: str, name: str | None = None) -> None:
        """Stop one process of a group, or all, and start them again."""
        with self._changing(group):
            self.control.stop(self.control.known(group, name))
            self.control.start(group, name)

    def signal(self, group: str, name: str, signal_name: str) -> None:
        """Send a signal, such as `HUP`, to the main process of one process."""
        self.control.call("supervisor.signalProcess", f"{group}:{name}", signal_name)

    def groups(self) -> tuple[str, ...]:
        """The groups, running or not, and those whose creation or removal was interrupted."""
        names = {p.stem for p in (self.place.directory / "conf.d").glob("*.conf")}
        names |= {p.name for p in (self.place.directory / "specs").glob("*")}
        return tuple(sorted(names - {KEEPER_GROUP}))

    def states(self, group: str | None = None) -> tuple[ProcessState, ...]:
        """The processes of a group, or of all; `stopped` if the supervisor does not run."""
        if not self.running():
            return tuple(s for s in self._files_at_rest() if _shown(s.group, group))
        return tuple(s for s in self.control.states() if _shown(s.group, group))

    # ---- the daemon -----------------------------------------------------------------------------------------

    def ensure_directories(self) -> None:
        """Create the missing directories, closed to others, and update the copies of our programs in them."""
        files.make_private(self.place.directory)
        for name in ("conf.d", "specs", "locks", "programs"):
            files.make_private(self.place.directory / name)
        self.place.socket.parent.mkdir(parents=True, exist_ok=True)
        for name, module in PROGRAMS.items():
            _write_changed(self.place.program(name), Path(__file__).with_name(module).read_text())
        _write_changed(self.place.start, render_start(self.place, sys.executable), mode=0o700)

    def _start(self) -> None:
        self._check()
        self._end_unreachable()
        self.ensure_directories()
        self._remove_foreign()
        _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        descriptors = _DESCRIPTORS if hard == resource.RLIM_INFINITY else min(_DESCRIPTORS, hard)
        damaged_paths.make_way(self.place.log)
        conf = render_daemon(self.place, descriptors=descriptors, root=os.geteuid() == 0)
        _write_changed(self.place.conf, conf)
        self._write_group(KEEPER_GROUP, (self._keeper(),))
        self._make_log_directories()
        files.remove(self.place.socket)  # stale: nothing accepts on it, and we hold the lock
        if self._boot_unit and self._boot_unit.installed:
            self._boot_unit.start()
            done = processes.Completed(0, "", "")
        else:
            done = processes.run(
                ["/bin/sh", self.place.start], cwd=Path("/"), env=_environment(), timeout=_START_DEADLINE
            )
        if done.status != 0 or not waits.wait_until(self._answers, _START_DEADLINE):
            raise HostError(
                "the supervisor does not start",
                where=str(self.place.conf),
                hint=f"run `{self.place.start} -n` to see why",
                log=(*tails.of_file(self.place.log, 20), *done.stderr.splitlines()[-5:]),
            )

    def _end_unreachable(self) -> None:
        """End a supervisor whose socket was removed, with all its processes: nothing could stop or change it."""
        import psutil

        with contextlib.suppress(OSError, ValueError, psutil.Error):
            daemon = psutil.Process(int((self.place.directory / "supervisord.pid").read_text()))
            if str(self.place.conf) in daemon.cmdline():
                daemon.terminate()
                daemon.wait(_LOCK_DEADLINE)

    def _check(self) -> None:
        if importlib.util.find_spec("supervisor") is None:
            raise HostError("the supervisor package is missing", hint="pip install 'pushrod[embedded]'")
        length = len(os.fsencode(self.place.socket))
        if length > _SOCKET_LIMIT:
            raise HostError(
                f"the path of the supervisor's socket is too long ({length} bytes, {_SOCKET_LIMIT} at most)",
                where=str(self.place.socket),
                hint="choose a directory with a shorter path with --root",
            )

    def _keeper(self) -> Process:
        program, start = self.place.program("keeper.py"), self.place.start
        sock, lock = self.place.socket, self.place.lock
        return Process(
            group=KEEPER_GROUP,
            name="keeper",
            argv=(sys.executable, "-I", "-S", str(program), str(start), str(sock), str(lock)),
            cwd="/",
            environment=_environment(),
            log=str(self.place.directory / "keeper.log"),
            priority=1_000_000,
            stop_grace=1,
            death_signal="",
        )

    def _remove_foreign(self) -> None:
        """Remove groups of another directory from which this one was copied: they would run programs there, not
        here.
        """
        self._set_damaged_aside()
        for conf in (self.place.directory / "conf.d").glob("*.conf"):
            own = self.place.specs(conf.stem)
            if all(_same(spec.parent, own) for spec in specs_named(conf.read_text())):
                continue
            conf.unlink()
            files.remove_tree(own)
            for lock in self._locks(conf.stem):
                lock.unlink()

    def _set_damaged_aside(self) -> None:
        """Move files that are not a group's configuration out of the way: with them, supervisord would read no
        group at all.

        The file is written again with its group.
        """
        for conf in (self.place.directory / "conf.d").glob("*.conf"):
            if not is_group(conf):
                damaged_paths.set_aside(conf)

    def _make_log_directories(self) -> None:
        """supervisord refuses to start if the directory of one log is missing."""
        for conf in (self.place.directory / "conf.d").glob("*.conf"):
            for log in re.findall(r"^stdout_logfile=(.*)$", conf.read_text(), re.MULTILINE):
                Path(log.replace("%%%%", "%")).parent.mkdir(parents=True, exist_ok=True)

    def _answers(self) -> bool:
        """Whether it takes calls: not while it is stopping."""
        from pushrod.engines.embedded import rpc

        try:
            self.control.call("supervisor.getState")
        except rpc.Refused as e:
            if e.code != rpc.SHUTDOWN_STATE:
                raise
            return False
        except HostError:
            return False
        return True

    def _shut_down(self) -> None:
        if self._answers():
            pid = self.control.call("supervisor.getPID")
            self.control.stop(self.control.order())  # the keeper first, because of its priority
            self.control.call("supervisor.shutdown")
        else:
            pid = 0
        if not waits.wait_until(lambda: not self.running() and not _lives(pid), _LOCK_DEADLINE):
            raise HostError(
                f"the supervisor (process {pid}) does not end",
                where=str(self.place.directory),
                hint="read its log; `kill -9` of that process ends its children too",
                log=tails.of_file(self.place.log, 20),
            )

    # ---- groups ---------------------------------------------------------------------------------------------

    def _write_group(self, group: str, processes: Sequence[Process]) -> bool:
        """Write specs, then the configuration that names them; unchanged files are not touched. Returns whether
        another configuration was there before."""
        files.make_private(self.place.specs(group))
        for process in processes:
            Path(process.log).parent.mkdir(parents=True, exist_ok=True)
            _write_changed(self.place.spec(group, process.name), specification(self.place, process))
        conf = render_group(self.place, group, processes, sys.executable)
        was_there = os.path.lexists(self.place.group_conf(group))
        replaced = _write_changed(self.place.group_conf(group), conf) and was_there
        names = {f"{p.name}.json" for p in processes}
        for spec in self.place.specs(group).iterdir():
            if spec.name not in names:
                files.remove(spec)
        return replaced

    def _files_at_rest(self) -> Iterator[ProcessState]:
        for spec in sorted((self.place.directory / "specs").glob("*/*.json")):
            yield ProcessState(spec.parent.name, spec.stem, "stopped", detail="the supervisor does not run")

    def _locks(self, group: str = "*") -> list[Path]:
        return sorted((self.place.directory / "locks").glob(f"{group}.*"))

    def _end_leftovers(self, lock: Path) -> None:
        """End leftovers of a process: all of it if the supervisor was killed, or children that outlived its stop."""
        spec = self.place.spec(*lock.name.split(".", 1))
        known: dict[str, Any] = {}
        with contextlib.suppress(OSError, ValueError):  # missing or damaged: use the default signal
            known = dict(json.loads(spec.read_text()))
        if not exec_wrapper.end_leftovers(
            str(lock), known.get("death_signal") or "TERM", known.get("stop_grace", 0.0)
        ):
            left = ", ".join(map(str, sorted(exec_wrapper.remnants(str(lock)))))
            raise HostError(f"processes of {lock.name} do not end: {left}", where=str(lock))

    def _group_lock(self, group: str) -> Path:
        return self.place.directory / "locks" / group

    @contextlib.contextmanager
    def _changing(self, group: str) -> Iterator[None]:
        with locks.lock(self._group_lock(group), purpose=f"changing {group}", timeout=_LOCK_DEADLINE):
            yield

    @contextlib.contextmanager
    def _starting(self, purpose: str) -> Iterator[None]:
        with locks.lock(self.place.lock, purpose=purpose, timeout=_LOCK_DEADLINE):
            yield


def _check_names(group: str, processes: Sequence[Process]) -> None:
    for name in (group, *(p.name for p in processes)):
        if not _NAME.fullmatch(name):
            raise HostError(f"{name!r} cannot be the name of a process or a group")
    if not processes or any(p.group != group for p in processes):
        raise HostError(f"{group} needs at least one process, all of that group")


def _shown(group: str, only: str | None) -> bool:
    return group == only if only else group != KEEPER_GROUP


def _environment() -> dict[str, str]:
    """The variables that the supervisor and the keeper need; no secrets of the caller."""
    names = ("PATH", "HOME", "PYTHONPATH", "LD_LIBRARY_PATH")
    return {n: os.environ[n] for n in names if n in os.environ} | {"LC_ALL": "C.UTF-8"}


def _write_changed(path: Path, text: str, mode: int = 0o600) -> bool:
    """Write it unless the file holds it; returns whether it did."""
    if files.holds(path, text):
        return False
    files.write(path, text, mode=mode)
    return True


def _same(one: Path, other: Path) -> bool:
    """Whether two paths are one directory; equal paths are, even if nothing exists there."""
    try:
        return one == other or one.samefile(other)
    except OSError:
        return False


def _lives(pid: int) -> bool:
    """Whether the process runs; a zombie does not."""
    with contextlib.suppress(OSError):
        # proc_pid_stat(5): the state follows the name in brackets.
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    return False
