"""Image references, and what the known images among them are: stores, web servers, anything else. Pure."""

import re
from typing import NamedTuple

from pushrod.values import StoreKind


class Reference(NamedTuple):
    """`registry/namespace/name:tag@digest` in its parts; `name` is the last of the path."""

    path: str
    name: str
    tag: str
    digest: str


def parse(text: str) -> Reference:
    """The parts of an image reference; never fails, because only the loader says which are valid."""
    rest, _, digest = text.strip().partition("@")
    head, colon, tag = rest.rpartition(":")
    if not colon or "/" in tag:  # `registry:5000/name` has a port there, not a tag
        head, tag = rest, ""
    return Reference(head, head.rpartition("/")[2].lower(), tag, digest)


# By the last part of the name, so that mirrors and other publishers' builds count: docker.io/library/postgres,
# bitnami/postgresql, ghcr.io/x/pgvector.
_KINDS: dict[str, StoreKind] = {
    **dict.fromkeys(
        ("postgres", "postgresql", "postgis", "pgvector", "timescaledb", "timescaledb-ha"), "postgres"
    ),
    **dict.fromkeys(("redis", "valkey"), "redis"),
}
# fmt: off
_OTHER_STORES = frozenset((
    "mysql", "mysql-server", "mariadb", "percona", "percona-server", "mongo", "mongodb",
    "mongodb-community-server", "rabbitmq", "memcached", "elasticsearch", "opensearch", "minio", "kafka",
    "cp-kafka", "redpanda", "zookeeper", "cp-zookeeper", "cassandra", "scylla", "clickhouse",
    "clickhouse-server", "influxdb", "neo4j", "couchdb", "nats", "etcd", "consul", "vault", "meilisearch",
    "typesense", "qdrant", "weaviate", "milvus", "cockroach", "keydb", "dragonfly", "redis-stack",
    "redis-stack-server", "mssql-server", "arangodb", "surrealdb", "rethinkdb",
))
# They answer HTTP in front of an app, or only serve one that does (certbot): what pushrod's edge is for.
_WEB_SERVERS = frozenset((
    "nginx", "nginx-unprivileged", "nginx-proxy", "nginx-proxy-manager", "openresty", "caddy",
    "caddy-docker-proxy", "traefik", "haproxy", "httpd", "envoy", "swag", "certbot", "acme-companion",
    "docker-letsencrypt-nginx-proxy-companion",
))
# What Java programs run in: Docker's official images, and those of the makers of Java.
_JAVA = frozenset((
    "amazoncorretto", "eclipse-temurin", "ibm-semeru-runtimes", "ibmjava", "java", "jdk", "jre", "openjdk",
    "sapmachine", "gradle", "jetty", "maven", "tomcat", "tomee",
))
# fmt: on
_JAVA_PARTS = re.compile(r"java\d|openj(?:dk|re)|openj9|liberica|zulu|graalvm")  # distroless java21-debian12
# Extensions that PostgreSQL images carry and the embedded engine's PostgreSQL does not.
_EXTENSIONS = {"postgis": "PostGIS", "timescaledb": "TimescaleDB", "timescaledb-ha": "TimescaleDB"}


def store_kind(reference: Reference) -> StoreKind | None:
    """The kind of store that the embedded engine can run in this image's place; None for every other image."""
    return _KINDS.get(reference.name)


def is_store(reference: Reference) -> bool:
    """Whether an image is known to hold data."""
    return reference.name in _KINDS or reference.name in _OTHER_STORES


def is_web_server(reference: Reference) -> bool:
    """Whether an image stands in front of an app, where pushrod's edge stands."""
    return reference.name in _WEB_SERVERS


def is_java(reference: Reference) -> bool:
    """Whether an image is one that Java programs run in."""
    return reference.name in _JAVA or _JAVA_PARTS.search(reference.name) is not None


def extension(reference: Reference) -> str:
    """The extension a PostgreSQL image is chosen for and the embedded engine lacks; empty for none."""
    return _EXTENSIONS.get(reference.name, "")


def version(reference: Reference) -> tuple[int, ...]:
    """The version a tag names (`17.2-alpine`, `pg17`, `16-3.5`, `3.13-slim`); empty where it names none."""
    found = re.search(r"(?:^|-)pg(\d{1,4})", reference.tag) or re.match(
        r"v?(\d{1,4}(?:\.\d{1,4})*)", reference.tag
    )
    return tuple(int(part) for part in found[1].split(".")) if found else ()
