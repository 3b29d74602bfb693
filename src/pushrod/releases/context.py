"""What each part of a deployment works with: one app, its engine, its records, and whoever watches."""

import contextlib
from collections.abc import Callable, Iterator, Sequence

from pushrod.core.errors import PushrodError
from pushrod.core.progress import Progress
from pushrod.core.values import Release
from pushrod.engines.protocols import Engine
from pushrod.ingress.certificates import Certificates
from pushrod.releases.prepare import Sealing
from pushrod.releases.steps import Steps
from pushrod.state.apps import App
from pushrod.state.journal import Journal
from pushrod.state.releases import Releases
from pushrod.state.secrets import Secrets


class Context:
    """One app on one engine. `may_push` tells of another app whether whoever asks may push it, too."""

    def __init__(self, app: App, engine: Engine, progress: Progress, may_push: Callable[[str], bool]) -> None:
        self.app = app
        self.engine = engine
        self.progress = progress
        self.may_push = may_push
        self.journal = Journal(app.journal)
        self.releases = Releases(app)
        self.secrets = Secrets(app)
        self.certificates = Certificates(app)
        self.sealing = Sealing(app, engine, progress, may_push)
        self.step = Steps(progress, self.journal).step

    def live(self) -> Release | None:
        """The live release; StateError if it cannot be read."""
        live = self.journal.story().live
        return self.releases.read(live) if live else None

    def readable_live(self) -> Release | None:
        """The live release, if there is one that can be read."""
        return self.readable(self.journal.story().live)

    def readable(self, number: int) -> Release | None:
        """A release, if there is one of this number that can be read."""
        try:
            return self.releases.read(number) if number else None
        except PushrodError:
            return None

    def discard(self, number: int) -> None:
        """Remove everything of a release that was never live."""
        self.sealing.discard(number)
        self.engine.resources.remove_release_volumes(self.app, number)

    def note(self, notes: Sequence[str]) -> None:
        """Pass on what an engine has to say, without the app's secrets."""
        for note in notes:
            self.progress.note(self.secrets.redact(note))

    @contextlib.contextmanager
    def redacted(self) -> Iterator[None]:
        """What an app has printed is shown without its secrets."""
        try:
            yield
        except PushrodError as e:
            e.what, e.log = self.secrets.redact(e.what), tuple(self.secrets.redact(line) for line in e.log)
            e.args = (e.what,)
            raise

    @contextlib.contextmanager
    def left_for_later(self) -> Iterator[None]:
        """What cannot be undone now (a full disk) stays open in the journal, and the next command undoes it."""
        try:
            yield
        except (PushrodError, OSError) as e:
            self.progress.note(f"not everything could be undone ({e}); the next command goes on with it")
