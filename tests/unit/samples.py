"""Sample values for several tests."""

from typing import Any

from pushrod.core import limits
from pushrod.core.limits import GIB, Machine
from pushrod.core.values import Health, Image, Instance, Release, Service
from pushrod.state.apps import App
from pushrod.state.journal import Journal
from pushrod.state.releases import Releases
from pushrod.state.secrets import Secrets

COMMIT = "0123456789abcdef0123456789abcdef01234567"
LIMITS = limits.defaults(Machine(memory=4 * GIB, cpus=2, tasks=30_000))
"""Limits of a small server, where a container may use 2 GiB."""


def service(name: str = "backend", **changes: Any) -> Service:
    """A service that receives HTTP, with Compose's defaults for everything else."""
    given: dict[str, Any] = {"name": name, "role": "entry", "command": ("serve",), "port": 8080, **changes}
    return Service(**given)


def store(name: str = "postgres", **changes: Any) -> Service:
    """A store."""
    given: dict[str, Any] = {"name": name, "role": "store", "image": "postgres:17", "store": "postgres"}
    return Service(**(given | changes))


def release(number: int = 1, **changes: Any) -> Release:
    """A sealed release of a backend in two instances, a worker and a PostgreSQL."""
    given: dict[str, Any] = {
        "app": "shop",
        "number": number,
        "commit": COMMIT,
        "subject": f"change {number}",
        "created": "2026-01-01T00:00:00.000+00:00",
        "engine": "embedded",
        "entry": "backend",
        "services": (
            service(replicas=2, health=Health(path="/healthz"), release=("alembic", "upgrade", "head")),
            service("worker", role="worker", port=0),
        ),
        "stores": (store(),),
        "images": {"backend": Image(id="sha-1"), "worker": Image(id="sha-1")},
        "instances": (
            Instance("backend-1", "backend", 20001),
            Instance("backend-2", "backend", 20002),
            Instance("worker-1", "worker", 20003),
        ),
        "environment_names": {"backend": ("DATABASE_URL",), "worker": ()},
        "inputs": "digest",
        "pushrod": "0.1.0",
    }
    return Release(**(given | changes))


def make_live(app: App, *numbers: int) -> None:
    """Seal releases and make them live, one after another."""
    journal = Journal(app.journal)
    for number in numbers:
        sealed = release(number)
        Secrets(app).seal(number, {s.name: {} for s in sealed.services})
        Releases(app).seal(sealed)
        for event in ("prepare", "promote", "live", "done"):
            journal.append(event, number, commit=COMMIT)
        Releases(app).point(number)
