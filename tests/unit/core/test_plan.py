"""The changes of a deployment, before it happens."""

import msgspec

from pushrod.core.plan import Change, compare, count, summary
from pushrod.core.values import Image, Instance
from tests.unit.samples import release, service, store

LIVE = release()
IMAGES = {name: image.id for name, image in LIVE.images.items()}


def test_everything_is_new_the_first_time() -> None:
    changes = compare(None, LIVE.services, LIVE.stores, IMAGES)
    assert changes == [
        Change("service", "backend", "new", "2 × entry"),
        Change("service", "worker", "new", "1 × worker"),
        Change("store", "postgres", "new", "postgres:17"),
    ]
    assert summary(changes, ["alembic upgrade head"]) == (
        "new: backend, worker, postgres; runs `alembic upgrade head`"
    )


def test_new_code_only_changes_nothing_else() -> None:
    changes = compare(LIVE, LIVE.services, LIVE.stores, IMAGES)
    assert {c.action for c in changes} == {"same"}
    assert changes[0].detail == "new code only; runs `alembic upgrade head` first"
    assert changes[1].detail == "new code only"
    assert summary(changes, []) == ""


def test_every_reason_for_a_change_is_listed() -> None:
    backend = msgspec.structs.replace(LIVE.services[0], replicas=3, command=("serve", "--fast"), release=())
    changes = compare(LIVE, [backend, LIVE.services[1]], LIVE.stores, IMAGES | {"backend": "sha-2"})
    assert changes[0] == Change(
        "service", "backend", "changed", "its dependencies are reinstalled, 2 → 3 instances, another command"
    )
    assert summary(changes, []) == "changed: backend"


def test_a_removed_store_keeps_its_data_and_a_removed_service_is_retired() -> None:
    changes = compare(LIVE, [LIVE.services[0], service("mailer", role="worker")], [store("db")], IMAGES)
    by_name = {(c.what, c.name): (c.action, c.detail) for c in changes}
    assert by_name["service", "worker"] == ("removed", "its instances are retired")
    assert by_name["store", "postgres"] == ("removed", "no longer used; it keeps running with its data")
    assert by_name["service", "mailer"][0] == by_name["store", "db"][0] == "new"
    assert summary(changes, []) == "new: mailer, db; removed: worker, postgres"


def test_a_job_runs_once() -> None:
    job = service("migrate", role="job", replicas=0, port=0)
    changes = compare(LIVE, [*LIVE.services, job], LIVE.stores, IMAGES)
    assert Change("service", "migrate", "new", "runs once before the instances") in changes


def test_on_docker_a_new_image_and_a_new_store_image_are_changes() -> None:
    live = release(
        engine="docker", images={n: Image(id="sha-1", location=f"pushrod/shop/{n}:1") for n in IMAGES}
    )
    new = IMAGES | {"backend": "pushrod/shop/backend:2", "worker": "pushrod/shop/worker:1"}
    changes = compare(live, live.services, [store(image="postgres:18")], new)
    assert [(c.name, c.action, c.detail.partition(";")[0]) for c in changes] == [
        ("backend", "changed", "its image is rebuilt"),
        ("worker", "same", "new code only"),
        ("postgres", "changed", "postgres:17 → postgres:18, in place"),
    ]


def test_instances_are_counted_by_service() -> None:
    instances = [Instance(f"a-{n}", "a") for n in (1, 2)] + [Instance("b-1", "b")]
    assert count(instances) == "a ×2, b"
    assert count([]) == ""
