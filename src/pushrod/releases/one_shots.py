"""Programs that run once per release, before its instances: jobs and release commands (migrations)."""

import contextlib
import shlex
from collections.abc import Sequence
from typing import NamedTuple

from pushrod.core.errors import PushrodError, ReleaseCommandError
from pushrod.core.values import Release, Service
from pushrod.releases.blockers import reported
from pushrod.releases.context import Context
from pushrod.state.apps import now
from pushrod.system import signals


class OneShot(NamedTuple):
    """A program that runs once before a release's instances: a job (no argv: its image's), or a release command."""

    service: Service
    argv: tuple[str, ...] = ()

    @property
    def kind(self) -> str:
        return "release command" if self.argv else "job"

    @property
    def shown(self) -> str:
        """The command as shown in a plan; a job is shown by its name."""
        return shlex.join(self.argv) or self.service.name

    @property
    def described(self) -> str:
        """The command, and the service it belongs to."""
        return f"{self.service.name}: {self.shown}" if self.argv else self.shown


def one_shots(release: Release) -> list[OneShot]:
    """The jobs in the manifest's order, then the release commands."""
    jobs = [OneShot(s) for s in release.services if s.role == "job"]
    return jobs + [OneShot(s, s.release) for s in release.services if s.role != "job" and s.release]


class OneShots:
    """Runs the one-shots of a release, as the migrating role."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._app, self._engine = context.app, context.engine

    def run(self, release: Release, programs: Sequence[OneShot]) -> None:
        """Run each once, from the new images. Raises ReleaseCommandError if one fails."""
        for program in programs:
            with self._context.step("release", program.described, release.number) as step:
                before = self._engine.stores.schema(self._app, release.stores)
                self._run(release, program)
                step.migrated = before != self._engine.stores.schema(self._app, release.stores)

    def _run(self, release: Release, program: OneShot) -> None:
        lines: list[str] = []
        service, secrets, progress = program.service, self._context.secrets, self._context.progress
        environment = secrets.sealed(release.number)[f"{service.name}:release"]

        def print_line(line: str) -> None:
            shown = secrets.redact(line)
            lines.append(shown)
            progress.line(shown)

        def current_blockers() -> Sequence[str]:
            return [secrets.redact(line) for line in self._engine.stores.blockers(self._app, release.stores)]

        begun = now()
        try:
            with reported(current_blockers, progress.note):
                status = self._engine.programs.run(
                    self._app, release, service, program.argv, environment, print_line
                )
        finally:
            self.end_sessions(release, begun)
        if status != 0:
            raise ReleaseCommandError(
                f"the {program.kind} `{program.shown}` ended with status {status}",
                where=f"service {service.name}",
                hint="the live release is unchanged; fix the command, commit and push again",
                log=tuple(lines[-50:]),
            )

    def end_sessions(self, release: Release | None, since: str) -> None:
        """End the sessions that one-shots have opened since a time (ISO 8601).

        A database keeps executing the statement of a client that is gone, and everybody else waits for its locks.
        """
        if release and release.stores and one_shots(release):
            with signals.uninterrupted(), contextlib.suppress(PushrodError, OSError):
                self._engine.stores.end_migrations(self._app, release.stores, since)
