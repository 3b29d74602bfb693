"""Repair what commands must be able to read first: settings, journal, releases, the edge's sites, the state
repository.

Nothing is deleted: damaged files are kept beside their replacements.
"""

import contextlib
import re
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import unquote, urlsplit

from pushrod.adapters import git
from pushrod.core.attempts import Attempts
from pushrod.core.errors import PushrodError, StateError
from pushrod.core.times import now
from pushrod.core.values import Release
from pushrod.engines.protocols import Engine
from pushrod.ingress.certificates import Certificates
from pushrod.releases import app_lifecycle
from pushrod.state import places
from pushrod.state.apps import App, Settings
from pushrod.state.journal import Journal
from pushrod.state.releases import Releases
from pushrod.state.secrets import Secrets, tells_nothing
from pushrod.stores import registry
from pushrod.system import damaged_paths


class Repairs:
    """Repairs of one app. The caller must hold its lock. `done` lists repairs, `tries.failed` what failed."""

    def __init__(self, app: App, engine: Engine) -> None:
        self.app = app
        self.engine = engine
        self.done: list[str] = []
        self.tries = Attempts()
        self._lost = set[Path]()

    def readable(self) -> None:
        """Make settings, journal and the edge's sites readable, which is all that most commands begin with."""
        with self.tries.of("the app's places"):
            self._places()
        with self.tries.of("the app's settings"):
            self._settings()
        with self.tries.of("the journal"):
            self._journal()
        with self.tries.of("the edge's sites"):
            self._sites()
        with self.tries.of("the secrets"):
            self._secrets()
        with self.tries.of("its certificate"):
            self.done += Certificates(self.app).repair()
        self.sealed()

    def sealed(self) -> None:
        """Restore sealed files to their recorded content: a change would be committed with the next record."""
        with contextlib.suppress(PushrodError):  # the record itself may be damaged: `all` repairs it
            sealed = [f"releases/{p.name}" for p in Releases(self.app).directory.glob("*") if p.is_dir()]
            for path in git.restore_changed(self.app.state, sealed):
                self.done.append(f"{path} has its sealed content again")

    def all(self) -> None:
        """Also repair the state repository: sealed releases from its history, and that history itself."""
        self.readable()
        with self.tries.of("the sealed releases"):
            self._releases()
        with self.tries.of("the state repository"):
            self._state()

    def repository(self) -> None:
        """Make sure the repository has every object of its branch, or create a new repository."""
        path = self.app.repository
        with self.tries.of("the repository"):
            if path.exists() and (aside := git.repair_bare(path)):
                self.done.append(
                    f"Git can read its repository again; the damaged files are kept as {', '.join(aside)}"
                )
            if path.exists() and not git.is_whole(path):
                self.done.append(
                    f"its repository lacks objects; it is kept as {damaged_paths.set_aside(path).name}"
                )
            if not path.exists():
                self.done.append("its repository was created again; the next push brings its commits")
            app_lifecycle.make_places(self.app)

    def branch(self, commit: str) -> None:
        """Set the deployed branch to a commit, whatever is in its place."""
        with self.tries.of("the branch"):
            if not git.is_commit(self.app.repository, commit):
                return  # the repository was lost: the next push brings what it needs
            try:
                git.move_branch(self.app.repository, commit)
            except PushrodError:
                git.set_branch_aside(self.app.repository, f"damaged.{now()}")
                git.move_branch(self.app.repository, commit)
                self.done.append(f"the branch is at {commit[:7]} again")

    def _places(self) -> None:
        for path in places.misplaced_paths(self.app):
            aside = damaged_paths.set_aside(path)
            self._lost.add(path)
            self.done.append(f"a misplaced {path.name} is kept as {aside.name}")

    def _settings(self) -> None:
        """Rebuild them from the edge's site; the counts of `scale` and the grants are lost."""
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
        self.done.append(f"the settings were rebuilt: port {port}, nothing scaled, nothing allowed")

    def _journal(self) -> None:
        journal, releases = Journal(self.app.journal), Releases(self.app)
        try:
            places.story(self.app, journal)
        except StateError:
            live, commit = releases.pointed() or self._served(), ""
            with Attempts().of("the live release"):
                commit = releases.read(live).commit if live else ""
            journal.restart(live, commit, max([0, *releases.numbers()]))
            self.done.append(
                f"the journal was rebuilt, live is release {live}; the old one is kept beside it"
            )

    def _served(self) -> int:
        """The release that the edge serves; 0 if there is none or it cannot be read."""
        with Attempts().of("the edge's sites"):
            site = self.engine.ingress.site(self.app.name)
            return site.release if site else 0
        return 0

    def _sites(self) -> None:
        if self.engine.ingress.repair_sites():
            self.done.append("the edge was rebuilt from the last of its trees that can be read")

    def _secrets(self) -> None:
        """Rebuild them from the environment of a sealed release, the live one first: the stores use its passwords."""
        secrets, releases = Secrets(self.app), Releases(self.app)
        for path in [Path(e.where) for e in secrets.damaged()]:
            self._lost.add(path)
            self.done.append(
                f"{path.name} could not be read, and is kept as {damaged_paths.set_aside(path).name}"
            )
        with contextlib.suppress(StateError):
            live = Journal(self.app.journal).story().live
            numbers = releases.numbers()
            for number in sorted(numbers, key=lambda n: (n != live, -n)):
                with contextlib.suppress(PushrodError):
                    sealed = secrets.sealed(number)
                    remembered = secrets.remember(self._passwords(sealed))
                    if remembered:
                        self.done.append(
                            f"passwords were restored from release {number}: {', '.join(remembered)}"
                        )
                    if self.app.secrets / "variables.json" in self._lost and number == live:
                        values = _variables(releases.read(number), sealed)
                        secrets.store(values)
                        names = ", ".join(sorted(values)) or "none"
                        self.done.append(
                            f"secrets were restored from release {number}: {names}; compare `pushrod secret list`"
                        )

    def _passwords(self, sealed: Mapping[str, Mapping[str, str]]) -> dict[str, str]:
        """The passwords in the addresses of the app's stores, by store and role."""
        users = {user: role for kind in registry.KINDS for user, role in kind.users(self.app.name).items()}
        passwords = {}
        for value in {v for environment in sealed.values() for v in environment.values() if "://" in v}:
            with contextlib.suppress(ValueError):
                url = urlsplit(value)
                store = self.engine.stores.at(self.app, url.hostname or "", url.port or 0)
                if store and url.username in users and url.password:
                    passwords[f"{store}/{users[url.username]}"] = unquote(url.password)
        return passwords

    def _releases(self) -> None:
        releases, story = Releases(self.app), Journal(self.app.journal).story()
        on_disk = {int(p.name) for p in releases.directory.glob("*") if p.name.isdecimal()}
        for number in sorted({*on_disk, story.live} - {0, story.open.release if story.open else 0}):
            try:
                releases.read(number)
            except PushrodError as e:
                if self._restored(releases, number):
                    self.done.append(f"release {number} is back from the state repository ({e.what})")
                elif number == story.live:
                    self.tries.failed.append(f"release {number}: {e.what} ({e.where})")
                else:
                    releases.set_aside(number, self.app.directory / f"release-{number}.damaged.{now()}")
                    self.done.append(f"release {number} could not be restored, and was set aside ({e.what})")

    def _restored(self, releases: Releases, number: int) -> bool:
        """Restore a release from the newest commit of the state repository in which it can be read; returns whether
        one was found.
        """
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
        git.commit_all(self.app.state, f"{self.app.name}: the record starts over")
        self.done.append("the record of releases starts over; the damaged one is kept beside it")


def _variables(release: Release, sealed: Mapping[str, Mapping[str, str]]) -> dict[str, str]:
    """The variables that were most likely secrets: every service has them, and neither its image nor pushrod provides
    them.
    """
    environments = [dict(sealed[s.name]) for s in release.services if s.name in sealed]
    first = environments[0] if environments else {}
    given = {name for image in release.images.values() for name in image.environment}
    written = {name for s in release.services for name in s.environment if tells_nothing(name)}
    return {
        name: value
        for name, value in first.items()
        if value
        and all(e.get(name) == value for e in environments)
        and name not in given | written
        and not name.startswith("PUSHROD_")
        and not name.endswith("_URL")
    }
