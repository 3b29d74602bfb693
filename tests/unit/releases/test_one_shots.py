"""What runs once for each release, and how it is reported."""

from pushrod.releases.one_shots import one_shots
from tests.unit.samples import release, service


def test_jobs_run_in_the_manifests_order_before_the_release_commands() -> None:
    migrate, load = (service(n, role="job", replicas=0, command=("x",)) for n in ("migrate", "load"))
    backend = service("backend", release=("alembic", "upgrade", "head"))
    programs = one_shots(release(services=(backend, migrate, load, service("worker", role="worker"))))
    assert [(p.kind, p.argv, p.shown, p.described) for p in programs] == [
        ("job", (), "migrate", "migrate"),
        ("job", (), "load", "load"),
        (
            "release command",
            ("alembic", "upgrade", "head"),
            "alembic upgrade head",
            "backend: alembic upgrade head",
        ),
    ]
