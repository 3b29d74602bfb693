"""What a service's programs see as in its container: the names of the release's services and stores, the paths of
its image, and for an instance an address of its own.

A mount namespace and a seccomp filter make this possible. Where the kernel refuses namespaces, programs see the
machine as it is; where it refuses the filter too, instances differ by their ports.
"""

import contextlib
import functools
import os
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import msgspec

from pushrod.core.errors import ManifestError
from pushrod.core.processes import Room
from pushrod.core.values import Instance, Manifest, Release, Service
from pushrod.engines.embedded import volumes
from pushrod.engines.embedded.context import SYSTEM, Context, group
from pushrod.engines.embedded.image_uses import Use
from pushrod.engines.embedded.ports import SHARED, StoreRecord, store_records
from pushrod.engines.embedded.volumes import Layout
from pushrod.state.apps import App
from pushrod.stores import registry
from pushrod.system import files, processes
from pushrod.system.accounts import Account

_PROGRAMS = Path(__file__).parent
_HOSTS = Path("/etc/hosts")
_NETCATS = ("nc", "netcat")
_SETTINGS = (
    "/proc/sys/kernel/random/boot_id",
    "/proc/sys/user/max_user_namespaces",
    "/proc/sys/user/max_mnt_namespaces",
    "/proc/sys/kernel/unprivileged_userns_clone",  # Debian's
    "/proc/sys/kernel/apparmor_restrict_unprivileged_userns",  # Ubuntu's
    "/proc/self/attr/current",
    "/proc/self/uid_map",
)
_PROBE = 20.0  # seconds; it takes a tenth of one
# Directories of the machine that no image's path may cover.
_SYSTEM = (
    "bin",
    "boot",
    "dev",
    "etc",
    "lib",
    "lib32",
    "lib64",
    "proc",
    "run",
    "sbin",
    "sys",
    "tmp",
    "usr",
    "var",
)
_SYSTEM_BELOW = (
    "usr/bin",
    "usr/lib",
    "usr/local",
    "usr/local/bin",
    "usr/local/lib",
    "usr/sbin",
    "usr/share",
    "var/run",
)


def refusal(context: Context) -> str:
    """Why programs of this root have no names and paths of their own here; empty if they have, and addresses too."""
    return address_refusal(context) or _recorded(context, "rooms", _without_names)


def address_refusal(context: Context) -> str:
    """Why instances of this root have no addresses of their own here; empty if they have."""
    return _recorded(context, "addresses", _without_addresses)


def refusal_for(account: Account | None) -> str:
    """Why programs of an account lack any of it, always tried."""
    return _without_addresses(_python(account)) or _without_names(_python(account))


def _recorded(context: Context, name: str, attempt: Callable[[tuple[str, ...]], str]) -> str:
    """Trying takes 80 ms, so success is recorded, until the machine starts again or one of its settings changes."""
    record = context.supervisor.place.directory / name
    machine = _machine(context.account)
    if files.holds(record, machine):
        return ""
    refused = attempt(_python(context.account))
    if not refused and record.parent.is_dir():
        files.write(record, machine)
    return refused


def _python(account: Account | None) -> tuple[str, ...]:
    return tuple(processes.as_account([sys.executable], account))


def _machine(account: Account | None) -> str:
    """What decides whether the kernel allows rooms, as text."""
    settings = list[str]()
    for path in _SETTINGS:
        with contextlib.suppress(OSError):
            settings.append(f"{path}: {Path(path).read_text()}")
    status = Path("/proc/self/status").read_text().splitlines()
    rights = [line for line in status if line.startswith(("Cap", "NoNewPrivs", "Seccomp:"))]
    return "\n".join((sys.executable, str(_PROGRAMS), str(account or os.geteuid()), *settings, *rights))


def remarks(context: Context, manifest: Manifest) -> Iterator[str]:
    """The note on what a manifest's services lack where the kernel refuses rooms, and what to write instead."""
    others = [s.name for s in (*manifest.stores, *manifest.stateless) if s is not manifest.entry]
    names = (
        f"the names {', '.join(others)} do not resolve, except in variables and commands" if others else ""
    )
    if reason := address_refusal(context):
        yield (
            f"the kernel of this machine refuses namespaces or seccomp filters ({reason}): "
            f"{names and f'{names}, and '}each instance has a port of its own at 127.0.0.1: read PORT, DATABASE_URL "
            "and REDIS_URL in the code, or write the port into the command; `pushrod doctor` says how to allow them"
        )
    elif reason := refusal(context):
        yield (
            f"the kernel of this machine refuses mount namespaces ({reason}): {names and f'{names}, and '}paths are "
            "those of this machine: read DATABASE_URL and REDIS_URL in the code, and use paths relative to the "
            "working directory; `pushrod doctor` says how to allow them"
        )


def names(manifest: Manifest) -> set[str]:
    """The names that programs of a release have in their room."""
    services = (*manifest.stores, *manifest.stateless)
    return {name for s in services for name in (s.name, *s.aliases)}


def variables(manifest: Manifest) -> Iterator[str]:
    """The variables that programs get with the addresses of stores, also without a room."""
    for store in manifest.stores:
        yield f"{store.name.upper().replace('-', '_')}_URL"
        if store.store:
            yield registry.of(store.store).variable


def check(lacking: Sequence[tuple[Service, Use]], refusal: str) -> None:
    """Raise ManifestError for services that use a name or a path that needs a room, where the kernel refuses them. Of
    services that share their code, the error is for the one whose command names the file.
    """
    if not lacking:
        return
    named = [(s, u) for s, u in lacking if Path(u.where.partition(":")[0]).stem in " ".join(s.command)]
    service, (word, where) = (named or lacking)[0]
    lacks = "is a path of its image" if word.startswith("/") else "is the name of a service"
    raise ManifestError(
        f"{service.name}: `{word}` {lacks}, which it does not have here: the kernel of this machine refuses "
        f"mount namespaces ({refusal})",
        where=where,
        hint="allow user namespaces (`pushrod doctor` says how) or deploy to a host with Docker; or "
        + (
            "use a path relative to the working directory"
            if word.startswith("/")
            else "read the address from a variable (DATABASE_URL, REDIS_URL, or one of `environment`)"
        ),
    )


@functools.cache
def _without_names(_: tuple[str, ...]) -> str:
    """Try it: names, and a path that the machine does not have."""
    room = Room(str(_HOSTS), ((str(_HOSTS), f"/pushrod-{os.getpid()}/hosts", ""),), "/")
    return _tried(entering_from(_PROGRAMS, room))


_PREFIX = "namespace: names and paths are those of the machine: "  # what a program without a room says first


@functools.cache
def _without_addresses(python: tuple[str, ...]) -> str:
    """Try it: a socket of every address."""
    port = 8000
    code = f"import socket;s=socket.create_server(('',{port}));raise SystemExit(s.getsockname()[0] != '127.64.0.1')"
    listening = [sys.executable, "-I", "-S", str(_PROGRAMS / "listener.py"), "127.64.0.1", str(port), "0"]
    return _tried([*listening, absolute(python[0]), *python[1:], "-I", "-S", "-c", code])


def _tried(argv: list[str]) -> str:
    """Why a program fails; empty if it does not."""
    done = processes.run(argv, cwd=Path("/"), env=SYSTEM, timeout=_PROBE)
    last = (done.stderr.strip().splitlines() or ["the kernel refuses it"])[-1]
    return last.removeprefix(_PREFIX) if done.status else ""


def absolute(program: str) -> str:
    """A program of the machine by its path, so that it can be executed without a search."""
    return _finds(program) or program


def _finds(program: str) -> str:
    return shutil.which(program, path=SYSTEM["PATH"]) or ""


def tools(context: Context) -> Path:
    """The directory of our own `nc`, which comes last on the path."""
    return context.supervisor.place.directory / "tools"


def _netcat(context: Context) -> Path:
    """Our own `nc`, for a machine that has none."""
    place = tools(context) / "nc"
    text = f"#!{sys.executable} -Is\n{(_PROGRAMS / 'netcat.py').read_text()}"
    if not files.holds(place, text):
        place.parent.mkdir(parents=True, exist_ok=True)
        files.write(place, text, mode=0o755)
    return place


def of(context: Context, app: App, release: Release, service: Service, directory: Path) -> Room | None:
    """The room of a service's programs; None for a release whose instances have no addresses of their own. Where the
    kernel refuses namespaces, or did so when the release started here, it has only an address.

    `directory` is the service's directory, in the checkout or where it was built. Its volumes exist afterwards.
    """
    image, checkout = release.images[service.name], app.checkout(release.number)
    layout = Layout(image.workdir, directory, built=Path(image.directory).is_absolute())
    mounts = volumes.of(app, service, layout, checkout)
    volumes.prepare(mounts, layout, image.copies, checkout, context.account)
    shared = all(i.address == SHARED for i in release.instances)
    if shared or volumes.linked(mounts, layout) or refusal(context):
        volumes.link(mounts, layout, context.account)
        _netcat(context)  # on the path
        return None if shared else Room("", (), str(directory))
    hosts = hosts_file(context, app, release.number)
    text = _hosts(app, release)
    if not files.holds(hosts, text):
        hosts.parent.mkdir(parents=True, exist_ok=True)
        files.write(hosts, text, mode=0o644)
    shown = [(str(directory), image.workdir, "")] if image.workdir and not layout.built else []
    shown += [(str(checkout / path), target, "") for path, target in image.copies]
    shown += [(str(_netcat(context)), f"/usr/local/bin/{name}", "") for name in _NETCATS if not _finds(name)]
    mounted = volumes.places(mounts, layout, context.account)
    places = tuple(place for place in (*shown, *mounted) if may_cover(context, place[1]))
    inside = not layout.built and places and places[0] == (str(directory), image.workdir, "")
    open_ = [target for _, target, options in mounted if "ro" not in options.split(",")]
    writable = tuple(dict.fromkeys(("/tmp", *open_))) if service.read_only else ()  # noqa: S108
    return Room(str(hosts), places, image.workdir if inside else str(directory), writable)


def entering(context: Context, room: Room) -> list[str]:
    """The argv, to be followed by that of a program, that runs it in a room."""
    return entering_from(context.supervisor.place.program("namespace.py").parent, room)


def entering_from(programs: Path, room: Room) -> list[str]:
    """The same, with the directory of our own programs."""
    return [sys.executable, "-I", "-S", str(programs / "namespace.py"), msgspec.json.encode(room).decode()]


def main_port(release: Release, instance: Instance) -> int:
    """The port that an instance's program is written for; at an address of its own it has that one, if it can."""
    service = release.service(instance.service)
    return service.port or release.images[service.name].port or instance.port


def connecting(context: Context, release: Release, instance: Instance) -> list[str]:
    """The argv, to be followed by that of a program, that lets it reach an instance as the instance itself does:
    at 127.0.0.1.
    """
    program = context.supervisor.place.program("listener.py")
    given = (instance.address, str(main_port(release, instance)), str(instance.port))
    return [sys.executable, "-I", "-S", str(program), *given]


def stores_of(app: App, release: Release) -> Iterator[StoreRecord]:
    """The records of a release's stores."""
    names = {s.name for s in release.stores}
    return (r for r in store_records(app) if r.name in names)


def hosts_file(context: Context, app: App, number: int) -> Path:
    """The /etc/hosts of a release."""
    return context.supervisor.place.directory / "hosts" / group(app, number)


def unresolved(context: Context, app: App, release: Release) -> dict[str, str]:
    """The names that programs of a release cannot resolve here, with their addresses; empty if they have a room."""
    return {name: address for address, name in reversed(_named(app, release))} if refusal(context) else {}


def _named(app: App, release: Release) -> list[tuple[str, str]]:
    """Each address of a release's stores and instances with each of its names."""
    aliases = {s.name: s.aliases for s in (*release.services, *release.stores)}
    named = [(r.address, r.name) for r in stores_of(app, release)]
    named += [(i.address, i.service) for i in release.instances if i.address != SHARED]
    return named + [(address, alias) for address, name in named for alias in aliases.get(name, ())]


def _hosts(app: App, release: Release) -> str:
    named = _named(app, release)
    own = _HOSTS.read_text(errors="replace") if _HOSTS.is_file() else "127.0.0.1 localhost\n"
    lines = "".join(f"{address}\t{name}\n" for address, name in named)
    return f"# The names of release {release.number} of {app.name}, written by pushrod.\n{lines}\n{own}"


def may_cover(context: Context, target: str) -> bool:
    """Whether the files of an image may cover a path of the machine: none that the machine or pushrod needs."""
    needed = [
        *(Path("/", name) for name in (*_SYSTEM, *_SYSTEM_BELOW)),
        context.root.path,
        context.root.runtime,
        Path(sys.base_prefix),
        Path(sys.prefix),
        _PROGRAMS,
        context.parts.nginx,
        context.parts.postgres,
    ]
    return target.startswith("/") and not any(place.is_relative_to(target) for place in needed)
