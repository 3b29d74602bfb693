"""What is exported of an app: a commit, or the live release, read as for containers, with everything it needs."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path

import msgspec

from pushrod.adapters import dockerfile, git
from pushrod.core.errors import ManifestError, UnknownNameError
from pushrod.core.site import Site, Tls
from pushrod.core.values import Image, Manifest, Service
from pushrod.engines.exported import Exported, Parts, Tree, image_names
from pushrod.ingress.basic_auth import Passwords
from pushrod.releases import inputs
from pushrod.releases.context import Context
from pushrod.state.secrets import Secrets, is_trivial, tells_nothing
from pushrod.stores import registry, variables
from pushrod.system import trees

_LARGEST = 4 << 20  # bytes of a file that is mounted; what it goes into holds less


class Exporting:
    """Reads one commit of an app; `context` has an engine that reads manifests as for containers.

    The files of the commit are in `checkout` until `close`. Without `values`, passwords that do not exist yet are
    not made: texts stand in their places.
    """

    def __init__(self, context: Context, commit: str, checkout: Path, *, values: bool) -> None:
        self._context, self._commit, self._checkout = context, commit, checkout
        self._app, self._secrets = context.app, Secrets(context.app)
        self._values = values

    def read(
        self, release: str, number: int, prefix: str, given: Mapping[str, str], *, built: bool
    ) -> Exported:
        """The commit as values. `prefix`, `given` and `built` are as for `image_names`.

        Raises ManifestError, BuildError or UnknownNameError for what cannot be exported.
        """
        document, manifest = self._context.sealing.load(self._commit, self._checkout, planned=True)
        services = (*manifest.stateless, *manifest.stores)
        references = image_names(self._app.name, self._commit, services, prefix, given, built=built)
        images = {s.name: self._parts(s, references[s.name]) for s in services}
        secrets = self._secrets.variables()
        return Exported(
            app=self._app.name,
            release=release,
            number=number,
            commit=self._commit,
            manifest=manifest,
            document=document,
            environments=self._environments(manifest, number, secrets),
            stores={s.name: self._of_store(s) for s in manifest.stores},
            scripts=self._scripts(manifest),
            is_open=partial(_is_open, self._secrets.values()),
            images=images,
            tree=self._tree,
            site=self._site(manifest, number),
            passwords=Passwords(self._app, self._context.engine.ingress.places).texts(manifest.routing),
            variables=secrets,
            inputs=inputs.digest(self._app),
        )

    def close(self) -> None:
        """Remove the commit's files."""
        git.remove_checkout(self._checkout)

    # ---- variables ----------------------------------------------------------------------------------------------

    def _password(self, store: str, whose: str) -> str:
        name = f"{store}/{whose}"
        return self._secrets.password(name) if self._values or self._secrets.knows(name) else "0" * 48

    def _environments(
        self, manifest: Manifest, number: int, secrets: Mapping[str, str]
    ) -> dict[str, dict[str, str]]:
        endpoints = [
            endpoint
            for s in manifest.stores
            if (
                endpoint := registry.of(s.store).endpoint(
                    s,
                    self._app.name,
                    partial(self._password, s.name),
                    ours=manifest.ours,
                    login=self._secrets.logins(s.name)[0],
                )
            )
        ]
        identity = {
            "PUSHROD_APP": self._app.name,
            "PUSHROD_RELEASE": str(number),
            "PUSHROD_COMMIT": self._commit,
        }
        environments = {}
        for service in manifest.stateless:
            for name, migrating in ((service.name, False), (f"{service.name}:release", True)):
                environments[name] = variables.resolve(
                    service,
                    Image(id=""),
                    secrets=secrets,
                    endpoints=endpoints,
                    identity=identity,
                    migrating=migrating,
                )
        return environments

    def _of_store(self, store: Service) -> dict[str, str]:
        kind = registry.of(store.store)
        own = kind.environment(store, self._app.name, partial(self._password, store.name))
        return kind.first_environment(store) | own

    def _scripts(self, manifest: Manifest) -> dict[str, dict[str, str]]:
        ddl = not any(s.release for s in manifest.stateless)
        scripts = {
            s.name: registry.of(s.store).scripts(
                s,
                self._app.name,
                partial(self._password, s.name),
                ddl=ddl,
                login=self._secrets.logins(s.name)[0],
            )
            for s in manifest.stores
        }
        return {name: own for name, own in scripts.items() if own}

    # ---- images, files, the edge ----------------------------------------------------------------------------------

    def _parts(self, service: Service, reference: str) -> Parts:
        """What the commit says of an image: its Dockerfile, or what is known of a store's kind."""
        if service.build is None:
            return known(service, Parts(reference, root=True))
        path = f"{service.build.context}/{service.build.dockerfile}"
        try:
            text = trees.read(self._checkout, path).decode(errors="replace")
            recipe = dockerfile.read(text, target=service.build.target, where=path)
        except (OSError, ManifestError):
            return Parts(reference, root=True)
        root = recipe.user.partition(":")[0] in ("", "0", "root")
        own = Parts(reference, root=root, data=recipe.data, port=recipe.port)
        return known(msgspec.structs.replace(service, image=recipe.base), own)

    def _tree(self, source: str) -> Tree | None:
        """The commit's files at a path. Raises ManifestError for one that cannot be read."""
        try:
            place = trees.resolve(self._checkout, source)
            top = self._checkout / place.path
            if not self._context.engine.platform.terms(self._app, self._checkout).tracked(place.path):
                return None
            if top.is_file():
                return {"": trees.read(self._checkout, place.path, _LARGEST)}
            return {path: trees.read(top, path, _LARGEST) for path in sorted(trees.files(top))}
        except OSError as e:
            why = (e.strerror or str(e)).lower()
            raise ManifestError(
                f"`{source}` cannot be read: {why}", where=source, hint="put it into an image"
            ) from e

    def _site(self, manifest: Manifest, number: int) -> Site:
        encrypted = manifest.tls.source != "off" and bool(manifest.domains)
        places = self._context.engine.ingress.places
        return Site(
            app=self._app.name,
            release=number,
            port=80,
            backends=(),
            domains=manifest.domains,
            tls=Tls("00000000", manifest.domains, 443, manifest.tls.hsts) if encrypted else None,
            routing=manifest.routing,
            passwords=Passwords(self._app, places).generations(manifest.routing),
            maintenance=self._app.settings.maintenance,
        )


def known(service: Service, parts: Parts) -> Parts:
    """What is known of an image, with what the kind of a store says of those of its own."""
    if service.role != "store":
        return parts
    port, place = registry.of(service.store).place(service)
    return parts._replace(port=parts.port or port, data=parts.data or ((place,) if place else ()))


def _is_open(secret: frozenset[str] | set[str], name: str, value: str) -> bool:
    """Whether a variable is not secret: its name or value shows that, and its value contains no secret's."""
    tells = name.startswith("PUSHROD_") or tells_nothing(name) or is_trivial(name, value)
    return tells and not any(part in value for part in secret)


def of_live(context: Context) -> tuple[str, str, int]:
    """The live release's commit, its name in exports, and its number. Raises UnknownNameError if nothing is live."""
    if (live := context.live()) is None:
        raise UnknownNameError(
            f"no release of {context.app.name} is live", hint="deploy it, or name a commit: --commit HEAD"
        )
    return live.commit, f"r{live.number}", live.number


def of_commit(context: Context, commit: str) -> tuple[str, str, int]:
    """The same for a commit, as what would be the next release."""
    numbers = [*context.releases.numbers(), context.journal.story().live]
    return commit, commit[:10], max(numbers, default=0) + 1
