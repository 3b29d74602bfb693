"""One root error, one exit code for each class of failure.

Every failure a user can cause is a `PushrodError`: it says what happened, where (a file and key, a step, a
service) and what to do next. The command line prints it and exits with `exit_code`. Nothing else is
caught, so a traceback always means a bug in pushrod; except in work for all apps, see `contained`.

A signal or a time limit that stops the main thread is a `Stopped`. It is neither a `PushrodError` nor an
`Exception`, so that code which handles failures cannot swallow it.
"""

import contextlib
from collections.abc import Iterator

_LONGEST = 4000  # characters of each text of an error


class Ending(BaseException):
    """What ends a command: what happened, where, what to do, and, if there is one, the end of the log that shows it.

    Only the edge of the command line catches it; everything else catches a `PushrodError`.

    `what` is one sentence. `where` names a file and key, a step or a service. `hint` says what to do.
    `log` holds the last lines of the process that failed, oldest first. Texts are cut, because they often come from
    programs of an app's own image, and are recorded in files that are read for all apps.
    """

    exit_code = 1
    kind = "internal"

    def __init__(self, what: str, *, where: str = "", hint: str = "", log: tuple[str, ...] = ()) -> None:
        self.what, self.where, self.hint = map(_cut, (what, where, hint))
        super().__init__(self.what)
        self.log = tuple(map(_cut, log))
        self.app = ""


class PushrodError(Ending, Exception):
    """A failure. Code may handle it, or continue without what failed."""

    def of(self, app: str) -> "PushrodError":
        """This error attributed to one of several apps: `where` then begins with the app's name."""
        self.app = app
        self.where = f"app {app}: {self.where}" if self.where else f"app {app}"
        return self


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"


class ManifestError(PushrodError):
    """The compose file, or its `x-pushrod` keys, cannot be used as it stands."""

    exit_code = 3
    kind = "manifest"


class RepositoryError(PushrodError):
    """Git: no repository, no commit, a ref that is not deployed, or a tree that must not be pushed."""

    exit_code = 4
    kind = "repository"


class BuildError(PushrodError):
    """An image could not be built, for example because a dependency cannot be installed or a program is missing."""

    exit_code = 5
    kind = "build"


class StoreError(PushrodError):
    """A store could not be created, started or reached."""

    exit_code = 6
    kind = "store"


class ReleaseCommandError(PushrodError):
    """The release command (migrations) ended with a status other than 0, or not before its deadline."""

    exit_code = 7
    kind = "release-command"


class ReadyError(PushrodError):
    """An instance exited while starting, or was not healthy before its deadline."""

    exit_code = 8
    kind = "ready"


class EdgeError(PushrodError):
    """nginx refused the candidate configuration, or did not start with it."""

    exit_code = 9
    kind = "edge"


class HostError(PushrodError):
    """A problem of the machine: a missing program, a port in use, a full disk, a time-out."""

    exit_code = 10
    kind = "host"


class StateError(PushrodError):
    """A file of pushrod's own state cannot be read or has unexpected content."""

    exit_code = 11
    kind = "state"


class UnknownNameError(PushrodError):
    """An app, a release or a service that does not exist, or a name that cannot be used."""

    exit_code = 12
    kind = "name"


class BusyError(PushrodError):
    """Another command held the app's lock until the time-out."""

    exit_code = 13
    kind = "busy"


class Stopped(Ending):
    """The main thread must stop, wherever it is: clean up, and raise it again."""


class Interrupted(Stopped):
    """SIGINT, SIGTERM or a disconnected client before the commit point; the old release stays live."""

    exit_code = 130
    kind = "interrupted"


class Expired(Stopped):
    """The time of `signals.deadline` is over, which makes a HostError of it once the block has stopped."""

    exit_code = HostError.exit_code
    kind = HostError.kind


@contextlib.contextmanager
def contained() -> Iterator[None]:
    """Within the block, an error that nobody expected becomes a PushrodError.

    For work that is done for all apps, one after the other: whatever an app causes, even by a bug of pushrod, the
    next one has its turn; and for figures that an app's own image is asked for. Everywhere else such an error is a
    traceback.
    """
    try:
        yield
    except (PushrodError, OSError):
        raise
    except Exception as e:
        raise PushrodError(
            f"unexpected: {type(e).__name__}: {str(e)[:500]}",
            hint="this is a bug of pushrod: please report it",
        ) from e
