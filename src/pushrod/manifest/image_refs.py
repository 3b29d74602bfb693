"""Image references, and what the known images among them are: stores, web servers, anything else. Pure.

All apps of a host share its engine, which finds an image by any of its names, by its ID and by the ID's beginning. So
what a manifest or a Dockerfile asks for is read by the grammar of names first (`check`), and what the engine then
finds must carry the name that was asked for (`carried`).
"""

import re
from collections.abc import Iterable
from typing import NamedTuple

from pushrod.core.errors import ManifestError
from pushrod.core.values import StoreKind

OWN = "pushrod"
"""What the names of pushrod's own images begin with: `pushrod/shop/backend:1f2e…`. No manifest may name one."""


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


# The grammar of github.com/distribution/reference (reference.go, regexp.go): every engine and registry reads by it.
_DOMAIN = (
    r"(?:(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])"
    r"(?:\.(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9]))*|\[[a-fA-F0-9:]+\])(?::[0-9]+)?"
)
_COMPONENT = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_NAME = re.compile(
    rf"(?:(?P<domain>{_DOMAIN})/)??(?P<path>{_COMPONENT}(?:/{_COMPONENT})*)"
    r"(?::(?P<tag>[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}))?(?:@(?P<digest>sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128}))?"
)
_LONGEST = 255  # characters of domain and path, likewise
_HUB = "docker.io"
_ALIAS = "index.docker.io"
_OFFICIAL = "library/"


def normal(text: str) -> str:
    """A reference in full, as the engine understands it: `docker.io/library/python:3.13-slim`.

    Without a tag and a digest it has the tag `latest`; with a digest the tag says nothing and is left out. Raises
    ValueError, which says why, for what is no reference.
    """
    found = _NAME.fullmatch(text) if len(text) < 2 * _LONGEST else None
    if found is None:
        raise ValueError("it is not the name of an image")
    domain, path = found["domain"] or "", found["path"]
    if "/" in path and not domain:
        first, _, rest = path.partition("/")
        if "." in first or first == "localhost":
            domain, path = first, rest
    elif domain and not ("." in domain or ":" in domain or domain == "localhost" or domain.lower() != domain):
        domain, path = "", f"{domain}/{path}"
    if domain in ("", _ALIAS):
        domain = _HUB
    if domain == _HUB and "/" not in path:
        path = _OFFICIAL + path
    if len(f"{domain}/{path}") > _LONGEST:
        raise ValueError(f"it is longer than {_LONGEST} characters")
    return f"{domain}/{path}" + (f"@{found['digest']}" if found["digest"] else f":{found['tag'] or 'latest'}")


def check(text: str, where: str) -> str:
    """The reference in full (`normal`). Raises ManifestError, which says `where`, for what no app may name: an ID,
    a name of pushrod's own, or what is no name at all."""
    if re.fullmatch(r"[0-9a-f]+", text) or re.match(r"sha(?:256|384|512):", text):
        what = f"`{text}` is the ID of an image, or the beginning of one, not a name"
        hint = (
            "name the image and its tag, such as python:3.13-slim (an image that is called so: with its tag)"
        )
        raise ManifestError(what, where=where, hint=hint)
    try:
        full = normal(text)
    except ValueError as e:
        hint = "an image is named like python:3.13-slim or ghcr.io/team/app@sha256:…; is a variable in it not set?"
        raise ManifestError(f"`{text}`: {e}", where=where, hint=hint) from None
    if full.startswith(f"{_HUB}/{OWN}/"):
        what = f"`{text}` is a name of pushrod's own: what an app has built belongs to it alone"
        hint = "build the image in this app, or name one that a registry has"
        raise ManifestError(what, where=where, hint=hint)
    return full


def carried(text: str, names: Iterable[str]) -> bool:
    """Whether an image with these names (tags and digests, as an engine lists them) is the one that was asked for."""
    wanted = normal(text)
    for name in names:
        try:
            if normal(name) == wanted:
                return True
        except ValueError:  # `<none>:<none>`
            continue
    return False


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
