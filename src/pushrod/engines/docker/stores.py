"""The stores of an app on Docker: brought up in place, proved healthy, their roles and databases ensured."""

import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
from yaml import YAMLError

from pushrod.adapters import docker, start_failures
from pushrod.core.errors import PushrodError, StoreError
from pushrod.core.values import Manifest, Release, Service
from pushrod.engines.docker import bring_up, calls, clusters, environment, gates, hooking, names, rendering
from pushrod.engines.docker.definitions import unchanged
from pushrod.state.apps import App
from pushrod.state.secrets import Secrets
from pushrod.stores import registry
from pushrod.stores.backup_drivers import Archive
from pushrod.stores.kinds import ContainerStore, Endpoint, Password, Server, Tuning
from pushrod.system import files

_DEADLINE = 300.0  # seconds until a store must answer; includes recovery after a power cut


class Stores:
    """One app's stores."""

    def __init__(self, app: App) -> None:
        self.app = app
        self._secrets = Secrets(app)

    def environment(self, store: Service) -> dict[str, str]:
        """The environment of a store's container: the manifest's own, and what its kind adds.

        What matters only while data is created is not added to a store that exists: it would restart for nothing.
        """
        kind = registry.of(store.store)
        known = _text(names.store_environment(self.app, store.name))
        first = kind.first_environment(store)
        if known is not None:
            first = {n: value for n, value in first.items() if n in environment.parse(known)}
        return first | kind.environment(store, self.app.name, self._password(store))

    def endpoints(self, manifest: Manifest) -> list[Endpoint]:
        """The address of each store: its service's name, in the network of each release."""
        addresses = (
            registry.of(s.store).endpoint(
                s, self.app.name, self._password(s), ours=manifest.ours, login=self._secrets.logins(s.name)[0]
            )
            for s in manifest.stores
        )
        return [endpoint for endpoint in addresses if endpoint is not None]

    def ensure(self, release: Release, *, ddl: bool) -> str:
        """Bring the stores to the release's definition, wait until each answers, ensure roles; returns a summary.

        A store whose definition has changed is recreated on the same data; an unchanged one keeps running.
        """
        definitions = self._definitions(release)
        before = {path: _text(path) for path in definitions}
        containers = [names.store(self.app, s.name) for s in release.stores]
        old = self._named(containers)
        if before != definitions:
            self._check_versions(release, definitions)
        lost = bool(containers) and not self._has_network(old.values())
        if lost:  # they were created with that network, and can join no other without it; their data stays
            kept = {names.store(self.app, s.name) for s in release.stores if s.keeps}
            docker.remove([c.name for c in self._containers() if c.name not in kept])
        now = old
        if before != definitions or lost or not self._healthy([old.get(name) for name in containers]):
            self._redefine(definitions, containers)
            for store in release.stores:
                self._wait(store)
            now = self._named(containers)
        summary = []
        for store in release.stores:
            server = self._server(store, now)
            remark, waiting = server.settle(self.tuning(release.services, store), ddl=ddl)
            if waiting and names.store(self.app, store.name) not in old and not store.post_start:
                docker.docker("restart", names.store(self.app, store.name))  # nobody uses it yet
                self._wait(store)
            summary.append(self._describe(store) + (f", {remark}" if remark else ""))
        gates.open_gate(self.app.name)
        return ", ".join(summary)

    def restore(self, release: Release | None, failed: int, *, running: bool) -> None:
        """Restore the stores to a release's definition, after a failed release may have changed them.

        A store that only the failed release has is removed; without a release, all are. With `running` they are
        started as far as possible: the watchdog and the next deployment take care of one that does not start.
        """
        definitions = self._definitions(release) if release and release.stores else {}
        stores = {s.name for s in release.stores} if release else set()
        changed = {path: text for path, text in definitions.items() if _text(path) != text}
        sealed, rendered = names.files(self.app, failed) / names.STORES, names.running_stores(self.app)
        written = _text(sealed) or ""
        theirs = set(_services(sealed))
        gone = [
            c for c in self._containers() if c.labels.get(docker.SERVICE) in theirs - stores or not release
        ]
        stopping = {c.labels.get(docker.SERVICE, "") for c in gone}
        self._before_stop(stopping | self._changed(definitions))
        if changed:
            self._write(changed)
            with suppress(PushrodError, calls.Trouble):
                if running:
                    self._redefine({}, [names.store(self.app, name) for name in stores])
                else:
                    place = self._place()
                    place.compose(place.stores, "up", "--no-start", "--no-build", "--pull", "never")
        docker.remove([c.name for c in gone])
        for name in theirs - stores:
            names.store_environment(self.app, name).unlink(missing_ok=True)
            hooking.remove_environments(self.app, name)
        if release is None or (not definitions and _text(rendered) == written):
            files.remove(rendered)
            files.remove(names.running_hooks(self.app))
        if (
            not definitions and not self._containers()
        ):  # stores of an older release may exist, for a rollback to it
            docker.remove_network(self.app.name)

    def archives(
        self, stores: Sequence[Service], *, ddl: bool, volumes: Mapping[str, str] | None = None
    ) -> list[Archive]:
        """What can be backed up: of stores that pushrod can query, what they say; of others, their volumes, if
        `volumes` says how."""
        drivers = (self._server(s).archive(ddl=ddl) or self._volumes(s, volumes or {}) for s in stores)
        return [archive for archive in drivers if archive is not None]

    def _volumes(self, store: Service, modes: Mapping[str, str]) -> Archive | None:
        from pushrod.stores.volumes import Volumes

        mode = modes.get(store.name)
        return Volumes(store.name, names.store(self.app, store.name), mode) if mode else None

    def servers(self, stores: Sequence[Service]) -> dict[str, Server]:
        """The running servers of these stores, by name."""
        return {s.name: self._server(s) for s in stores}

    def running(self) -> dict[str, Any]:
        """The rendered services of the running stores; none if their file is missing or damaged."""
        return _services(names.running_stores(self.app))

    def waiting(self, manifest: Manifest, containers: Sequence[docker.Container]) -> dict[str, Sequence[str]]:
        """The settings that each running store would take only when it starts next; `containers` are the app's."""
        running = {c.name: c for c in containers if c.running}
        return {
            s.name: self._server(s, running).waiting(self.tuning(manifest.stateless, s))
            for s in manifest.stores
            if names.store(self.app, s.name) in running
        }

    @staticmethod
    def tuning(services: Sequence[Service], store: Service) -> Tuning:
        """What decides the settings of a store of these services; Docker knows its memory."""
        return Tuning(sum(s.replicas for s in services if s.role != "job"), store.settings)

    # ---- definitions ----------------------------------------------------------------------------------------

    def _place(self) -> bring_up.App:
        return bring_up.App(str(self.app.root.path), self.app.name)

    def _definitions(self, release: Release) -> dict[Path, str]:
        """The text of each file that defines the stores of a release. A store of an unknown kind stays as it runs if
        the manifest says the same of it.
        """
        environments = names.environments(self.app, release.number)
        texts = {
            names.store_environment(self.app, s.name): (environments / f"store.{s.name}.env").read_text()
            for s in release.stores
        }
        rendered = names.files(self.app, release.number) / names.STORES
        hooks = hooking.of_stores(self.app, release)
        running = names.running_stores(self.app)
        text = unchanged(rendered.read_text(), _text(running) or "")
        return texts | hooks | {running: self.upgraded(text, release.number, release.commit)}

    def upgraded(self, text: str, number: int, commit: str) -> str:
        """The rendered file of the stores of a release, with the clusters that were upgraded. Raises StoreError if it
        cannot run on them.
        """
        known = self.app.settings.clusters
        return clusters.applied(text, number, commit, known, image_environment, self.given) if known else text

    def given(self, store: str) -> dict[str, str]:
        """The environment that a running store has of its own."""
        return environment.parse(_text(names.store_environment(self.app, store)) or "")

    def _redefine(self, definitions: Mapping[Path, str], containers: Sequence[str]) -> None:
        """Write the stores' definition and apply it; running releases keep their connections."""
        self._before_stop(self._changed(definitions))
        self._write(definitions)
        # If a container that Docker is about to restart is removed, Docker 26 leaves its name on its networks, and
        # the new container of that name could not join them.
        docker.stop([c for c in self._containers() if c.state == "restarting"])
        try:
            bring_up.stores_up(self._place(), list(containers))
        except calls.Trouble as e:
            raise self._not_up(
                str(e), containers, e.hook.log if isinstance(e, bring_up.HookTrouble) else ()
            ) from e
        self._attach()

    def _changed(self, definitions: Mapping[Path, str]) -> set[str]:
        """The existing stores that Compose will stop, because their definition changes."""
        path = names.running_stores(self.app)
        before = _services(path)
        after = rendering.services(definitions[path]) if path in definitions else before
        environments = {names.store_environment(self.app, name): name for name in before}
        others = {
            environments[path]
            for path, text in definitions.items()
            if path in environments and _text(path) != text
        }
        return others | {name for name in before if before[name] != after.get(name)}

    def _before_stop(self, stores: Collection[str]) -> None:
        """Run the `pre_stop` commands of these stores. A failure stops nothing."""
        running = [c.name for c in self._containers() if c.running and c.labels.get(docker.SERVICE) in stores]
        with suppress(calls.Trouble):
            bring_up.before_stop(self._place(), running)

    def _write(self, definitions: Mapping[Path, str]) -> None:
        for path, text in definitions.items():
            if path.parent == names.running_stores(self.app).parent:
                files.write(path, text)
            else:
                files.make_private(path.parent)
                files.write(path, text, mode=0o600)

    def _attach(self) -> None:
        """Connect the stores to the running releases: a recreated container has left their networks."""
        running = docker.containers({docker.APP: self.app.name, docker.RELEASE: ""})
        for number in {int(c.labels[docker.RELEASE]) for c in running if docker.INSTANCE in c.labels}:
            # A release without its files, or a missing store, must not stop the others.
            with suppress(calls.Trouble, FileNotFoundError):
                bring_up.attach(names.files(self.app, number))

    def _containers(self) -> list[docker.Container]:
        return [c for c in docker.containers({docker.APP: self.app.name}) if docker.RELEASE not in c.labels]

    def _named(self, containers: Sequence[str]) -> dict[str, docker.Container]:
        """The stores of these names, in one query; without somebody else's container that has such a name."""
        there = docker.inspect(containers)
        return {
            c.name: c
            for c in there
            if c.labels.get(docker.APP) == self.app.name and docker.RELEASE not in c.labels
        }

    def _has_network(self, containers: Iterable[docker.Container]) -> bool:
        """Whether the stores' network exists: Docker keeps that of a running container."""
        if any(c.running and self.app.name in c.networks for c in containers):
            return True
        return self.app.name in docker.networks({docker.APP: self.app.name})

    @staticmethod
    def _healthy(containers: Sequence[docker.Container | None]) -> bool:
        """Whether all of them exist and Docker reports them healthy."""
        return all(c is not None and c.running and c.health == "healthy" for c in containers)

    def _check_versions(self, release: Release, definitions: Mapping[Path, str]) -> None:
        """Refuse an image that would not start on the data of the previous one."""
        services = rendering.services(definitions[names.running_stores(self.app)])
        for store in release.stores:
            running = docker.inspect([names.store(self.app, store.name)])
            kind = registry.of(store.store)
            before = kind.series(store, image_environment(running[0].image)) if running else ""
            after = kind.series(store, image_environment(services[store.name]["image"]))
            if before and after and before != after:
                by_hand = f"dump, name {after} in a new service, restore into it, and switch"
                raise StoreError(
                    f"its data is from {before}, and the manifest names {after}",
                    where=f"service {store.name}",
                    hint=kind.upgrade_hint(before, after) or f"go back to {before}; or {by_hand}",
                )

    def _not_up(self, why: str, containers: Sequence[str], log: tuple[str, ...] = ()) -> PushrodError:
        if error := docker.known(why, f"app {self.app.name}"):
            return error
        named = next((c for c in containers if c in why), [*containers, self.app.name][0])
        log = log or tuple(docker.logs(named))
        cause = start_failures.find(why, log)
        return StoreError(
            f"the stores do not come up: {cause.what if cause else start_failures.plain(why)}",
            where=f"container {named}",
            hint=f"{f'{cause.hint}; ' if cause else ''}its last lines are above; `docker logs` shows all of them",
            log=log or ((start_failures.plain(why),) if cause else ()),
        )

    # ---- answering ------------------------------------------------------------------------------------------

    def _wait(self, store: Service) -> None:
        """Wait until a store answers in its own protocol; one of an unknown kind, until it runs."""
        name, end = names.store(self.app, store.name), time.monotonic() + _DEADLINE
        kind, placed = registry.of(store.store), self._placed(store, {})
        while not kind.answers(placed):
            if time.monotonic() >= end:
                raise self._not_up(f"{name} does not answer after {_DEADLINE:g} s", [name])
            running = docker.inspect([name])
            if not running or (
                running[0].state in ("exited", "dead", "restarting") and running[0].restarts > 2
            ):
                raise self._not_up(f"{name} ends right after its start", [name])
            time.sleep(0.1)

    def _describe(self, store: Service) -> str:
        if its := self.app.settings.clusters.get(store.name):
            return f"{store.name} ({registry.of(store.store).title} {its.major})"
        return f"{store.name} ({store.image})" if store.image else store.name

    def _server(self, store: Service, known: Mapping[str, docker.Container] | None = None) -> Server:
        return registry.of(store.store).server(self._placed(store, known or {}))

    def _placed(self, store: Service, known: Mapping[str, docker.Container]) -> ContainerStore:
        """A store as it runs now; `known` are containers by name, if they have been inspected."""
        path, container = names.store_environment(self.app, store.name), names.store(self.app, store.name)
        running = environment.parse(_text(path) or "")
        placed = msgspec.structs.replace(store, environment=running)
        return ContainerStore(
            self.app.name,
            placed,
            container,
            self._password(store),
            self.app.stores / f"{store.name}.json",
            self._secrets.logins(store.name),
            known[container].memory if container in known else None,
        )

    def _password(self, store: Service) -> Password:
        return partial(self._password_of, store.name)

    def _password_of(self, store: str, whose: str) -> str:
        return self._secrets.password(f"{store}/{whose}")


def image_environment(name: str) -> dict[str, str]:
    """The environment that an image sets; empty if there is no such image."""
    words = (docker.image(name) or {}).get("Config", {}).get("Env") or []
    return dict(word.split("=", 1) for word in words if "=" in word)


def _text(path: Path) -> str | None:
    """A file's text; None if there is none or it is not text."""
    with suppress(OSError, UnicodeDecodeError):
        return path.read_text()
    return None


def _services(path: Path) -> dict[str, Any]:
    """The services of a rendered file; none if it cannot be read: it is then written again."""
    with suppress(YAMLError, TypeError, ValueError, KeyError):
        return rendering.services(_text(path) or "")
    return {}
