"""The stores of an app on Docker: brought up in place, proved healthy, their roles and databases ensured."""

import time
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path

import msgspec
from yaml import YAMLError

from pushrod.adapters import causes, docker
from pushrod.core.errors import PushrodError, StoreError
from pushrod.core.values import Manifest, Release, Service
from pushrod.engines.docker import bring_up, calls, environment, gates, hooking, names, rendering
from pushrod.state.apps import App
from pushrod.state.secrets import Secrets
from pushrod.stores import registry
from pushrod.stores.backup_drivers import Archive
from pushrod.stores.kinds import ContainerStore, Endpoint, Password, Server
from pushrod.system import files

_DEADLINE = 300.0  # seconds until a store must answer; recovery after a power cut is part of it


class Stores:
    """One app's stores."""

    def __init__(self, app: App) -> None:
        self.app = app
        self._secrets = Secrets(app)

    def environment(self, store: Service) -> dict[str, str]:
        """What a store runs with: the manifest's own, and what its kind adds."""
        return registry.of(store.store).environment(store, self.app.name, self._password(store))

    def endpoints(self, manifest: Manifest) -> list[Endpoint]:
        """Where each store is: under its service's name, in the network of each release."""
        found = (
            registry.of(s.store).endpoint(s, self.app.name, self._password(s), ours=manifest.ours)
            for s in manifest.stores
        )
        return [endpoint for endpoint in found if endpoint is not None]

    def ensure(self, release: Release, *, ddl: bool) -> str:
        """Make the stores what the release wants, wait until each answers, ensure roles; says what is there.

        A store whose definition has changed is made anew on the same data; one that has not goes on untouched.
        """
        wanted = self._wanted(release)
        before = {path: _text(path) for path in wanted}
        containers = [names.store(self.app, s.name) for s in release.stores]
        if before != wanted:
            self._check_versions(release)
        if before != wanted or not self._healthy(containers):
            self._become(wanted, containers)
            for store in release.stores:
                self._wait(store)
        told = []
        for store in release.stores:
            remark = self._server(store).ensure(ddl=ddl)
            told.append(self._describe(store) + (f", {remark}" if remark else ""))
        gates.open_gate(self.app.name)
        return ", ".join(told)

    def restore(self, release: Release | None, failed: int, *, running: bool) -> None:
        """Put the stores back to what they are in a release, after one that has failed may have changed them.

        A store that only the failed one has is removed; with no release, all are. What is `running` then runs, as
        far as it comes up: one that does not is the watch's, and the next deployment's.
        """
        wanted = self._wanted(release) if release and release.stores else {}
        stores = {s.name for s in release.stores} if release else set()
        changed = {path: text for path, text in wanted.items() if _text(path) != text}
        sealed, rendered = names.files(self.app, failed) / names.STORES, names.running_stores(self.app)
        written = _text(sealed) or ""
        theirs = set(_services(sealed))
        gone = [
            c for c in self._containers() if c.labels.get(docker.SERVICE) in theirs - stores or not release
        ]
        stopping = {c.labels.get(docker.SERVICE, "") for c in gone}
        self._before_stop(stopping | self._changed(wanted))
        if changed:
            self._write(changed)
            with suppress(PushrodError, calls.Trouble):
                if running:
                    self._become({}, [names.store(self.app, name) for name in stores])
                else:
                    place = self._place()
                    place.compose(place.stores, "up", "--no-start", "--no-build", "--pull", "never")
        docker.remove([c.name for c in gone])
        for name in theirs - stores:
            names.store_environment(self.app, name).unlink(missing_ok=True)
            hooking.forget(self.app, name)
        if release is None or (not wanted and _text(rendered) == written):
            files.remove(rendered)
            files.remove(names.running_hooks(self.app))
        if (
            not wanted and not self._containers()
        ):  # stores of an older release may be there, for a rollback to it
            docker.remove_network(self.app.name)

    def schema(self, stores: Sequence[Service]) -> str:
        """A digest over the schemas of the databases that pushrod gives the app."""
        return "".join(self._server(s).schema() for s in stores)

    def waits(self, stores: Sequence[Service]) -> list[str]:
        """Whom the release command waits for."""
        return [told for s in stores for told in self._server(s).waits()]

    def end_migrations(self, stores: Sequence[Service], since: str) -> None:
        """End what a release command has left behind since then."""
        for store in stores:
            self._server(store).end_migrations(since)

    def archives(self, stores: Sequence[Service], *, ddl: bool) -> list[Archive]:
        """What is backed up of those that pushrod can ask."""
        found = (self._server(s).archive(ddl=ddl) for s in stores)
        return [archive for archive in found if archive is not None]

    # ---- in place -------------------------------------------------------------------------------------------

    def _place(self) -> bring_up.App:
        return bring_up.App(str(self.app.root.path), self.app.name)

    def _wanted(self, release: Release) -> dict[Path, str]:
        """What the stores are to run as: each file's text."""
        environments = names.environments(self.app, release.number)
        found = {
            names.store_environment(self.app, s.name): (environments / f"store.{s.name}.env").read_text()
            for s in release.stores
        }
        rendered = names.files(self.app, release.number) / names.STORES
        hooks = hooking.of_stores(self.app, release)
        return found | hooks | {names.running_stores(self.app): rendered.read_text()}

    def _become(self, wanted: Mapping[Path, str], containers: Sequence[str]) -> None:
        """Write down what the stores are to run as, and make them so; releases that run keep them."""
        self._before_stop(self._changed(wanted))
        self._write(wanted)
        # Where one that Docker is about to restart is removed, Docker 26 leaves its name on its networks, and the new
        # one of that name could not join them.
        docker.stop([c for c in self._containers() if c.state == "restarting"])
        try:
            bring_up.stores_up(self._place(), list(containers))
        except calls.Trouble as e:
            raise self._not_up(
                str(e), containers, e.hook.log if isinstance(e, bring_up.HookTrouble) else ()
            ) from e
        self._attach()

    def _changed(self, wanted: Mapping[Path, str]) -> set[str]:
        """The stores that are there and that Compose will stop, because they are to run as something else."""
        path = names.running_stores(self.app)
        before = _services(path)
        after = rendering.services(wanted[path]) if path in wanted else before
        environments = {names.store_environment(self.app, name): name for name in before}
        others = {
            environments[path]
            for path, text in wanted.items()
            if path in environments and _text(path) != text
        }
        return others | {name for name in before if before[name] != after.get(name)}

    def _before_stop(self, stores: Collection[str]) -> None:
        """Run what is to be run in these stores before they are stopped. What fails there keeps nothing up."""
        running = [c.name for c in self._containers() if c.running and c.labels.get(docker.SERVICE) in stores]
        with suppress(calls.Trouble):
            bring_up.before_stop(self._place(), running)

    def _write(self, wanted: Mapping[Path, str]) -> None:
        for path, text in wanted.items():
            if path.parent == names.running_stores(self.app).parent:
                files.write(path, text)
            else:
                files.make_private(path.parent)
                files.write(path, text, mode=0o600)

    def _attach(self) -> None:
        """Connect the stores to the releases that run: one that was made anew has left their networks."""
        running = docker.containers({docker.APP: self.app.name, docker.RELEASE: ""})
        for number in {int(c.labels[docker.RELEASE]) for c in running if docker.INSTANCE in c.labels}:
            # What one of them lacks, a store or its files, is none of the others' trouble.
            with suppress(calls.Trouble, FileNotFoundError):
                bring_up.attach(names.files(self.app, number))

    def _containers(self) -> list[docker.Container]:
        return [c for c in docker.containers({docker.APP: self.app.name}) if docker.RELEASE not in c.labels]

    def _healthy(self, containers: Sequence[str]) -> bool:
        """Whether all of them are there and have proved healthy to Docker."""
        found = docker.inspect(containers)
        return len(found) == len(containers) and all(c.running and c.health == "healthy" for c in found)

    def _check_versions(self, release: Release) -> None:
        """Refuse an image that would not start on the data of the one before it."""
        for store in release.stores:
            found = docker.inspect([names.store(self.app, store.name)])
            before = self._series(store, found[0].image) if found else ""
            after = self._series(store, release.images[store.name].location)
            if before and after and before != after:
                raise StoreError(
                    f"its data are of {before}, and the manifest names {after}",
                    where=f"service {store.name}",
                    hint=f"go back to {before}; or dump, name {after} in a new service, restore into it, and switch",
                )

    def _series(self, store: Service, image: str) -> str:
        words = (docker.image(image) or {}).get("Config", {}).get("Env") or []
        return registry.of(store.store).series(store, dict(w.split("=", 1) for w in words if "=" in w))

    def _not_up(self, why: str, containers: Sequence[str], log: tuple[str, ...] = ()) -> PushrodError:
        if error := docker.known(why, f"app {self.app.name}"):
            return error
        named = next((c for c in containers if c in why), [*containers, self.app.name][0])
        log = log or tuple(docker.logs(named))
        cause = causes.find(why, log)
        return StoreError(
            f"the stores do not come up: {cause.what if cause else causes.plain(why)}",
            where=f"container {named}",
            hint=f"{f'{cause.hint}; ' if cause else ''}its last lines are above; `docker logs` shows all of them",
            log=log or ((causes.plain(why),) if cause else ()),
        )

    # ---- answering ------------------------------------------------------------------------------------------

    def _wait(self, store: Service) -> None:
        """Wait until a store answers in its own protocol; for one of a kind we do not speak, until it runs."""
        name, end = names.store(self.app, store.name), time.monotonic() + _DEADLINE
        kind, placed = registry.of(store.store), self._placed(store)
        while not kind.answers(placed):
            if time.monotonic() >= end:
                raise self._not_up(f"{name} does not answer after {_DEADLINE:g} s", [name])
            found = docker.inspect([name])
            if not found or (found[0].state in ("exited", "dead", "restarting") and found[0].restarts > 2):
                raise self._not_up(f"{name} ends as soon as it is started", [name])
            time.sleep(0.1)

    def _describe(self, store: Service) -> str:
        return f"{store.name} ({store.image})" if store.image else store.name

    def _server(self, store: Service) -> Server:
        return registry.of(store.store).server(self._placed(store))

    def _placed(self, store: Service) -> ContainerStore:
        """A store as it runs now."""
        path = names.store_environment(self.app, store.name)
        running = environment.parse(_text(path) or "")
        placed = msgspec.structs.replace(store, environment=running)
        return ContainerStore(self.app.name, placed, names.store(self.app, store.name), self._password(store))

    def _password(self, store: Service) -> Password:
        return partial(self._password_of, store.name)

    def _password_of(self, store: str, whose: str) -> str:
        return self._secrets.password(f"{store}/{whose}")


def _text(path: Path) -> str | None:
    """What is in a file; None where there is none, or what is there is no text."""
    with suppress(OSError, UnicodeDecodeError):
        return path.read_text()
    return None


def _services(path: Path) -> dict[str, object]:
    """The services of a rendered file; none where it cannot be read: it is written again then."""
    with suppress(YAMLError, TypeError, ValueError, KeyError):
        return rendering.services(_text(path) or "")
    return {}
