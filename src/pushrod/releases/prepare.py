"""Prepare: from a commit to a sealed release. Nothing live is touched here."""

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path

import msgspec

from pushrod import __version__, manifest
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
from pushrod.manifest import env_example, grants, policy
from pushrod.releases import push_limits
from pushrod.state.apps import App, now
from pushrod.state.releases import Releases
from pushrod.state.secrets import Secrets, Variables, is_trivial, tells_nothing
from pushrod.stores import variables
from pushrod.system import files

_TELLING = 8  # characters of a secret's value that are no word by chance


class Sealing:
    """What turns commits of one app into releases."""

    def __init__(self, app: App, engine: Engine, progress: Progress, may_push: Callable[[str], bool]) -> None:
        self.app = app
        self.engine = engine
        self.progress = progress
        self._may_push = may_push
        self.releases = Releases(app)
        self.secrets = Secrets(app)

    @cached_property
    def static(self) -> Static:
        """The files of the app that the edge answers with."""
        return Static(self.app, self.engine.ingress.places)

    @cached_property
    def passwords(self) -> Passwords:
        """The edge's files of those who may pass the app's closed routes."""
        return Passwords(self.app, self.engine.ingress.places)

    def seal(self, number: int, commit: str, *, said: tuple[str, ...]) -> Release:
        """Check the commit out, read its manifest, build its images, resolve its configuration, write it down.

        `said` are the notes of the live release, which are not said again.
        """
        checkout = self.app.checkout(number)
        document, wanted = self.load(commit, checkout)
        for note in wanted.notes:
            if note not in said:
                self.progress.note(note)
        changes, needs = self.engine.images.preview(self.app, commit, document, wanted, checkout)
        plan.refuse_unmet(needs)
        for change in changes:
            if change.what == "store":
                self.progress.note(f"{change.name}: {change.detail}")

        def say(line: str) -> None:
            self.progress.line(self.secrets.redact(line))

        with _explained(wanted, checkout):
            images = {
                s.name: self.engine.images.build(self.app, commit, s, checkout, say)
                for s in self.engine.images.needed(wanted)
            }
        places = {name: image.location for name, image in images.items()}
        wanted = self._remarked(document, wanted, checkout, places, said=said)
        environments = self._environments(number, commit, wanted, images)
        self.secrets.seal(number, environments)
        with self.engine.resources.place(
            self.app, number, wanted, images
        ) as placement:  # others wait for this
            self.releases.reserve(number, placement)
        release = self._release(number, commit, wanted, images, placement, environments)
        self.static.publish(number, release.routing, checkout)
        self.releases.seal(release, self.engine.resources.render(self.app, release, document, wanted))
        return release

    def _remarked(
        self,
        document: compose.Document,
        wanted: Manifest,
        checkout: Path,
        images: Mapping[str, str],
        said: tuple[str, ...],
    ) -> Manifest:
        """The manifest with what the engine has to say of its images, which is said."""
        remarks = self.engine.images.notes(self.app, document, wanted, checkout, images)
        for remark in remarks:
            if remark not in said:
                self.progress.note(remark)
        return msgspec.structs.replace(wanted, notes=(*wanted.notes, *remarks))

    def load(
        self, commit: str, checkout: Path, *, planned: bool = False, file: str = ""
    ) -> tuple[compose.Document, Manifest]:
        """Write a commit's tree and read the manifest in it, with the replica counts that were set by hand.

        Returns the resolved document too, after the engine has looked whether it may run what is in it. With
        `planned` nothing is deployed, so secrets may be missing. `file` goes before the app's own compose file.
        """
        file = file or self.app.settings.file
        terms = self.engine.platform.terms(self.app, checkout)
        reading = Reading.of(terms.limits)
        git.remove_checkout(checkout)
        found_notes = [
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
        document, said = policy.apply(document, terms)
        wanted = manifest.read(
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
            for s in wanted.services
        ]
        allowed = self.app.settings.allowed
        found = snippets.read(wanted.snippets, checkout, self.app.name, _groups(self.app, wanted), allowed)
        memory = 0 if snippets.ALLOWED in allowed else snippets.memory(found)
        routing = msgspec.structs.replace(wanted.routing, snippets=found, memory=memory)
        chosen = [
            n for n in wanted.notes if n.startswith(f"{wanted.because};")
        ]  # the first that is to be read
        notes = tuple(dict.fromkeys((*chosen, *said, *found_notes, *wanted.notes)))
        wanted = msgspec.structs.replace(wanted, services=tuple(services), routing=routing, notes=notes)
        wanted = policy.within(wanted, terms.limits)
        self.static.check(routing, checkout)
        self._check_size(wanted)
        self._check_argv(wanted, checkout, file, reading)
        self.passwords.check(wanted.routing)
        with _explained(wanted, checkout):
            self.engine.platform.check(self.app, document, wanted, checkout)
        names = claims.wanted(self._domains(wanted), self.app.settings.port)
        claims.check(self.app, names, self._may_push)
        return document, wanted

    def _check_size(self, wanted: Manifest) -> None:
        count = sum(s.replicas for s in wanted.stateless)
        if count > manifest.MOST_INSTANCES:
            raise ManifestError(
                f"{count} instances are wanted, and an app has at most {manifest.MOST_INSTANCES}",
                where="services",
                hint="fewer replicas: `deploy.replicas`, `scale`, or `pushrod scale`",
            )

    def _domains(self, wanted: Manifest) -> tuple[str, ...]:
        """The names that an app is told apart by; none where each has a port of its own."""
        return wanted.domains if self.engine.traits.by_domain else ()

    def lacking(
        self, document: compose.Document, wanted: Manifest, checkout: Path, file: str = ""
    ) -> tuple[str, ...]:
        """The variables that `.env.example`, beside the compose file or at the top, asks for and that neither the
        secrets nor pushrod provide."""
        file = file or self.app.settings.file
        examples = (checkout / Path(file).parent / ".env.example", checkout / ".env.example")
        # A link may lead to another app's names, and so may one on the way.
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
        given = variables.provided(wanted.stateless, self.engine.stores.endpoints(self.app, wanted))
        known = {*self.secrets.variables(), *given}
        asked = env_example.parse(example.read_text(errors="replace"))
        return env_example.names(asked, known, document, env_file=compose.wants_env_file(checkout, file))

    def unprovided(self, checkout: Path, file: str = "") -> tuple[str, ...]:
        """A note where services read an env file that Git does not have, and there is no secret to stand for it."""
        if not compose.wants_env_file(checkout, file or self.app.settings.file) or self.secrets.variables():
            return ()
        return (
            "an `env_file` is not in Git, so the secrets stand for it, and none is set: pushrod secret import .env",
        )

    def inputs(self) -> str:
        """A keyed digest of what besides the commit goes into a release."""
        settings = self.app.settings
        others = [settings.file] if settings.file else []  # what was sealed without one stays what it is
        return self.secrets.digest([self.secrets.variables(), settings.replicas, __version__, *others])

    def complete(self, release: Release) -> str:
        """Make again what of a sealed release is gone: the tree of its commit, and its environment, from what the
        secrets are now; says what."""
        checkout, made = self.app.checkout(release.number), list[str]()
        if not checkout.is_dir():
            files.make_way(checkout, directory=True)
            self.write_tree(release.commit, checkout, self.engine.platform.terms(self.app, checkout).limits)
            made.append("the files of its commit are written again")
        try:
            whole = bool(self.secrets.sealed(release.number))
        except StateError:
            whole = False
        if not (whole and self.engine.programs.has_environment(self.app, release)):
            self._resolve_again(release)
            made.append("its environment is resolved again from its commit and the secrets as they are now")
        return f"release {release.number}: {', '.join(made)}" if made else ""

    def _resolve_again(self, release: Release) -> None:
        place = self.app.checkouts / f"again-{release.number}"
        try:
            _, wanted = self.load(release.commit, place)
            environments = self._environments(release.number, release.commit, wanted, release.images)
            self.secrets.seal(release.number, environments)
            self.engine.programs.write_environment(self.app, release, wanted)
        finally:
            git.remove_checkout(place)

    def write_tree(self, commit: str, checkout: Path, most: Limits) -> tuple[str, ...]:
        """Write all files of a commit, those of its submodules and of Git LFS too; the notes on what is not there.

        `most` bounds all of them together.
        """
        written: list[git.Blob] = []

        def fits(repository: Path, oid: str) -> None:
            blobs = push_limits.measure(repository, oid, most, beside=written)
            push_limits.check_room(blobs, self.app.directory)
            written.extend(blobs)

        fits(self.app.repository, commit)
        git.checkout(self.app.repository, commit, checkout)
        kept = submodules.Kept(
            self.app.directory / "submodules",
            self.progress.note,
            fits,
            self.app.name,
            grants.servers(self.app.settings.allowed),
        )
        notes = submodules.place(self.app.repository, commit, checkout, kept)
        return (*notes, *self._fill_pointers(commit, checkout, most, sum(blob.size for blob in written)))

    def _fill_pointers(self, commit: str, checkout: Path, most: Limits, size: int) -> list[str]:
        """Put what LFS keeps in the places of its pointers; the notes on what cannot be had.

        `size` is what the tree has without it, in bytes.
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
            self.progress.note(f"Git LFS: fetching {len(lacking)} files from {url}")
            try:
                lfs_server.fetch(url, lacking, fetched, grants.servers(self.app.settings.allowed))
            except lfs_server.FetchError as e:
                why = f" (from {url}: {e})"
            lacking = lfs.fill(checkout, lacking, [fetched])
        lfs.keep_only(fetched, pointers)
        return _lacking_files(lacking, why)

    def discard(self, number: int) -> None:
        """Take away everything of a release but its history and its logs."""
        self.releases.remove(number)
        self.secrets.forget(number)
        self.static.remove(number)
        git.remove_archive(self.app.checkout(number))
        for directory in (self.app.checkout(number), self.app.copies(number)):
            self.engine.resources.remove_directory(self.app, directory)
        self._tidy()

    def _tidy(self) -> None:
        """Remove what none of the releases that are kept needs of the edge's files."""
        kept, damaged = self.releases.whole()
        self.static.pool(self.releases.numbers())
        if not damaged:  # what those need can be told again once they are mended
            self.passwords.prune({generation for r in kept for generation in r.passwords.values()})

    def _check_argv(self, wanted: Manifest, checkout: Path, file: str, reading: Reading) -> None:
        """Refuse a manifest that puts a secret into an argv: other users see those, and the state keeps them.

        Only a reference can do that, to what may be a secret by its name. That a command has a word that is also a
        secret's value (`app`, `true`) says nothing, but for a command of which Compose cannot tell how it is written.
        """
        secrets = self.secrets.variables()
        reached = [
            (service.name, name)
            for service in wanted.services
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
            if name in known if known is not None else len(secrets[name]) >= _TELLING:
                raise ManifestError(
                    f"the secret {name} would be in the argv of {service_name}",
                    where=f"services.{service_name}",
                    hint=f"pass it in `environment:` and let a shell expand it: sh -c 'exec … \"$${name}\"'",
                )

    def _environments(
        self, number: int, commit: str, wanted: Manifest, images: Mapping[str, Image]
    ) -> dict[str, Variables]:
        """What each service gets, and under `<service>:release` what its release command gets."""
        endpoints = self.engine.stores.endpoints(self.app, wanted)
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

        found = {s.name: resolve(s, migrating=False) for s in wanted.stateless}
        return found | {f"{s.name}:release": resolve(s, migrating=True) for s in wanted.stateless}

    def _release(
        self,
        number: int,
        commit: str,
        wanted: Manifest,
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
            entry=wanted.entry.name,
            services=tuple(_without_values(s) for s in wanted.stateless),
            stores=tuple(_without_values(s) for s in wanted.stores),
            images=images,
            instances=placement.instances,
            environment_names={name: tuple(sorted(v)) for name, v in environments.items()},
            inputs=self.inputs(),
            notes=wanted.notes,
            keep=wanted.keep,
            pushrod=__version__,
            domains=self._domains(wanted),
            network=placement.network,
            backups=wanted.backups,
            tls=wanted.tls,
            routing=wanted.routing,
            passwords=self.passwords.write(wanted.routing),
        )


def _argvs(service: Service) -> tuple[str, ...]:
    """The words of all that a service runs."""
    hooks = (word for hook in (*service.post_start, *service.pre_stop) for word in hook.command)
    return (*service.entrypoint, *service.command, *service.release, *service.health.command, *hooks)


@contextlib.contextmanager
def _explained(wanted: Manifest, checkout: Path) -> Iterator[None]:
    """An error that comes out says what is wrong with a script that a service is started with, if that is why."""
    try:
        yield
    except PushrodError as e:
        scripts.explain(e, wanted.services, checkout)
        raise


def _lacking_files(lacking: Sequence[lfs.Pointer], why: str) -> list[str]:
    if not lacking:
        return []
    named = ", ".join(p.path for p in lacking[:5]) + (", …" if len(lacking) > 5 else "")
    return [
        f"Git LFS keeps what {len(lacking)} of the commit's files hold, and it is not here{why}, but LFS's "
        f"pointers, in {named}. Put them into Git itself (git lfs migrate export), or fetch them in the image's build"
    ]


def _groups(app: App, wanted: Manifest) -> tuple[str, ...]:
    """The names by which the edge's nginx knows the instances that requests may go to."""
    entry = wanted.entry.name
    return tuple(group(app.name, s, entry) for s in (entry, *wanted.routing.services))


def _without_values(service: Service) -> Service:
    """The service as it may be kept in Git: names of its variables and build arguments, not their values."""
    build = service.build
    if build is not None:
        build = msgspec.structs.replace(build, arguments=dict.fromkeys(build.arguments))
    hooks = {
        kind: tuple(msgspec.structs.replace(h, environment=dict.fromkeys(h.environment)) for h in given)
        for kind, given in (("post_start", service.post_start), ("pre_stop", service.pre_stop))
    }
    environment = dict.fromkeys(service.environment)
    return msgspec.structs.replace(service, build=build, environment=environment, **hooks)
