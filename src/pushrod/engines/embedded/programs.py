"""Programs of releases on the embedded engine: in a service's environment, as the children's account."""

import os
from collections.abc import Sequence
from pathlib import Path

from pushrod.core.values import Manifest, Program, Release, Service
from pushrod.engines.embedded import commands
from pushrod.engines.embedded.context import Context
from pushrod.engines.protocols import Say
from pushrod.state.apps import App
from pushrod.system import processes

_RUN = 3600.0  # seconds a release command may take


class Programs:
    """How programs of an app are run."""

    def __init__(self, context: Context) -> None:
        self._context = context

    def has_environment(self, app: App, release: Release) -> bool:
        """There are none: the supervisor's files are written when a release is started."""
        return True

    def write_environment(self, app: App, release: Release, manifest: Manifest) -> None:
        """Nothing."""

    def run(
        self,
        app: App,
        release: Release,
        service: Service,
        argv: Sequence[str],
        environment: dict[str, str],
        say: Say,
    ) -> int:
        """Run a one-shot program in a service's environment, as the children's account; it dies with us."""
        words = argv or release.images[service.name].command
        program = self.run_program(app, release, service, words, environment)
        cwd = Path(program.cwd)
        return processes.run(program.argv, cwd=cwd, env=program.environment, timeout=_RUN, on_line=say).status

    def run_program(
        self, app: App, release: Release, service: Service, argv: Sequence[str], environment: dict[str, str]
    ) -> Program:
        """How a one-shot program is run: as the children's account, with the stores' own clients in reach."""
        variables = self.environment(app, release, service, environment, clients=True)
        directory = self.directory(app, release, service)
        program = commands.find(service.name, argv, variables["PATH"], directory=directory)
        whole = processes.as_account(program, self._context.account, death_signal="KILL")
        return Program(tuple(whole), str(directory), variables)

    def exec(
        self, app: App, release: Release, service: Service, argv: Sequence[str], environment: dict[str, str]
    ) -> Program:
        """The same: an instance is a process beside others, with nothing around it to go into."""
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
        """The whole environment of a process: what the machine gives, the image's programs first, then the app's.

        With `clients` the stores' own come next, for `run pg_dump`: those of another version refuse to work.
        """
        base = _base_environment() | {"HOME": str(app.home), "PYTHONUNBUFFERED": "1"}
        context = self.directory(app, release, service)
        base["PYTHONPATH"] = os.pathsep.join(str(p) for p in (context, context / "src") if p.is_dir())
        if clients:
            base["PATH"] = f"{self._context.parts.postgres}{os.pathsep}{base['PATH']}"
        location = release.images[service.name].location
        if location:
            base |= {"VIRTUAL_ENV": location, "PATH": f"{location}/bin{os.pathsep}{base['PATH']}"}
        return base | environment

    def directory(self, app: App, release: Release, service: Service) -> Path:
        """Where a service's programs are started: its directory in the release's checkout."""
        return app.checkout(release.number) / release.images[service.name].directory


def _base_environment() -> dict[str, str]:
    names = ("TZ", "LD_LIBRARY_PATH", "SSL_CERT_FILE", "SSL_CERT_DIR")
    passed = {n: os.environ[n] for n in names if n in os.environ}
    return {
        "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "LANG": "C.UTF-8",
        **passed,
    }
