"""The instances of releases on Docker: containers, on their release's own networks."""

from collections.abc import Collection, Iterator, Mapping, Sequence

from pushrod.adapters import docker
from pushrod.core.values import Line, ProcessState, Release
from pushrod.engines.docker import autostart, bring_up, calls, gates, logs, names, rendering, rights, stopping
from pushrod.engines.docker.context import Context
from pushrod.engines.docker.projects import join, not_started, place
from pushrod.engines.docker.readiness import Readiness
from pushrod.engines.docker.states import edge_state, state_of
from pushrod.state.apps import App
from pushrod.system import network


class Runtime:
    """The containers of a host's apps."""

    def __init__(self, context: Context) -> None:
        self._context = context

    def start(self, app: App, release: Release, environments: dict[str, dict[str, str]]) -> None:
        """Start a release's instances beside whatever runs. If its networks are gone, the containers are created
        again: a container keeps the network it was created with."""
        made = docker.container_ids({docker.APP: app.name, docker.RELEASE: str(release.number)})
        if made and not _networks(app, release) <= {*docker.networks({docker.APP: app.name})}:
            docker.remove(made)
        join(app, release)
        try:
            bring_up.start(place(app), names.files(app, release.number))
        except calls.Trouble as e:
            raise docker.known(str(e), f"app {app.name}") or not_started(app, release, e) from e

    def ready(self, app: App, release: Release) -> Sequence[str]:
        """Wait until every instance is healthy. Raises ReadyError at its deadline, or at once if it ends."""
        notes = Readiness(release, lambda i: names.instance(app, release.number, i.name)).wait()
        gates.open_edge(app.name, release.number)
        return [*notes, *_not_permitted(app, release)]

    def stop(self, app: App, number: int) -> Sequence[str]:
        """Stop a release's instances, each within its grace period; keep their output; remove their networks."""
        gates.close_edge(app.name, number)
        containers = docker.containers({docker.APP: app.name, docker.RELEASE: str(number)})
        notes = stopping.stop(app, containers)
        logs.keep(app, [c for c in containers if docker.INSTANCE in c.labels])
        docker.remove([c.name for c in containers])
        docker.remove_networks(docker.networks({docker.APP: app.name, docker.RELEASE: str(number)}))
        # Docker may still execute what an interrupted Compose requested.
        docker.remove(docker.container_ids({docker.APP: app.name, docker.RELEASE: str(number)}))
        return notes

    def stop_instances(self, app: App, release: Release, instances: Collection[str]) -> Sequence[str]:
        """Stop their containers; Docker does not restart those."""
        return stopping.stop(app, list(_instances(app, release.number, instances).values()))

    def workers(self, app: App, release: Release) -> Collection[str]:
        """The instances that receive no requests."""
        silent = [i.name for i in release.instances if i.service not in release.serving]
        containers = _instances(app, release.number, silent)
        return [name for name, c in containers.items() if c.running and not network.listens(c.pid)]

    def running(self, app: App) -> list[int]:
        """The releases of an app that have containers."""
        numbers = docker.labelled({docker.APP: app.name, docker.INSTANCE: ""}, docker.RELEASE)
        return sorted(map(int, numbers))

    def reached(self, app: App, release: Release) -> bool:
        """Whether the release's networks, the stores' network and the ready marker exist: without the marker the edge
        answers 503."""
        there = {*docker.networks({docker.APP: app.name})}
        needed = _networks(app, release) | ({app.name} if release.stores else set())
        return needed <= there and gates.is_open(app.name, release.number)

    def states(self, apps: Sequence[App]) -> Mapping[str, list[ProcessState]]:
        """The state of the edge, then of every container of an app, stores first."""
        states: dict[str, list[ProcessState]] = {app.name: [] for app in apps}
        for container in docker.containers({docker.APP: apps[0].name if len(apps) == 1 else ""}):
            name, state = container.labels[docker.APP], state_of(container)
            if name in states and state is not None:
                states[name].append(state)
        edge = edge_state(self._context.edge)
        return {
            name: [edge, *sorted(own, key=lambda s: (s.group != name, s.group, s.name))] if own else []
            for name, own in states.items()
        }

    def logs(
        self, app: App, service: str = "", release: int = 0, *, lines: int = 50, follow: bool = False
    ) -> Iterator[Line]:
        """The output of an app's containers."""
        return (logs.follow if follow else logs.lines)(app, service, release, lines)

    def set_autostart(self, app: App, enabled: bool) -> bool:
        """By a link that systemd reads; a path unit notices the change."""
        return autostart.enable(app) if enabled else autostart.disable(app)


def _networks(app: App, release: Release) -> set[str]:
    """The names of the networks that a release's instances are on: none for one that has the host's."""
    text = (names.files(app, release.number) / names.COMPOSE).read_text()
    services = rendering.services(text)
    used = {n for i in release.instances for n in services[i.name].get("networks") or ()}
    called = {
        "default": names.project(app, release.number),
        "stores": names.stores_network(app, release.number),
    }
    return {called[name] for name in used}


def _not_permitted(app: App, release: Release) -> Iterator[str]:
    """Notes on missing rights in instances' output, unless noted before."""
    rendered = rendering.services((names.files(app, release.number) / names.COMPOSE).read_text())
    firsts = {i.service: i for i in reversed(release.instances)}
    for service, instance in sorted(firsts.items()):
        given = rendered[instance.name].get("cap_add") or []
        noted = " ".join(n for n in release.notes if n.startswith(f"{service}:"))
        printed = docker.logs(names.instance(app, release.number, instance.name))
        yield from rights.from_log(app.name, service, printed, given, noted)


def _instances(app: App, number: int, instances: Collection[str]) -> dict[str, docker.Container]:
    """The containers of a release for these instances, by the instances' names."""
    containers = docker.inspect([names.instance(app, number, name) for name in instances])
    return {c.labels[docker.INSTANCE]: c for c in containers if docker.INSTANCE in c.labels}
