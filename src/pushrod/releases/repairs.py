"""Mending what commands must be able to read first: settings, journal, releases, the edge's sites, the record.

Nothing is thrown away: what is damaged is kept beside what takes its place.
"""

import contextlib
import re

from pushrod.adapters import git
from pushrod.core.attempts import Attempts
from pushrod.core.errors import PushrodError, StateError
from pushrod.engines.protocols import Engine
from pushrod.state.apps import App, Settings, now
from pushrod.state.journal import Journal
from pushrod.state.releases import Releases


class Repairs:
    """Repairs of one app; needs its lock. `done` says what was mended, `tries.failed` what could not be."""

    def __init__(self, app: App, engine: Engine) -> None:
        self.app = app
        self.engine = engine
        self.done: list[str] = []
        self.tries = Attempts()

    def readable(self) -> None:
        """Have settings, journal and the edge's sites be readable, which is all that most commands begin with."""
        with self.tries.of("the app's settings"):
            self._settings()
        with self.tries.of("the journal"):
            self._journal()
        with self.tries.of("the edge's sites"):
            self._sites()

    def all(self) -> None:
        """Besides, what the state repository has: sealed releases from its history, and that history itself."""
        self.readable()
        with self.tries.of("the sealed releases"):
            self._releases()
        with self.tries.of("the state repository"):
            self._state()

    def branch(self, commit: str) -> None:
        """Have the deployed branch be at a commit, whatever is in its place."""
        with self.tries.of("the branch"):
            if not git.is_commit(self.app.repository, commit):
                return  # the repository was lost: the next push brings what it needs
            try:
                git.move_branch(self.app.repository, commit)
            except PushrodError:
                git.clear_branch(self.app.repository, f"damaged.{now()}")
                git.move_branch(self.app.repository, commit)
                self.done.append(f"the branch is at {commit[:7]} again")

    def _settings(self) -> None:
        """From what the edge serves the app as; the counts of `scale` and what was allowed cannot be known again."""
        try:
            if self.app.settings:
                return
        except StateError:
            site = None
            with Attempts().of("the edge's sites"):
                site = self.engine.ingress.site(self.app.name)
        if site is not None:
            port = site.port
        else:
            with self.engine.platform.choose_port() as port:
                pass
        self.app.save(Settings(name=self.app.name, port=port, engine=self.engine.traits.name, created=now()))
        self.done.append(f"the settings are made anew: port {port}, nothing scaled, nothing allowed")

    def _journal(self) -> None:
        journal, releases = Journal(self.app.journal), Releases(self.app)
        try:
            journal.story()
        except StateError:
            live, commit = releases.pointed(), ""
            with Attempts().of("the live release"):
                commit = releases.read(live).commit if live else ""
            journal.restart(live, commit, max([0, *releases.numbers()]))
            self.done.append(f"a new journal, live is release {live}; the old one is kept beside it")

    def _sites(self) -> None:
        if self.engine.ingress.repair_sites():
            self.done.append("the edge begins anew, with the sites of the last of its trees that can be read")

    def _releases(self) -> None:
        releases, story = Releases(self.app), Journal(self.app.journal).story()
        for number in sorted({*releases.numbers(), story.live} - {0}):
            try:
                releases.read(number)
            except PushrodError as e:
                if self._restored(releases, number):
                    self.done.append(f"release {number} is back from the state repository ({e.what})")
                elif number == story.live:
                    self.tries.failed.append(f"release {number}: {e.what} ({e.where})")
                else:
                    releases.set_aside(number, self.app.directory / f"release-{number}.damaged.{now()}")
                    self.done.append(f"release {number} cannot be had back, and is kept aside ({e.what})")

    def _restored(self, releases: Releases, number: int) -> bool:
        """Take a release from the newest commit of the record in which it can be read; whether there is one."""
        inside = f"releases/{number}"
        commits: list[str] = []
        with contextlib.suppress(PushrodError):
            commits = git.history(self.app.state, inside)
        for commit in commits:
            if git.restore(self.app.state, commit, inside):
                with contextlib.suppress(PushrodError):
                    releases.read(number)
                    return True
        return False

    def _state(self) -> None:
        if git.is_sound(self.app.state):
            return
        damaged = self.app.state / ".git"
        if damaged.exists():
            damaged.rename(self.app.directory / f"state.damaged.{re.sub('[^0-9T]', '', now())}")
        git.create_state(self.app.state)
        git.commit_all(self.app.state, f"{self.app.name}: the record begins anew")
        self.done.append("the record of releases begins anew; the damaged one is kept beside it")
