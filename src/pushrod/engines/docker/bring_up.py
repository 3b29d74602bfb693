"""Start an app: its stores, then the instances of its live release, each proved healthy before the next.

This is the only way to start an app on a Docker host: for deployments, for its unit at boot, and by hand. It reads
the plain files in the app's state repository and runs Docker's own programs. It uses only the standard library and is
copied below ROOT, so a server keeps running, and starts after a reboot, even if pushrod is removed from it.

 python3 -I -S bring_up.py up ROOT APP      exit 0: everything runs and is healthy; 1: it does not
 python3 -I -S bring_up.py down ROOT APP    instances first, then stores
"""

import contextlib
import fcntl
import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from concurrent import futures
from pathlib import Path

try:
    from pushrod.engines.docker import calls, container_health, gates, hooks, mounts, store_networks
except ImportError:  # the copy below ROOT has its modules in its own directory
    sys.path.insert(0, str(Path(__file__).resolve().parent))
    import calls  # type: ignore[import-not-found, no-redef, unused-ignore]
    import container_health  # type: ignore[import-not-found, no-redef, unused-ignore]
    import gates  # type: ignore[import-not-found, no-redef, unused-ignore]
    import hooks  # type: ignore[import-not-found, no-redef, unused-ignore]
    import mounts  # type: ignore[import-not-found, no-redef, unused-ignore]
    import store_networks  # type: ignore[import-not-found, no-redef, unused-ignore]


STORES_DEADLINE = 300.0  # seconds; includes recovery after a power cut
INSTANCES_DEADLINE = 180.0
_STOP = 1800.0  # seconds for stopping containers, each of which has its own grace period
_DRIVER = "volume-driver"  # the grant for volumes of any kind
_BINDS = {"bind", "rbind"}  # mount(8)
_INTERFACES = 32  # attempts: a container has far fewer interfaces
_AT_ONCE = 8  # health checks, or connections of stores, at the same time


class HookTrouble(calls.Trouble):
    """A hook that failed; its message already names the problem with its command."""

    def __init__(self, hook: hooks.Failed) -> None:
        super().__init__(hook.why)
        self.hook = hook


Fail = Callable[[hooks.Failed], None]
"""The reaction to a hook that fails."""


class App:
    """The paths of an app that are needed to start it."""

    def __init__(self, root: str, name: str) -> None:
        self.root, self.name = Path(root), name
        self.directory = self.root / "apps" / name
        self.state = self.directory / "state"
        self.stores = self.state / "stores" / "compose.yaml"
        self.live = self.state / "live"

    def release(self) -> Path | None:
        """The resolved directory of the live release; None if there is none."""
        return self.live.resolve() if (self.live / "release.json").exists() else None

    def program(self) -> list[str]:
        """The Compose program: the host's copy, else Docker's plugin."""
        own = self.root / "programs" / "docker-compose"
        return [str(own)] if own.exists() else ["docker", "compose"]

    def compose(self, file: Path, *argv: str) -> str:
        """Run Compose on one of the app's files; returns its output."""
        return calls.run([*self.program(), "--file", str(file), "--progress", "quiet", *argv])


# ---- up and down --------------------------------------------------------------------------------------------


def refuse(failed: hooks.Failed) -> None:
    """Raise Trouble for a failed hook."""
    raise HookTrouble(failed)


def report_hook(failed: hooks.Failed) -> None:
    """Report a failed hook and continue: in an app that was live before, health checks decide."""
    log(failed.why)


def stores_up(app: App, containers: list[str], fail: Fail = refuse) -> None:
    """Start an app's stores, leave running ones alone, and wait until each of these containers is up.

    Their own health checks decide. A store without one is waited for by code that knows its protocol.
    """
    hooked = hooks.read(app.stores.with_name(hooks.FILE))
    before = started(list(hooked))
    plain(app, {*calls.run(["docker", "volume", "ls", "--quiet", f"--filter=name=^{app.name}_"]).split()})
    store_networks.reconnect(json.loads(app.compose(app.stores, "config", "--format", "json")))
    app.compose(app.stores, "up", "--detach", "--no-build", "--pull", "never")
    after = started(list(hooked))
    for name, row in hooked.items():
        if name in after and after[name] != before.get(name) and (failed := hooks.after_start(row)):
            fail(failed)
    container_health.healthy(containers, STORES_DEADLINE)


def started(names: list[str]) -> dict[str, str]:
    """The running ones of these containers, each with its start time."""
    containers = calls.inspect(names)
    return {
        n: str(c["State"]["StartedAt"]) for n, c in containers.items() if c["State"]["Status"] == "running"
    }


def join(app: App, directory: Path) -> None:
    """Create a release's networks and containers, and connect the stores to it. Starts nothing."""
    app.compose(directory / "compose.yaml", "create", "--no-build", "--pull", "never", "--no-recreate")
    names = instances(app, directory)
    known = calls.inspect([*names, *(row["container"] for row in attachments(directory))])
    apart(app, names, known)
    attach(directory, known)


def apart(app: App, names: list[str], known: "dict[str, calls.Fields] | None" = None) -> None:
    """Raise Trouble if a container may write above the source of a mount, where one of the two is among these
    containers.

    It could replace a part of that path by a link, for example to `/`, and Docker would follow it at the next start.
    No release is sealed like that, but one of an older pushrod can be, and so can host paths that the owner has
    allowed.
    """
    own = {name: container for name, container in (known or calls.inspect(names)).items() if name in names}
    plain(
        app, {m["Name"] for container in own.values() for m in container["Mounts"] if m["Type"] == "volume"}
    )
    if mine := mounts.mounts(own):
        others = [app_filter(app)] if all(m.source.is_relative_to(app.directory) for m in mine) else []
        mounts.separate(mine, mounts.held(*others))


def plain(app: App, volumes: set[str]) -> None:
    """Raise Trouble if one of these volumes mounts a resource of the host: its processes, a disk, another server.

    No release is sealed with such a volume unless the owner has allowed it. But Docker reuses an existing volume, and
    an older pushrod may have created it.
    """
    allowed: list[str] = []
    with contextlib.suppress(OSError, ValueError):  # damaged settings grant nothing
        allowed = json.loads((app.directory / "app.json").read_text()).get("allowed") or []
    if _DRIVER in allowed:
        return
    for name, its in mounts.described(volumes - {word.removeprefix("volume:") for word in allowed}).items():
        options = its.get("Options") or {}
        flags = {*options.get("o", "").split(",")}
        if its["Driver"] != "local" or (options and options.get("type") != "tmpfs" and not flags & _BINDS):
            raise calls.Trouble(
                f"the volume {name} mounts a resource of the host ({options.get('type') or its['Driver']}). "
                f"As root: pushrod apps allow {app.name} {_DRIVER}, or docker volume rm {name} and deploy again"
            )


def app_filter(app: App) -> str:
    """The filter option of Docker's list commands for an app's containers."""
    return f"--filter=label=pushrod.app={app.name}"


def attachments(directory: Path) -> list[calls.Fields]:
    """Which store joins which network of a release, and at which address."""
    rows: list[calls.Fields] = json.loads((directory / "attachments.json").read_text())
    return rows


def attach(directory: Path, known: "dict[str, calls.Fields] | None" = None) -> None:
    """Connect the stores to the existing networks of a release: a newly created store is on none of them."""
    rows = attachments(directory)
    connected = calls.networks(known or calls.inspect([row["container"] for row in rows]))
    with futures.ThreadPoolExecutor(
        _AT_ONCE
    ) as pool:  # each connection takes Docker a moment, so they run concurrently
        for done in [pool.submit(connect, row, connected.get(row["container"], {})) for row in rows]:
            done.result()


def connect(row: calls.Fields, networks: dict[str, str]) -> None:
    """Connect a store to a release's network at its address, unless `networks` shows that it is connected."""
    known = networks.get(row["network"])
    if known == row["address"]:
        return
    if known is not None:
        calls.run(["docker", "network", "disconnect", "--force", row["network"], row["container"]])
    at = ["--ip", row["address"], *(word for alias in row["aliases"] for word in ("--alias", alias))]
    _connect([*at, row["network"], row["container"]])


def _connect(words: list[str]) -> None:
    """Connect, and retry if Docker reports an existing interface.

    A dockerd that was restarted while a container ran counts its interfaces from eth0 again and collides with
    existing ones; each attempt goes one further (seen with Docker 26.1).
    """
    for attempt in range(_INTERFACES):
        try:
            calls.run(["docker", "network", "connect", *words])
            return
        except calls.Trouble as e:
            if "file exists" not in str(e) or attempt == _INTERFACES - 1:
                raise


def start(app: App, directory: Path, fail: Fail = refuse) -> None:
    """Start the stopped instances of a release, in Compose's order if dependencies define one.

    A container with `post_start` commands has run them before its dependents are started.
    """
    hooked = {n: row for n, row in hooks.read(directory / hooks.FILE).items() if row.post_start}
    running = started(list(hooked))
    for name, row in hooked.items():
        if name not in running:
            _start(app, directory, [name], [row.service])
            if failed := hooks.after_start(row):
                fail(failed)
    _start(app, directory, instances(app, directory), [])


def _start(app: App, directory: Path, names: list[str], services: list[str]) -> None:
    """Start containers; or with Compose these services (none: all), including their dependencies."""
    file = directory / "compose.yaml"
    if "depends_on:" in file.read_text():
        options = ("--detach", "--no-build", "--pull", "never", "--no-recreate")
        app.compose(file, "up", *options, *services)
    else:
        calls.run(["docker", "start", *names])


def instances(app: App, directory: Path) -> list[str]:
    """The containers of a release's instances."""
    release = json.loads((directory / "release.json").read_text())
    return [f"{app.name}-r{release['number']}-{i['name']}" for i in release["instances"]]


def up(app: App) -> None:
    """Start stores, then instances, then check the edge's map, each proved before the next."""
    directory = app.release()
    if directory is None:
        log(f"{app.name}: no live release, nothing to start")
        return
    release = json.loads((directory / "release.json").read_text())
    began = time.monotonic()
    (gates.GATES / app.name / gates.STOPPED).unlink(missing_ok=True)
    apart(app, [*(f"{app.name}-{s['name']}" for s in release["stores"]), *instances(app, directory)])
    if release["stores"]:
        stores_up(app, [f"{app.name}-{s['name']}" for s in release["stores"]], report_hook)
        log(f"{app.name}: stores are up: {', '.join(s['name'] for s in release['stores'])}")
    gates.open_gate(app.name)
    join(app, directory)
    start(app, directory, report_hook)
    container_health.healthy(instances(app, directory), INSTANCES_DEADLINE)
    gates.open_edge(app.name, release["number"])
    log(
        f"{app.name}: release {release['number']} is up: {', '.join(i['name'] for i in release['instances'])}"
    )
    verify_edge(app, release)
    log(f"{app.name}: started in {time.monotonic() - began:.1f} s")


def down(app: App) -> None:
    """Stop everything of the app: instances, each within its grace period, then stores. The watchdog leaves it
    alone.
    """
    if (gates.GATES / app.name).is_dir():
        gates.close_edge(app.name)
        (gates.GATES / app.name / gates.STOPPED).touch(mode=0o644)
    for label in ("pushrod.release", ""):
        filters = [
            "--filter",
            f"label=pushrod.app={app.name}",
            *(["--filter", f"label={label}"] if label else []),
        ]
        running = calls.run(["docker", "ps", "--format={{.Names}}", *filters]).split()
        if running:
            for failed in before_stop(app, running):
                log(failed.why)
            calls.run(["docker", "stop", *running], timeout=_STOP)
            log(f"{app.name}: {'instances' if label else 'stores'} stopped")


def hooks_of(app: App) -> dict[str, hooks.Hooks]:
    """The hooks of all the app's containers, by container: those of each kept release, and of its stores."""
    places = (
        f"releases/*/{hooks.FILE}",
        f"releases/*/store-{hooks.FILE}",
    )  # a store may be missing from later releases
    files = [*(path for place in places for path in app.state.glob(place)), app.stores.with_name(hooks.FILE)]
    return {name: row for file in files for name, row in hooks.read(file).items()}


def before_stop(app: App, names: list[str], timeout: float | None = None) -> list[hooks.Failed]:
    """Run the `pre_stop` commands of containers; returns the failures."""
    hooked = {n: row for n, row in hooks_of(app).items() if n in names and row.pre_stop}
    graces = {n: c["Config"].get("StopTimeout") or 0 for n, c in calls.inspect(list(hooked)).items()}
    seconds = {n: timeout or max(hooks.BEFORE_STOP, grace) for n, grace in graces.items()}
    return hooks.before_stop([(hooked[n], its) for n, its in seconds.items()])


def reached(app: App, release: calls.Fields) -> list[str]:
    """The containers of a release that the edge sends requests to; none if it serves another release."""
    site = _site(app)
    if site is None or site["release"] != release["number"]:
        return []
    at = {*site["backends"], *(address for others in site.get("others", {}).values() for address in others)}
    names = [i["name"] for i in release["instances"] if f"{i['address']}:{i['port']}" in at]
    return [f"{app.name}-r{release['number']}-{name}" for name in names]


def _site(app: App) -> "calls.Fields | None":
    sites: dict[str, calls.Fields] = json.loads((app.root / "edge" / "current" / "sites.json").read_text())
    return sites.get(app.name)


def verify_edge(app: App, release: calls.Fields) -> None:
    """Raise Trouble if the edge does not serve the live release at its addresses."""
    site = _site(app)
    expected = [
        f"{i['address']}:{i['port']}" for i in release["instances"] if i["service"] == release["entry"]
    ]
    if site is None or site["release"] != release["number"] or list(site["backends"]) != expected:
        raise calls.Trouble(
            f"the edge does not serve {app.name} from release {release['number']}; deploy or roll back again"
        )


def log(line: str) -> None:
    """Print one line for systemd's journal."""
    print(line, flush=True)  # noqa: T201 - systemd records the unit's output


@contextlib.contextmanager
def alone(app: App) -> Iterator[bool]:
    """Hold the app's lock; yields False if another command holds it."""
    flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
    # with the slash, the path must still be a directory when it is renamed
    if (app.directory / "lock").is_dir():
        os.rename(f"{app.directory / 'lock'}/", app.directory / f"lock.damaged-{os.getpid()}")  # noqa: PTH104
    with os.fdopen(os.open(app.directory / "lock", flags, 0o600), "a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            lock.truncate(0)
            lock.write(f"starting it (process {os.getpid()})")  # shown to commands that wait for the lock
            lock.flush()
            yield True
            lock.truncate(0)


def main(arguments: list[str]) -> int:
    """Run the verb, unless a command works on the app: the command leaves it in its proper state."""
    verb, root, name = arguments
    app = App(root, name)
    if not app.directory.is_dir():
        log(f"{name}: there is no such app")
        return 0
    with alone(app) as held:
        if not held:
            log(f"{name}: a command works on it, and leaves it in its proper state")
            return 0
        try:
            {"up": up, "down": down}[verb](app)
        except (calls.Trouble, OSError, ValueError, KeyError) as e:
            log(f"{name}: {e}")
            return 1
    return 0


if __name__ == "__main__":
    os.environ.setdefault("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
    sys.exit(main(sys.argv[1:]))
