"""`pushrod host init` as a table of contents: what a Debian or Ubuntu server needs to be a host, in order."""

import contextlib
import os
from collections.abc import Callable, Iterator

from pushrod.adapters import docker
from pushrod.core.errors import HostError, PushrodError
from pushrod.core.times import now
from pushrod.provisioning import (
    account,
    docker_daemon,
    installation,
    kernel,
    keys,
    packages,
    places,
    pool,
    programs,
    shares,
    sshd,
    system,
    units,
)
from pushrod.provisioning.changes import Change, Work
from pushrod.state.apps import HostSettings, Root

OnLine = Callable[[str], None]


def plan(root: Root, on_line: OnLine) -> list[Work]:
    """Everything a host needs, each item with whether it is in place. Changes nothing.

    `on_line` receives the output of long work when it is carried out. Raises HostError if this machine cannot be a
    host, StateError if a file of the owner's cannot be read.
    """
    if os.geteuid() != 0:
        raise HostError("this changes the machine, so it needs root", hint="sudo pushrod host init")
    described = system.supported()
    units.check_port(root)
    settings = _settings(root)
    install = packages.plan(described, on_line)
    installing = any(w.change.pending for w in install)
    files = [*places.plan(root, settings), *programs.plan(root, installing=installing)]
    described_units = units.files(root, settings)
    named = _keys(root)
    bounds = shares.plan(named)
    edge_changed = _pending(files, "nginx") or _pending(described_units, "pushrod-edge.service")
    return [
        *docker_daemon.plan(docker_daemon.block(settings), _containers),
        *install,
        *_python(installing),
        *account.plan(root.path),
        *files,
        *places.data_left(root),
        installation.command(),
        *kernel.plan(),
        *sshd.plan(),
        *described_units,
        *bounds,
        *units.start(
            root,
            load=any(w.change.pending for w in (*described_units, *bounds)),
            restart_edge=edge_changed,
            gates=[shares.unit(name) for name in named],
        ),
    ]


def carry_out(works: list[Work]) -> Iterator[Change]:
    """Carry out the pending work in order; yields each change when it is done."""
    for change, do in works:
        if change.pending:
            do()
            yield change


def _keys(root: Root) -> list[str]:
    """The names of the keys that may push already."""
    return [key.name for key in keys.KeyFile(root.path / keys.PLACE, (0, 0)).all()]


def _pending(works: list[Work], name: str) -> bool:
    return any(w.change.pending and w.change.what.endswith(f"/{name}") for w in works)


def _python(installing: bool) -> list[Work]:
    problem = system.python_problem()
    if problem and not installing:
        raise HostError(problem, hint="install a newer one; the units run the system's own Python")
    return []


def _settings(root: Root) -> HostSettings:
    """The settings decided once: the address pool, which nothing else may use."""
    with contextlib.suppress(PermissionError):
        if (settings := root.host_settings) is not None:
            return settings
    taken = [*pool.routes(), *docker_daemon.pools(docker_daemon.read())]
    return HostSettings(pool=str(pool.choose(taken)), created=now())


def _containers() -> int | None:
    """How many containers run; None if no engine answers."""
    try:
        return len(docker.docker("ps", "--quiet").split())
    except PushrodError:
        return None
