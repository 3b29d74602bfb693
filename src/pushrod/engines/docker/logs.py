"""The output of an app's containers, including removed ones."""

import time
from collections.abc import Iterator, Mapping
from contextlib import suppress

from pushrod.adapters import docker
from pushrod.adapters.docker import Container
from pushrod.core.errors import HostError, UnknownNameError
from pushrod.core.lines import CUT
from pushrod.core.values import Line
from pushrod.state.apps import App
from pushrod.system import files, tails

_KEPT = 5000  # lines that are kept of a container when it is removed
# bytes for one container, and for all of a release; a line may have any length
_BYTES, _RELEASE = 1 << 20, 32 << 20
_POLL = 0.3  # seconds between two reads while following
_MOST = 10_000  # lines of a container that one read returns


def keep(app: App, containers: list[Container]) -> None:
    """Save the output of containers before they are removed, if there is room for it."""
    most = min(_BYTES, _RELEASE // max(1, len(containers)))
    for container in containers:
        path = app.logs / f"r{container.labels[docker.RELEASE]}" / f"{_process(container)}.log"
        with suppress(HostError, OSError):  # on a full disk, removing them must still work
            printed = docker.logs(container.name, _KEPT)
            text = "".join(f"{line}\n" for line in printed).encode()
            cut = f"{CUT}\n".encode() if len(printed) == _KEPT or len(text) > most else b""
            files.write(path, cut + text[-most:])


def lines(app: App, service: str, release: int, count: int) -> Iterator[Line]:
    """The last `count` lines of each process: of running ones, or of one release, even a removed one.

    Raises UnknownNameError if there is none.
    """
    containers = _containers(app, service, release)
    for container in containers:
        for text in docker.logs(container.name, count):
            yield Line(_process(container), text)
    if containers:
        return
    kept = sorted((app.logs / f"r{release}").glob("*.log")) if release else []
    kept = [p for p in kept if not service or service in (p.stem, p.stem.rpartition("-")[0])]
    if not kept:
        raise _unknown(app, service)
    for path in kept:
        for text in tails.of_file(path, count):
            yield Line(path.stem, text)


def follow(app: App, service: str, release: int, count: int) -> Iterator[Line]:
    """The same, then new output as it is printed, including that of new releases. Does not end.

    Raises UnknownNameError if a named service has no container.
    """
    seen: dict[str, str] = {}
    if service and not _containers(app, service, release):
        raise _unknown(app, service)
    while True:
        for container in _containers(app, service, release):
            since = seen.get(container.name, "")
            printed = docker.logs(container.name, _MOST if since else count, since=since, times=True)
            if since and len(printed) == _MOST:
                yield Line(_process(container), CUT)
            for stamped in printed:
                at, _, text = stamped.partition(" ")
                if at != since:
                    seen[container.name] = at
                    yield Line(_process(container), text)
        time.sleep(_POLL)


def _containers(app: App, service: str, release: int) -> list[Container]:
    labels: Mapping[str, str] = {docker.APP: app.name, **({docker.RELEASE: str(release)} if release else {})}
    containers = docker.containers(labels)
    selected = [
        c for c in containers if not service or service in (c.labels.get(docker.SERVICE), _process(c))
    ]
    return sorted(selected, key=lambda c: (docker.RELEASE in c.labels, c.name))


def _unknown(app: App, service: str) -> UnknownNameError:
    return UnknownNameError(f"no logs of `{service or app.name}`", hint="`pushrod status` lists what runs")


def _process(container: Container) -> str:
    return container.labels.get(docker.INSTANCE) or container.labels[docker.SERVICE]
