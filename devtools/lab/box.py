"""A server in a box: a container in which systemd is process 1, with its own Docker engine and address.

It starts in two seconds, and can be rebooted and cut from power like a machine. It shares the machine's kernel and
disk: a power cut here kills every process at once, but loses no write that a program has made.
"""

import contextlib
import http.client
import io
import ipaddress
import os
import shlex
import subprocess
import tarfile
import tempfile
import uuid
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, NamedTuple

from devtools.lab import images
from pushrod.system import processes, waits
from pushrod.system.processes import Completed

PUSHROD = "/opt/pushrod"  # the virtual environment with pushrod
SSH_WAITS = 10  # seconds for a connection
_TIMEOUT = 300.0  # seconds for one command in a box
_STARTS = 90.0  # seconds for a box to start; it takes two, and more if apps start with it

# All that Docker 20.10 knows except SYS_RESOURCE, which some machines cannot grant; --privileged would request it.
CAPABILITIES = (
    "AUDIT_CONTROL", "AUDIT_READ", "AUDIT_WRITE", "BLOCK_SUSPEND", "CHOWN", "DAC_OVERRIDE",
    "DAC_READ_SEARCH", "FOWNER", "FSETID", "IPC_LOCK", "IPC_OWNER", "KILL", "LEASE", "LINUX_IMMUTABLE",
    "MAC_ADMIN", "MAC_OVERRIDE", "MKNOD", "NET_ADMIN", "NET_BIND_SERVICE", "NET_BROADCAST", "NET_RAW",
    "SETFCAP", "SETGID", "SETPCAP", "SETUID", "SYSLOG", "SYS_ADMIN", "SYS_BOOT", "SYS_CHROOT",
    "SYS_MODULE", "SYS_NICE", "SYS_PACCT", "SYS_PTRACE", "SYS_RAWIO", "SYS_TIME", "SYS_TTY_CONFIG",
    "WAKE_ALARM",
)  # fmt: skip
OPTIONS = (
    "--security-opt=seccomp=unconfined",
    "--security-opt=apparmor=unconfined",
    "--security-opt=systempaths=unconfined",
    "--cgroupns=private",
    "--tmpfs=/run:exec",
    "--tmpfs=/run/lock",
    "--tmpfs=/tmp:exec",
    "--sysctl=net.ipv4.ip_unprivileged_port_start=1024",  # as on a server; Docker sets 0
)
# Files of image layers are never written to, so a new volume gets hard links to them: 0.3 s, instead of 8 s for
# loading the images. What dockerd does write to is copied.
_COPY = """
cd "/volumes/$1/_data"
cp -al overlay2 "/volumes/$2/_data/"
for part in *; do
    case $part in
    overlay2 | engine-id) ;;
    *) cp -a "$part" "/volumes/$2/_data/" ;;
    esac
done
"""


class Answer(NamedTuple):
    """An answer of a box's edge; the names in `headers` are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Box:
    """One server; `name` is its container's name and its host name; `address` stays the same while it exists."""

    def __init__(self, name: str = "") -> None:
        self.name = name or f"pushrod-lab-{uuid.uuid4().hex[:8]}"
        network = ipaddress.ip_network(images.SUBNET)
        low = 256  # the first addresses are the network's own
        self.address = str(network[low + zlib.crc32(self.name.encode()) % (network.num_addresses - 2 * low)])
        self._scratch = tempfile.TemporaryDirectory(prefix=f"{self.name}-")
        self.scratch = Path(self._scratch.name)

    def create(
        self,
        image: str = images.BOX,
        mounts: Sequence[str] = (),
        seed: str | None = None,
        ports: Sequence[str] = (),
    ) -> "Box":
        """Make the server and wait until it has started; `mounts` are in `docker run`'s format, such as
        `/there:/here:ro`, and so are `ports`: `127.0.0.1:8080:80` publishes on loopback only.

        Its root account accepts the ssh key that is made with it. `seed` names the volume its dockerd starts with:
        by default the lab's volume of images, none if empty. If any of it fails, everything made is removed.
        """
        try:
            _docker("volume", "create", f"--label={images.LABEL}=1", self.volume)
            if source := images.seed() if seed is None else seed:
                copy_volume(source, self.volume)
            published = [f"--publish={port}" for port in ports]
            _docker("run", "--detach", *published, *self._options(mounts), image)
            self.wait()
            _run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "lab", "-f", str(self.key))
            self.put("/root/.ssh/authorized_keys", self.public_key, 0o600)
        except BaseException:
            self.remove()
            raise
        return self

    def _options(self, mounts: Sequence[str]) -> list[str]:
        return [
            *(f"--cap-add={name}" for name in CAPABILITIES),
            *OPTIONS,
            f"--name={self.name}",
            f"--hostname={self.name}",
            f"--network={images.NETWORK}",
            f"--ip={self.address}",
            f"--volume={_resolver()}:/etc/resolv.conf:ro",
            f"--volume={self.volume}:/var/lib/docker",
            *(f"--volume={mount}" for mount in mounts),
        ]

    # ---- power --------------------------------------------------------------------------------------------------

    def reboot(self) -> None:
        """Shut down in order and start; returns when it has started."""
        _docker("restart", "--time=90", self.name)
        self.wait()

    def power_cut(self) -> None:
        """Kill every process at once with SIGKILL, then start as `power_on` does."""
        self.power_off()
        self.power_on()

    def power_off(self) -> None:
        """The first half of a power cut; another thread may call it while something runs in the box."""
        _docker("kill", self.name)

    def power_on(self) -> None:
        """Start it after `power_off`; returns when it has started."""
        _docker("start", self.name)
        self.wait()

    def wait(self, timeout: float = _STARTS) -> None:
        """Wait until systemd has finished booting and dockerd, if there is one, answers."""
        assert waits.wait_until(self._is_up, timeout, 0.1), (
            f"{self.name} has not started within {timeout:g} s: systemd is {self.state()!r}\n"
            f"{self.units('--failed')}\n{self.journal()}"
        )

    def _is_up(self) -> bool:
        if self.state() not in ("running", "degraded"):
            return False
        docker = self.exec("sh", "-c", "! command -v dockerd || docker info", check=False)
        return docker.status == 0

    def state(self) -> str:
        """The state systemd reports: running, degraded, starting, stopping; empty if it does not answer."""
        return self.exec("systemctl", "is-system-running", check=False).stdout.strip()

    # ---- inside -------------------------------------------------------------------------------------------------

    def exec(
        self,
        *argv: str,
        stdin: str | IO[bytes] | None = None,
        check: bool = True,
        user: str = "root",
        timeout: float = _TIMEOUT,
    ) -> Completed:
        """Run a program in it as one of its users; with `check`, a status other than 0 fails the test."""
        command = ["docker", "exec", "--interactive", f"--user={user}", self.name, *argv]
        return _checked(processes.run(command, stdin=stdin, timeout=timeout), argv, check)

    def docker(self, *argv: str) -> str:
        """The output of a command of the box's own Docker."""
        return self.exec("docker", *argv).stdout.strip()

    def load(self, names: Sequence[str]) -> None:
        """Give images of this machine to its own Docker."""
        with subprocess.Popen(["docker", "save", *names], stdout=subprocess.PIPE) as saved:
            self.exec("docker", "load", stdin=saved.stdout)

    def units(self, *argv: str) -> str:
        """The output of `systemctl list-units`."""
        return self.exec("systemctl", "list-units", "--no-pager", "--plain", *argv, check=False).stdout

    def journal(self, lines: int = 60, *argv: str) -> str:
        """The end of its journal, to print with a failure; never fails itself."""
        quiet = "--exclude-identifier=containerd"  # ten lines for each container
        return self.exec("journalctl", "--no-pager", quiet, f"--lines={lines}", *argv, check=False).stdout

    def put(self, path: str, data: bytes | str, mode: int = 0o644) -> None:
        """Write a file owned by root, and make its directories."""
        raw = data.encode() if isinstance(data, str) else data
        member = tarfile.TarInfo(path.lstrip("/"))
        member.size, member.mode = len(raw), mode
        with tempfile.TemporaryFile() as archive:
            with tarfile.open(fileobj=archive, mode="w") as tar:
                tar.addfile(member, io.BytesIO(raw))
            self._unpack(archive, "/")

    def put_tree(self, directory: Path, path: str) -> None:
        """Copy the content of a directory into a new one of the box, owned by root."""
        self.exec("mkdir", "-p", path)
        with tempfile.TemporaryFile() as archive:
            with tarfile.open(fileobj=archive, mode="w") as tar:
                tar.add(directory, ".")
            self._unpack(archive, path)

    def _unpack(self, archive: IO[bytes], path: str) -> None:
        archive.seek(0)
        self.exec("tar", "--extract", "--no-same-owner", f"--directory={path}", stdin=archive)

    def get(self, path: str) -> bytes:
        """The content of a file."""
        with tempfile.TemporaryFile() as out:
            argv = ["docker", "exec", self.name, "cat", path]
            _checked(processes.run(argv, stdout=out, timeout=_TIMEOUT), argv, check=True)
            out.seek(0)
            return out.read()

    def install(self, wheel: Path) -> None:
        """Install pushrod from a wheel as a user does: in a virtual environment, with what is missing by apt and
        pip.

        images.BOX already has the environment and pushrod's dependencies: with it, this takes a second.
        """
        place = f"/root/{wheel.name}"
        self.put(place, wheel.read_bytes())
        pip = [f"{PUSHROD}/bin/pip", "install", "--quiet", f"{place}[host,web]"]
        if self.exec("test", "-x", pip[0], check=False).status == 0:
            self.exec(*pip, "--no-index", "--force-reinstall", "--no-deps")
            self.exec(*pip, "--no-index")
            return
        self.exec("apt-get", "update")
        self.exec("env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "install", "--yes", "python3-venv")
        self.exec("python3", "-m", "venv", PUSHROD)
        self.exec(*pip)

    # ---- from outside -------------------------------------------------------------------------------------------

    @property
    def key(self) -> Path:
        """The private ssh key that was made with the box."""
        return self.scratch / "key"

    @property
    def public_key(self) -> str:
        """Its public key, as a line of authorized_keys."""
        return self.key.with_suffix(".pub").read_text()

    def ssh_command(self, key: Path | None = None) -> list[str]:
        """`ssh` with a key and this box's known_hosts, without the machine's own configuration or a destination."""
        return [
            *("ssh", "-F", "none", "-i", str(key or self.key), "-T"),
            *("-o", "IdentitiesOnly=yes", "-o", "BatchMode=yes", "-o", f"ConnectTimeout={SSH_WAITS}"),
            *("-o", "StrictHostKeyChecking=accept-new"),
            *("-o", f"UserKnownHostsFile={self.scratch / 'known_hosts'}"),
        ]

    def ssh(
        self,
        *argv: str,
        user: str = "root",
        key: Path | None = None,
        stdin: str | None = None,
        check: bool = True,
        timeout: float = _TIMEOUT,
    ) -> Completed:
        """Run a command there over ssh, as from another machine."""
        command = [*self.ssh_command(key), f"{user}@{self.address}", shlex.join(argv)]
        return _checked(processes.run(command, stdin=stdin, timeout=timeout), argv, check)

    def git_environment(self, key: Path | None = None) -> dict[str, str]:
        """The environment with which `git push` reaches the box."""
        return {
            **os.environ,
            "GIT_SSH_COMMAND": shlex.join(self.ssh_command(key)),
            "GIT_TERMINAL_PROMPT": "0",
        }

    def get_page(
        self,
        path: str = "/",
        site: str = "",
        port: int = 80,
        timeout: float = 10.0,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """Send a request to the box's edge, as a browser that resolved `site` to its address would."""
        connection = http.client.HTTPConnection(self.address, port, timeout=timeout)
        with contextlib.closing(connection):
            connection.request("GET", path, headers={**(headers or {}), **({"Host": site} if site else {})})
            answer = connection.getresponse()
            names = {name.lower(): value for name, value in answer.getheaders()}
            return Answer(answer.status, names, answer.read())

    # ---- making and removing ------------------------------------------------------------------------------------

    @property
    def volume(self) -> str:
        """The volume in which its dockerd keeps everything."""
        return f"{self.name}-docker"

    def remove(self) -> None:
        """Remove it and everything it has; does nothing if it does not exist."""
        processes.run(["docker", "rm", "--force", "--volumes", self.name], timeout=_TIMEOUT)
        processes.run(["docker", "volume", "rm", self.volume], timeout=_TIMEOUT)
        self._scratch.cleanup()


def copy_volume(source: str, target: str) -> None:
    """Fill a new volume with what a stopped dockerd has left in another."""
    place = Path(_docker("volume", "inspect", "--format", "{{.Mountpoint}}", source).strip())
    mount = f"--volume={place.parents[1]}:/volumes"  # one mount, because hard links cannot cross mounts
    _docker("run", "--rm", "--network=none", mount, images.DEBIAN, "sh", "-euc", _COPY, "sh", source, target)


def _resolver() -> str:
    """The resolver configuration with name servers that a container can reach."""
    behind = Path("/run/systemd/resolve/resolv.conf")
    return str(behind if behind.exists() else "/etc/resolv.conf")


def _docker(*argv: str) -> str:
    return _run("docker", *argv)


def _run(*argv: str) -> str:
    return _checked(processes.run(argv, timeout=_TIMEOUT), argv, check=True).stdout


def _checked(done: Completed, argv: Sequence[str], check: bool) -> Completed:
    assert not check or done.status == 0, (
        f"{shlex.join(argv)} ended with status {done.status}:\n{done.stdout}\n{done.stderr}"
    )
    return done
