"""systemd as pushrod drives it: the units of a host, rendered, and the few questions asked of the manager.

The units run programs below ROOT/programs with the system's own Python, so that a server goes on, and reboots,
without the pushrod package. Where they do call pushrod, its absence is no failure. Each is closed as far as its
work allows (systemd.exec(5)): `systemd-analyze security` rates how far.
"""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from pushrod.core.errors import HostError
from pushrod.core.limits import Limits
from pushrod.system import processes

DIRECTORY = Path("/etc/systemd/system")
"""Where an administrator's units are (systemd.unit(5))."""

WANTED = DIRECTORY / "pushrod.target.wants"
"""Holds a link for each app that comes back at boot; it belongs to the account, which deploys without root."""

TARGET = "pushrod.target"
RUNTIME = Path("/run/pushrod")
"""A directory for each app whose stores are healthy; gone after a reboot, because /run is."""

INSTANCES, STORES = "pushrod-app-", "pushrod-store-"
"""What the names of the slices begin with that hold an app's instances and its stores; apart, so that an instance
that takes all it can get leaves its own database what that needs."""

VOLUMES = Path("/var/lib/docker/volumes")
"""Where Docker keeps volumes, unless its owner has put its data elsewhere."""

PYTHON = "/usr/bin/python3"
# A network of the pool that is not there (before dockerd has started, after a release is taken down by hand) is
# nobody's: without such a route the edge's requests would leave by the default route, for whoever answers there.
_IP = "/usr/sbin/ip"
_IPTABLES, _IP6TABLES = "/usr/sbin/iptables", "/usr/sbin/ip6tables"
_BUILDS = "PUSHROD-BUILDS"  # the chain of rules for what comes from builders' networks
GUARD = "pushrod-guard.service"
_CHAIN = "PUSHROD-EDGE"  # in the kernel's tables
_LAST = 4294967295  # the metric of a route that every other one goes before
_TIMEOUT = 60.0  # seconds for one call of systemctl; starting an app is not waited for
_PLAIN = re.compile(r"/[A-Za-z0-9._/-]+")


class Layout(NamedTuple):
    """What the units name: the root, the pushrod program, the account, the edge's argv and that of what rotates its
    logs, the pool of addresses, the networks that no build may reach, and how many connections
    one address can have with the edge."""

    root: Path
    pushrod: Path
    account: str
    edge: tuple[str, ...]
    rotation: tuple[str, ...]
    pool: str
    closed: tuple[str, ...] = ()
    connections: int = 2000


def render(layout: Layout) -> dict[str, str]:
    """Every unit by its file name. Raises HostError for a path that would need quoting in one."""
    for path in (layout.root, layout.pushrod):
        if not _PLAIN.fullmatch(str(path)):
            raise HostError(
                "a path in a systemd unit may hold letters, digits, dots, dashes and underscores only",
                where=str(path),
                hint="choose another place with --root",
            )
    return {
        TARGET: _target(),
        "pushrod-edge.service": _edge(layout),
        GUARD: _guard(layout),
        "pushrod-app@.service": _app(layout),
        "pushrod-apps.path": _apps_path(),
        "pushrod-apps.service": _apps_service(),
        "pushrod-watch.timer": _timer(
            "look every 10 s for what runs and is unhealthy, and at the edge's logs",
            *("OnActiveSec=10", "OnUnitInactiveSec=10", "AccuracySec=1s"),
        ),
        "pushrod-watch.service": _watch_service(layout),
        "pushrod-layers.timer": _timer(
            "look every minute at what containers write outside of their volumes",
            *("OnActiveSec=60", "OnUnitInactiveSec=60", "AccuracySec=5s"),
        ),
        "pushrod-layers.service": _layers_service(layout),
        "pushrod-prune.timer": _timer(
            "remove every day what no kept release needs",
            *("OnCalendar=daily", "RandomizedDelaySec=1h", "Persistent=yes"),
        ),
        "pushrod-prune.service": _prune_service(layout),
        "pushrod-backup.timer": _timer(
            "look every hour which apps are to be backed up",
            *("OnCalendar=hourly", "RandomizedDelaySec=5min", "Persistent=yes"),
        ),
        "pushrod-backup.service": _backup_service(layout),
        # Twice a day at a moment of its own, as Let's Encrypt asks of those who renew (its integration guide).
        "pushrod-renew.timer": _timer(
            "look twice a day which certificates are to be renewed",
            *("OnCalendar=*-*-* 00/12:00:00", "RandomizedDelaySec=12h", "Persistent=yes"),
        ),
        "pushrod-renew.service": _renew_service(layout),
        "pushrod-gate@.service": _gate(layout),
        "pushrodgate.slice": _gate_slice(),
        "pushrodbuild.slice": _build_slice(),
        "pushrod-builds.service": _builds(layout),
        **{mount_unit(place): _mount(place) for place in mounts(layout.root)},
    }


def mounts(root: Path) -> tuple[Path, ...]:
    """The directories that are mounted on themselves, so that nothing in them is setuid or a device: what containers
    write into, of bind mounts and of volumes."""
    return (root / "apps", VOLUMES)


def mount_unit(place: Path) -> str:
    """The unit that mounts a directory: systemd wants it named by the path (systemd.mount(5), systemd-escape(1))."""
    return str(place).strip("/").replace("-", r"\x2d").replace("/", "-") + ".mount"


def slices(limits: Limits, apps: Mapping[str, Limits]) -> dict[str, str]:
    """What bounds an app's containers, all apps, and what each writes: files by their path below `DIRECTORY`.

    Docker asks systemd for a scope in a slice of the app's name, and systemd makes that slice: it takes no root. Its
    limits are a drop-in for whatever begins with that prefix (systemd.unit(5)); `apps` have their own.
    """
    found = {"pushrod.slice": _slice(_together(limits), unit=True)}
    found["pushrod-layers.service.d/10-limit.conf"] = (
        f"{_WRITTEN}\n[Service]\nEnvironment=LIMIT={limits.layer}\n"
    )
    found["pushrod-.slice.d/10-shutdown.conf"] = f"{_WRITTEN}\n[Unit]\n{_LASTING}"
    for name, its in {"": limits, **apps}.items():
        part = name.replace("-", "_")  # as in `names.slice`
        for kind in (INSTANCES, STORES):
            found[f"{kind}{part}.slice.d/{'50-app' if name else '10-pushrod'}.conf"] = _slice(
                bounds(kind, its)
            )
    return found


def bounds(kind: str, limits: Limits) -> dict[str, int]:
    """The properties (systemd.resource-control(5)) of a slice of instances or of stores."""
    if kind == INSTANCES:
        return {
            "MemoryMax": limits.app_memory,
            "TasksMax": limits.app_tasks,
            "CPUWeight": 100,
            "IOWeight": 100,
        }
    return {
        "MemoryMax": limits.store_memory,
        "TasksMax": limits.store_tasks,
        "CPUWeight": 200,
        "IOWeight": 200,
    }


def rebound(limits: Limits, apps: Mapping[str, Limits]) -> None:
    """Give slices that are there what the files say, which systemd reads only when it makes one.

    `apps` are all apps of the host.
    """
    wanted = {"pushrod.slice": _together(limits)}
    for name, its in apps.items():
        wanted |= {f"{kind}{name.replace('-', '_')}.slice": bounds(kind, its) for kind in (INSTANCES, STORES)}
    for unit, properties in wanted.items():
        if is_active(unit):
            call(
                "set-property", "--runtime", unit, *(f"{name}={value}" for name, value in properties.items())
            )


def _together(limits: Limits) -> dict[str, int]:
    return {"MemoryMax": limits.all_memory, "CPUWeight": 100, "IOWeight": 100}


# By default a shutdown stops a slice at once (systemd.slice(5)), with every container in it, stores too, and beside
# the app's unit. That one first closes the edge, then stops instances, then stores, each within its grace.
_LASTING = "DefaultDependencies=no\n"


def _slice(properties: Mapping[str, int], *, unit: bool = False) -> str:
    described = f"[Unit]\nDescription=pushrod: the containers of all apps\n{_LASTING}\n" if unit else ""
    lines = "".join(f"{name}={value}\n" for name, value in properties.items())
    return f"{_WRITTEN}\n{described}[Slice]\n{lines}"


def tmpfiles(layout: Layout) -> str:
    """The line that makes RUNTIME at every boot (tmpfiles.d(5))."""
    return f"{_WRITTEN}d {RUNTIME} 0700 {layout.account} {layout.account}\n"


# ---- the units ------------------------------------------------------------------------------------------------

_WRITTEN = "# Written by `pushrod host init`. To change a unit, add a drop-in: systemctl edit NAME\n"

# What every service of ours does without. The account needs no capability, no device and nobody's home.
_CLOSED = """\
NoNewPrivileges=yes
ProtectSystem=strict
ProtectHome=yes
PrivateTmp=yes
PrivateDevices=yes
DevicePolicy=closed
ProtectClock=yes
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
ProtectControlGroups=yes
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
LockPersonality=yes
RemoveIPC=yes
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallFilter=~@resources @privileged
SystemCallErrorNumber=EPERM
UMask=0022
"""


def _target() -> str:
    return f"""{_WRITTEN}
[Unit]
Description=pushrod: the edge and every app that comes back at boot
Wants=pushrod-edge.service pushrod-apps.path pushrod-watch.timer pushrod-prune.timer pushrod-backup.timer
Wants=pushrod-renew.timer pushrod-layers.timer
Wants=pushrodbuild.slice pushrod-builds.service pushrod-guard.service

[Install]
WantedBy=multi-user.target
"""


def _edge(layout: Layout) -> str:
    from pushrod.adapters.nginx import (  # what every call by SSH asks of this module needs none
        DRAIN_BUDGET,
        Bounds,
    )

    root = layout.root
    return f"""{_WRITTEN}
[Unit]
Description=pushrod edge (nginx)
After=network.target
PartOf={TARGET}
StartLimitIntervalSec=0

[Service]
Type=exec
User={layout.account}
Group={layout.account}
ExecStartPre=+-{_IP} route replace unreachable {layout.pool} metric {_LAST}
ExecStart={" ".join(layout.edge)}
ExecReload=/bin/kill -HUP $MAINPID
KillSignal=SIGQUIT
KillMode=mixed
TimeoutStopSec={DRAIN_BUDGET + 5:g}
Restart=always
RestartSec=1
LimitNOFILE={Bounds().files}
AmbientCapabilities=CAP_NET_BIND_SERVICE
CapabilityBoundingSet=CAP_NET_BIND_SERVICE
ReadWritePaths={root}/edge/logs {root}/edge/run {root}/run
InaccessiblePaths=-{root}/apps -/run/docker.sock -/run/containerd
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6
MemoryDenyWriteExecute=yes
ProtectProc=invisible
ProcSubset=pid
{_CLOSED}"""


def _guard(layout: Layout) -> str:
    """The kernel counts connections, of which nginx counts none until it has read a whole head.

    A network of 64 bits counts as one address of IPv6: a home has all of it. Where the kernel cannot count, nothing
    is refused. What comes from the machine itself is not counted: a proxy on it has all clients.
    """
    lines = []
    for program, mask in ((_IPTABLES, 32), (_IP6TABLES, 64)):
        call, into = f"-{program} -w", f"INPUT ! -i lo -j {_CHAIN}"
        counted = f"-m connlimit --connlimit-above {layout.connections} --connlimit-mask {mask}"
        lines += [
            f"ExecStart={call} -N {_CHAIN}",
            f"ExecStart={call} -F {_CHAIN}",
            f"ExecStart={call} -A {_CHAIN} -p tcp --syn -m multiport --dports 80,443 {counted} -j REJECT "
            "--reject-with tcp-reset",
            f"ExecStart={call} -D {into}",
            f"ExecStart={call} -I {into}",
        ]
    return f"""{_WRITTEN}
[Unit]
Description=pushrod: how many connections of the edge one address can have
After=network.target
PartOf={TARGET}

[Service]
Type=oneshot
RemainAfterExit=yes
{chr(10).join(lines)}
TimeoutStartSec=60
CapabilityBoundingSet=CAP_NET_ADMIN CAP_NET_RAW
ReadWritePaths=/run
InaccessiblePaths=-/run/docker.sock -/run/containerd
RestrictAddressFamilies=AF_NETLINK AF_UNIX AF_INET AF_INET6
MemoryDenyWriteExecute=yes
{_CLOSED}"""


def _app(layout: Layout) -> str:
    bring_up = f"{PYTHON} -I -S {layout.root}/programs/bring_up.py"
    return f"""{_WRITTEN}
[Unit]
Description=pushrod app %i
Wants=docker.service
After=docker.service network-online.target
PartOf={TARGET}
StopWhenUnneeded=yes

[Service]
Type=oneshot
RemainAfterExit=yes
User={layout.account}
Group={layout.account}
ExecStartPre=-{layout.pushrod} --root {layout.root} recover %i
ExecStart={bring_up} up {layout.root} %i
ExecReload={bring_up} up {layout.root} %i
ExecStop={bring_up} down {layout.root} %i
TimeoutStartSec=600
TimeoutStopSec=300
# Whatever finishes or undoes a push that was cut off has `nginx -t` bind the edge's port.
AmbientCapabilities=CAP_NET_BIND_SERVICE
CapabilityBoundingSet=CAP_NET_BIND_SERVICE
ReadWritePaths={layout.root} {RUNTIME} {WANTED}
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6
{_CLOSED}"""


def _apps_path() -> str:
    return f"""{_WRITTEN}
[Unit]
Description=pushrod: notice an app that has come or gone
PartOf={TARGET}

[Path]
PathChanged={WANTED}
"""


def _apps_service() -> str:
    return f"""{_WRITTEN}
[Unit]
Description=pushrod: start the unit of an app that has come, stop that of one that has gone
PartOf={TARGET}

[Service]
Type=oneshot
ExecStart=/bin/systemctl daemon-reload
ExecStart=/bin/systemctl start --no-block {TARGET}
TimeoutStartSec=120
CapabilityBoundingSet=
InaccessiblePaths=-/run/docker.sock -/run/containerd
PrivateNetwork=yes
IPAddressDeny=any
RestrictAddressFamilies=AF_UNIX
MemoryDenyWriteExecute=yes
{_CLOSED}"""


def _timer(what: str, *when: str) -> str:
    lines = "\n".join(when)
    return f"""{_WRITTEN}
[Unit]
Description=pushrod: {what}
PartOf={TARGET}

[Timer]
{lines}
"""


def _watch_service(layout: Layout) -> str:
    return f"""{_WRITTEN}
[Unit]
Description=pushrod: rotate the edge's logs, restart what runs and is unhealthy
After=docker.service

[Service]
Type=oneshot
User={layout.account}
Group={layout.account}
ExecStartPre=-{" ".join(layout.rotation)}
ExecStart={PYTHON} -I -S {layout.root}/programs/watchdog.py {layout.root}
TimeoutStartSec=660
# Quiet about each of its 8640 runs a day; what it prints itself is a notice.
LogLevelMax=notice
SyslogLevel=notice
CapabilityBoundingSet=
ReadWritePaths={layout.root} {RUNTIME}
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6
{_CLOSED}"""


def _layers_service(layout: Layout) -> str:
    return f"""{_WRITTEN}
[Unit]
Description=pushrod: stop what writes more outside of its volumes than the host gives
After=docker.service

[Service]
Type=oneshot
User={layout.account}
Group={layout.account}
ExecStart={PYTHON} -I -S {layout.root}/programs/layers.py {layout.root} $LIMIT
TimeoutStartSec=1h
LogLevelMax=notice
SyslogLevel=notice
# To see which files a container's processes have open that are in no directory any more.
AmbientCapabilities=CAP_DAC_READ_SEARCH CAP_SYS_PTRACE
CapabilityBoundingSet=CAP_DAC_READ_SEARCH CAP_SYS_PTRACE
ReadWritePaths={layout.root} {RUNTIME}
RestrictAddressFamilies=AF_UNIX
Nice=10
IOSchedulingClass=idle
{_CLOSED}"""


def _prune_service(layout: Layout) -> str:
    return f"""{_WRITTEN}
[Unit]
Description=pushrod: remove what no kept release needs
After=docker.service
ConditionFileIsExecutable={layout.pushrod}

[Service]
Type=oneshot
User={layout.account}
Group={layout.account}
ExecStart={layout.pushrod} --root {layout.root} prune
TimeoutStartSec=1800
CapabilityBoundingSet=
ReadWritePaths={layout.root} {RUNTIME}
# A builder, which it starts to prune its cache, is told the host's addresses: they are asked for by netlink.
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK
Nice=10
IOSchedulingClass=idle
{_CLOSED}"""


def _backup_service(layout: Layout) -> str:
    return f"""{_WRITTEN}
[Unit]
Description=pushrod: back up the stores of each app whose time has come
After=docker.service
ConditionFileIsExecutable={layout.pushrod}

[Service]
Type=oneshot
User={layout.account}
Group={layout.account}
ExecStart={layout.pushrod} --root {layout.root} db backup --all
TimeoutStartSec=12h
# It first finishes, or undoes, what a deployment that was cut off has left: hence all that a deployment writes, and
# the right to bind the edge's port, as `nginx -t` does.
AmbientCapabilities=CAP_NET_BIND_SERVICE
CapabilityBoundingSet=CAP_NET_BIND_SERVICE
ReadWritePaths={layout.root} {RUNTIME} {WANTED}
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6
Nice=10
IOSchedulingClass=idle
{_CLOSED}"""


def _renew_service(layout: Layout) -> str:
    return f"""{_WRITTEN}
[Unit]
Description=pushrod: get and renew the certificates of the apps
After=network-online.target docker.service
Wants=network-online.target
ConditionFileIsExecutable={layout.pushrod}

[Service]
Type=oneshot
User={layout.account}
Group={layout.account}
ExecStart={layout.pushrod} --root {layout.root} cert renew --all
TimeoutStartSec=2h
# `nginx -t` binds the ports too, and its copy's own right to do so is void without new privileges.
AmbientCapabilities=CAP_NET_BIND_SERVICE
CapabilityBoundingSet=CAP_NET_BIND_SERVICE
# It first finishes, or undoes, what a deployment that was cut off has left: hence all that a deployment writes.
ReadWritePaths={layout.root} {RUNTIME} {WANTED}
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6
Nice=10
IOSchedulingClass=idle
{_CLOSED}"""


def _builds(layout: Layout) -> str:
    # Before routing, so that it does not matter which way a packet would go, nor what Docker or a firewall says of
    # it. A host's own addresses are those that the kernel calls local, whichever it has by then. DNS is at link-local
    # addresses on some clouds; 168.63.129.16 is Azure's own, for DNS and more, 100.100.100.200 Alibaba's.
    rules = [
        "-m addrtype --dst-type LOCAL -j DROP",
        *(f"-d 169.254.0.0/16 -p {p} --dport 53 -j RETURN" for p in ("udp", "tcp")),
        *(f"-d {network} -j DROP" for network in (*layout.closed, "169.254.0.0/16", "100.100.100.200")),
        "-d 168.63.129.16 -p tcp ! --dport 53 -j DROP",
    ]
    table = f"{_IPTABLES} -w -t mangle"
    into = "PREROUTING -i pbuild-+"
    lines = [
        f"ExecStart=-{table} -N {_BUILDS}",
        f"ExecStart={table} -F {_BUILDS}",
        *(f"ExecStart={table} -A {_BUILDS} {rule}" for rule in rules),
        f"ExecStart=-{table} -D {into} -j {_BUILDS}",
        f"ExecStart={table} -I {into} -j {_BUILDS}",
        # Builders have no IPv6; a kernel without it has no such table.
        f"ExecStart=-{_IP6TABLES} -w -t mangle -D {into} -j DROP",
        f"ExecStart=-{_IP6TABLES} -w -t mangle -I {into} -j DROP",
    ]
    return f"""{_WRITTEN}
[Unit]
Description=pushrod: what builds of images must not reach
After=docker.service
PartOf={TARGET}

[Service]
Type=oneshot
RemainAfterExit=yes
{chr(10).join(lines)}
TimeoutStartSec=60
CapabilityBoundingSet=CAP_NET_ADMIN CAP_NET_RAW
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK
ReadWritePaths=/run
MemoryDenyWriteExecute=yes
{_CLOSED}"""


def _gate(layout: Layout) -> str:
    # Delegated, so that the account may move its own processes into it. One that is killed for want of memory is that
    # call's own trouble, not that of all calls of the key.
    return f"""{_WRITTEN}
[Unit]
Description=pushrod: what the key %i has asked for, within its limits
After=docker.service
StopWhenUnneeded=yes

[Service]
Type=oneshot
RemainAfterExit=yes
User={layout.account}
Group={layout.account}
Slice=pushrodgate.slice
Delegate=yes
ExecStart=/bin/true
MemoryHigh=35%
MemoryMax=40%
TasksMax=512
CPUWeight=100
IOWeight=100
OOMPolicy=continue
TimeoutStopSec=60
CapabilityBoundingSet=
PrivateNetwork=yes
RestrictAddressFamilies=AF_UNIX
MemoryDenyWriteExecute=yes
{_CLOSED}"""


def _gate_slice() -> str:
    return f"""{_WRITTEN}
[Unit]
Description=pushrod: what keys have asked for, which must not starve what serves

[Slice]
CPUWeight=50
IOWeight=50
MemoryHigh=55%
MemoryMax=60%
TasksMax=4096
"""


def _mount(place: Path) -> str:
    return f"""{_WRITTEN}
[Unit]
Description=pushrod: what containers write into {place}, without setuid and devices
Before=docker.service
ConditionPathIsDirectory={place}

[Mount]
What={place}
Where={place}
Type=none
Options=bind,nosuid,nodev

[Install]
WantedBy=docker.service multi-user.target
"""


def _build_slice() -> str:
    return f"""{_WRITTEN}
[Unit]
Description=pushrod: builds of images, which must not starve what serves

[Slice]
CPUWeight=20
IOWeight=20
MemoryHigh=60%
MemoryMax=75%
TasksMax=4096
"""


# ---- the manager ----------------------------------------------------------------------------------------------


def call(*argv: str, timeout: float = _TIMEOUT) -> str:
    """Run systemctl and return what it printed; HostError with its own words if it fails."""
    done = processes.run(["systemctl", *argv], timeout=timeout)
    if done.status != 0:
        raise HostError(
            f"systemctl {' '.join(argv)} failed: {done.stderr.strip() or f'status {done.status}'}",
            hint=f"`journalctl -e -u {argv[-1]}` says more",
            log=journal(argv[-1]) if argv[-1].startswith("pushrod") else (),
        )
    return done.stdout.strip()


def attach(unit: str, process: int) -> str:
    """Move a process of ours into the control group of a unit that is delegated to us; what the manager says against
    it, nothing where it is done (org.freedesktop.systemd1(5))."""
    manager = ("org.freedesktop.systemd1", "/org/freedesktop/systemd1", "org.freedesktop.systemd1.Manager")
    call = ("AttachProcessesToUnit", "ssau", unit, "", "1", str(process))
    done = processes.run(["busctl", "--system", "--quiet", "call", *manager, *call], timeout=_TIMEOUT)
    return "" if done.status == 0 else done.stderr.strip() or f"busctl ended with status {done.status}"


def is_active(unit: str) -> bool:
    """Whether a unit is active now."""
    return processes.run(["systemctl", "is-active", "--quiet", unit], timeout=_TIMEOUT).status == 0


def told(identifier: str) -> list[tuple[int, str]]:
    """What the system's journal was told under a name, with the user who told it, oldest first; what we may read."""
    argv = ["journalctl", "--no-pager", "--output=json", "--output-fields=MESSAGE,_UID"]
    done = processes.run([*argv, f"--identifier={identifier}"], timeout=_TIMEOUT)
    found = []
    for line in done.stdout.splitlines():
        entry = json.loads(line)
        if isinstance(text := entry.get("MESSAGE"), str):
            found.append((int(entry.get("_UID", -1)), text))
    return found


def is_enabled(unit: str) -> bool:
    """Whether a unit comes back at boot."""
    return processes.run(["systemctl", "is-enabled", "--quiet", unit], timeout=_TIMEOUT).status == 0


def journal(unit: str, lines: int = 10) -> tuple[str, ...]:
    """The last lines that a unit has logged."""
    argv = ["journalctl", "--no-pager", "--output=cat", f"--lines={lines}", f"--unit={unit}"]
    return tuple(processes.run(argv, timeout=_TIMEOUT).stdout.splitlines())
