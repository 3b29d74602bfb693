"""The stores of an app on the embedded engine, reached with other rights than the app has."""

from devtools.apps import App
from pushrod.adapters import postgres, redis
from pushrod.adapters.binaries import Parts
from pushrod.engines.embedded.ports import store_records
from pushrod.state.apps import App as Place
from pushrod.state.apps import Root
from pushrod.state.secrets import Secrets


def superuser(app: App, statement: str) -> None:
    """Run statements in the app's PostgreSQL as its superuser."""
    place = Place(Root(app.machine.root), app.name)
    record = next(r for r in store_records(place) if r.kind == "postgres")
    password = Secrets(place).password(f"{record.name}/superuser")
    programs = postgres.Programs(Parts().postgres)
    postgres.Server(programs, record.port, password, record.address).query(f"{statement};")


def health_password(app: App, store: str) -> str:
    """The password of the user that may ask a Valkey for its figures."""
    return Secrets(Place(Root(app.machine.root), app.name)).password(f"{store}/{redis.HEALTH_USER}")
