"""Programs of releases on Docker: in a container of their own, or in that of an instance."""

import sys
from collections.abc import Sequence

from pushrod.adapters import docker
from pushrod.core.errors import UnknownNameError
from pushrod.core.values import Manifest, Program, Release, Service
from pushrod.engines.docker import sealed_files
from pushrod.engines.docker.projects import compose, join
from pushrod.engines.protocols import OnLine
from pushrod.state.apps import App
from pushrod.system import processes

_MOST = 16  # one-off programs of a release at once


class Programs:
    """Runs programs of an app."""

    def has_environment(self, app: App, release: Release) -> bool:
        """Whether each service and store has its environment file."""
        return sealed_files.have_environments(app, release)

    def write_environment(self, app: App, release: Release, manifest: Manifest) -> None:
        """Write these files, including those of hooks."""
        sealed_files.write_environments(app, release, manifest)

    def run(
        self,
        app: App,
        release: Release,
        service: Service,
        argv: Sequence[str],
        environment: dict[str, str],
        on_line: OnLine,
        *,
        timeout: float,
    ) -> int:
        """Run a program once from a release's image, on its networks, with the sealed environment."""
        join(app, release)
        command = compose(
            app, release, "run", "--rm", "--no-deps", "--no-TTY", "--", f"{service.name}.run", *argv
        )
        try:
            return processes.run(command, env=docker.environment(), timeout=timeout, on_line=on_line).status
        except processes.TimedOutError:  # that ended Docker's client alone
            docker.remove(docker.container_ids(_one_off(app, release)))
            raise

    def run_program(
        self, app: App, release: Release, service: Service, argv: Sequence[str], environment: dict[str, str]
    ) -> Program:
        """A new container of the service's image, on the release's networks, removed when it ends; the oldest ends
        if there are too many.
        """
        docker.make_room(_one_off(app, release), _MOST)
        terminal = [] if sys.stdin.isatty() else ["--no-TTY"]
        words = compose(
            app, release, "run", "--rm", "--no-deps", *terminal, "--", f"{service.name}.run", *argv
        )
        return Program(tuple(words), str(app.directory), docker.environment())

    def exec(
        self, app: App, release: Release, service: Service, argv: Sequence[str], environment: dict[str, str]
    ) -> Program:
        """In the container of the service's first running instance. Raises UnknownNameError if there is none."""
        labels = {docker.APP: app.name, docker.RELEASE: str(release.number), docker.SERVICE: service.name}
        running = sorted(
            c.name for c in docker.containers(labels) if c.running and docker.INSTANCE in c.labels
        )
        if not running:
            raise UnknownNameError(f"no instance of {service.name} runs", hint="`pushrod status` shows why")
        terminal = ["--tty"] if sys.stdin.isatty() else []
        words = ("docker", "exec", "--interactive", *terminal, "--", running[0], *argv)
        return Program(words, str(app.directory), docker.environment())


def _one_off(app: App, release: Release) -> dict[str, str]:
    """The labels of containers of a release that are no instances."""
    return {docker.APP: app.name, docker.RELEASE: str(release.number), docker.ONE_OFF: "True"}
