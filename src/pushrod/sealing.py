"""Prepare: from a commit to a sealed release. Nothing live is touched here."""

import re
from collections.abc import Mapping
from pathlib import Path

import msgspec

from pushrod import __version__, configuration, manifest
from pushrod.apps import App, now
from pushrod.engines.engine import Engine
from pushrod.errors import ManifestError
from pushrod.gears import compose, git
from pushrod.progress import Progress
from pushrod.releases import Releases
from pushrod.secrets import Secrets, Variables
from pushrod.values import Image, Instance, Manifest, Release, Service


class Sealing:
    """What turns commits of one app into releases."""

    def __init__(self, app: App, engine: Engine, progress: Progress) -> None:
        self.app = app
        self.engine = engine
        self.progress = progress
        self.releases = Releases(app)
        self.secrets = Secrets(app)

    def seal(self, number: int, commit: str, *, said: tuple[str, ...]) -> Release:
        """Check the commit out, read its manifest, build its images, resolve its configuration, write it down.

        `said` are the notes of the live release, which are not said again.
        """
        checkout = self.app.checkout(number)
        wanted = self.load(commit, checkout)
        for note in wanted.notes:
            if note not in said:
                self.progress.note(note)
        self._check_argv(wanted, checkout)
        images = {s.name: self.engine.build(s, checkout, self.progress.line) for s in wanted.stateless}
        environments = self._environments(number, commit, wanted, images)
        self.secrets.seal(number, environments)
        with self.engine.place(wanted.stateless) as instances:
            release = self._release(number, commit, wanted, images, instances, environments)
            self.releases.seal(release)
        return release

    def load(self, commit: str, checkout: Path) -> Manifest:
        """Write a commit's tree and read the manifest in it, with the replica counts that were set by hand."""
        git.remove_checkout(checkout)
        git.checkout(self.app.repository, commit, checkout)
        document = compose.load(
            checkout,
            project=self.app.name,
            variables=self.secrets.variables(),
            on_warning=self.progress.note,
        )
        wanted = manifest.read(
            document,
            bases=compose.bases(document, checkout),
            store_versions=self.engine.store_versions(),
        )
        replicas = self.app.settings.replicas
        services = [
            msgspec.structs.replace(s, replicas=replicas.get(s.name, s.replicas)) for s in wanted.services
        ]
        return msgspec.structs.replace(wanted, services=tuple(services))

    def inputs(self) -> str:
        """A keyed digest of what besides the commit goes into a release."""
        return self.secrets.digest([self.secrets.variables(), self.app.settings.replicas, __version__])

    def discard(self, number: int) -> None:
        """Take away everything of a release but its history and its logs."""
        self.releases.remove(number)
        self.secrets.forget(number)
        git.remove_checkout(self.app.checkout(number))

    def _check_argv(self, wanted: Manifest, checkout: Path) -> None:
        """Refuse a manifest that puts a secret into an argv: other users see those, and the state keeps them."""
        text = (checkout / compose.find(checkout)).read_text(errors="replace")
        named = {n: v for n, v in self.secrets.variables().items() if re.search(rf"\$\{{?{n}\b", text) and v}
        for service in wanted.services:
            words = " ".join(
                (*service.entrypoint, *service.command, *service.release, *service.health.command)
            )
            for name, value in named.items():
                if value in words:
                    raise ManifestError(
                        f"the secret {name} would be in the argv of {service.name}",
                        where=f"services.{service.name}",
                        hint=f"pass it in `environment:` and let a shell expand it: sh -c 'exec … \"$${name}\"'",
                    )

    def _environments(
        self, number: int, commit: str, wanted: Manifest, images: Mapping[str, Image]
    ) -> dict[str, Variables]:
        """What each service gets, and under `<service>:release` what its release command gets."""
        endpoints = self.engine.endpoints(self.app, wanted.stores)
        secrets = self.secrets.variables()
        identity = {
            "PUSHROD_APP": self.app.name,
            "PUSHROD_RELEASE": str(number),
            "PUSHROD_COMMIT": commit,
        }

        def resolve(service: Service, *, migrating: bool) -> Variables:
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

    def _release(
        self,
        number: int,
        commit: str,
        wanted: Manifest,
        images: dict[str, Image],
        instances: tuple[Instance, ...],
        environments: Mapping[str, Variables],
    ) -> Release:
        return Release(
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
            inputs=self.inputs(),
            notes=wanted.notes,
            keep=wanted.keep,
            pushrod=__version__,
        )


def _without_values(service: Service) -> Service:
    """The service as it may be kept in Git: names of its variables, not their values."""
    return msgspec.structs.replace(service, environment=dict.fromkeys(service.environment))
