"""What exists on a server outside of one app, and what the kernel grants that app's containers.

    python3 outside.py APP      what is outside, and what is wrong inside, as JSON

The information comes from systemd, Docker, the file system and the kernel, not from pushrod. It runs in the box,
which has only the system's Python.
"""

import hashlib
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

Seen = dict[str, str]

_ROOT = Path("/var/lib/pushrod")
_PLACES = (
    *("/etc", "/root", "/home", "/srv", "/usr/local", "/var/spool", "/opt/pushrod/bin"),
    *("/var/lib/pushrod", "/run/pushrod"),
)
# What changes on its own, or with any action; the site of each other app is compared separately.
_RESTLESS = re.compile(
    r"/var/lib/pushrod/(audit|edge/(trees|logs|run|current)|run|\.docker/buildx|(edge/|[a-z]+\.)lock)(/|$)"
    r"|/run/pushrod/(gate|builders|(watch|layers)\.[a-z0-9]+$)|/etc/(mtab|resolv\.conf|hostname|hosts)$"
)
_COUNTERS = re.compile(
    r"fs/(dentry-state|file-nr|inode-|aio-nr|quota|binfmt_misc)|kernel/(random|ns_last_pid|pty/nr|sched_|seccomp/actions)"
    r"|netfilter/nf_conntrack_count|/(neigh|route|conf)/(?!all|default)"
)
_PASSING = re.compile(
    r"^(docker-|run-docker|run-u|var-lib-docker-(overlay2|containers)|session-|user|pushrod-gate@|sys-|dev-)|\.(scope|device)$"
)
_ANONYMOUS = re.compile(r"[0-9a-f]{64}")
# What the kernel reports of a container (proc(5), capabilities(7)): the seven that images' entry points need.
_CAPABILITIES = sum(1 << number for number in (0, 1, 3, 5, 6, 7, 10))
_OF_THE_KERNEL = {
    "proc": "/proc",
    "sysfs": "/sys",
    "cgroup": "/sys/fs/cgroup",
    "cgroup2": "/sys/fs/cgroup",
    "devpts": "/dev/pts",
    "mqueue": "/dev/mqueue",
}
_FILES = {"overlay", "ext4", "xfs", "btrfs", "tmpfs"}


def run(*argv: str) -> str:
    return subprocess.run(argv, capture_output=True, text=True, timeout=60, check=True).stdout


def docker(kind: str, *names: str) -> list[dict[str, Any]]:
    """What Docker reports of objects; those removed meanwhile are left out."""
    argv = ["docker", kind, "inspect", *names]
    result = (
        subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False).stdout
        if names
        else "[]"
    )
    return list(json.loads(result or "[]"))


def digest(value: object) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]


class App:
    """One app, and what belongs to it by name."""

    def __init__(self, name: str) -> None:
        self.name, self.unit = name, name.replace("-", "_")
        self.slices = {f"pushrod-{kind}-{self.unit}.slice" for kind in ("app", "store")}
        self.bridges = self._bridges()

    def owns(self, name: str) -> bool:
        return re.match(rf"(pushrod\.builder\.)?{re.escape(self.name)}([-_]|$)", name) is not None

    def _bridges(self) -> set[str]:
        """The interfaces and the addresses of its networks."""
        result = set()
        for network in docker("network", *run("docker", "network", "ls", "--quiet").split()):
            if self.owns(network["Name"]) or network["Name"].startswith("pushrod.builder."):
                options = network.get("Options") or {}
                result.add(options.get("com.docker.network.bridge.name") or f"br-{network['Id'][:12]}")
                result |= {c["Subnet"] for c in network["IPAM"]["Config"]}
        return result


# ---- outside --------------------------------------------------------------------------------------------------


def units(app: App) -> Iterator[tuple[str, str]]:
    """Permanent units, each with its state, process and limits; none that a timer starts."""
    timed = {row.split()[-1] for row in run("systemctl", "list-timers", "--all", "--no-legend").splitlines()}
    names = ("Id", "ActiveState", "SubState", "MainPID", "MemoryMax", "TasksMax", "CPUWeight", "FragmentPath")
    output = run("systemctl", "show", "*", *(f"--property={name}" for name in names))
    for block in output.split("\n\n"):
        unit = dict(line.split("=", 1) for line in block.splitlines() if "=" in line)
        name = unit.pop("Id", "")
        own = name in app.slices or name == f"pushrod-app@{app.name}.service"
        passing = own or _PASSING.search(name) or name in timed or name == "pushrod-apps.service"
        if name and not passing and unit["ActiveState"] in ("active", "failed"):
            yield name, " ".join(unit.values()) if not name.endswith(".timer") else unit["ActiveState"]


def engine(app: App) -> Iterator[tuple[str, str]]:
    """Others' containers, networks, volumes and images."""
    for c in docker("container", *run("docker", "ps", "--all", "--quiet").split()):
        name = c["Name"].lstrip("/")
        if (c["Config"]["Labels"] or {}).get("pushrod.app") != app.name and not name.startswith("pushrod."):
            networks = {
                n: (v["IPAddress"], v["Aliases"]) for n, v in c["NetworkSettings"]["Networks"].items()
            }
            state = (c["State"]["Status"], c["State"]["StartedAt"], c["RestartCount"])
            yield (
                f"container {name}",
                digest((c["Id"], c["Image"], state, networks, c["HostConfig"], c["Mounts"])),
            )
    for n in docker("network", *run("docker", "network", "ls", "--quiet").split()):
        if not app.owns(n["Name"]) and not n["Name"].startswith("pushrod.builder."):
            kept = (n["Id"], n["Driver"], n["Options"], n["Labels"], n["IPAM"], sorted(n["Containers"]))
            yield f"network {n['Name']}", digest(kept)
    for v in docker("volume", *run("docker", "volume", "ls", "--quiet").split()):
        if not (
            app.owns(v["Name"]) or _ANONYMOUS.fullmatch(v["Name"]) or v["Name"].startswith("pushrod.builder.")
        ):
            yield f"volume {v['Name']}", digest((v["Driver"], v["Options"], v["Labels"], v["CreatedAt"]))
    for row in run(
        "docker", "image", "ls", "--no-trunc", "--format={{.Repository}}:{{.Tag}} {{.ID}}"
    ).splitlines():
        name, _, identity = row.partition(" ")
        if not name.startswith(f"pushrod/{app.name}/") and "<none>" not in name:
            yield f"image {name}", identity


def files(app: App) -> Iterator[tuple[str, str]]:
    """The host's files, pushrod's, and those of other apps."""
    for place in _PLACES:
        for directory, below, names in os.walk(place):
            below[:] = [b for b in below if b != app.name and not _RESTLESS.match(f"{directory}/{b}")]
            for name in (".", *names):
                path = f"{directory}/{name}"
                if _RESTLESS.match(path) or app.name in name:
                    continue
                try:
                    s = os.lstat(path)
                except FileNotFoundError:
                    continue
                written = (s.st_size, s.st_mtime_ns) if name != "." else ()
                yield path, f"{s.st_mode:o} {s.st_uid}:{s.st_gid} {written}"
    for site in sorted((_ROOT / "edge/current/sites").glob("*.conf")):
        if site.stem != app.name:
            yield f"site {site.stem}", digest(site.read_text())


def kernel(app: App) -> Iterator[tuple[str, str]]:
    """The kernel's settings and rules, the host's mounts, and what listens there."""
    for place in ("kernel", "vm", "fs", "net/core", "net/ipv4", "net/netfilter", "net/bridge", "user"):
        for directory, _, names in os.walk(f"/proc/sys/{place}"):
            for path in (f"{directory}/{name}" for name in names):
                if not _COUNTERS.search(path):
                    try:
                        yield path, Path(path).read_text()[:200]
                    except OSError:
                        continue
    for program in ("iptables-save", "ip6tables-save"):
        for table in ("filter", "nat", "mangle", "raw"):
            yield from ((f"{program} {table} {line}", "") for line in _rules(program, table, app))
    for line in run("ip", "-o", "route", "show", "table", "all").splitlines():
        if not any(own in line for own in app.bridges) and "dev veth" not in line:
            yield f"route {line.strip()}", ""
    for line in Path("/proc/1/mounts").read_text().splitlines():
        _, at, kind, *_ = line.split()
        passing = kind in ("overlay", "nsfs") or at.startswith(
            ("/run/docker/", "/var/lib/docker/containers/")
        )
        own = at.startswith(f"/var/lib/docker/volumes/{app.name}_") and kind == "tmpfs"
        if not (passing or own):
            yield f"mount {at} {kind}", ""
    for line in run("ss", "-Hltnu").splitlines():
        yield f"listens {line.split()[4]}", ""


def _rules(program: str, table: str, app: App) -> Iterator[str]:
    done = subprocess.run((program, "-t", table), capture_output=True, text=True, timeout=60, check=False)
    for line in done.stdout.splitlines():
        # Docker's rules name the bridges and networks; those of its name server are in the containers.
        if line.startswith("-A") and not any(own in line for own in app.bridges):
            yield line


def outside(app: App) -> Seen:
    """All of these, by name."""
    parts = {"unit": units, "docker": engine, "file": files, "kernel": kernel}
    return {f"{kind}: {name}": value for kind, part in parts.items() for name, value in part(app)}


# ---- inside ---------------------------------------------------------------------------------------------------


def inside(app: App) -> list[str]:
    """What is wrong with the app's running containers, as the kernel sees their first processes."""
    result = []
    for container in docker(
        "container", *run("docker", "ps", "--quiet", f"--filter=label=pushrod.app={app.name}").split()
    ):
        name, pid, asked = container["Name"].lstrip("/"), container["State"]["Pid"], container["HostConfig"]
        for key in ("Devices", "DeviceCgroupRules", "DeviceRequests"):  # the kernel tells nobody
            if asked.get(key):
                result.append(f"{name}: {key} {asked[key]}")
        if Path(f"/proc/{pid}").is_dir():
            result += [f"{name}: {wrong}" for wrong in _wrong(app, Path(f"/proc/{pid}"))]
    return result


def _wrong(app: App, process: Path) -> Iterator[str]:
    try:
        groups, status = (process / "cgroup").read_text(), (process / "status").read_text()
        mounts = (process / "mountinfo").read_text()
        last = int((process / "oom_score_adj").read_text())
        own = ("mnt", "pid", "net", "ipc", "uts")
        shared = [n for n in own if (process / "ns" / n).readlink() == Path("/proc/1/ns", n).readlink()]
    except (FileNotFoundError, ProcessLookupError):  # it has ended
        return
    if not any(one in groups for one in app.slices):
        yield f"it is in no slice of the app's: {groups.split()}"
    words = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    for kind in ("CapBnd", "CapEff", "CapPrm", "CapInh", "CapAmb"):
        if more := int(words[kind], 16) & ~_CAPABILITIES:
            yield f"{kind} has {more:x} more"
    if (words["NoNewPrivs"], words["Seccomp"]) != ("1", "2"):
        yield f"NoNewPrivs {words['NoNewPrivs']}, Seccomp {words['Seccomp']}"
    if last < 0:
        yield "it is killed after the host's own programs"
    if shared := [
        name for name in shared if name != "cgroup" or (Path("/sys/fs/cgroup/cgroup.controllers")).exists()
    ]:
        yield f"it shares with the host: {shared}"
    for line in mounts.splitlines():
        before, _, after = line.partition(" - ")
        root, at, kind = (*before.split()[3:5], after.split()[0])
        where = _OF_THE_KERNEL.get(kind)
        if where is not None and not (at == where or at.startswith(f"{where}/")):
            yield f"the kernel's {kind} is at {at}"
        elif where is None and kind not in _FILES:
            yield f"a file system of kind {kind} is at {at}"
        elif kind in ("ext4", "xfs", "btrfs") and not _own(app, root):
            yield f"{root} of the disk is at {at}"


def _own(app: App, root: str) -> bool:
    """Whether a path of the host's file system is the app's, or Docker's own for a container; the disk may be
    mounted below its own root."""
    parts = root.split("/")
    if "apps" in parts:
        return parts[parts.index("apps") + 1] == app.name
    if "volumes" in parts and parts[-1:] == ["_data"]:
        return app.owns(parts[-2]) or _ANONYMOUS.fullmatch(parts[-2]) is not None
    return bool(re.search(r"/containers/[0-9a-f]{64}/(resolv\.conf|hostname|hosts)$", root)) or root in (
        "/etc/localtime",
        "/etc/timezone",
    )


if __name__ == "__main__":
    own = App(sys.argv[1])
    print(json.dumps({"outside": outside(own), "inside": inside(own)}))
