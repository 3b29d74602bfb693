"""Programs that run once per release, before its instances: jobs and release commands (migrations)."""

import contextlib
import shlex
from collections.abc import Collection, Iterator, Sequence
from typing import NamedTuple

from pushrod.core.errors import PushrodError, ReleaseCommandError
from pushrod.core.times import now
from pushrod.core.values import Release, Service
from pushrod.releases.blockers import reported
from pushrod.releases.context import Context
from pushrod.stores import registry
from pushrod.stores.kinds import Server
from pushrod.system import processes, signals, waits

DEADLINE = 3600.0
"""Seconds that a release command or a job may take."""

TRIES = 6
"""How often a release command is run that could not get a lock."""

_PAUSE = 5.0  # seconds between two tries, in which those that waited behind the command go on


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
    """Runs the one-shots of a release, as the migrating role. Each has `deadline` seconds."""

    def __init__(self, context: Context, deadline: float = DEADLINE) -> None:
        self._context = context
        self._deadline = deadline
        self._app, self._engine = context.app, context.engine

    def run(self, release: Release, programs: Sequence[OneShot]) -> None:
        """Run each once, from the new images. Raises ReleaseCommandError if one fails."""
        for program in programs:
            with self._context.step("release", program.described, release.number) as step:
                before = self._marked(release) if program is programs[0] else self._schema(release)
                step.migrated = before != self._run(release, program)

    def _marked(self, release: Release) -> str:
        """The digest of the schemas; names the moment before the programs in the databases' logs. A database that
        cannot does not stop them.
        """
        digests = []
        for store, server in self._engine.stores.servers(self._app, release.stores).items():
            try:
                digests.append(server.schema(mark=f"pushrod_{self._app.name}_{release.number}"))
            except PushrodError as e:
                digests.append(server.schema())
                self._context.progress.note(
                    f"{store}: no restore point before release {release.number}: {e.what}"
                )
        return "".join(digests)

    def _run(self, release: Release, program: OneShot) -> str:
        """Run a program to its end; a release command that could not get a lock is run again. Returns the digest of
        the schemas afterwards.
        """
        left = TRIES
        while True:
            left -= 1
            try:
                with self._ending_sessions(release) as begun:
                    self._run_once(release, program)
                    return self._schema(release, ending=begun)
            except ReleaseCommandError as e:
                if not (left and program.argv and any(map(registry.is_lock_timeout, e.log))):
                    raise
                self._context.progress.note(
                    f"it could not get a lock in time; it is run again in {_PAUSE:g} s, {left} more times at most"
                )
                waits.wait_until(lambda: False, _PAUSE, _PAUSE)

    def _run_once(self, release: Release, program: OneShot) -> None:
        lines: list[str] = []
        service, secrets, progress = program.service, self._context.secrets, self._context.progress
        environment = secrets.sealed(release.number)[f"{service.name}:release"]

        def print_line(line: str) -> None:
            shown = secrets.redact(line)
            lines.append(shown)
            progress.line(shown)

        def current_blockers() -> Sequence[str]:
            return [secrets.redact(line) for server in self._servers(release) for line in server.waits()]

        def failed(how: str, hint: str) -> ReleaseCommandError:
            what = f"the {program.kind} `{program.shown}` {how}"
            where = f"service {service.name}"
            hint = f"the live release is unchanged{hint}"
            return ReleaseCommandError(what, where=where, hint=hint, log=tuple(lines[-50:]))

        try:
            with reported(current_blockers, progress.note):
                status = self._engine.programs.run(
                    self._app,
                    release,
                    service,
                    program.argv,
                    environment,
                    print_line,
                    timeout=self._deadline,
                )
        except processes.TimedOutError as e:
            raise failed(
                f"did not end within {self._deadline:g} s, and was ended",
                ", and what the command had not committed is undone; leave work that takes longer to a worker, or do "
                "it before the push (`pushrod run`)",
            ) from e
        if status != 0:
            raise failed(f"ended with status {status}", "; fix the command, commit and push again")

    @contextlib.contextmanager
    def _ending_sessions(self, release: Release) -> Iterator[str]:
        """Yields the time (ISO 8601). If the block fails or is interrupted, end the sessions that one-shots opened
        since then; after success `_schema` ends them.
        """
        begun = now()
        try:
            yield begun
        except BaseException:
            self.end_sessions(release, begun)
            raise

    def end_sessions(self, release: Release | None, since: str) -> None:
        """End the sessions that one-shots have opened since a time (ISO 8601).

        A database keeps executing the statement of a client that is gone, and everybody else waits for its locks.
        """
        if release and release.stores and one_shots(release):
            with signals.uninterrupted(), contextlib.suppress(PushrodError, OSError):
                for server in self._servers(release):
                    server.end_migrations(since)

    def _schema(self, release: Release, *, ending: str = "") -> str:
        """A digest of the databases' schemas, which shows whether a program migrated; first ends the sessions that
        one-shots have opened since the time `ending`.
        """
        return "".join(server.schema(ending=ending) for server in self._servers(release))

    def _servers(self, release: Release) -> Collection[Server]:
        return self._engine.stores.servers(self._app, release.stores).values()
