"""The builders of apps: for each app a Docker engine in a container of the host's engine, running only while it
builds.

One app's builds cannot reach another's: the layer cache and cache mounts, the images that a Dockerfile may name, the
network of build steps and `ADD`, processes, memory and disk. A builder gets only those of the host's images that the
app's Dockerfiles name, and the host's engine gets only the image that was built, under the app's own name.
`builder.py` runs in the container, with `image_export.py`.
"""

import contextlib
import hashlib
import ipaddress
import json
import socket
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO, Any

import psutil

from pushrod.adapters import docker
from pushrod.adapters.docker import OnLine
from pushrod.core.errors import BuildError, HostError, PushrodError
from pushrod.engines.docker import builder, builder_files, builder_host
from pushrod.engines.docker.image_export import chained
from pushrod.manifest import image_refs
from pushrod.state.apps import App, HostSettings, Root
from pushrod.system import files, locks, waits

LABEL = "pushrod.builder"
"""Label of a builder's container, network and volume; its value is the app."""

INTERFACE = "pbuild-"
"""Prefix of the bridges of builders' networks: the host's packet rules match it."""

SLICE = "pushrodbuild.slice"
"""The slice in which all builders share what is left for builds (adapters.systemd)."""

_IMAGE = f"{image_refs.OWN}/builder:1"
"""An image without files: the container uses the host's programs, mounted read-only."""

_IDLE = 60.0  # idle seconds after which a builder ends
_PROCESSES = 2048  # for one build: half of what the slice allows all of them
_DAEMONS = 512  # processes and threads of the builder itself, in addition
_PART_OF_DISK = 2  # a builder may use half of the file system
_SPARE = 300 << 20  # bytes that builds leave free on it, for databases and logs
_INIT = "as root: pushrod host init"
_STARTS = 40.0  # seconds until a builder is ready
_TELLS = 3.0  # seconds in which a builder that ends reports why
_EDGE = 80  # the port on which every host answers its own containers
# Capabilities for a container that runs an engine: no device, no module, no clock; `--privileged` would give all of
# that.
_CAPABILITIES = (
    *(
        "AUDIT_WRITE",
        "CHOWN",
        "DAC_OVERRIDE",
        "FOWNER",
        "FSETID",
        "KILL",
        "MKNOD",
        "NET_ADMIN",
        "NET_BIND_SERVICE",
    ),
    *("NET_RAW", "SETFCAP", "SETGID", "SETPCAP", "SETUID", "SYS_ADMIN", "SYS_CHROOT", "SYS_PTRACE"),
)
_NO_NETWORK = "169.254.0.0/16"
"""Link-local: clouds serve a machine's metadata there, including keys."""


class Builder:
    """The builder of one app. Creating the value starts nothing."""

    def __init__(self, app: App) -> None:
        self.app = app
        self.name = f"pushrod.builder.{app.name}"  # a dot: no container of an app has one in its name
        self.place = app.root.runtime / "builders" / app.name
        self.engine = self.place / builder.ENGINE

    # ---- lifetime -------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def awake(self) -> Iterator[None]:
        """Keep it running during the block. Raises HostError if it cannot be started."""
        held = self._keep_running()
        if held is None:
            self._start()
            held = self._keep_running()
        if held is None:
            raise self._failed("the app's builder does not answer")
        with held:  # it does not end while somebody holds this
            yield

    def _connect(self, path: Path) -> socket.socket | None:
        connection = socket.socket(socket.AF_UNIX)
        if connection.connect_ex(str(path)) == 0:
            return connection
        connection.close()
        return None

    def _start(self) -> None:
        with self._changing():
            if self._answers():  # another command started it
                return
            self._remove_ended()
            files.make_private(self.place)
            self._run()
            ready = waits.wait_until(lambda: self._is_up() or self.trouble() != "", _STARTS)
            if not ready or self.trouble():
                raise self._failed(self.trouble() or "the app's builder did not start")

    def _changing(self) -> contextlib.AbstractContextManager[None]:
        """Keep other commands from starting or ending it meanwhile."""
        path = files.make_private(self.place.parent) / f"{self.app.name}.lock"
        return locks.lock(path, purpose="starting or ending a builder", timeout=120)

    def _remove_ended(self) -> None:
        """Remove the container of a builder that ended, and its data if there is too much."""
        self.end()
        if (self.place / builder.OVERFLOW).exists():
            docker.remove_volumes(docker.volumes({LABEL: self.app.name}))
        files.remove_tree(self.place)

    def _is_up(self) -> bool:
        return (self.place / builder.READY).exists()

    def _keep_running(self) -> IO[str] | None:
        """A lock that keeps it running; None if it does not run, or is about to end.

        The builder removes `ready` before it looks for users, so `ready` is checked here after taking the lock.
        """
        if not self._is_up():
            return None
        held = locks.shared(self.place / builder.USERS)
        connection = self._connect(self.engine) if self._is_up() else None
        if connection is None:
            held.close()
            return None
        connection.close()
        return held

    def _answers(self) -> bool:
        held = self._keep_running()
        if held is not None:
            held.close()
        return held is not None

    def trouble(self) -> str:
        """Why it ended, unless it was idle."""
        path = self.place / builder.TROUBLE
        return path.read_text().strip() if path.exists() else ""

    def _failed(self, what: str) -> HostError:
        rules = "its rules are not in place" in what
        return HostError(
            what,
            where=self.name,
            hint=f"{_INIT}, or systemctl restart pushrod-builds"
            if rules
            else f"docker logs {self.name} shows more",
            log=tuple(docker.logs(self.name, 10)),
        )

    def _run(self) -> None:
        network = self._network()
        argv = ["run", "--detach", "--pull=never", f"--name={self.name}", f"--hostname={self.app.name}"]
        argv += [
            f"--label={LABEL}={self.app.name}",
            f"--network={self.name}",
            "--cgroupns=private",
            "--userns=host",  # if the host's engine maps accounts: the builder's root is not mapped
            "--read-only",
        ]
        argv += ["--cap-drop=ALL", *(f"--cap-add={c}" for c in _CAPABILITIES)]
        argv += [f"--security-opt={o}" for o in ("seccomp=unconfined", "apparmor=unconfined")]
        argv += ["--security-opt=systempaths=unconfined", f"--cgroup-parent={SLICE}"]
        argv += [f"--memory={_memory()}", f"--pids-limit={_PROCESSES + _DAEMONS}", "--oom-score-adj=500"]
        argv += ["--ulimit=core=0"]
        argv += ["--log-driver=json-file", "--log-opt=max-size=1m", "--log-opt=max-file=1"]
        argv += [f"--tmpfs={d}" for d in ("/run:exec", "/tmp:exec", "/etc/docker")]  # noqa: S108
        argv += [f"--volume={self.name}:{builder.STORE}", f"--volume={self.place}:{builder.PLACE}"]
        argv += [
            f"--volume={path}:{path}:ro"
            for path in ("/usr", "/etc/ssl/certs", "/etc/docker/certs.d")
            if Path(path).is_dir()
        ]
        program = self.app.root.programs / "builder.py"
        if not program.is_file():
            raise HostError("this host lacks what builds need", where=str(program), hint=_INIT)
        modules = (
            program,
            program.with_name("image_export.py"),
        )  # on a host of an older pushrod it is one file
        argv += [f"--volume={path}:/{path.name}:ro" for path in modules if path.is_file()]
        argv += self._name_servers()
        argv += [f"--env={name}={value}" for name, value in builder_host.proxies().items()]
        settings = json.dumps(self._settings(network)._asdict())
        argv += [_IMAGE, "/usr/bin/python3", "-I", "-S", "/builder.py", settings]
        if not docker.has_volume(self.name):
            docker.make_volume(self.name, {LABEL: self.app.name}, {})
        if docker.image(_IMAGE) is None:
            with tempfile.TemporaryFile() as archive:
                archive.write(builder_files.archive())
                archive.seek(0)
                docker.docker("import", "-", _IMAGE, stdin=archive)
        docker.docker(*argv)

    def _network(self) -> ipaddress.IPv4Network:
        """Create its network if missing: no other container is on it."""
        asked = ("network", "inspect", "--format", "{{(index .IPAM.Config 0).Subnet}}", self.name)
        if self.name not in docker.networks({LABEL: self.app.name}):
            bridge = INTERFACE + hashlib.sha256(self.app.name.encode()).hexdigest()[:8]
            option = f"--opt=com.docker.network.bridge.name={bridge}"
            docker.docker("network", "create", f"--label={LABEL}={self.app.name}", option, self.name)
        return ipaddress.IPv4Network(docker.docker(*asked).strip())

    def _name_servers(self) -> list[str]:
        servers = builder_host.name_servers()
        if not servers:  # the host's own servers only: Docker's stand in for them, as for every container
            return []
        path = self.place / "resolv.conf"
        path.write_text("".join(f"nameserver {server}\n" for server in servers))
        return [f"--volume={path}:/etc/resolv.conf:ro"]

    def _settings(self, network: ipaddress.IPv4Network) -> builder.Settings:
        settings = self.app.root.host_settings or HostSettings()
        pool = ipaddress.IPv4Network(settings.pool)
        whole = psutil.disk_usage(docker.info()["DockerRootDir"]).total
        own = {a.address for own in psutil.net_if_addrs().values() for a in own if a.family == socket.AF_INET}
        engines = [p["Base"] for p in docker.info().get("DefaultAddressPools") or ()]
        closed = [settings.pool, *engines, _NO_NETWORK, "127.0.0.0/8"]
        closed += [f"{a}/32" for a in sorted(own) if not any(_within(a, network) for network in closed)]
        return builder.Settings(
            group=self.app.root.path.stat().st_gid,
            idle=_IDLE,
            memory=_memory(),
            processes=_PROCESSES,
            disk=whole // _PART_OF_DISK,
            spare=_SPARE,
            probes=[f"{network[1]}:{_EDGE}", f"{pool[-2]}:{_EDGE}"],
            closed=[network for network in closed if network != "127.0.0.0/8"],
            open=[s for s in builder_host.name_servers() if any(_within(s, network) for network in closed)],
            options=builder_host.registries(),
        )

    def end(self) -> None:
        """End it, if it runs; its data stays."""
        containers = docker.inspect([self.name])
        docker.stop([c for c in containers if c.running])
        docker.remove([c.name for c in containers])

    def remove(self) -> None:
        """Remove it with its data, if it exists."""
        self.end()
        docker.remove_networks(docker.networks({LABEL: self.app.name}))
        docker.remove_volumes(docker.volumes({LABEL: self.app.name}))
        files.remove_tree(self.place)
        (self.place.parent / f"{self.app.name}.lock").unlink(missing_ok=True)

    def remove_old_cache(self, hours: int) -> None:
        """Remove cache entries that no build has used for this many hours, and images without a name.

        Keeps images from the host: there are only as many as the app's Dockerfiles name.
        """
        if docker.has_volume(self.name):
            with self.awake():
                docker.prune_builds(hours, at=self.engine)
                docker.docker("image", "prune", "--force", at=self.engine)

    # ---- building -------------------------------------------------------------------------------------------

    def build(
        self,
        context: Path,
        *,
        dockerfile: Path,
        name: str,
        labels: Mapping[str, str],
        arguments: Mapping[str, str | None],
        target: str,
        named: Sequence[str],
        where: str,
        on_line: OnLine,
    ) -> None:
        """Build an image from a directory and load it into the host's engine under a name.

        `named` are the images that the Dockerfile names, except the app's own. Raises BuildError with `where`.
        """
        with self.awake(), ThreadPoolExecutor(1) as beside:
            self._copy_in(named, on_line)
            known = beside.submit(self._known, named)  # meanwhile the build runs
            try:
                built = docker.build(
                    context,
                    dockerfile=dockerfile,
                    labels=labels,
                    arguments=arguments,
                    target=target,
                    where=where,
                    at=self.engine,
                    on_line=on_line,
                )
            except PushrodError as e:
                if not self._answers():
                    waits.wait_until(lambda: self.trouble() != "", _TELLS, 0.1)
                if stopped := self._stopped(where):
                    raise stopped from e
                raise
            self._load(built, name, known.result())

    def _stopped(self, where: str) -> BuildError | None:
        """Why the builder ended during a build; if its data took too much disk, it is removed at once."""
        trouble = self.trouble()
        if (self.place / builder.OVERFLOW).exists():
            with self._changing():
                self._remove_ended()
            hint = "make the build write less, or free some disk; the next build starts with an empty cache"
        else:
            hint = f"push again; docker logs {self.name} shows more"
        return BuildError(f"the build was stopped: {trouble}", where=where, hint=hint) if trouble else None

    def _copy_in(self, named: Sequence[str], on_line: OnLine) -> None:
        """Copy named images that the host has and the builder lacks, so that no registry is needed for them."""
        # images named by digest cannot be saved
        references = [reference for reference in dict.fromkeys(named) if "@" not in reference]
        here = carrying(references, docker.images(references))
        there = carrying(list(here), docker.images(list(here), at=self.engine))
        for reference, image in here.items():
            if there.get(reference, {}).get("Id") != image["Id"]:
                on_line(f"copying {reference} to the app's builder")
                docker.copy(reference, source=None, target=self.engine)

    def _known(self, named: Sequence[str]) -> set[str]:
        """The layers that the host's engine has of the app's images and of their base images."""
        own = docker.tags(f"{image_refs.OWN}/{self.app.name}")
        images = docker.images([*own, *named])
        return {f"sha256:{chain}" for one in images for chain in chained(one["RootFS"]["Layers"])}

    def _load(self, image: str, name: str, known: set[str]) -> None:
        """Load an image into the host's engine, if possible only the layers that it lacks."""
        for layers in (known, set()):
            with self._connect(self.place / builder.EXPORT) or contextlib.nullcontext() as connection:
                if connection is None:
                    raise self._failed("the app's builder does not answer")
                asked = {"image": image, "name": name, "known": sorted(layers)}
                connection.sendall(json.dumps(asked).encode() + b"\n")
                with connection.makefile("rb") as archive, contextlib.suppress(BuildError):
                    docker.load(archive, lambda _: None)
                    return
        docker.copy(image, source=self.engine, target=None)  # an engine with another image store
        docker.tag(image, name)


def carrying(references: Sequence[str], images: Sequence[Mapping[str, Any]]) -> dict[str, Mapping[str, Any]]:
    """For each reference the image that carries it: an engine also finds images by their ID and by its beginning."""
    return {
        reference: image
        for reference in references
        for image in images
        if image_refs.carried(reference, [*(image.get("RepoTags") or ()), *(image.get("RepoDigests") or ())])
    }


def orphans(root: Root) -> list[str]:
    """The names of destroyed apps that left a builder behind."""
    argv = ("volume", "ls", "--filter", f"label={LABEL}", "--format", f'{{{{.Label "{LABEL}"}}}}')
    apps = {app.name for app in root.apps()}
    return sorted(name for name in docker.docker(*argv).split() if name not in apps)


def _within(address: str, network: str) -> bool:
    return ipaddress.ip_address(address) in ipaddress.ip_network(network)


def _memory() -> int:
    """Bytes that a builder may use: half of the machine's memory."""
    return psutil.virtual_memory().total // 2
