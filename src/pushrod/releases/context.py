"""What every part of a deployment works with: one app, its engine, its records, and the progress output."""

import contextlib
import functools
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from pushrod.core.errors import PushrodError
from pushrod.core.progress import Progress
from pushrod.core.values import Release
from pushrod.engines.protocols import Engine
from pushrod.ingress.certificates import Certificates
from pushrod.releases.steps import Steps
from pushrod.state.apps import App
from pushrod.state.journal import Journal
from pushrod.state.releases import Releases
from pushrod.state.secrets import Secrets

if TYPE_CHECKING:
    from pushrod.releases.prepare import Sealing


class Context:
    """One app on one engine. `may_push` returns whether the caller may also push the app of that name."""

    def __init__(self, app: App, engine: Engine, progress: Progress, may_push: Callable[[str], bool]) -> None:
        self.app = app
        self.engine = engine
        self.progress = progress
        self.may_push = may_push
        self.journal = Journal(app.journal)
        self.releases = Releases(app)
        self.secrets = Secrets(app)
        self.certificates = Certificates(app)
        self.step = Steps(progress, self.journal).step

    @functools.cached_property
    def sealing(self) -> "Sealing":
        """What turns commits into releases; imported only when there is one to turn, or something of one."""
        from pushrod.releases.prepare import Sealing

        return Sealing(self.app, self.engine, self.progress, self.may_push)

    def live(self) -> Release | None:
        """The live release. Raises StateError if it cannot be read."""
        return self.releases.live(self.journal.story())

    def readable_live(self) -> Release | None:
        """The live release; None if there is none or it cannot be read."""
        return self.readable(self.journal.story().live)

    def readable(self, number: int) -> Release | None:
        """The release of this number; None if there is none or it cannot be read."""
        try:
            return self.releases.read(number) if number else None
        except PushrodError:
            return None

    def discard(self, number: int) -> None:
        """Remove everything that belongs to a release that was never live."""
        self.sealing.discard(number)
        self.engine.resources.remove_release_volumes(self.app, number)

    def note(self, notes: Sequence[str]) -> None:
        """Print the engine's notes, with the app's secrets redacted."""
        for note in notes:
            self.progress.note(self.secrets.redact(note))

    @contextlib.contextmanager
    def redacted(self) -> Iterator[None]:
        """Redact the app's secrets in the log of an error raised in the block."""
        try:
            yield
        except PushrodError as e:
            e.what, e.log = self.secrets.redact(e.what), tuple(self.secrets.redact(line) for line in e.log)
            e.args = (e.what,)
            raise

    @contextlib.contextmanager
    def left_for_later(self) -> Iterator[None]:
        """If the block fails (a full disk), leave the promotion open in the journal: the next command undoes it."""
        try:
            yield
        except (PushrodError, OSError) as e:
            self.progress.note(f"not everything could be undone ({e}); the next command tries again")
