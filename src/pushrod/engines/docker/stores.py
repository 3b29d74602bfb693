"""The stores of an app on Docker: brought up in place, proved healthy, their roles and databases ensured."""

import re
import socket
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from pushrod import host
from pushrod.apps import App
from pushrod.configuration import Endpoint
from pushrod.engines.docker import environment, names, reconcile
from pushrod.errors import StoreError
from pushrod.gears import docker, postgres
from pushrod.secrets import Secrets
from pushrod.values import Manifest, Release, Service

_DEADLINE = 300.0  # seconds until a store must answer; recovery after a power cut is part of it
_NAME = re.compile(r"[a-z][a-z0-9_-]{0,62}")
_SUPERUSER = "postgres"  # the official image's default of POSTGRES_USER


class Stores:
    """One app's stores."""

    def __init__(self, app: App) -> None:
        self.app = app
        self._secrets = Secrets(app)

    def environment(self, store: Service) -> dict[str, str]:
        """What a store runs with: the manifest's own, and a password where the official image insists on one."""
        given = {n: v for n, v in store.environment.items() if v is not None}
        if store.store != "postgres" or any(n.startswith("POSTGRES_PASSWORD") for n in given):
            return given
        if given.get("POSTGRES_HOST_AUTH_METHOD") == "trust":
            return given
        return given | {"POSTGRES_PASSWORD": self._secrets.password(f"{store.name}/superuser")}

    def endpoints(self, wanted: Manifest) -> list[Endpoint]:
        """Where each store is: under its service's name, in the network of each release."""
        found = []
        for store in wanted.stores:
            if store.store == "redis":
                url = f"redis://{store.name}:6379/0"
                found.append(Endpoint(store.name, "redis", url, url, adopts=False))
            elif database := self._database(store, store.environment):
                roles = postgres.Roles.of(self.app.name)
                app = self._url(store, roles.app, "app", database)
                migrator = self._url(store, roles.migrator, "migrator", database)
                found.append(Endpoint(store.name, "postgres", app, migrator, adopts=wanted.ours))
        return found

    def bring_up(self, release: Release, *, ddl: bool) -> str:
        """Make the stores what the release wants, wait until each answers, ensure roles; says what is there.

        A store whose definition has changed is made anew on the same data; one that has not goes on untouched.
        """
        place, sealed = self._place(), names.files(self.app, release.number)
        changed = self._adopt(release, sealed / names.STORES)
        containers = [names.store(self.app, s.name) for s in release.stores]
        if changed or not self._run(containers):
            self._check_versions(release)
            try:
                reconcile.stores_up(place, containers)
            except reconcile.Trouble as e:
                raise self._not_up(str(e), containers) from e
        told = []
        for store in release.stores:
            self._wait(store)
            if database := self._database(store, self._running_environment(store)):
                self._ensure_roles(store, database, ddl=ddl)
            told.append(self._describe(store))
        reconcile.open_gate(place)
        return ", ".join(told)

    def schema(self, stores: Sequence[Service]) -> str:
        """A digest over the schemas of the databases that pushrod gives the app."""
        databases = {s.name: self._database(s, self._running_environment(s)) for s in stores}
        return "".join(
            postgres.schema_digest(self._server(s), databases[s.name]) for s in stores if databases[s.name]
        )

    # ---- in place -------------------------------------------------------------------------------------------

    def _place(self) -> reconcile.App:
        return reconcile.App(str(self.app.root.path), self.app.name)

    def _adopt(self, release: Release, rendered: Path) -> bool:
        """Write down what the stores are to run as; whether that differs from what they run as."""
        running, text = names.running_stores(self.app), rendered.read_text()
        changed = not running.exists() or running.read_text() != text
        for store in release.stores:
            source = names.environments(self.app, release.number) / f"store.{store.name}.env"
            target = names.store_environment(self.app, store.name)
            if not target.exists() or target.read_text() != source.read_text():
                host.make_private(target.parent)
                host.write(target, source.read_text(), mode=0o600)
                changed = True
        if changed:
            host.write(running, text)
        return changed

    def _run(self, containers: Sequence[str]) -> bool:
        found = docker.inspect(containers)
        return len(found) == len(containers) and all(c.running and c.health in ("", "healthy") for c in found)

    def _check_versions(self, release: Release) -> None:
        """Refuse another major version of PostgreSQL over data of an older one: it would not start on them."""
        for store in release.stores:
            if store.store != "postgres":
                continue
            found = docker.inspect([names.store(self.app, store.name)])
            before = self._major(found[0].image) if found else ""
            after = self._major(store.image)
            if before and after and before != after:
                raise StoreError(
                    f"its data are of PostgreSQL {before}, and the manifest names {after}",
                    where=f"service {store.name}",
                    hint=f"go back to {before}; or dump, name {after} in a new service, restore into it, and switch",
                )

    def _major(self, image: str) -> str:
        found = docker.image(image)
        words = (found or {}).get("Config", {}).get("Env") or []
        return next((w.partition("=")[2] for w in words if w.startswith("PG_MAJOR=")), "")

    def _not_up(self, why: str, containers: Sequence[str]) -> StoreError:
        named = next((c for c in containers if c in why), containers[0])
        return StoreError(
            f"the stores do not come up: {why}",
            where=f"container {named}",
            hint="its last lines are above; `docker logs` shows all of them",
            log=tuple(docker.logs(named)),
        )

    # ---- answering ------------------------------------------------------------------------------------------

    def _wait(self, store: Service) -> None:
        """Wait until a store answers in its own protocol; for one of a kind we do not speak, until it runs."""
        name, end = names.store(self.app, store.name), time.monotonic() + _DEADLINE
        ask = {"postgres": self._postgres_answers, "redis": self._redis_answers}.get(store.store or "", _runs)
        while not ask(name):
            if time.monotonic() >= end:
                raise self._not_up(f"{name} does not answer after {_DEADLINE:g} s", [name])
            found = docker.inspect([name])
            if not found or (found[0].state in ("exited", "dead", "restarting") and found[0].restarts > 2):
                raise self._not_up(f"{name} ends as soon as it is started", [name])
            time.sleep(0.1)

    def _postgres_answers(self, name: str) -> bool:
        # While the official image initialises a new cluster, its server listens on the socket only.
        argv = ["pg_isready", "--quiet", "--host=127.0.0.1", "--timeout=3"]
        return docker.execute(name, argv, timeout=15).status == 0

    def _redis_answers(self, name: str) -> bool:
        found = docker.inspect([name])
        address = found[0].networks.get(self.app.name, "") if found else ""
        with suppress(OSError), socket.create_connection((address, 6379), 2) as s:
            s.sendall(b"PING\r\n")
            return s.recv(64).startswith((b"+PONG", b"-NOAUTH", b"-NOPERM"))
        return False

    def _describe(self, store: Service) -> str:
        return f"{store.name} ({store.image})" if store.image else store.name

    # ---- PostgreSQL's roles ---------------------------------------------------------------------------------

    def _ensure_roles(self, store: Service, database: str, *, ddl: bool) -> None:
        passwords = {w: self._secrets.password(f"{store.name}/{w}") for w in ("migrator", "app")}
        postgres.ensure(self._server(store), self.app.name, database, passwords, ddl=ddl)

    def _server(self, store: Service) -> postgres.ContainerServer:
        user = self._running_environment(store).get("POSTGRES_USER") or _SUPERUSER
        return postgres.ContainerServer(names.store(self.app, store.name), user, docker.environment())

    def _running_environment(self, store: Service) -> dict[str, str]:
        path = names.store_environment(self.app, store.name)
        return environment.parse(path.read_text()) if path.exists() else {}

    def _database(self, store: Service, variables: Mapping[str, str | None]) -> str:
        """The database of a PostgreSQL store that the app is given roles in; empty for other stores, and where its
        name is none that pushrod can handle. The official image makes POSTGRES_DB, by default named as its user."""
        name = variables.get("POSTGRES_DB") or variables.get("POSTGRES_USER") or self.app.name
        return name if store.store == "postgres" and _NAME.fullmatch(name) else ""

    def _url(self, store: Service, role: str, key: str, database: str) -> str:
        password = self._secrets.password(f"{store.name}/{key}")
        return postgres.url(role, password, 5432, database, host=store.name)


def _runs(name: str) -> bool:
    found = docker.inspect([name])
    return bool(found) and found[0].running and found[0].health in ("", "healthy")
