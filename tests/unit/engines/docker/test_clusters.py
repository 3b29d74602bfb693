"""The rendered file of stores whose data was upgraded."""

from collections.abc import Mapping

import pytest

from pushrod.core.errors import StoreError
from pushrod.core.upgrades import Cluster
from pushrod.engines.docker import clusters, rendering

IMAGES = {
    "old": {"PG_MAJOR": "15", "PGDATA": "/var/lib/postgresql/data"},
    "seventeen": {"PG_MAJOR": "17", "PGDATA": "/var/lib/postgresql/data"},
    "eighteen": {"PG_MAJOR": "18", "PGDATA": "/var/lib/postgresql/18/docker"},
}
TO_17 = Cluster("17", "seventeen", "shop_db-pg17", "/var/lib/postgresql/data", ".", 3, "a" * 40)
TO_18 = Cluster("18", "eighteen", "shop_db-pg18", "/var/lib/postgresql", "18/docker", 3, "a" * 40)


Of = tuple[int, str]


def release(number: int = 3, commit: str = "b" * 40) -> Of:
    return number, commit


def text(image: str = "old", target: str = "/var/lib/postgresql/data") -> str:
    mounts = [
        {"type": "volume", "source": "data", "target": target},
        {"type": "bind", "source": "/conf", "target": "/etc/x"},
    ]
    whole = {
        "name": "shop",
        "services": {"db": {"image": image, "volumes": mounts}, "redis": {"image": "r"}},
        "volumes": {"data": {"name": "shop_data", "external": True}},
    }
    return "# rendered\n" + rendering.dump(whole)


def applied(
    rendered: str, its: Cluster, of: Of | None = None, given: Mapping[str, str] | None = None
) -> tuple[str, dict[str, str]]:
    """The image, and what is mounted where."""
    result = clusters.applied(
        rendered, *(of or release()), {"db": its}, lambda image: IMAGES[image], lambda _: given or {}
    )
    assert result.startswith("# rendered\n")
    whole = rendering.loaded(result)
    service, volumes = whole["services"]["db"], whole["volumes"]
    assert whole["services"]["redis"] == {"image": "r"}
    return service["image"], {
        v["target"]: volumes[v["source"]]["name"] if v["type"] == "volume" else v["source"]
        for v in service["volumes"]
    }


def test_an_older_release_runs_on_the_newer_data() -> None:
    expected = ("seventeen", {"/etc/x": "/conf", "/var/lib/postgresql/data": "shop_db-pg17"})
    assert applied(text(), TO_17) == expected
    assert applied(text(), TO_17, release(9, "a" * 40)) == expected  # a restart, of the commit that was live


def test_the_volume_of_version_18_is_where_its_image_has_it() -> None:
    assert applied(text(), TO_18) == ("eighteen", {"/etc/x": "/conf", "/var/lib/postgresql": "shop_db-pg18"})
    named = text("eighteen", "/var/lib/postgresql")
    assert applied(named, TO_18, release(9)) == applied(text(), TO_18)


def test_a_release_that_names_the_new_version_keeps_its_own_image() -> None:
    image, mounts = applied(text("seventeen"), TO_17, release(9))
    assert (image, mounts["/var/lib/postgresql/data"]) == ("seventeen", "shop_db-pg17")


@pytest.mark.parametrize(("image", "its", "names"), [("old", TO_17, "15"), ("eighteen", TO_17, "18")])
def test_another_commit_with_another_version_is_refused(image: str, its: Cluster, names: str) -> None:
    with pytest.raises(
        StoreError, match=f"from PostgreSQL 17, and the manifest names PostgreSQL {names}"
    ) as caught:
        applied(text(image), its, release(9))
    assert ("db upgrade --to 18" in caught.value.hint) == (names == "18")


def test_a_volume_at_the_place_of_older_versions_is_refused() -> None:
    """The image of version 18 would make an empty cluster beside it."""
    with pytest.raises(StoreError, match=r"no volume at /var/lib/postgresql$"):
        applied(text("eighteen"), TO_18, release(9))


def test_a_directory_that_the_manifest_names_stays() -> None:
    given = {"PGDATA": "/var/lib/postgresql/data/here"}
    its = Cluster("17", "seventeen", "shop_db-pg17", "/var/lib/postgresql/data", "here", 3, "a" * 40)
    assert applied(text("seventeen"), its, release(9), given)[1]["/var/lib/postgresql/data"] == "shop_db-pg17"
    with pytest.raises(StoreError, match="its data is at here of its volume"):
        applied(text("seventeen"), its, release(9))


def test_stores_that_were_not_upgraded_stay_as_they_are() -> None:
    rendered = text()
    assert (
        clusters.applied(rendered, *release(), {"other": TO_17}, lambda i: IMAGES[i], lambda _: {})
        == rendered
    )


@pytest.mark.parametrize(
    ("reference", "other"),
    [
        ("postgres:15", "postgres:17"),
        ("postgres:15.4-alpine3.19", "postgres:17-alpine3.19"),
        ("docker.io/library/postgres:9", "docker.io/library/postgres:17"),
        ("pgvector/pgvector:pg15", "pgvector/pgvector:pg17"),
        ("pgvector/pgvector:0.8.0-pg15", ""),
        ("registry.example.com:5000/postgres", ""),
        ("postgres:latest", ""),
        ("postgres", ""),
        ("postgres:15@sha256:0123", ""),
        ("", ""),
    ],
)
def test_the_image_of_another_version(reference: str, other: str) -> None:
    assert clusters.image_of(reference, "17") == other
