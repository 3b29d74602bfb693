"""The builder of one app, as it runs in its container: a Docker engine that only builds.

It has its own data directory, network and cgroup, so that one app's builds can neither read nor change another's. It
ends when it has not been used for a while. It and `image_export` use only the standard library and are copied below
ROOT beside `bring_up`: the container has the host's /usr, with the system's Python and the engine's programs.

 python3 -I -S builder.py SETTINGS

SETTINGS is a JSON object, see `Settings`. In the directory PLACE, which is shared with the host:

 docker.sock   the engine, for those who may open the directory
 export.sock   takes `{"image": ID, "name": NAME, "known": [CHAIN, …]}`, answers with an archive for `docker load`
 ready         exists while builds may begin
 users         locked, together, by those who use the builder
 trouble       why the builder ended, unless it was idle
"""

import contextlib
import errno
import fcntl
import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

try:
    from pushrod.engines.docker import image_export
except ImportError:  # in the container, which has the modules in one directory
    sys.path.insert(0, str(Path(__file__).resolve().parent))
    import image_export  # type: ignore[import-not-found, no-redef, unused-ignore]

PLACE = Path("/builder")
STORE = Path("/var/lib/docker")
ENGINE, EXPORT, READY, USERS, TROUBLE = "docker.sock", "export.sock", "ready", "users", "trouble"
OVERFLOW = "overflow"
"""Beside `trouble` if the data directory must be emptied."""

_NAMES = ("containerd", "dockerd")  # in start order
_CONTAINERD = Path("/run/containerd")
_CONTAINERD_SETTINGS = """\
version = 2
root = "/var/lib/docker/containerd"
state = "/run/containerd/state"
disabled_plugins = ["io.containerd.grpc.v1.cri", "io.containerd.internal.v1.opt"]
[grpc]
address = "/run/containerd/containerd.sock"
"""
_CGROUPS = Path("/sys/fs/cgroup")
_MARK, _TABLE = 0x7075, "7075"  # the mark of the probes' packets, and the routing table for them
_STARTS = 30.0  # seconds until both daemons are up
_PROBE = 0.2  # seconds in which a host answers its own container; dropped packets are never answered
_PROBES = 10.0  # seconds between two checks that the host's services are unreachable
_LOOK = 0.2  # seconds between two checks of the disk
_STALLS = 600.0  # seconds without progress after which an export is abandoned
_STOP = 5.0  # seconds for a daemon to end
_SHARE = 16  # measure the data directory again when free space has shrunk by this fraction of its limit
_SPARE = 256 << 20  # bytes of the container's memory that builds may not use: the daemons'


class Settings(NamedTuple):
    """The host's settings: who may use the builder, its limits, and what it must not reach.

    `group` owns the sockets. `idle` in seconds. `memory`, `disk` and `spare` in bytes: what builds may use, what the
    data directory may hold, what must stay free on its file system. `processes` is the limit for a build. `probes`
    are addresses, `HOST:PORT`, none of which may answer. `closed` are networks without a route to them. `open` are
    name servers inside those. `options` are further options of dockerd.
    """

    group: int
    idle: float
    memory: int
    processes: int
    disk: int
    spare: int
    probes: list[str]
    closed: list[str]
    open: list[str]
    options: list[str]


class Ended(Exception):
    """Why the builder has to end."""


def main(argv: list[str]) -> int:
    """Run until the builder is idle or something is wrong; returns 0, or 1 with the reason in `trouble`."""
    os.environ["HOME"] = "/tmp"  # noqa: S108 in the container
    builder = Builder(Settings(**json.loads(argv[1])))
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    try:
        builder.start()
        builder.serve()
    except Ended as e:
        (PLACE / TROUBLE).write_text(f"{e}\n")
        sys.stderr.write(f"{e}\n")
        return 1
    finally:
        builder.stop()
    return 0


class Builder:
    """The daemons, and their supervision."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._daemons: list[subprocess.Popen[bytes]] = []
        self._export: socket.socket | None = None
        self._measuring: subprocess.Popen[str] | None = None
        self._exporting: list[int] = []
        self._free = 0
        self._probed = 0.0

    # ---- the daemons --------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Start both daemons; ready only after the host's services have proved unreachable."""
        confine(self.settings)
        with contextlib.suppress(Ended):  # a kernel without AppArmor lacks it
            run("mount", "-t", "securityfs", "none", "/sys/kernel/security")
        _CONTAINERD.mkdir(parents=True, exist_ok=True)
        (_CONTAINERD / "config.toml").write_text(_CONTAINERD_SETTINGS)
        words = ["containerd", f"--config={_CONTAINERD / 'config.toml'}", "--log-level=warn"]
        self._daemons.append(subprocess.Popen(words))  # noqa: S603
        self._wait(_CONTAINERD / "containerd.sock")
        settings = {
            "builder": {"gc": {"enabled": True, "defaultKeepStorage": f"{self.settings.disk // 2}B"}},
            # `export` reads the layer files that exist without it.
            "features": {"containerd-snapshotter": False},
        }
        Path("/run/dockerd.json").write_text(json.dumps(settings))
        argv = [
            *("dockerd", "--config-file=/run/dockerd.json", "--pidfile=/run/dockerd.pid", "--log-level=warn"),
            *(f"--host=unix://{PLACE / ENGINE}", f"--group={self.settings.group}", f"--data-root={STORE}"),
            *("--exec-root=/run/docker", f"--containerd={_CONTAINERD / 'containerd.sock'}"),
            # Build steps run in the container's own network, which nothing else is in: no bridge, no rules.
            *("--bridge=none", "--iptables=false", "--ip-forward=false", "--ip-masq=false"),
            *("--userland-proxy=false", "--exec-opt=native.cgroupdriver=cgroupfs", "--cgroup-parent=/builds"),
            *self.settings.options,
        ]
        self._daemons.append(subprocess.Popen(argv))  # noqa: S603
        self._probe()
        close(self.settings)
        self._free = free() + self.settings.disk  # so that it is measured once, whatever is written
        self._wait(PLACE / ENGINE)
        self._export = socket.socket(socket.AF_UNIX)
        self._export.bind(str(PLACE / EXPORT))
        os.chown(PLACE / EXPORT, 0, self.settings.group)
        (PLACE / EXPORT).chmod(0o660)
        self._export.listen()
        (PLACE / READY).touch()

    def _wait(self, path: Path) -> None:
        deadline = time.monotonic() + _STARTS
        while not path.exists():
            self._check_daemons()
            if time.monotonic() > deadline:
                raise Ended(f"{path.name} did not come up within {_STARTS:g} s")
            time.sleep(0.005)

    def _check_daemons(self) -> None:
        for daemon in self._daemons:
            if (status := daemon.poll()) is not None:
                raise Ended(f"the builder's {_NAMES[self._daemons.index(daemon)]} ended with status {status}")

    def stop(self) -> None:
        """End both, the engine first."""
        for daemon in reversed(self._daemons):
            daemon.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                daemon.wait(_STOP)
        for name in (READY, EXPORT, ENGINE):
            (PLACE / name).unlink(missing_ok=True)

    # ---- while it runs -------------------------------------------------------------------------------------------

    def serve(self) -> None:
        """Answer requests for images and watch the disk, until the builder is idle."""
        assert self._export is not None  # noqa: S101 created by `start`
        last = time.monotonic()
        while time.monotonic() - last < self.settings.idle:
            if select.select([self._export], [], [], _LOOK)[0]:
                self._answer(self._export.accept()[0])
            self._exporting = [pid for pid in self._exporting if os.waitpid(pid, os.WNOHANG)[0] == 0]
            self._check_daemons()
            self._check_disk()
            if time.monotonic() - self._probed > _PROBES:
                self._probe()
            if self._exporting or used(PLACE):
                last = time.monotonic()
        with contextlib.suppress(Ended):
            run("docker", f"--host=unix://{PLACE / ENGINE}", "image", "prune", "--force")
        (PLACE / READY).unlink(missing_ok=True)
        if used(PLACE):  # a request that arrived in the meantime is answered
            (PLACE / READY).touch()
            self.serve()

    def _answer(self, connection: socket.socket) -> None:
        """Export in a child process, which changes its root directory."""
        with connection:
            if pid := os.fork():
                self._exporting.append(pid)
                return
            status = 1
            try:
                connection.settimeout(_STALLS)
                with connection.makefile("rb") as incoming, connection.makefile("wb") as out:
                    request = json.loads(incoming.readline())
                    known = frozenset(request["known"])
                    image_export.export(STORE, request["image"], request["name"], known, out)
                status = 0
            finally:
                os._exit(status)

    # ---- what it must not reach ---------------------------------------------------------------------------------

    def _probe(self) -> None:
        """Raise Ended if the host, or an app's network, answers: its packet rules are then missing."""
        if answered := reached(self.settings.probes):
            raise Ended(
                f"builds could reach {answered}, which belongs to the host: its rules are not in place"
            )
        self._probed = time.monotonic()

    # ---- limits -------------------------------------------------------------------------------------------------

    def _check_disk(self) -> None:
        """Raise Ended if the data directory is over its limit, or the file system has too little free space."""
        left = free()
        if left < self.settings.spare:
            (PLACE / OVERFLOW).touch()
            raise Ended(f"only {left // 1_000_000} MB are free on the disk, less than builds must leave free")
        if self._measuring is None and self._free - left > self.settings.disk // _SHARE:
            argv = ["du", "--summarize", "--block-size=1", "--one-file-system", str(STORE)]
            self._measuring = subprocess.Popen(  # noqa: S603
                argv, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
            )
            self._free = left
        if self._measuring is not None and self._measuring.poll() is not None:
            measured = (self._measuring.communicate()[0] or "0").split()[0]
            self._measuring = None
            if int(measured) > self.settings.disk:
                (PLACE / OVERFLOW).touch()
                raise Ended(
                    f"the app's builds hold {int(measured) // 1_000_000} MB of the disk, more than the "
                    f"{self.settings.disk // 1_000_000} MB allowed"
                )


# ---- the container ----------------------------------------------------------------------------------------------


def confine(settings: Settings) -> None:
    """Create the cgroup that builds run in, below the container's own, so that the daemons keep their share.

    Docker mounts a container's cgroups read-only.
    """
    memory, processes = max(settings.memory - _SPARE, settings.memory // 2), settings.processes
    mounts = [line.split()[1:3] for line in Path("/proc/mounts").read_text().splitlines()]
    for place, _ in (m for m in mounts if m[1] in ("cgroup", "cgroup2")):
        run("mount", "-o", "remount,bind,rw", place)
    if [str(_CGROUPS), "cgroup2"] in mounts:
        # A cgroup that contains processes can have no children with controllers (cgroups(7), "no internal
        # processes").
        (_CGROUPS / "daemons").mkdir(exist_ok=True)
        for pid in (_CGROUPS / "cgroup.procs").read_text().split():
            (_CGROUPS / "daemons" / "cgroup.procs").write_text(pid)
        for controller in (_CGROUPS / "cgroup.controllers").read_text().split():
            with contextlib.suppress(OSError):  # not available here
                (_CGROUPS / "cgroup.subtree_control").write_text(f"+{controller}")
        limits = {"builds/pids.max": processes, "builds/memory.max": memory}
    else:
        limits = {"pids/builds/pids.max": processes, "memory/builds/memory.limit_in_bytes": memory}
    for name, value in limits.items():
        path = _CGROUPS / name
        # not supported by this kernel: the container has no such limit
        with contextlib.suppress(FileNotFoundError):
            path.parent.mkdir(exist_ok=True)
            path.write_text(str(value))


def reached(probes: list[str]) -> str:
    """The first of these addresses that answers, even with a refusal; empty if none does."""
    waiting: dict[int, tuple[socket.socket, str]] = {}
    try:
        for probe in probes:
            host, _, port = probe.rpartition(":")
            s = socket.socket()
            s.setblocking(False)
            s.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, _MARK)
            waiting[s.fileno()] = s, probe
            if s.connect_ex((host, int(port))) != errno.EINPROGRESS:
                return probe
        # select reports both connected and refused sockets
        ready = select.select([], [s for s, _ in waiting.values()], [], _PROBE)[1]
        return waiting[ready[0].fileno()][1] if ready else ""
    finally:
        for s, _ in waiting.values():
            s.close()


def close(settings: Settings) -> None:
    """Remove the routes to what builds must not reach, so that their connections fail at once.

    The host's packet rules are the actual protection. The probes use their own routing table to check those rules.
    """
    default = run("ip", "route", "show", "default").split()
    if "via" not in default:
        raise Ended("the builder's network leads nowhere")
    gateway, device = default[default.index("via") + 1], default[default.index("dev") + 1]
    run("ip", "route", "add", "default", "via", gateway, "dev", device, "table", _TABLE)
    run("ip", "rule", "add", "fwmark", hex(_MARK), "table", _TABLE)
    for server in settings.open:
        run("ip", "route", "replace", f"{server}/32", "via", gateway, "dev", device)
    for network in settings.closed:
        run("ip", "route", "replace", "prohibit", network)


def run(*argv: str) -> str:
    """Run a program; returns its output. Raises Ended if it fails."""
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)  # noqa: S603
    if done.returncode:
        raise Ended(f"{' '.join(argv)}: {done.stderr.strip()}")
    return done.stdout


def used(place: Path) -> bool:
    """Whether anybody holds the lock of those who use the builder. Connections would not tell: the kernel counts them
    to the network of the client, which is the host's.
    """
    try:
        with (place / USERS).open() as f:
            fcntl.flock(f, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except FileNotFoundError:
        return False
    return False


def free() -> int:
    """Free bytes on the file system of the data directory."""
    status = os.statvfs(STORE)
    return status.f_bavail * status.f_frsize


if __name__ == "__main__":
    sys.exit(main(sys.argv))
