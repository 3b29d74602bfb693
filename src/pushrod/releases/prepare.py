"""Prepare: from a commit to a sealed release. Touches nothing live."""

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path

import msgspec

from pushrod import __version__
from pushrod.adapters import compose, git, lfs, lfs_server, manifests, submodules
from pushrod.adapters.bounds import Reading
from pushrod.core import plan
from pushrod.core.errors import ManifestError, PushrodError, StateError
from pushrod.core.limits import Limits
from pushrod.core.progress import Progress
from pushrod.core.site import group
from pushrod.core.values import Image, Manifest, Placement, Release, Service
from pushrod.engines import scripts
from pushrod.engines.protocols import Engine
from pushrod.ingress import claims, snippets
from pushrod.ingress.basic_auth import Passwords
from pushrod.ingress.static_files import Static
from pushrod.manifest import MOST_INSTANCES, env_example, grants, policy
from pushrod.manifest import read as read_manifest
from pushrod.releases import push_limits
from pushrod.state.apps import App, now
from pushrod.state.releases import Releases
from pushrod.state.secrets import Secrets, Variables, is_trivial, tells_nothing
from pushrod.stores import variables
from pushrod.system import files

_SECRET_LENGTH = 8  # a secret's value of this length is no ordinary word


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
        """The edge's password files for the app's closed routes."""
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
            *self.write_tree(commit, checkout, terms.limits),
            *manifests.passed_over(checkout, file),
        ]
        document = compose.load(
            checkout,
            project=self.app.name,
            variables=self.secrets.variables(),
            file=file,
            planned=planned,
            most=reading,
            on_warning=self.progress.note,
        )
        document, policy_notes = policy.apply(document, terms)
        manifest = read_manifest(
            document,
            engine=self.engine.traits.name,
            bases=compose.bases(document, checkout, reading),
            store_versions=self.engine.stores.versions(),
            tracked=terms.tracked,
            projects=compose.projects(checkout, self.app.name, file),
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
        self.static.check(routing, checkout)
        self._check_size(manifest)
        self._check_argv(manifest, checkout, file, reading)
        self.passwords.check(manifest.routing)
        with _explained(manifest, checkout):
            self.engine.platform.check(self.app, document, manifest, checkout)
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

    def lacking(
        self, document: compose.Document, manifest: Manifest, checkout: Path, file: str = ""
    ) -> tuple[str, ...]:
        """The variables that `.env.example`, beside the compose file or at the top, lists and that neither the
        secrets nor pushrod provide.
        """
        file = file or self.app.settings.file
        examples = (checkout / Path(file).parent / ".env.example", checkout / ".env.example")
        # A link, in any part of the path, could lead to another app's names.
        example = next(
            (
                e
                for e in examples
                if e.is_file() and e.resolve() == checkout.resolve() / e.relative_to(checkout)
            ),
            None,
        )
        if example is None:
            return ()
        given = variables.provided(manifest.stateless, self.engine.stores.endpoints(self.app, manifest))
        known = {*self.secrets.variables(), *given}
        asked = env_example.parse(example.read_text(errors="replace"))
        return env_example.names(asked, known, document, env_file=compose.wants_env_file(checkout, file))

    def unprovided(self, checkout: Path, file: str = "") -> tuple[str, ...]:
        """A note if services read an env file that is not in Git and no secret replaces it."""
        if not compose.wants_env_file(checkout, file or self.app.settings.file) or self.secrets.variables():
            return ()
        return (
            "an `env_file` is not in Git, so the app's secrets replace it, but none is set: "
            "pushrod secret import .env",
        )

    def inputs(self) -> str:
        """A keyed digest of everything besides the commit that goes into a release."""
        settings = self.app.settings
        # without one, the digest must stay as older releases have it
        others = [settings.file] if settings.file else []
        return self.secrets.digest([self.secrets.variables(), settings.replicas, __version__, *others])

    def complete(self, release: Release) -> str:
        """Restore the missing parts of a sealed release: its commit's tree, and its environment with the current
        secrets.

        Returns a sentence on what was restored; empty if nothing was missing.
        """
        checkout, made = self.app.checkout(release.number), list[str]()
        if not checkout.is_dir():
            files.make_way(checkout, directory=True)
            self.write_tree(release.commit, checkout, self.engine.platform.terms(self.app, checkout).limits)
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

    def write_tree(self, commit: str, checkout: Path, most: Limits) -> tuple[str, ...]:
        """Write all files of a commit, including those of its submodules and of Git LFS; returns notes on missing
        ones.

        `most` limits all of them together.
        """
        written: list[git.Blob] = []

        def fits(repository: Path, oid: str) -> None:
            blobs = push_limits.measure(repository, oid, most, beside=written)
            push_limits.check_room(blobs, self.app.directory)
            written.extend(blobs)

        fits(self.app.repository, commit)
        git.checkout(self.app.repository, commit, checkout)
        place, servers = self.app.directory / "submodules", grants.servers(self.app.settings.allowed)
        kept = submodules.Kept(place, self.progress.note, fits, self.app.name, servers, most.repository_size)
        notes = submodules.place(self.app.repository, commit, checkout, kept)
        return (*notes, *self._fill_pointers(commit, checkout, most, sum(blob.size for blob in written)))

    def _fill_pointers(self, commit: str, checkout: Path, most: Limits, size: int) -> list[str]:
        """Replace LFS pointers by the files they stand for; returns notes on files that are not available.

        `size` is the tree's size without those files, in bytes.
        """
        pointers = lfs.pointers(checkout)
        source, fetched = self.app.settings.source, self.app.directory / "lfs"
        stores = [self.app.repository / "lfs" / "objects", fetched]
        stores += [Path(source, ".git", "lfs", "objects")] if source else []
        lacking = lfs.fill(checkout, pointers, stores)
        why, url = "", lfs_server.address(self.app.repository, commit) if lacking else ""
        if url:
            for pointer in lacking:
                size += pointer.size
                push_limits.check_size(commit, pointer.path, pointer.size, size, most)
            push_limits.check_room([git.Blob(*p) for p in lacking], self.app.directory)
            self.progress.note(f"Git LFS: fetching {len(lacking)} files from {url}")
            try:
                lfs_server.fetch(url, lacking, fetched, grants.servers(self.app.settings.allowed))
            except lfs_server.FetchError as e:
                why = f" (from {url}: {e})"
            lacking = lfs.fill(checkout, lacking, [fetched])
        lfs.keep_only(fetched, pointers)
        return _lacking_files(lacking, why)

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

    def _check_argv(self, manifest: Manifest, checkout: Path, file: str, reading: Reading) -> None:
        """Refuse a manifest that puts a secret into an argv: other users can read it there, and it is part of the
        state.

        Only a reference to a variable whose name marks it as a secret counts. That an argv contains a word that is
        also a secret's value (`app`, `true`) proves nothing, except in a command whose original form Compose does not
        preserve.
        """
        secrets = self.secrets.variables()
        reached = [
            (service.name, name)
            for service in manifest.services
            for name, value in secrets.items()
            if value and not (tells_nothing(name) or is_trivial(name, value))
            if value in " ".join(_argvs(service))
        ]
        if not reached:
            return
        written = compose.in_argvs(
            checkout, project=self.app.name, variables=secrets, file=file, most=reading
        )
        for service_name, name in reached:
            known = written.get(service_name)
            if name in known if known is not None else len(secrets[name]) >= _SECRET_LENGTH:
                raise ManifestError(
                    f"the secret {name} would be in the argv of {service_name}",
                    where=f"services.{service_name}",
                    hint=f"pass it in `environment:` and let a shell expand it: sh -c 'exec … \"$${name}\"'",
                )

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
            inputs=self.inputs(),
            notes=manifest.notes,
            keep=manifest.keep,
            pushrod=__version__,
            domains=self._domains(manifest),
            network=placement.network,
            backups=manifest.backups,
            tls=manifest.tls,
            routing=manifest.routing,
            passwords=self.passwords.write(manifest.routing),
        )


def _argvs(service: Service) -> tuple[str, ...]:
    """All argvs of a service."""
    hooks = (word for hook in (*service.post_start, *service.pre_stop) for word in hook.command)
    return (*service.entrypoint, *service.command, *service.release, *service.health.command, *hooks)


@contextlib.contextmanager
def _explained(manifest: Manifest, checkout: Path) -> Iterator[None]:
    """If the block raises an error that a script with a wrong first line or mode explains, add the explanation."""
    try:
        yield
    except PushrodError as e:
        scripts.explain(e, manifest.services, checkout)
        raise


def _lacking_files(lacking: Sequence[lfs.Pointer], why: str) -> list[str]:
    if not lacking:
        return []
    named = ", ".join(p.path for p in lacking[:5]) + (", …" if len(lacking) > 5 else "")
    return [
        f"{len(lacking)} of the commit's files are in Git LFS and could not be fetched{why}; only LFS's pointers are "
        f"here: {named}. Put the files into Git itself (git lfs migrate export), or fetch them in the image's build"
    ]


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
