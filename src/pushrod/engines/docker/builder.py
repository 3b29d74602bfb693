"""The builder of one app, as it runs in its container: a Docker engine that builds and does nothing else.

It has a data directory, a network and a cgroup of its own, so that what one app builds can neither read nor change
what another does. It ends by itself once nobody has used it for a while. Standard library only, and copied below
ROOT beside `bring_up`: the container has the host's /usr, and in it the system's Python and the engine's programs.

    python3 -I -S builder.py SETTINGS

SETTINGS is a JSON object, see `Settings`. In the directory PLACE, which the host shares:

    docker.sock   the engine, for who may open the directory
    export.sock   takes `{"image": ID, "name": NAME, "known": [CHAIN, …]}`, answers with an archive for `docker load`
    ready         there once builds may begin
    trouble       why it has ended, where that was not for want of use
"""

import base64
import contextlib
import errno
import gzip
import hashlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import tarfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

PLACE = Path("/builder")
STORE = Path("/var/lib/docker")
ENGINE, EXPORT, READY, TROUBLE = "docker.sock", "export.sock", "ready", "trouble"
OVERFLOW = "overflow"
"""Beside `trouble` where the data directory is to be begun anew."""

_NAMES = ("containerd", "dockerd")  # in the order in which they are started
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
_MARK, _TABLE = 0x7075, "7075"  # of the probes' packets, and the table of routes that these go by
_STARTS = 30.0  # seconds for both daemons
_PROBE = 0.2  # seconds in which a host answers its own container; what is dropped is never answered
_PROBES = 10.0  # seconds between two looks whether the host's services are out of reach
_LOOK = 0.2  # seconds between two looks at the disk
_STALLS = 600.0  # seconds in which who takes an image takes nothing
_STOP = 5.0  # seconds for a daemon to end
_SHARE = 16  # the data directory is measured again once the disk has lost this part of what it may hold
_SPARE = 256 << 20  # bytes that a build may not have of the container's memory: the daemons'


class Settings(NamedTuple):
    """What the host says: who may use it, what it may take, what it may not reach.

    `group` owns the sockets. `idle` in seconds. `memory`, `disk` and `spare` in bytes: what builds may use, what the
    data directory may hold, what must stay free on its file system. `processes` is how many a build may have.
    `probes` are addresses, `HOST:PORT`, of which none may answer. `closed` are networks without a route to them.
    `open` are name servers that lie in one of those. `options` are further ones of dockerd.
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
    """Run until nobody uses it any more, or something is wrong; 0, or 1 with the reason in `trouble`."""
    os.environ["HOME"] = "/tmp"  # noqa: S108  the container's own
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
    """The daemons, and what looks after them."""

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
        """Both daemons; ready only once the host's services have proved to be out of reach."""
        confine(self.settings)
        with contextlib.suppress(Ended):  # a kernel without AppArmor has none
            run("mount", "-t", "securityfs", "none", "/sys/kernel/security")
        _CONTAINERD.mkdir(parents=True, exist_ok=True)
        (_CONTAINERD / "config.toml").write_text(_CONTAINERD_SETTINGS)
        words = ["containerd", f"--config={_CONTAINERD / 'config.toml'}", "--log-level=warn"]
        self._daemons.append(subprocess.Popen(words))  # noqa: S603
        self._wait(_CONTAINERD / "containerd.sock")
        settings = {
            "builder": {"gc": {"enabled": True, "defaultKeepStorage": f"{self.settings.disk // 2}B"}},
            # `export` reads what is kept without it.
            "features": {"containerd-snapshotter": False},
        }
        Path("/run/dockerd.json").write_text(json.dumps(settings))
        argv = [
            *("dockerd", "--config-file=/run/dockerd.json", "--pidfile=/run/dockerd.pid", "--log-level=warn"),
            *(f"--host=unix://{PLACE / ENGINE}", f"--group={self.settings.group}", f"--data-root={STORE}"),
            *("--exec-root=/run/docker", f"--containerd={_CONTAINERD / 'containerd.sock'}"),
            # Steps run in the container's own network, which nothing else is in: no bridge, no rules.
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
                raise Ended(f"{path.name} has not come up within {_STARTS:g} s")
            time.sleep(0.005)

    def _check_daemons(self) -> None:
        for daemon in self._daemons:
            if (status := daemon.poll()) is not None:
                raise Ended(
                    f"the builder's {_NAMES[self._daemons.index(daemon)]} has ended with status {status}"
                )

    def stop(self) -> None:
        """End both, the engine first."""
        for daemon in reversed(self._daemons):
            daemon.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                daemon.wait(_STOP)
        for name in (READY, EXPORT, ENGINE):
            (PLACE / name).unlink(missing_ok=True)

    # ---- looking after them -------------------------------------------------------------------------------------

    def serve(self) -> None:
        """Answer who wants an image, watch the disk, until it is not used any more."""
        assert self._export is not None  # noqa: S101  `start` has made it
        used = time.monotonic()
        while time.monotonic() - used < self.settings.idle:
            if select.select([self._export], [], [], _LOOK)[0]:
                self._answer(self._export.accept()[0])
            self._exporting = [pid for pid in self._exporting if os.waitpid(pid, os.WNOHANG)[0] == 0]
            self._check_daemons()
            self._look_at_disk()
            if time.monotonic() - self._probed > _PROBES:
                self._probe()
            if self._exporting or connected():
                used = time.monotonic()
        with contextlib.suppress(Ended):
            run("docker", f"--host=unix://{PLACE / ENGINE}", "image", "prune", "--force")
        (PLACE / READY).unlink(missing_ok=True)
        if connected():  # who came in the meantime is served
            (PLACE / READY).touch()
            self.serve()

    def _answer(self, connection: socket.socket) -> None:
        """In a process of its own, which changes its root directory."""
        with connection:
            if pid := os.fork():
                self._exporting.append(pid)
                return
            status = 1
            try:
                connection.settimeout(_STALLS)
                with connection.makefile("rb") as asked, connection.makefile("wb") as out:
                    wanted = json.loads(asked.readline())
                    export(wanted["image"], wanted["name"], frozenset(wanted["known"]), out)
                status = 0
            finally:
                os._exit(status)

    # ---- what it may not reach ----------------------------------------------------------------------------------

    def _probe(self) -> None:
        """Ended where the host, or an app's network, answers: then its rules are not in place."""
        if answered := reached(self.settings.probes):
            raise Ended(f"builds would reach {answered}, which is the host's: its rules are not in place")
        self._probed = time.monotonic()

    # ---- what it may take ---------------------------------------------------------------------------------------

    def _look_at_disk(self) -> None:
        """Ended where the data directory holds more than it may, or the file system has too little left."""
        left = free()
        if left < self.settings.spare:
            (PLACE / OVERFLOW).touch()
            raise Ended(f"only {left // 1_000_000} MB are free on the disk, less than builds must leave")
        if self._measuring is None and self._free - left > self.settings.disk // _SHARE:
            argv = ["du", "--summarize", "--block-size=1", "--one-file-system", str(STORE)]
            self._measuring = subprocess.Popen(  # noqa: S603
                argv, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
            )
            self._free = left
        if self._measuring is not None and self._measuring.poll() is not None:
            told = (self._measuring.communicate()[0] or "0").split()[0]
            self._measuring = None
            if int(told) > self.settings.disk:
                (PLACE / OVERFLOW).touch()
                raise Ended(
                    f"the app's builds hold {int(told) // 1_000_000} MB of the disk, more than the "
                    f"{self.settings.disk // 1_000_000} MB that they may"
                )


# ---- the container ----------------------------------------------------------------------------------------------


def confine(settings: Settings) -> None:
    """Make the cgroup that builds run in, below the container's own: the daemons are left what they need.

    Docker mounts the cgroups of a container read-only.
    """
    memory, processes = max(settings.memory - _SPARE, settings.memory // 2), settings.processes
    mounts = [line.split()[1:3] for line in Path("/proc/mounts").read_text().splitlines()]
    for place, _ in (m for m in mounts if m[1] in ("cgroup", "cgroup2")):
        run("mount", "-o", "remount,bind,rw", place)
    if [str(_CGROUPS), "cgroup2"] in mounts:
        # A cgroup with processes in it can have none below (cgroups(7), "no internal processes").
        (_CGROUPS / "daemons").mkdir(exist_ok=True)
        for pid in (_CGROUPS / "cgroup.procs").read_text().split():
            (_CGROUPS / "daemons" / "cgroup.procs").write_text(pid)
        for controller in (_CGROUPS / "cgroup.controllers").read_text().split():
            with contextlib.suppress(OSError):  # one that cannot be had here
                (_CGROUPS / "cgroup.subtree_control").write_text(f"+{controller}")
        limits = {"builds/pids.max": processes, "builds/memory.max": memory}
    else:
        limits = {"pids/builds/pids.max": processes, "memory/builds/memory.limit_in_bytes": memory}
    for name, value in limits.items():
        path = _CGROUPS / name
        with contextlib.suppress(FileNotFoundError):  # a kernel without it: the container has no such limit
            path.parent.mkdir(exist_ok=True)
            path.write_text(str(value))


def reached(probes: list[str]) -> str:
    """The first of these addresses that answers, if only by saying no; empty where none does."""
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
        # A poll tells of what is connected, and of what was refused.
        found = select.select([], [s for s, _ in waiting.values()], [], _PROBE)[1]
        return waiting[found[0].fileno()][1] if found else ""
    finally:
        for s, _ in waiting.values():
            s.close()


def close(settings: Settings) -> None:
    """Take the routes to what builds may not reach away, so that they are told at once.

    What holds them is the host's own rules; the probes go on by a table of their own to see that those are there.
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
    """What a program printed. Raises Ended where it fails."""
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)  # noqa: S603
    if done.returncode:
        raise Ended(f"{' '.join(argv)}: {done.stderr.strip()}")
    return done.stdout


def connected() -> bool:
    """Whether anybody is connected to the engine, or to what exports images (/proc/net/unix, proc(5))."""
    rows = [line.split() for line in Path("/proc/net/unix").read_text().splitlines()[1:]]
    places = {str(PLACE / ENGINE), str(PLACE / EXPORT)}
    # 02 is one that waits to be accepted.
    return any(len(r) > 7 and r[7] in places and r[5] in ("02", "03") for r in rows)


def free() -> int:
    """Bytes that are free where the data directory is."""
    found = os.statvfs(STORE)
    return found.f_bavail * found.f_frsize


# ---- images -----------------------------------------------------------------------------------------------------


def export(image: str, name: str, known: frozenset[str], out: BinaryIO) -> None:
    """Write an archive for `docker load` that holds an image under a name, but for the layers that are known.

    A layer is known by its chain ID (OCI image specification, "Layer ChainID"): an engine does not open the file of
    one that it has. Each other is put together from what the engine keeps, as the engine itself does it
    (github.com/vbatts/tar-split): byte for byte what it was, which the engine that loads it checks.
    """
    kept = STORE / "image/overlay2"
    digest = image.removeprefix("sha256:")
    config = (kept / "imagedb/content/sha256" / digest).read_bytes()
    chains = chained(json.loads(config)["rootfs"]["diff_ids"])
    layers = [f"{chain}.tar" for chain in chains]
    manifest = [{"Config": f"{digest}.json", "RepoTags": [name], "Layers": layers}]
    for path, content in ((f"{digest}.json", config), ("manifest.json", json.dumps(manifest).encode())):
        _begin(out, path, len(content))
        out.write(content)
        out.write(bytes(-len(content) % tarfile.BLOCKSIZE))
    root = os.open("/", os.O_RDONLY | os.O_DIRECTORY)
    for chain in (c for c in chains if f"sha256:{c}" not in known):
        place = kept / "layerdb/sha256" / chain
        files = STORE / "overlay2" / (place / "cache-id").read_text().strip() / "diff"
        parts = place / "tar-split.json.gz"
        with gzip.open(parts) as lines:
            size = sum(
                len(segment) if segment is not None else length for segment, _, length in _parts(lines)
            )
        _begin(out, f"{chain}.tar", size)
        with gzip.open(parts) as lines:
            os.chroot(files)  # a link in the layer leads nowhere else
            for segment, path_in_layer, length in _parts(lines):
                if segment is not None:
                    out.write(segment)
                else:
                    _copy(b"/" + path_in_layer, length, out)
            os.fchdir(root)
            os.chroot(".")
        out.write(bytes(-size % tarfile.BLOCKSIZE))
    out.write(bytes(2 * tarfile.BLOCKSIZE))


def chained(layers: list[str]) -> list[str]:
    """The chain IDs of an image's layers, without the name of the digest."""
    chains: list[str] = []
    for layer in layers:
        above = f"sha256:{chains[-1]} " if chains else ""
        chain = hashlib.sha256(f"{above}{layer}".encode()).hexdigest()
        chains.append(chain if above else layer.removeprefix("sha256:"))
    return chains


def _parts(lines: Any) -> Iterator[tuple[bytes | None, bytes, int]]:
    """What a layer's archive is made of, in order: its own bytes, or a file's path and length."""
    for line in lines:
        part = json.loads(line)
        if part["type"] == 2:
            yield base64.b64decode(part["payload"]), b"", 0
        elif part.get("size"):
            raw = part.get("name_raw")
            yield None, base64.b64decode(raw) if raw else part["name"].encode(), part["size"]


def _copy(path: bytes, length: int, out: BinaryIO) -> None:
    with open(path, "rb") as source:  # noqa: PTH123  a path in bytes
        while length:
            piece = source.read(min(length, 1 << 20))
            if not piece:
                raise EOFError(path)
            out.write(piece)
            length -= len(piece)


def _begin(out: BinaryIO, name: str, size: int) -> None:
    info = tarfile.TarInfo(name)
    info.size = size
    out.write(info.tobuf(tarfile.GNU_FORMAT))


if __name__ == "__main__":
    sys.exit(main(sys.argv))
