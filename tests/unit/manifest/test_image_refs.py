"""Image references in parts, and what the known ones are."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pushrod.core.errors import ManifestError
from pushrod.manifest import image_refs


@pytest.mark.parametrize(
    ("text", "name", "tag"),
    [
        ("postgres", "postgres", ""),
        ("postgres:17-alpine", "postgres", "17-alpine"),
        ("docker.io/library/postgres:17", "postgres", "17"),
        ("registry:5000/team/redis", "redis", ""),
        ("registry:5000/team/redis:7@sha256:" + "a" * 64, "redis", "7"),
        ("Bitnami/PostgreSQL@sha256:" + "b" * 64, "postgresql", ""),
    ],
)
def test_a_reference_is_split_into_parts(text: str, name: str, tag: str) -> None:
    result = image_refs.parse(text)
    assert (result.name, result.tag) == (name, tag)


def test_stores_of_the_docker_engine_are_recognized() -> None:
    assert all(
        image_refs.is_store(image_refs.parse(t)) for t in ("mysql:8", "mongo", "rabbitmq:4-management")
    )
    assert not image_refs.is_store(image_refs.parse("mongo-express"))


def test_web_servers_are_recognized() -> None:
    images = ("nginx:latest", "nginxinc/nginx-unprivileged:1.27", "caddy:2", "traefik:v3")
    assert all(image_refs.is_web_server(image_refs.parse(i)) for i in images)
    assert not image_refs.is_web_server(image_refs.parse("nginx/nginx-prometheus-exporter"))


def test_java_images_are_recognized() -> None:
    images: tuple[str, ...] = (
        "eclipse-temurin:21-jre",
        "gcr.io/distroless/java21-debian12",
        "azul/zulu-openjdk:21",
    )
    images += ("bellsoft/liberica-openjre-debian:21", "docker.io/library/amazoncorretto:21", "tomcat:11")
    assert all(image_refs.is_java(image_refs.parse(i)) for i in images)
    others = ("node:22", "javascript-app", "python:3.13", "myjava", "postgres:18")
    assert not any(image_refs.is_java(image_refs.parse(i)) for i in others)


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("postgres:17.2-alpine", (17, 2)),
        ("pgvector/pgvector:0.8.0-pg17", (17,)),
        ("postgis/postgis:16-3.5", (16,)),
        ("timescale/timescaledb:latest-pg15", (15,)),
        ("python:3.13-slim", (3, 13)),
        ("traefik:v3.1", (3, 1)),
        ("redis:latest", ()),
        ("redis", ()),
    ],
)
def test_versions_are_read_from_tags(text: str, version: tuple[int, ...]) -> None:
    assert image_refs.version(image_refs.parse(text)) == version


@given(st.text())
@pytest.mark.slow
def test_parsing_never_fails(text: str) -> None:
    result = image_refs.parse(text)
    image_refs.version(result)
    assert "/" not in result.name


_PART = st.from_regex(r"[a-z0-9]+([._-][a-z0-9]+)*", fullmatch=True)


@pytest.mark.slow
@given(
    st.lists(_PART, min_size=1, max_size=4),
    st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,20}", fullmatch=True),
)
def test_a_composed_reference_is_parsed_into_its_parts(path: list[str], tag: str) -> None:
    result = image_refs.parse(f"host:5000/{'/'.join(path)}:{tag}@sha256:{'0' * 64}")
    assert (result.name, result.tag, result.digest) == (path[-1], tag, f"sha256:{'0' * 64}")


@pytest.mark.parametrize(
    ("text", "full"),
    [
        ("python", "docker.io/library/python:latest"),
        ("python:3.13-slim", "docker.io/library/python:3.13-slim"),
        ("index.docker.io/python:1", "docker.io/library/python:1"),
        ("docker.io/bitnami/redis", "docker.io/bitnami/redis:latest"),
        ("ghcr.io/team/app:1@sha256:" + "a" * 64, "ghcr.io/team/app@sha256:" + "a" * 64),
        ("localhost/app:1", "localhost/app:1"),
        ("registry:5000/a/b_c/d__e-f:V1.2_x", "registry:5000/a/b_c/d__e-f:V1.2_x"),
        ("[fd00::1]:5000/app", "[fd00::1]:5000/app:latest"),
        ("Host/app", "Host/app:latest"),
        ("cafe:latest", "docker.io/library/cafe:latest"),
        ("docker.io/library/cafe", "docker.io/library/cafe:latest"),
    ],
)
def test_a_name_is_completed(text: str, full: str) -> None:
    assert image_refs.check(text, "services.web.image") == full
    assert image_refs.carried(text, ["<none>:<none>", full])


@pytest.mark.parametrize(
    "text",
    [
        *(
            "--help",
            "-q",
            "--format={{.Id}}",
            "",
            "a:",
            ":a",
            "a b",
            "a\nb",
            "a@b",
            "a@sha256:abc",
            "/a",
            "a/",
            "a//b",
        ),
        *(
            "Python",
            "a:-x",
            "a:" + "x" * 129,
            "a/" * 200 + "a",
            "https://ghcr.io/a/b",
            "a/b:1/c",
            "a.",
            "-a/b",
        ),
        *(
            "cafe",
            "0123456789ab",
            "f" * 64,
            "sha256:" + "a" * 64,
            "sha256:abc",
            "sha512:abc",
            "sha256:latest",
        ),
        *(
            "pushrod/victim/web:1",
            "docker.io/pushrod/victim/web",
            "index.docker.io/pushrod/x",
            "pushrod/builder:1",
        ),
        "pushrod/victim/web@sha256:" + "a" * 64,
    ],
)
def test_reserved_image_names_are_refused(text: str) -> None:
    with pytest.raises(ManifestError) as refused:
        image_refs.check(text, "services.web.image")
    assert refused.value.where == "services.web.image"
    assert refused.value.hint


@given(st.text(st.sampled_from("aA0.:/@-_f[]"), max_size=40))
@example("[0]/0")
@pytest.mark.slow
def test_normalization_is_idempotent(text: str) -> None:
    try:
        full = image_refs.normal(text)
    except ValueError:
        return
    assert image_refs.normal(full) == full
    assert not text.startswith("-")
