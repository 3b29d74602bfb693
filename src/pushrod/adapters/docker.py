"""Docker as pushrod drives it: its command line, asked in JSON, told in argv lists.

The command line is the contract that every engine since 20.10 keeps; nothing here speaks the API itself.
"""

import errno
import io
import os
import re
import shutil
import tarfile
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import IO, Any

import msgspec

from pushrod.core.errors import BuildError, HostError
from pushrod.core.lines import split
from pushrod.core.values import Value
from pushrod.system import files, processes, signals

APP, RELEASE, SERVICE, INSTANCE = "pushrod.app", "pushrod.release", "pushrod.service", "pushrod.instance"
"""Labels on everything pushrod makes on an engine; what has none of them is somebody else's."""

REVISION = "org.opencontainers.image.revision"
"""The commit an image was built from (OCI image specification, annotations)."""

MADE_BY = "pushrod.made-by"
"""The label that says for which release a volume was made: one that was never live takes it along."""

_PRIVATE = re.compile(r"(?i)(?:\w+_)?(?:token|secret|password|passwd|key|credentials|dsn|url)")
"""Build arguments that are taken for secrets by their names. None of these names means anything to Docker's programs,
to what they start, or to the loader of programs."""

_PUT = "/pushrod"  # where a file is unpacked in the container that is made for it
_FULL = re.compile(r"no space left on device", re.IGNORECASE)
_QUICK = 60.0  # seconds for a question, and for an order that is carried out at once
_BUILD = 3600.0  # seconds for a build or a pull
_PRUNE = 300.0  # seconds to prune one cache of builds
_GRACE = 10.0  # seconds that Docker gives a container to stop which does not say how long it takes
_TOGETHER = 8  # commands that are run beside each other
_TAIL = 50  # lines of a failed build that go with its error

Say = Callable[[str], None]


class Container(Value, frozen=True):
    """A container as `docker inspect` has it, in the few words that matter here.

    `health` is empty where the container has no health check of its own, `check` is that check as an argv.
    `patience` is how long Docker lets it fail from its start before it is unhealthy, and `grace` how long it has to
    stop, in seconds. `policy` is its restart policy. `networks` maps the name of each network it is connected to, to
    its address there (empty while it does not run).
    """

    name: str
    labels: dict[str, str]
    image: str
    state: str
    health: str = ""
    exit_code: int = 0
    pid: int = 0
    restarts: int = 0
    started: str = ""
    finished: str = ""
    error: str = ""
    policy: str = ""
    out_of_memory: bool = False
    check: tuple[str, ...] = ()
    patience: float = 0.0
    grace: float = 10.0
    networks: dict[str, str] = {}

    @property
    def running(self) -> bool:
        """Whether its first process runs."""
        return self.state == "running"


def environment(at: Path | None = None) -> dict[str, str]:
    """What Docker's programs are given of our environment: where the engine is, and the usual.

    `at` is the socket of another engine than the host's.
    """
    names = ("PATH", "HOME", "LANG", "TZ", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY")
    found = {n: v for n, v in os.environ.items() if n in names or n.startswith("DOCKER_")}
    if at is not None:
        found.pop("DOCKER_CONTEXT", None)  # it would go before the socket
        found["DOCKER_HOST"] = f"unix://{at}"
    return found


def docker(
    *argv: str, timeout: float = _QUICK, stdin: str | IO[bytes] | None = None, at: Path | None = None
) -> str:
    """Run one command and return what it printed; HostError with Docker's own words if it fails."""
    done = processes.run(["docker", *argv], env=environment(at), timeout=timeout, stdin=stdin)
    if done.status != 0:
        raise failed(done.stderr or done.stdout, f"docker {argv[0]}")
    return done.stdout


def failed(said: str, where: str) -> HostError:
    """The error that Docker's words mean: one that is known, or just the words."""
    last = _last(said) or "failed and said nothing"
    return known(said, where) or HostError(
        last,
        where=where,
        hint="`pushrod doctor` looks at the engine and what drives it",
        log=tuple(split(said)[-20:]),
    )


def known(said: str, where: str) -> HostError | None:
    """What is the machine's fault, not the app's: no engine, no rights, a full disk, a used port."""
    if re.search(r"permission denied.*(docker\.sock|docker daemon)", said, re.DOTALL):
        return HostError(
            "this user may not talk to the Docker engine",
            where="/var/run/docker.sock",
            hint="as root: usermod -aG docker pushrod (or run `pushrod host init` again), then log in anew",
        )
    if re.search(
        r"Cannot connect to the Docker daemon|error during connect|Is the docker daemon running", said
    ):
        return HostError(
            "the Docker engine does not answer",
            where=where,
            hint="start it: systemctl start docker; journalctl -u docker says why it is not running",
        )
    if _FULL.search(said):
        return files.os_error(OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), where)
    if found := re.search(r"Bind for (\S+):(\d+) failed: port is already allocated", said):
        return HostError(f"port {found[2]} is in use", where=where, hint=f"ss -ltnp sport = :{found[2]}")
    if re.search(r"non-overlapping IPv4 address pool|address pools have been fully subnetted", said):
        return HostError(
            "the Docker engine has no addresses left for another network",
            where=where,
            hint="docker network prune removes those that nothing uses, docker network ls lists them; "
            "`default-address-pools` in /etc/docker/daemon.json gives it more",
        )
    if "Pool overlaps with other one on this address space" in said:
        return HostError(
            "another network of the Docker engine has the addresses of this release's",
            where=where,
            hint="docker network ls and docker network inspect show which; remove it, or choose another `pool` in "
            "host.json (docs/host.md), and push again",
        )
    if re.search(r"(?:^|: )Address already in use", said):
        return HostError(
            "another container has an address of this release's",
            where=where,
            hint="docker network inspect shows which: it is none of pushrod's; remove it, and push again",
        )
    return None


def _last(said: str) -> str:
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    errors = [line for line in lines if re.match(r"(?i)error|.*error response", line)]
    return re.sub(r"^Error response from daemon: ", "", (errors or lines or [""])[-1])


def answers() -> str:
    """The engine's version; HostError where there is none, none answers, or this user may not ask it."""
    if shutil.which("docker") is None:
        raise HostError("Docker is not installed", hint="as root: pushrod host init")
    said = docker("version", "--format", "{{.Server.Version}}", timeout=20).strip()
    if not said:
        raise failed("Cannot connect to the Docker daemon", "docker version")
    return said


_INFO = ("info", "--format", "{{json .}}")
_ahead: list[Future[str]] = []


def ask_ahead() -> None:
    """Have the answer to `info` fetched while other things are done: Docker's program starts all its plugins for it,
    which takes four times as long as any other question."""
    if info.cache_info().currsize == 0 and not _ahead:
        pool = ThreadPoolExecutor(1)
        with signals.signals_held():
            _ahead.append(pool.submit(docker, *_INFO))
        pool.shutdown(wait=False)


@cache
def info() -> dict[str, Any]:
    """What the engine says of itself (`docker info`); it does not change while a command runs."""
    found: dict[str, Any] = msgspec.json.decode(_ahead.pop().result() if _ahead else docker(*_INFO))
    return found


# ---- containers ---------------------------------------------------------------------------------------------


def containers(labels: Mapping[str, str]) -> list[Container]:
    """The containers, running or not, that have all of these labels (an empty value: with any value)."""
    ids = docker("ps", "--all", "--quiet", "--no-trunc", *_filters(labels)).split()
    return inspect(ids)


def labelled(labels: Mapping[str, str], name: str) -> set[str]:
    """What stands in one more label of those containers, without the rest being asked for."""
    form = f'{{{{.Label "{name}"}}}}'
    return {*docker("ps", "--all", "--format", form, *_filters(labels)).split()}


def inspect(names: Sequence[str]) -> list[Container]:
    """The containers of these names that exist."""
    if not names:
        return []
    done = processes.run(["docker", "container", "inspect", *names], env=environment(), timeout=_QUICK)
    if done.status != 0 and "No such container" not in done.stderr:
        raise failed(done.stderr, "docker inspect")
    return [_container(found) for found in msgspec.json.decode(done.stdout or "[]")]


def _container(found: dict[str, Any]) -> Container:
    state = found["State"]
    networks = found["NetworkSettings"].get("Networks") or {}
    return Container(
        name=found["Name"].lstrip("/"),
        labels=found["Config"].get("Labels") or {},
        image=found["Image"],
        state=state["Status"],
        health=(state.get("Health") or {}).get("Status", "").replace("none", ""),
        exit_code=state["ExitCode"],
        pid=state["Pid"],
        restarts=found.get("RestartCount", 0),
        started=state["StartedAt"],
        finished=state["FinishedAt"],
        error=state.get("Error", ""),
        policy=found["HostConfig"]["RestartPolicy"]["Name"],
        out_of_memory=state.get("OOMKilled", False),
        check=_check(found["Config"]),
        patience=_patience(found["Config"].get("Healthcheck") or {}),
        grace=float(found["Config"].get("StopTimeout") or _GRACE),
        networks={name: (n or {}).get("IPAddress", "") for name, n in networks.items()},
    )


def _check(config: dict[str, Any]) -> tuple[str, ...]:
    match (config.get("Healthcheck") or {}).get("Test") or []:
        case ["CMD", *argv]:
            return tuple(argv)
        case ["CMD-SHELL", script]:
            return (*(config.get("Shell") or ["/bin/sh", "-c"]), script)
    return ()


def _patience(check: dict[str, Any]) -> float:
    # Durations in nanoseconds; 0 is the default: 30 s, three times (Docker's reference of HEALTHCHECK).
    interval, retries = check.get("Interval") or 30e9, check.get("Retries") or 3
    return float(((check.get("StartPeriod") or 0) + interval * retries) / 1e9) if check.get("Test") else 0.0


def _filters(labels: Mapping[str, str]) -> list[str]:
    pairs = (f"label={name}={value}" if value else f"label={name}" for name, value in labels.items())
    return [word for pair in pairs for word in ("--filter", pair)]


def logs(name: str, lines: int = _TAIL, *, since: str = "", times: bool = False) -> list[str]:
    """The last lines a container has printed, both of its streams in their order; none where there is no such one.

    Only what was printed after `since`, a time as Docker writes it; with `times` each line begins with its own.
    """
    argv = ["docker", "logs", "--tail", str(lines), *(["--since", since] if since else [])]
    collected: list[str] = []
    argv += ["--timestamps"] if times else []
    done = processes.run([*argv, name], env=environment(), timeout=_QUICK, on_line=collected.append)
    return collected if done.status == 0 else []


def execute(
    name: str, argv: Sequence[str], *, timeout: float = _QUICK, user: str = ""
) -> processes.Completed:
    """Run a program in a running container, and return how it ended."""
    who = ["--user", user] if user else []
    return processes.run(["docker", "exec", *who, name, *argv], env=environment(), timeout=timeout)


def stop(containers: Sequence[Container]) -> None:
    """Stop containers at the same time, each within the grace it was made with."""
    if containers:
        longest = max(c.grace for c in containers)
        docker("stop", *(c.name for c in containers), timeout=longest + _QUICK)


def empty(directory: Path, images: Sequence[str]) -> None:
    """Remove what is in a directory, whoever's it is, by the `find` of the first of these images that has one.

    That is a program of the app's choice, so it gets no more than it needs.
    """
    mount = f"type=bind,source={directory},target=/emptied"
    rights = ("--user=0:0", "--cap-drop=ALL", "--cap-add=DAC_OVERRIDE", "--cap-add=FOWNER", "--network=none")
    bounds = ("--pids-limit=16", "--memory=128m", "--memory-swap=128m", "--cpus=1", "--log-driver=none")
    closed = ("--read-only", "--security-opt=no-new-privileges")
    for name in images:
        argv = [
            "docker",
            "run",
            "--rm",
            *rights,
            *bounds,
            *closed,
            "--mount",
            mount,
            "--entrypoint=find",
            name,
        ]
        words = [*argv, "/emptied", "-mindepth", "1", "-delete"]
        done = processes.run(words, env=environment(), timeout=_QUICK, on_line=lambda _: None)
        if done.status == 0:
            return


def put(path: Path, raw: bytes, rights: tuple[int, int, int], image: str) -> None:
    """Write a file with a mode, user and group that only root can give it; its directory is there. It appears whole.

    The engine unpacks it for a container of `image` that is made for this and never started.
    """
    mode, uid, gid = rights
    entry = tarfile.TarInfo(f".{path.name}")
    entry.size, entry.mode, entry.uid, entry.gid = len(raw), mode, uid, gid
    mount = f"type=bind,source={path.parent},target={_PUT}"
    made = docker("create", "--network=none", "--entrypoint=none", "--mount", mount, image).strip()
    try:
        with tempfile.TemporaryFile() as archive:
            with tarfile.open(fileobj=archive, mode="w") as tar:
                tar.addfile(entry, io.BytesIO(raw))
            archive.seek(0)
            argv = ["docker", "cp", "-", f"{made}:{_PUT}"]
            done = processes.run(argv, env=environment(), stdin=archive, timeout=_QUICK)
        if done.status != 0:
            raise failed(done.stderr, "docker cp")
    finally:
        remove([made])
    path.with_name(entry.name).replace(path)
    files.sync_directory(path.parent)


def remove(names: Sequence[str]) -> None:
    """Remove containers with their anonymous volumes, also such as run."""
    if names:
        docker("rm", "--force", "--volumes", *names)


# ---- images -------------------------------------------------------------------------------------------------


_images: dict[str, dict[str, Any] | None] = {}
_tags: dict[str, list[str]] = {}
"""What `image`, `images` and `tags` have found, for this command's own life: they are asked for each image of an app
many times. What gives or takes a name forgets it."""


def _forget(*names: str) -> None:
    """What is known of these names may have changed; without any, all that is known."""
    _tags.clear()
    for name in names or tuple(_images):
        _images.pop(name, None)


def image(reference: str) -> dict[str, Any] | None:
    """What the engine knows of an image; None when it does not have it."""
    if reference not in _images:
        found = _inspected([reference])
        _images[reference] = found[0] if found else None
    return _images[reference]


def made_by(reference: str) -> list[str]:
    """What each layer of an image was made by, the newest first; a copy of files does not tell which they were."""
    return docker("history", "--no-trunc", "--format={{json .CreatedBy}}", reference).splitlines()


def images(references: Sequence[str], at: Path | None = None) -> list[dict[str, Any]]:
    """What an engine knows of those of these images that it has; of the host's, `image` knows them from then on."""
    if at is not None:
        return _inspected(references, at)
    unknown = [reference for reference in dict.fromkeys(references) if reference not in _images]
    asked = _inspected(unknown)
    found = {name: its for its in asked for name in its.get("RepoTags") or () if name in unknown}
    # Each that the engine has is told once, in whichever way it was called: if all have one of these names, it has
    # none of the others.
    _images.update({name: found.get(name) for name in unknown if name in found or len(found) == len(asked)})
    known = [its for reference in dict.fromkeys(references) if (its := _images.get(reference)) is not None]
    return known + [its for its in asked if its not in known]


def _inspected(references: Sequence[str], at: Path | None = None) -> list[dict[str, Any]]:
    if not references:
        return []
    argv = ["docker", "image", "inspect", *references]
    done = processes.run(argv, env=environment(at), timeout=_QUICK)
    if done.status != 0 and not re.search("no such image", done.stderr, re.IGNORECASE):
        raise failed(done.stderr, "docker image inspect")
    found: list[dict[str, Any]] = msgspec.json.decode(done.stdout or "[]")
    return found


def copy(reference: str, *, source: Path | None, target: Path | None) -> None:
    """Have one engine load what another has, None being the host's."""
    _forget()
    saving = processes.output_of(["docker", "save", reference], env=environment(source), timeout=_BUILD)
    with saving as archive:
        done = processes.run(["docker", "load"], env=environment(target), stdin=archive, timeout=_BUILD)
    if done.status != 0:
        raise failed(done.stderr, f"docker load {reference}")


def pull(reference: str, say: Say) -> None:
    """Fetch an image from its registry. Raises BuildError if it cannot be had."""
    _forget()
    done = processes.run(["docker", "pull", reference], env=environment(), timeout=_BUILD, on_line=say)
    if done.status != 0:
        raise known(done.stdout, f"image {reference}") or BuildError(
            f"the image cannot be pulled: {_last(done.stdout)}",
            where=reference,
            hint="check its name; without a registry: docker save IMAGE | ssh pushrod@HOST image load -",
        )


def load(archive: IO[bytes], say: Say) -> list[str]:
    """Load the images of an archive that `docker save` wrote; their names. Raises BuildError if it is none."""
    done = processes.run(["docker", "load"], env=environment(), stdin=archive, timeout=_BUILD, on_line=say)
    names = [line.partition(": ")[2] for line in done.stdout.splitlines() if line.startswith("Loaded image")]
    _forget(*names)
    if done.status != 0 or not names:
        raise known(done.stdout, "docker load") or BuildError(
            f"no image could be loaded: {_last(done.stdout) or 'it holds none'}",
            where="the archive",
            hint="docker save IMAGE > FILE writes what is wanted",
        )
    return names


def tag(source: str, name: str) -> None:
    """Give an image a further name."""
    _forget(name)
    docker("tag", source, name)


def untag(name: str) -> None:
    """Take a name from an image, and remove the image if that was its last; nothing where it is gone or in use."""
    _forget(name)
    done = processes.run(["docker", "rmi", name], env=environment(), timeout=_QUICK)
    if done.status != 0 and not re.search(r"No such image|is using|in use", done.stderr):
        raise failed(done.stderr, "docker rmi")


def tags(prefix: str) -> list[str]:
    """The names that begin with `prefix` and a slash: `pushrod/shop` has `pushrod/shop/backend:1f2e…`."""
    if prefix not in _tags:
        form = "{{.Repository}}:{{.Tag}}"
        listed = docker("images", "--format", form, "--filter", f"reference={prefix}/*").split()
        _tags[prefix] = sorted({line for line in listed if "<none>" not in line})
    return _tags[prefix]


def build(
    context: Path,
    *,
    dockerfile: Path,
    labels: Mapping[str, str],
    arguments: Mapping[str, str | None],
    target: str,
    where: str,
    at: Path,
    say: Say,
) -> str:
    """Build an image from a directory on an engine of the app's own; its ID. Raises BuildError, which says `where`.

    An argument that is named like a secret reaches Docker's program through the environment, where other accounts
    of the machine do not see it. No other does: LD_PRELOAD or DOCKER_CONFIG there would be a way to become us.
    """
    private = {n: v for n, v in arguments.items() if v is not None and _PRIVATE.fullmatch(n)}
    # Its steps are in the network of the engine, which has no other.
    argv = ["docker", "build", "--network=host", "--file", str(dockerfile)]
    argv += [word for label, value in labels.items() for word in ("--label", f"{label}={value}")]
    for argument, value in arguments.items():
        argv += ["--build-arg", argument if argument in private or value is None else f"{argument}={value}"]
    argv += ["--target", target] if target else []
    # On an engine before 23 the client asks for the builder that came before BuildKit, unless it is told.
    variables = environment(at) | private | {"BUILDKIT_PROGRESS": "plain", "DOCKER_BUILDKIT": "1"}

    def heard(line: str) -> None:
        if told := _told(line):
            say(told)

    with tempfile.TemporaryDirectory() as scratch:
        written = Path(scratch) / "id"
        argv += ["--iidfile", str(written), str(context)]
        done = processes.run(argv, env=variables, timeout=_BUILD, on_line=heard)
        if (
            done.status != 0 and _NO_BUILDX in done.stdout
        ):  # a host whose owner has installed Docker without it
            say("without BuildKit: the Docker client lacks buildx (docker-buildx, or docker-buildx-plugin)")
            done = processes.run(
                argv, env=variables | {"DOCKER_BUILDKIT": "0"}, timeout=_BUILD, on_line=heard
            )
        if done.status == 0:
            return written.read_text().strip()
    # Only the builder's own last words: a step of the build, or its text, may have such words too. But a full disk
    # is found by a step, and told of before the lines of the Dockerfile that the builder shows.
    end = split(done.stdout)[-20:]
    own = [*filter(_FULL.search, end), *(line for line in end[-5:] if not _STEP.match(line))]
    raise known("\n".join(own), "docker build") or BuildError(
        f"the image could not be built: {_last(done.stdout).removeprefix('ERROR: ')}",
        where=where,
        hint="the lines above are the build's own; `docker build` in the repository shows the same",
    )


_NO_BUILDX = "buildx component is missing"

_STEP = re.compile(r"#|>>>|-{3,}| *\d+ \||The command |.*process \".*did not complete successfully")
"""What a builder shows of a step that has failed: its text and what it printed."""

# What BuildKit and the older builder say of themselves, between the lines of the build.
_CHATTER = re.compile(
    r"DONE|CACHED|\[internal\]|transferring |exporting |writing image|naming to|unpacking|building with|resolve "
    r"|sha256:|extracting |FROM |\.\.\.|\[auth\]|--->|Removing intermediate|Sending build context|-{6,}"
)


def _told(line: str) -> str:
    """A line of a build as people want to read it; empty for what the builder says of itself."""
    text = re.sub(r"^#\d+ (\d+\.\d+ )?", "", line).rstrip()
    return "" if _CHATTER.match(text.lstrip()) else text


def prune_images(app: str) -> None:
    """Remove images without a name that were built for an app."""
    _forget()
    docker("image", "prune", "--force", "--filter", f"label={APP}={app}")


def prune_builds(hours: int, at: Path | None = None) -> None:
    """Remove from an engine's cache of builds what was last used so many hours ago, or longer."""
    docker("builder", "prune", "--all", "--force", "--filter", f"until={hours}h", timeout=_PRUNE, at=at)


# ---- networks and volumes -----------------------------------------------------------------------------------


def networks(labels: Mapping[str, str]) -> list[str]:
    """The names of the networks that have these labels."""
    return docker("network", "ls", "--format", "{{.Name}}", *_filters(labels)).split()


def remove_network(name: str) -> None:
    """Remove a network, as `remove_networks` does."""
    remove_networks([name])


def remove_networks(names: Sequence[str]) -> None:
    """Remove networks, first taking off them whatever is still connected; nothing where one is not there.

    One that keeps the name of a container that is long gone (a fault of Docker's, until it is started again) stays.
    """
    if not names:
        return
    done = processes.run(["docker", "network", "inspect", *names], env=environment(), timeout=_QUICK)
    if done.status != 0 and not re.search(r"No such network|not found", done.stderr):
        raise failed(done.stderr, "docker network inspect")
    there = msgspec.json.decode(done.stdout or "[]")
    off = ["docker", "network", "disconnect", "--force"]
    _at_once([[*off, n["Name"], c["Name"]] for n in there for c in (n.get("Containers") or {}).values()])
    for done in _at_once([["docker", "network", "rm", network["Name"]] for network in there]):
        if done.status != 0 and not re.search(r"has active endpoints|No such network|not found", done.stderr):
            raise failed(done.stderr, "docker network rm")


def _at_once(commands: Sequence[Sequence[str]]) -> list[processes.Completed]:
    """Run commands beside each other, each of which waits for the kernel most of the time; how each of them ended."""
    with ThreadPoolExecutor(_TOGETHER) as pool:
        with signals.signals_held():
            begun = [pool.submit(processes.run, argv, env=environment(), timeout=_QUICK) for argv in commands]
        return [one.result() for one in begun]


def volumes(labels: Mapping[str, str]) -> list[str]:
    """The names of the volumes that have these labels."""
    return docker("volume", "ls", "--quiet", *_filters(labels)).split()


def drivers() -> dict[str, str]:
    """All volumes by their names, with the driver of each."""
    lines = docker("volume", "ls", "--format", "{{.Name}} {{.Driver}}").splitlines()
    return {name: driver for name, _, driver in (line.partition(" ") for line in lines)}


def has_volume(name: str) -> bool:
    """Whether there is a volume of that name."""
    return name in docker("volume", "ls", "--quiet", "--filter", f"name={name}").split()


def make_volume(
    name: str, labels: Mapping[str, str], options: Mapping[str, str], driver: str = "local"
) -> None:
    """Make a volume of that name, or leave the one that is there as it is."""
    words = [w for label, value in labels.items() for w in ("--label", f"{label}={value}")]
    words += [w for option, value in options.items() for w in ("--opt", f"{option}={value}")]
    docker("volume", "create", "--driver", driver, *words, name)


def remove_volumes(names: Iterable[str]) -> None:
    """Remove volumes with what is in them."""
    if names := list(names):
        docker("volume", "rm", *names)
