"""Programs of releases on the embedded engine: in a service's environment, as the children's account."""

import os
from collections.abc import Sequence
from pathlib import Path

from pushrod.core.processes import Room
from pushrod.core.values import Instance, Manifest, Program, Release, Service
from pushrod.engines.embedded import commands, host_names, rooms
from pushrod.engines.embedded.builds import java
from pushrod.engines.embedded.context import Context
from pushrod.engines.embedded.ports import SHARED
from pushrod.engines.protocols import OnLine
from pushrod.state.apps import App
from pushrod.system import processes


class Programs:
    """Runs programs of an app."""

    def __init__(self, context: Context) -> None:
        self._context = context

    def has_environment(self, app: App, release: Release) -> bool:
        """Always: there are no such files, because the supervisor's are written when a release starts."""
        return True

    def write_environment(self, app: App, release: Release, manifest: Manifest) -> None:
        """Nothing to write."""

    def run(
        self,
        app: App,
        release: Release,
        service: Service,
        argv: Sequence[str],
        environment: dict[str, str],
        on_line: OnLine,
        instance: Instance | None = None,
        *,
        timeout: float,
    ) -> int:
        """Run a one-shot program in a service's environment, as the children's account; it dies with us. With
        `instance` it reaches that one as a program of its container would.
        """
        words = host_names.in_argv(
            argv or release.images[service.name].command, rooms.unresolved(self._context, app, release)
        )
        program = self.run_program(app, release, service, words, environment, instance)
        cwd = Path(program.cwd)
        return processes.run(
            program.argv, cwd=cwd, env=program.environment, timeout=timeout, on_line=on_line
        ).status

    def run_program(
        self,
        app: App,
        release: Release,
        service: Service,
        argv: Sequence[str],
        environment: dict[str, str],
        instance: Instance | None = None,
    ) -> Program:
        """How a one-shot program is run: as the children's account, with the stores' own clients on its path."""
        variables = self.environment(app, release, service, environment, clients=True)
        directory = self.directory(app, release, service)
        program = commands.find(
            service.name, java.placed(argv, directory), variables["PATH"], directory=directory
        )
        whole = processes.as_account(program, self._context.account, death_signal="KILL")
        if instance is not None and instance.address != SHARED:
            whole = [
                *rooms.connecting(self._context, release, instance),
                rooms.absolute(whole[0]),
                *whole[1:],
            ]
        room = self.room(app, release, service)
        if room and room.hosts:
            whole = [*rooms.entering(self._context, room), *whole]
        return Program(tuple(whole), str(directory), variables)

    def exec(
        self, app: App, release: Release, service: Service, argv: Sequence[str], environment: dict[str, str]
    ) -> Program:
        """The same as `run_program`: an instance is a plain process, without a container to enter."""
        return self.run_program(app, release, service, argv, environment)

    def environment(
        self,
        app: App,
        release: Release,
        service: Service,
        environment: dict[str, str],
        *,
        clients: bool = False,
    ) -> dict[str, str]:
        """The whole environment of a process: the machine's, with the image's programs first, then the app's.

        The stores' own clients come last, for scripts that wait by `pg_isready`; with `clients` before the machine's,
        for `run pg_dump`: those of another version refuse to work.
        """
        base = _base_environment() | {"HOME": str(app.home), "PYTHONUNBUFFERED": "1"}
        context = self.directory(app, release, service)
        base["PYTHONPATH"] = os.pathsep.join(str(p) for p in (context, context / "src") if p.is_dir())
        own = str(self._context.parts.postgres)
        tools = str(rooms.tools(self._context))
        ways = (own, base["PATH"], tools) if clients else (base["PATH"], own, tools)
        base["PATH"] = os.pathsep.join(ways)
        location = release.images[service.name].location
        if location:
            base |= {"VIRTUAL_ENV": location, "PATH": f"{location}/bin{os.pathsep}{base['PATH']}"}
        names = rooms.unresolved(self._context, app, release)
        return base | host_names.in_environment(environment, names)

    def room(self, app: App, release: Release, service: Service) -> Room | None:
        """The names and paths that a service's programs see."""
        return rooms.of(self._context, app, release, service, self.directory(app, release, service))

    def directory(self, app: App, release: Release, service: Service) -> Path:
        """The directory in which a service's programs start: its directory in the release's checkout, or that of
        the jar that was built for it, which is absolute.
        """
        return app.checkout(release.number) / release.images[service.name].directory


def _base_environment() -> dict[str, str]:
    names = ("TZ", "LD_LIBRARY_PATH", "SSL_CERT_FILE", "SSL_CERT_DIR")
    passed = {n: os.environ[n] for n in names if n in os.environ}
    return {
        "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "LANG": "C.UTF-8",
        **passed,
    }
