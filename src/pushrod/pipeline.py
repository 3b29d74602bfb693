"""The life of a push. `deploy` is the table of contents; each step below it is one method.

    prepare   commit → checkout → images → configuration → sealed release    nothing live is touched
    promote   plan → stores → release → start → ready → switch → live        `live` is the one commit point
    retire    drain → stop the old instances → record → prune

Before `live` a failure, a signal or a crash is undone and the old release goes on serving; after it, everything
left to do is finished, by this process or by the next one that takes the app's lock (`recover`).
"""

import contextlib
import getpass
import os
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec

from pushrod import __version__, configuration, host, manifest, plan
from pushrod.apps import App, now
from pushrod.engines.engine import Engine
from pushrod.errors import PushrodError, ReleaseCommandError, RepositoryError, StateError, UnknownNameError
from pushrod.gears import compose, git
from pushrod.gears.nginx import DRAIN_BUDGET, Site, Switch
from pushrod.journal import Journal, Story
from pushrod.progress import Progress
from pushrod.releases import Releases
from pushrod.secrets import Secrets
from pushrod.values import Image, Manifest, Release, Service

LOCK_TIMEOUT = 1800.0  # seconds a push waits for the one before it
_FAILURES = (PushrodError, OSError, KeyboardInterrupt)


class Pipeline:
    """Deployments of one app on one engine. Every public method takes the app's lock and first recovers."""

    def __init__(self, app: App, engine: Engine, progress: Progress) -> None:
        self.app = app
        self.engine = engine
        self.progress = progress
        self.journal = Journal(app.journal)
        self.releases = Releases(app)
        self.secrets = Secrets(app)

    # ---- what a user asks for -------------------------------------------------------------------------------

    def deploy(
        self, commit: str, *, replacing: str | None = None, anew: bool = False, migrate: bool = True
    ) -> Release:
        """Make a commit live and return its release; the live one if it already is that commit, unchanged.

        `replacing` is the commit a push was told is live when it connected. `anew` makes a new release even of
        the same commit; `migrate` runs the release command.
        """
        with self.locked(f"deploying {commit[:7]}"):
            self._check_moved(commit, replacing)
            live = self._live_release()
            if live and not anew and (live.commit, live.inputs) == (commit, self._inputs()):
                if self.app.settings.down:
                    self.promote(live, fresh=False, migrate=False)
                return live
            release = self.prepare(commit)
            self.promote(release, migrate=migrate)
            return release

    def _check_moved(self, commit: str, replacing: str | None) -> None:
        """A push that waited may find that another has gone live: only one that builds on it may follow."""
        current = git.branch_commit(self.app.repository)
        if replacing is None or current in ("", replacing, commit):
            return
        if not git.is_ancestor(self.app.repository, current, commit):
            raise RepositoryError(
                f"{current[:7]} went live while this push waited, and {commit[:7]} is not built on it",
                where=f"app {self.app.name}",
                hint="git fetch pushrod, merge or rebase onto pushrod/main, and push again",
            )

    def rollback(self, number: int = 0, *, across_migrations: bool = False) -> Release:
        """Make an older sealed release live again, by default the one before; seconds, and no build."""
        with self.locked("rolling back"):
            story = self.journal.story()
            release = self.releases.read(number or self._previous(story.live))
            if release.number == story.live:
                raise UnknownNameError(
                    f"release {release.number} is live already", hint="`pushrod releases` shows the others"
                )
            crossed = [n for n in story.migrated if release.number < n <= story.live]
            if crossed and not across_migrations:
                raise UnknownNameError(
                    f"release {crossed[0]} changed the database's schema after release {release.number}",
                    hint="make sure the older code can work with the newer schema, then add --across-migrations",
                )
            self.promote(release, fresh=False, migrate=False)
            return release

    def up(self) -> Release | None:
        """Start the live release of an app that was stopped, with its stores; None if nothing was ever live."""
        with self.locked("starting"):
            live = self._live_release()
            if live is not None:
                self.promote(live, fresh=False, migrate=False)
            return live

    def down(self) -> None:
        """Stop everything of the app, the edge first, then its instances, then its stores; data stays."""
        with self.locked("stopping"):
            self.app.save(msgspec.structs.replace(self.app.settings, down=True))
            with self._step("edge", "") as step:
                self.engine.edge.drained(self._switch(None), DRAIN_BUDGET)
                step.detail = "no longer answers for the app"
            with self._step("stop", "") as step:
                for number in self.engine.running(self.app):
                    self.engine.stop(self.app, number)
                self.engine.stop_stores(self.app)
                step.detail = "instances, then stores; the data stays"
            self.engine.rest()

    def plan(self, commit: str) -> tuple[list[plan.Change], tuple[str, ...]]:
        """What deploying a commit would change, and the notes on its manifest. Builds and changes nothing."""
        checkout = self.app.checkouts / f"plan-{os.getpid()}"
        try:
            wanted = self._load(commit, checkout)
            images = {s.name: self.engine.identify(s, checkout) for s in wanted.stateless}
            return plan.compare(self._live_release(), wanted.stateless, wanted.stores, images), wanted.notes
        finally:
            host.remove_tree(checkout)

    @contextlib.contextmanager
    def locked(self, purpose: str) -> Iterator[None]:
        """Hold the app's lock, open the engine, and finish or undo what an interrupted command left."""

        def waiting(holder: str) -> None:
            self.progress.note(f"waiting: another command is {holder}")

        with host.lock(self.app.lock, purpose=purpose, timeout=LOCK_TIMEOUT, on_wait=waiting):
            self.engine.open()
            self.recover()
            yield

    # ---- prepare --------------------------------------------------------------------------------------------

    def prepare(self, commit: str) -> Release:
        """Seal a release of a commit: checkout, images, configuration. Nothing live is touched."""
        number = self.journal.story().last + 1
        self.journal.append("prepare", number, commit=commit)
        try:
            with self._step("prepare", f"release {number} from {commit[:7]}") as step:
                release = self._seal(number, commit)
                step.detail = f"release {number} from {commit[:7]} “{release.subject}”"
            return release
        except _FAILURES as e:
            with host.uninterrupted(), self._left_for_later():
                self._discard(number)
                self.journal.append("failed", number, step="prepare", why=str(e))
            raise

    def _seal(self, number: int, commit: str) -> Release:
        checkout = self.app.checkout(number)
        wanted = self._load(commit, checkout)
        self._say_new_notes(wanted)
        images = {s.name: self.engine.build(s, checkout, self.progress.line) for s in wanted.stateless}
        environments = self._environments(number, commit, wanted, images)
        self.secrets.seal(number, environments)
        with self.engine.place(wanted.stateless) as instances:
            release = Release(
                app=self.app.name,
                number=number,
                commit=commit,
                subject=git.subject(self.app.repository, commit),
                created=now(),
                engine=self.engine.name,
                entry=wanted.entry.name,
                services=tuple(_without_values(s) for s in wanted.stateless),
                stores=tuple(_without_values(s) for s in wanted.stores),
                images=images,
                instances=instances,
                environment_names={name: tuple(sorted(v)) for name, v in environments.items()},
                inputs=self._inputs(),
                notes=wanted.notes,
                keep=wanted.keep,
                pushrod=__version__,
            )
            self.releases.seal(release, {})
        return release

    def _load(self, commit: str, checkout: Path) -> Manifest:
        """Write a commit's tree and read the manifest in it, with the replica counts that were set by hand."""
        host.remove_tree(checkout)
        git.checkout(self.app.repository, commit, checkout)
        variables = self.secrets.variables()
        document = compose.load(
            checkout, project=self.app.name, variables=variables, on_warning=self.progress.note
        )
        bases = compose.bases(document, checkout)
        return self._scaled(manifest.read(document, bases=bases, store_versions=self.engine.store_versions()))

    def _inputs(self) -> str:
        return self.secrets.digest([self.secrets.variables(), self.app.settings.replicas, __version__])

    def _scaled(self, wanted: Manifest) -> Manifest:
        replicas = self.app.settings.replicas
        services = tuple(
            msgspec.structs.replace(s, replicas=replicas[s.name]) if s.name in replicas else s
            for s in wanted.services
        )
        return msgspec.structs.replace(wanted, services=services)

    def _say_new_notes(self, wanted: Manifest) -> None:
        live = self._live_release()
        for note in wanted.notes:
            if live is None or note not in live.notes:
                self.progress.note(note)

    def _environments(
        self, number: int, commit: str, wanted: Manifest, images: dict[str, Image]
    ) -> dict[str, dict[str, str]]:
        """What each service gets, and under `<service>:release` what its release command gets."""
        endpoints = self.engine.endpoints(self.app, wanted.stores)
        secrets = self.secrets.variables()
        identity = {
            "PUSHROD_APP": self.app.name,
            "PUSHROD_RELEASE": str(number),
            "PUSHROD_COMMIT": commit,
        }

        def resolve(service: Service, *, migrating: bool) -> dict[str, str]:
            return configuration.resolve(
                service,
                images[service.name],
                secrets=secrets,
                endpoints=endpoints,
                identity=identity,
                migrating=migrating,
            )

        found = {s.name: resolve(s, migrating=False) for s in wanted.stateless}
        return found | {f"{s.name}:release": resolve(s, migrating=True) for s in wanted.stateless}

    # ---- promote --------------------------------------------------------------------------------------------

    def promote(self, release: Release, *, fresh: bool = True, migrate: bool = True) -> None:
        """Make a sealed release live, then retire the one before. `fresh` is false for one that was live before."""
        previous = self.journal.story().live
        self.journal.append("promote", release.number, previous=previous, fresh=fresh, commit=release.commit)
        try:
            self._plan(release)
            self._stores(release)
            if migrate:
                self._release_commands(release)
            self._start(release)
            self._ready(release)
            switch = self._serve(release)
            with host.uninterrupted():
                self._commit(release)
        except _FAILURES as e:
            with host.uninterrupted(), self._left_for_later():
                self._undo(release.number, previous, fresh=fresh, why=str(e))
            raise
        with host.uninterrupted():
            self._retire(release, previous, switch)

    def _plan(self, release: Release) -> None:
        with self._step("plan", "") as step:
            images = {name: image.id for name, image in release.images.items()}
            step.detail = plan.summary(
                plan.compare(self._live_release(), release.services, release.stores, images)
            )

    def _stores(self, release: Release) -> None:
        if not release.stores:
            return
        with self._step("stores", ", ".join(s.name for s in release.stores)) as step:
            ddl = not any(s.release for s in release.services)
            step.detail = self.engine.ensure_stores(self.app, release.stores, ddl=ddl)

    def _release_commands(self, release: Release) -> None:
        """Run each service's release command once, from the new image, as the migrating role."""
        for service in (s for s in release.services if s.release):
            command = " ".join(service.release)
            with self._step("release", f"{service.name}: {command}"):
                before = self.engine.schema(self.app, release.stores)
                self._run_release_command(release, service)
                migrated = before != self.engine.schema(self.app, release.stores)
                self.journal.append("step", release.number, step="release", migrated=migrated)

    def _run_release_command(self, release: Release, service: Service) -> None:
        lines: list[str] = []
        environment = self.secrets.sealed(release.number)[f"{service.name}:release"]

        def say(line: str) -> None:
            shown = self.secrets.redact(line)
            lines.append(shown)
            self.progress.line(shown)

        status = self.engine.run(self.app, release, service, service.release, environment, say)
        if status != 0:
            raise ReleaseCommandError(
                f"the release command `{' '.join(service.release)}` ended with status {status}",
                where=f"service {service.name}",
                hint="nothing has been switched; run it against a copy of the data, mend it, commit and push again",
                log=tuple(lines[-50:]),
            )

    def _start(self, release: Release) -> None:
        with self._step("start", plan.count(release.instances)):
            self.engine.start(self.app, release, self.secrets.sealed(release.number))

    def _ready(self, release: Release) -> None:
        with self._step("ready", plan.count(release.instances)) as step:
            try:
                self.engine.ready(self.app, release)
            except PushrodError as e:
                e.log = tuple(self.secrets.redact(line) for line in e.log)
                raise
            step.detail = f"{len(release.instances)} of {len(release.instances)} healthy"

    def _serve(self, release: Release) -> Switch:
        with self._step("switch", f"edge → release {release.number}") as step:
            switch = self._switch(release)
            step.detail = f"edge → release {release.number}, confirmed by its new workers"
        return switch

    def _commit(self, release: Release) -> None:
        """The commit point: the journal says so, then the pointer and the branch follow."""
        started = time.monotonic()
        self.journal.append("live", release.number, commit=release.commit)
        self._follow(release)
        self.progress.end("live", f"release {release.number} at {self.url}", time.monotonic() - started)

    def _follow(self, release: Release) -> None:
        self.releases.point(release.number)
        git.move_branch(self.app.repository, release.commit)
        if self.app.settings.down:
            self.app.save(msgspec.structs.replace(self.app.settings, down=False))

    @property
    def url(self) -> str:
        """Where the app answers."""
        return f"http://127.0.0.1:{self.app.settings.port}"

    def _switch(self, release: Release | None) -> Switch:
        site = None
        if release is not None:
            ports = tuple(i.port for i in release.entry_instances)
            site = Site(
                app=self.app.name, release=release.number, port=self.app.settings.port, instances=ports
            )
        return self.engine.edge.switch({self.app.name: site})

    # ---- retire ---------------------------------------------------------------------------------------------

    def _retire(self, release: Release, previous: int, switch: Switch) -> None:
        others = [n for n in self.engine.running(self.app) if n != release.number]
        if others:
            names = ", ".join(f"release {n}" for n in others)
            with self._step("drain", f"{names} finishes its requests"):
                self.engine.edge.drained(switch, DRAIN_BUDGET)
                for number in others:
                    self.engine.stop(self.app, number)
        with self._step("record", "") as step:
            self._record(release, previous)
            step.detail = f"tag {_tag(release.number)}"
        self._prune(release)
        self.journal.append("done", release.number)

    def _record(self, release: Release, previous: int) -> None:
        who = getpass.getuser()
        message = (
            f"{self.app.name}: release {release.number} is live\n\n"
            f"commit: {release.commit}\nsubject: {release.subject}\nbefore: {previous or 'nothing'}\nby: {who}\n"
            f"at: {now()}\n"
        )
        self.releases.record(message)
        git.tag(self.app.repository, _tag(release.number), release.commit, message)

    def _prune(self, release: Release) -> None:
        numbers = self.releases.numbers()
        for number in [n for n in numbers if n != release.number][: max(0, len(numbers) - release.keep)]:
            self._discard(number)
        self.engine.edge.rotate()

    # ---- undo and recovery ----------------------------------------------------------------------------------

    def _undo(self, number: int, previous: int, *, fresh: bool, why: str) -> None:
        """Put everything back as it was before the promotion; frees space before it needs any."""
        stopped = self.app.settings.down
        before = self.releases.read(previous) if previous and not stopped else None
        switch = self._switch(before)
        self.engine.edge.drained(switch, DRAIN_BUDGET)
        if number != previous or stopped:
            self.engine.stop(self.app, number)
        if fresh:
            self._discard(number)
        self.journal.append("failed", number, why=why)

    @contextlib.contextmanager
    def _left_for_later(self) -> Iterator[None]:
        """What cannot be undone now (a full disk) stays open in the journal, and the next command undoes it."""
        try:
            yield
        except (PushrodError, OSError) as e:
            self.progress.note(f"not everything could be undone ({e}); the next command goes on with it")

    def recover(self) -> None:
        """Finish or undo what a killed command left open. Needs the lock."""
        story = self.journal.story()
        if story.open is None:
            self._agree(story)
            return
        opened = story.open
        with host.uninterrupted():
            if story.reached_live:
                self.progress.note(f"an interrupted command made release {opened.release} live: finishing it")
                release = self.releases.read(opened.release)
                self._follow(release)
                self._retire(release, opened.previous, self._switch(release))
            elif opened.event == "prepare":
                self.progress.note(f"an interrupted command was preparing release {opened.release}: removed")
                self._discard(opened.release)
                self.journal.append("failed", opened.release, step="prepare", why="interrupted")
            else:
                self.progress.note(f"an interrupted command was promoting release {opened.release}: undone")
                self._undo(opened.release, opened.previous, fresh=opened.fresh, why="interrupted")

    def _agree(self, story: Story) -> None:
        """Pointer and branch follow the journal; StateError if the live release itself is missing."""
        if story.live and story.live not in self.releases.numbers():
            raise StateError(
                f"the journal says release {story.live} is live, but it is not in the state repository",
                where=str(self.releases.directory),
                hint=f"restore it from its history: git -C {self.app.state} checkout HEAD -- releases/{story.live}",
            )
        if self.releases.pointed() != story.live:
            self.releases.point(story.live)
        live = self._live_release()
        if live and git.branch_commit(self.app.repository) != live.commit:
            git.move_branch(self.app.repository, live.commit)

    # ---- small things ---------------------------------------------------------------------------------------

    def _live_release(self) -> Release | None:
        live = self.journal.story().live
        return self.releases.read(live) if live else None

    def _previous(self, live: int) -> int:
        older = [n for n in self.releases.numbers() if n < live]
        if not older:
            raise UnknownNameError(
                f"{self.app.name} has no release before {live or 'the first'}",
                hint="`pushrod releases` shows what is kept",
            )
        return older[-1]

    def _discard(self, number: int) -> None:
        self.releases.remove(number)
        self.secrets.forget(number)
        host.remove_tree(self.app.checkout(number))

    @contextlib.contextmanager
    def _step(self, name: str, detail: str) -> Iterator["_Step"]:
        step = _Step(detail)
        started = time.monotonic()
        self.progress.begin(name, detail)
        try:
            yield step
        except _FAILURES:
            self.progress.fail(name, time.monotonic() - started)
            raise
        self.progress.end(name, step.detail, time.monotonic() - started)


class _Step:
    def __init__(self, detail: str) -> None:
        self.detail = detail


def _tag(number: int) -> str:
    return f"release/{number}"


def _without_values(service: Service) -> Service:
    """The service as it may be kept in Git: names of its variables, not their values."""
    return msgspec.structs.replace(service, environment=dict.fromkeys(service.environment))
