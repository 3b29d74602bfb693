"""Prepare: from a commit to a sealed release. Touches nothing live."""

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path

import msgspec

from pushrod import __version__
from pushrod.adapters import compose, git, manifests
from pushrod.adapters.reading_limits import Reading
from pushrod.core import plan
from pushrod.core.errors import ManifestError, PushrodError, StateError
from pushrod.core.limits import Limits
from pushrod.core.progress import Progress
from pushrod.core.site import group
from pushrod.core.times import now
from pushrod.core.values import Image, Manifest, Placement, Release, Route, Service
from pushrod.engines import scripts
from pushrod.engines.protocols import Engine
from pushrod.ingress import claims, snippets
from pushrod.ingress.basic_auth import Passwords
from pushrod.ingress.static_files import Static
from pushrod.manifest import MOST_INSTANCES, policy
from pushrod.manifest import read as read_manifest
from pushrod.manifest.document import EmptyValueError
from pushrod.releases import argv_secrets, commit_tree, front_ends, inputs, migration_notes
from pushrod.state.apps import App
from pushrod.state.releases import Releases
from pushrod.state.secrets import Secrets, Variables
from pushrod.stores import clients, variables
from pushrod.system import damaged_paths


class Sealing:
    """Turns commits of one app into releases."""

    def __init__(self, app: App, engine: Engine, progress: Progress, may_push: Callable[[str], bool]) -> None:
        self.app = app
        self.engine = engine
        self.progress = progress
        self._may_push = may_push
        self.releases = Releases(app)
        self.secrets = Secrets(app)

    @cached_property
    def static(self) -> Static:
        """The app's files that the edge serves itself."""
        return Static(self.app, self.engine.ingress.places)

    @cached_property
    def passwords(self) -> Passwords:
        """The edge's password files for the app's restricted routes."""
        return Passwords(self.app, self.engine.ingress.places)

    def seal(self, number: int, commit: str, *, known_notes: tuple[str, ...]) -> Release:
        """Check the commit out, read its manifest, build its images, resolve its configuration, and write the
        release.

        `known_notes` are the notes of the live release, which are not repeated.
        """
        checkout = self.app.checkout(number)
        document, manifest = self.load(commit, checkout)
        for note in manifest.notes:
            if note not in known_notes:
                self.progress.note(note)
        for note in self.migration_notes(commit, checkout):
            self.progress.note(note)
        changes, needs = self.engine.images.preview(self.app, commit, document, manifest, checkout)
        plan.refuse_unmet(needs)
        for change in changes:
            if change.what == "store":
                self.progress.note(f"{change.name}: {change.detail}")

        def print_line(line: str) -> None:
            self.progress.line(self.secrets.redact(line))

        with _explained(manifest, checkout):
            images = {
                s.name: self.engine.images.build(self.app, commit, s, checkout, print_line)
                for s in self.engine.images.needed(manifest)
            }
        front_ends.build(self.engine.images, manifest.routing, checkout, print_line)
        self.static.check(manifest.routing, checkout)
        places = {name: image.location for name, image in images.items()}
        manifest = self._remarked(document, manifest, checkout, places, known_notes=known_notes)
        environments = self._environments(number, commit, manifest, images)
        self.secrets.seal(number, environments)
        with self.engine.resources.place(
            self.app, number, manifest, images
        ) as placement:  # other apps wait for this block
            self.releases.reserve(number, placement)
        release = self._release(number, commit, manifest, images, placement, environments)
        self.static.publish(number, release.routing, checkout)
        self.releases.seal(release, self.engine.resources.render(self.app, release, document, manifest))
        return release

    def migration_notes(self, commit: str, checkout: Path) -> list[str]:
        """Notes on the SQL migrations that the live release lacks."""
        number = self.releases.pointed()
        with contextlib.suppress(StateError):
            if number and migration_notes.can():
                live = self.releases.read(number).commit
                return migration_notes.of(self.app.repository, live, commit, checkout)
        return []

    def _remarked(
        self,
        document: compose.Document,
        manifest: Manifest,
        checkout: Path,
        images: Mapping[str, str],
        known_notes: tuple[str, ...],
    ) -> Manifest:
        """The manifest with the engine's notes on its images; prints the new notes."""
        engine_notes = self.engine.images.notes(self.app, document, manifest, checkout, images)
        for note in engine_notes:
            if note not in known_notes:
                self.progress.note(note)
        return msgspec.structs.replace(manifest, notes=(*manifest.notes, *engine_notes))

    def load(
        self, commit: str, checkout: Path, *, planned: bool = False, file: str = ""
    ) -> tuple[compose.Document, Manifest]:
        """Write a commit's tree and read its manifest, with the replica counts set by `pushrod scale`.

        Also returns the resolved document, after the engine has checked that it may run. With `planned` nothing is
        deployed, so secrets may be missing. `file` replaces the app's own compose file.
        """
        file = file or self.app.settings.file
        terms = self.engine.platform.terms(self.app, checkout)
        reading = Reading.of(terms.limits)
        git.remove_checkout(checkout)
        tree_notes = [
            *self._write_tree(commit, checkout, terms.limits),
            *manifests.passed_over(checkout, file),
        ]
        warnings: list[str] = []

        def warned(message: str) -> None:
            warnings.append(message)
            self.progress.note(message)

        document = compose.load(
            checkout,
            project=self.app.name,
            variables=self.secrets.variables(),
            file=file,
            planned=planned,
            most=reading,
            on_warning=warned,
        )
        with _naming_unset(warnings):
            document, policy_notes = policy.apply(document, terms)
            manifest = read_manifest(
                document,
                engine=self.engine.traits.name,
                bases=compose.bases(document, checkout, reading),
                exposed=compose.exposed(document, checkout, reading),
                store_versions=self.engine.stores.versions(),
                tracked=terms.tracked,
                projects=compose.projects(checkout, self.app.name, file),
            )
        if not self.engine.traits.containers:
            manifest = clients.judged(
                argv_secrets.moved(manifest, self.secrets.variables()),
                self.app.name,
                self.secrets.variables(),
                lambda name: git.mentions(self.app.repository, commit, name),
            )
        replicas = self.app.settings.replicas
        services = [
            s if s.role == "job" else msgspec.structs.replace(s, replicas=replicas.get(s.name, s.replicas))
            for s in manifest.services
        ]
        allowed = self.app.settings.allowed
        groups = _groups(self.app, manifest)
        lines = snippets.read(manifest.snippets, checkout, self.app.name, groups, allowed)
        memory = 0 if snippets.ALLOWED in allowed else snippets.memory(lines)
        routing = msgspec.structs.replace(manifest.routing, snippets=lines, memory=memory)
        # the note on why this compose file was chosen comes first
        chosen = [n for n in manifest.notes if n.startswith(f"{manifest.because};")]
        notes = tuple(dict.fromkeys((*chosen, *policy_notes, *tree_notes, *manifest.notes)))
        manifest = msgspec.structs.replace(manifest, services=tuple(services), routing=routing, notes=notes)
        manifest = policy.within(manifest, terms.limits)
        with _explained(manifest, checkout):
            manifest = _serving(manifest, self.engine.images.file_routes(self.app, manifest, checkout))
        routing = manifest.routing
        self.static.check(routing, checkout, lambda files: self.engine.images.makes(files, checkout))
        self._check_size(manifest)
        argv_secrets.check(self.app.name, self.secrets.variables(), manifest, checkout, file, reading)
        self.passwords.check(manifest.routing)
        with _explained(manifest, checkout):
            self.engine.platform.check(self.app, document, manifest, checkout)
        faults = scripts.notes([*manifest.stateless, *manifest.stores], checkout)
        manifest = msgspec.structs.replace(manifest, notes=(*manifest.notes, *faults))
        names = claims.requested_names(self._domains(manifest), self.app.settings.port)
        claims.check(self.app, names, self._may_push)
        return document, manifest

    def _check_size(self, manifest: Manifest) -> None:
        count = sum(s.replicas for s in manifest.stateless)
        if count > MOST_INSTANCES:
            raise ManifestError(
                f"{count} instances requested, and an app may have at most {MOST_INSTANCES}",
                where="services",
                hint="fewer replicas: `deploy.replicas`, `scale`, or `pushrod scale`",
            )

    def _domains(self, manifest: Manifest) -> tuple[str, ...]:
        """The host names that distinguish the app; none on an engine that gives each app its own port."""
        return manifest.domains if self.engine.traits.by_domain else ()

    def complete(self, release: Release) -> str:
        """Restore the missing parts of a sealed release: its commit's tree, and its environment with the current
        secrets.

        Returns a sentence on what was restored; empty if nothing was missing.
        """
        checkout, made = self.app.checkout(release.number), list[str]()
        if not checkout.is_dir():
            damaged_paths.make_way(checkout, directory=True)
            self._write_tree(release.commit, checkout, self.engine.platform.terms(self.app, checkout).limits)
            made.append("the files of its commit were written again")
        try:
            whole = bool(self.secrets.sealed(release.number))
        except StateError:
            whole = False
        if not (whole and self.engine.programs.has_environment(self.app, release)):
            self._resolve_again(release)
            made.append("its environment was resolved again from its commit and the current secrets")
        return f"release {release.number}: {', '.join(made)}" if made else ""

    def _resolve_again(self, release: Release) -> None:
        place = self.app.checkouts / f"again-{release.number}"
        try:
            _, manifest = self.load(release.commit, place)
            environments = self._environments(release.number, release.commit, manifest, release.images)
            self.secrets.seal(release.number, environments)
            self.engine.programs.write_environment(self.app, release, manifest)
        finally:
            git.remove_checkout(place)

    def _write_tree(self, commit: str, checkout: Path, most: Limits) -> tuple[str, ...]:
        return commit_tree.write(self.app, commit, checkout, most, self.progress.note)

    def discard(self, number: int) -> None:
        """Remove everything of a release except its history and its logs."""
        self.releases.remove(number)
        self.secrets.remove(number)
        self.static.remove(number)
        git.remove_archive(self.app.checkout(number))
        for directory in (self.app.checkout(number), self.app.copies(number)):
            self.engine.resources.remove_directory(self.app, directory)
        self._tidy()

    def _tidy(self) -> None:
        """Remove the edge's files that no kept release needs."""
        kept, damaged = self.releases.whole()
        self.static.pool(self.releases.numbers())
        if not damaged:  # once repaired, the releases show again which files they need
            self.passwords.remove_unused({generation for r in kept for generation in r.passwords.values()})

    def _environments(
        self, number: int, commit: str, manifest: Manifest, images: Mapping[str, Image]
    ) -> dict[str, Variables]:
        """The environment of each service, and under `<service>:release` that of its release command."""
        endpoints = self.engine.stores.endpoints(self.app, manifest)
        secrets = self.secrets.variables()
        identity = {
            "PUSHROD_APP": self.app.name,
            "PUSHROD_RELEASE": str(number),
            "PUSHROD_COMMIT": commit,
        }

        def resolve(service: Service, *, migrating: bool) -> Variables:
            return variables.resolve(
                service,
                images[service.name],
                secrets=secrets,
                endpoints=endpoints,
                identity=identity,
                migrating=migrating,
            )

        environments = {s.name: resolve(s, migrating=False) for s in manifest.stateless}
        return environments | {f"{s.name}:release": resolve(s, migrating=True) for s in manifest.stateless}

    def _release(
        self,
        number: int,
        commit: str,
        manifest: Manifest,
        images: dict[str, Image],
        placement: Placement,
        environments: Mapping[str, Variables],
    ) -> Release:
        return Release(
            app=self.app.name,
            number=number,
            commit=commit,
            subject=git.subject(self.app.repository, commit),
            created=now(),
            engine=self.engine.traits.name,
            entry=manifest.entry.name,
            services=tuple(_without_values(s) for s in manifest.stateless),
            stores=tuple(_without_values(s) for s in manifest.stores),
            images=images,
            instances=placement.instances,
            environment_names={name: tuple(sorted(v)) for name, v in environments.items()},
            inputs=inputs.digest(self.app),
            notes=manifest.notes,
            keep=manifest.keep,
            pushrod=__version__,
            domains=self._domains(manifest),
            network=placement.network,
            backups=manifest.backups,
            tls=manifest.tls,
            routing=manifest.routing,
            passwords=self.passwords.write(manifest.routing),
            notify=manifest.notify,
        )


def _serving(manifest: Manifest, files: Sequence[Route]) -> Manifest:
    """The manifest with the engine's own routes to files, and a note on them."""
    if not files:
        return manifest
    routes = sorted((*manifest.routing.routes, *files), key=lambda r: (-len(r.prefix), r.prefix))
    note = f"the edge serves {', '.join(r.prefix for r in files)} itself, as the web server would that it replaces"
    routing = msgspec.structs.replace(manifest.routing, routes=tuple(routes))
    return msgspec.structs.replace(manifest, routing=routing, notes=(*manifest.notes, note))


@contextlib.contextmanager
def _naming_unset(warnings: Sequence[str]) -> Iterator[None]:
    """If the block finds an empty value, add to the error which variables are not set, by the loader's warnings."""
    try:
        yield
    except EmptyValueError as e:
        if names := [name for warning in warnings if (name := compose.unset(warning))]:
            e.hint = f"is it one of the variables that are not set? {', '.join(names)}: pushrod secret set {names[0]}"
        raise


@contextlib.contextmanager
def _explained(manifest: Manifest, checkout: Path) -> Iterator[None]:
    """If the block raises an error that a script with a wrong first line or mode explains, add the explanation."""
    try:
        yield
    except PushrodError as e:
        scripts.explain(e, manifest.services, checkout)
        raise


def _groups(app: App, manifest: Manifest) -> tuple[str, ...]:
    """The names of nginx's upstream groups for the instances that requests may go to."""
    entry = manifest.entry.name
    return tuple(group(app.name, s, entry) for s in (entry, *manifest.routing.services))


def _without_values(service: Service) -> Service:
    """The service without the values of its variables and build arguments, which must not be in Git."""
    build = service.build
    if build is not None:
        build = msgspec.structs.replace(build, arguments=dict.fromkeys(build.arguments))
    hooks = {
        kind: tuple(msgspec.structs.replace(h, environment=dict.fromkeys(h.environment)) for h in given)
        for kind, given in (("post_start", service.post_start), ("pre_stop", service.pre_stop))
    }
    environment = dict.fromkeys(service.environment)
    return msgspec.structs.replace(service, build=build, environment=environment, **hooks)
