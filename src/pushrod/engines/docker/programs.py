"""Programs of releases on Docker: in a container of their own, or in that of an instance."""

import sys
from collections.abc import Sequence

from pushrod.adapters import docker
from pushrod.core.errors import UnknownNameError
from pushrod.core.values import Manifest, Program, Release, Service
from pushrod.engines.docker import sealed_files
from pushrod.engines.docker.projects import compose, join
from pushrod.engines.protocols import Say
from pushrod.state.apps import App
from pushrod.system import processes

_RUN = 3600.0  # seconds a release command may take


class Programs:
    """How programs of an app are run."""

    def has_environment(self, app: App, release: Release) -> bool:
        """Whether each service and store has its file."""
        return sealed_files.have_environments(app, release)

    def write_environment(self, app: App, release: Release, manifest: Manifest) -> None:
        """Write them, those of hooks too."""
        sealed_files.write_environments(app, release, manifest)

    def run(
        self,
        app: App,
        release: Release,
        service: Service,
        argv: Sequence[str],
        environment: dict[str, str],
        say: Say,
    ) -> int:
        """Run a program once from a release's image, on its networks. The environment is the sealed one."""
        join(app, release)
        command = compose(
            app, release, "run", "--rm", "--no-deps", "--no-TTY", "--", f"{service.name}.run", *argv
        )
        return processes.run(command, env=docker.environment(), timeout=_RUN, on_line=say).status

    def run_program(
        self, app: App, release: Release, service: Service, argv: Sequence[str], environment: dict[str, str]
    ) -> Program:
        """A new container of the service's image, on the release's networks, removed at its end."""
        terminal = [] if sys.stdin.isatty() else ["--no-TTY"]
        words = compose(
            app, release, "run", "--rm", "--no-deps", *terminal, "--", f"{service.name}.run", *argv
        )
        return Program(tuple(words), str(app.directory), docker.environment())

    def exec(
        self, app: App, release: Release, service: Service, argv: Sequence[str], environment: dict[str, str]
    ) -> Program:
        """In the container of the service's first instance that runs. Raises UnknownNameError where none does."""
        labels = {docker.APP: app.name, docker.RELEASE: str(release.number), docker.SERVICE: service.name}
        running = sorted(
            c.name for c in docker.containers(labels) if c.running and docker.INSTANCE in c.labels
        )
        if not running:
            raise UnknownNameError(f"no instance of {service.name} runs", hint="`pushrod status` says why")
        terminal = ["--tty"] if sys.stdin.isatty() else []
        words = ("docker", "exec", "--interactive", *terminal, "--", running[0], *argv)
        return Program(words, str(app.directory), docker.environment())
