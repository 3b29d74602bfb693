"""The instances of releases on the embedded engine: a group of the supervisor for each release."""

import re
import shlex
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path

import msgspec

from pushrod.core.errors import BuildError, UnknownNameError
from pushrod.core.processes import Process
from pushrod.core.values import Instance, Line, ProcessState, Release
from pushrod.engines.embedded import commands, host_names, logs, ports, rooms
from pushrod.engines.embedded.context import Context, group
from pushrod.engines.embedded.ports import SHARED, store_records
from pushrod.engines.embedded.programs import Programs
from pushrod.engines.embedded.readiness import Readiness, listening
from pushrod.engines.embedded.stores import group_of
from pushrod.state.apps import App
from pushrod.state.secrets import Secrets
from pushrod.system import files, processes

_INSTANCES = 20  # the supervisor starts lower priorities first, and stops them last


class Runtime:
    """The supervised instances of a root."""

    def __init__(self, context: Context, programs: Programs) -> None:
        self._context = context
        self._programs = programs

    def start(self, app: App, release: Release, environments: dict[str, dict[str, str]]) -> None:
        """Start a release's group. Raises HostError if another program uses one of its ports."""
        for image in release.images.values():
            if image.location and not Path(image.location).is_dir():
                raise BuildError(
                    f"the environment of release {release.number} is gone",
                    where=image.location,
                    hint="`pushrod restart` builds it again, as a new release of the same commit",
                )
        its = group(app, release.number)
        if its not in self._context.supervisor.groups():
            for instance in release.instances:
                hint = "end that process, or deploy again: a new release gets new ports"
                whose = f"{instance.name} of release {release.number}"
                ports.check(instance.port, whose, hint, instance.address)
        home = app.home
        home.mkdir(parents=True, exist_ok=True)
        files.own(home, self._context.account)
        processes = tuple(
            self._instance_process(app, release, i, environments[i.service]) for i in release.instances
        )
        self._context.supervisor.apply(its, processes)

    def ready(self, app: App, release: Release) -> Sequence[str]:
        """Probe every instance until it is healthy. Raises ReadyError at its deadline, or at once if it ends."""
        its = group(app, release.number)
        return Readiness(
            release,
            states=lambda: self._context.supervisor.states(its),
            command=lambda instance: self._health_command(app, release, instance),
            log=lambda name: self._instance_log(app, release.number, name),
        ).wait()

    def stop(self, app: App, number: int) -> Sequence[str]:
        """Stop a release's group within its grace period and remove its files."""
        self._context.supervisor.remove(group(app, number))
        files.remove(rooms.hosts_file(self._context, app, number))
        return ()

    def stop_instances(self, app: App, release: Release, instances: Collection[str]) -> Sequence[str]:
        """Stop their processes; the supervisor does not restart those."""
        if instances and group(app, release.number) in self._context.supervisor.groups():
            self._context.supervisor.stop(group(app, release.number), instances)
        return ()

    def workers(self, app: App, release: Release) -> Collection[str]:
        """The instances that receive no requests."""
        services = {i.name: i.service for i in release.instances}
        return [
            state.name
            for state in self._context.supervisor.states(group(app, release.number))
            if services.get(state.name) not in release.serving and state.pid and listening(state.pid) == set()
        ]

    def running(self, app: App) -> list[int]:
        """The releases whose groups the supervisor has."""
        pattern = re.compile(rf"{re.escape(app.name)}-r(\d+)")
        return sorted(int(m[1]) for g in self._context.supervisor.groups() if (m := pattern.fullmatch(g)))

    def states(self, apps: Sequence[App]) -> Mapping[str, list[ProcessState]]:
        """The state of the edge, then of every process of an app: its stores and instances."""
        states = self._context.supervisor.states()
        return {app.name: [s for s in states if s.group in self._groups(app)] for app in apps}

    def _groups(self, app: App) -> set[str]:
        stores = {group_of(app, r.name) for r in store_records(app)}
        return {"edge", *stores, *(group(app, n) for n in self.running(app))}

    def logs(
        self, app: App, service: str = "", release: int = 0, *, lines: int = 50, follow: bool = False
    ) -> Iterator[Line]:
        """The lines of its log files. Raises UnknownNameError if there are none."""
        files = self._log_files(app, service, release)
        if not files:
            raise UnknownNameError(
                f"no logs of `{service or app.name}`", hint="`pushrod status` lists what runs"
            )
        return logs.read(lambda: self._log_files(app, service), files, lines, follow=follow)

    def reached(self, app: App, release: Release) -> bool:
        """Always: instances have no network of their own."""
        return True

    def set_autostart(self, app: App, enabled: bool) -> bool:
        """Nothing: everything in the supervisor's files starts with the supervisor."""
        return False

    def _instance_process(
        self, app: App, release: Release, instance: Instance, environment: dict[str, str]
    ) -> Process:
        service = release.service(instance.service)
        image = release.images[service.name]
        variables = self._programs.environment(app, release, service, environment)
        argv = host_names.in_argv(image.command, rooms.unresolved(self._context, app, release))
        bound = commands.bind(argv, variables, instance.port, service.port)
        room = self._programs.room(app, release, service)
        if room and instance.address != SHARED:
            main = rooms.main_port(release, instance)
            listens = {"address": instance.address, "port": main, "given": instance.port}
            room = msgspec.structs.replace(room, **listens)
            bound = commands.bind(argv, variables, main, service.port)
        return Process(
            group=group(app, release.number),
            name=instance.name,
            argv=bound.argv if room else commands.loopback(bound.argv),
            cwd=str(self._programs.directory(app, release, service)),
            environment=bound.environment,
            log=str(self._instance_log(app, release.number, instance.name)),
            priority=_INSTANCES,
            stop_grace=service.stop_grace,
            stop_group=True,
            wait_for=tuple(f"{r.address}:{r.port}" for r in rooms.stores_of(app, release)),
            room=room,
        )

    def _health_command(self, app: App, release: Release, instance: Instance) -> str:
        """Run a service's health command in its own environment once."""
        service = release.service(instance.service)
        environment = Secrets(app).sealed(release.number)[service.name]
        port = instance.port if instance.address == SHARED else rooms.main_port(release, instance)
        bound = commands.bind(service.health.command, environment, port, service.port)
        lines: list[str] = []
        most, command = service.health.deadline, f"`{shlex.join(bound.argv)}`"
        try:
            status = self._programs.run(
                app, release, service, bound.argv, bound.environment, lines.append, instance, timeout=most
            )
        except processes.TimedOutError:
            return f"{command} did not end within {most:g} s"
        return f"{command} ended with status {status}: {' '.join(lines[-1:])}" if status else ""

    def _log_files(self, app: App, service: str, release: int = 0) -> list[Path]:
        """Log files of the running releases and of the stores, or of one release; all, or those of one service."""
        paths = [] if release else [self._context.stores(app).log(r) for r in store_records(app)]
        for number in [release] if release else self.running(app):
            paths += sorted((app.logs / f"r{number}").glob("*.log"))
        return [p for p in paths if not service or p.stem == service or p.stem.rpartition("-")[0] == service]

    def _instance_log(self, app: App, number: int, name: str) -> Path:
        return app.logs / f"r{number}" / f"{name}.log"
