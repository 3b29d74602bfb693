"""Image references, and what the known images are: stores, web servers, anything else. Pure.

All apps of a host share one engine, which finds an image by any of its names, by its ID and by a prefix of the ID.
So what a manifest or a Dockerfile asks for is first parsed by the grammar of names (`check`), and the image the
engine then finds must carry the name that was asked for (`carried`).
"""

import re
from collections.abc import Iterable
from typing import NamedTuple

from pushrod.core.errors import ManifestError
from pushrod.core.patterns import lazy
from pushrod.stores import registry

OWN = "pushrod"
"""Prefix of the names of pushrod's own images: `pushrod/shop/backend:1f2e…`. No manifest may name one."""


class Reference(NamedTuple):
    """`registry/namespace/name:tag@digest` in parts; `name` is the last component of the path."""

    path: str
    name: str
    tag: str
    digest: str


def parse(text: str) -> Reference:
    """The parts of an image reference; never fails, because only the loader decides which are valid."""
    rest, _, digest = text.strip().partition("@")
    head, colon, tag = rest.rpartition(":")
    if not colon or "/" in tag:  # in `registry:5000/name` the colon precedes a port
        head, tag = rest, ""
    return Reference(head, head.rpartition("/")[2].lower(), tag, digest)


# The grammar of github.com/distribution/reference (reference.go, regexp.go), which every engine and registry uses.
_DOMAIN = (
    r"(?:(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])"
    r"(?:\.(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9]))*|\[[a-fA-F0-9:]+\])(?::[0-9]+)?"
)
_COMPONENT = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_NAME = lazy(
    rf"(?:(?P<domain>{_DOMAIN})/)??(?P<path>{_COMPONENT}(?:/{_COMPONENT})*)"
    r"(?::(?P<tag>[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}))?(?:@(?P<digest>sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128}))?"
)
_LONGEST, _LONGEST_TAG = 255, 128  # characters of domain and path, and of a tag, from the same source
_HUB = "docker.io"
_ALIAS = "index.docker.io"
_OFFICIAL = "library/"

FRONTEND = "frontend"
"""The word of `grants` for other frontends."""

_FRONTENDS = tuple(
    f"{_HUB}/docker/{name}{end}" for name in ("dockerfile", "dockerfile-upstream") for end in ":@"
)
_GRANTABLE = "the host's owner can allow it: pushrod apps allow"


def normal(text: str) -> str:
    """A complete reference, as the engine resolves it: `docker.io/library/python:3.13-slim`.

    Without a tag and a digest the tag is `latest`; with a digest the tag has no effect and is left out. Raises
    ValueError with the reason if the text is not a reference.
    """
    match = _NAME.fullmatch(text) if len(text) < 2 * _LONGEST else None
    if match is None:
        raise ValueError(_too_long(text) or "it is not the name of an image")
    domain, path = match["domain"] or "", match["path"]
    if "/" in path and not domain:
        first, _, rest = path.partition("/")
        if "." in first or first == "localhost":
            domain, path = first, rest
    elif domain and not ("." in domain or ":" in domain or domain == "localhost" or domain.lower() != domain):
        domain, path = "", f"{domain}/{path}"
        if "[" in path:  # an address of IPv6 is a host only
            raise ValueError("it is not the name of an image")
    if domain in ("", _ALIAS):
        domain = _HUB
    if domain == _HUB and "/" not in path:
        path = _OFFICIAL + path
    if len(f"{domain}/{path}") > _LONGEST:
        raise ValueError(f"its name is longer than {_LONGEST} characters")
    return f"{domain}/{path}" + (f"@{match['digest']}" if match["digest"] else f":{match['tag'] or 'latest'}")


def _too_long(text: str) -> str:
    """What is too long about a text that is not a reference; empty if nothing is."""
    path, tag = parse(text)[::2]
    if len(path) > _LONGEST:
        return f"its name is longer than {_LONGEST} characters"
    return f"its tag is longer than {_LONGEST_TAG} characters" if len(tag) > _LONGEST_TAG else ""


def check(text: str, where: str) -> str:
    """The complete reference (`normal`). Raises ManifestError at `where` for what no app may name: an ID, a name of
    pushrod's own, or an invalid name."""
    if re.fullmatch(r"[0-9a-f]+", text) or re.match(r"sha(?:256|384|512):", text):
        what = f"`{text}` is an image ID, or a prefix of one, not a name"
        hint = "name the image and its tag, such as python:3.13-slim (for an image of this name, add its tag)"
        raise ManifestError(what, where=where, hint=hint)
    try:
        full = normal(text)
    except ValueError as e:
        hint = (
            "an image is named like python:3.13-slim or ghcr.io/team/app@sha256:…; is a variable in it unset?"
        )
        shown = text if len(text) <= _LONGEST else f"{text[:40]}…"
        raise ManifestError(f"`{shown}`: {e}", where=where, hint=hint) from None
    if full.startswith(f"{_HUB}/{OWN}/"):
        what = f"`{text}` is reserved by pushrod: an image that an app built belongs to that app"
        hint = "build the image in this app, or name one from a registry"
        raise ManifestError(what, where=where, hint=hint)
    return full


def check_frontend(text: str, where: str) -> None:
    """Raise ManifestError at `where` for a frontend of builds other than Docker's own.

    A frontend talks directly to the builder's engine, which accepts more from it than a Dockerfile can express."""
    try:
        full = normal(text)
    except ValueError:
        full = text
    if not full.startswith(_FRONTENDS):
        raise ManifestError(
            f"its frontend `{text[:200]}` is not Docker's own, docker/dockerfile",
            where=where,
            hint=f"take the `# syntax=` line out, or name docker/dockerfile:1; {_GRANTABLE} APP {FRONTEND}",
        )


def carried(text: str, names: Iterable[str]) -> bool:
    """Whether an image with these names (tags and digests, as an engine lists them) is the one that was asked
    for."""
    asked = normal(text)
    for name in names:
        try:
            if normal(name) == asked:
                return True
        except ValueError:  # `<none>:<none>`
            continue
    return False


# fmt: off
# Stores of kinds that pushrod does not know: it keeps their data, and never speaks to them.
_OTHER_STORES = frozenset((
    "percona", "percona-server", "mongo", "mongodb",
    "mongodb-community-server", "rabbitmq", "memcached", "elasticsearch", "opensearch", "minio", "kafka",
    "cp-kafka", "redpanda", "zookeeper", "cp-zookeeper", "cassandra", "scylla", "clickhouse",
    "clickhouse-server", "influxdb", "neo4j", "couchdb", "nats", "etcd", "consul", "vault", "meilisearch",
    "typesense", "qdrant", "weaviate", "milvus", "cockroach", "keydb", "dragonfly", "redis-stack",
    "redis-stack-server", "mssql-server", "arangodb", "surrealdb", "rethinkdb",
))
# Images of operating systems, languages and small programs: the manifest determines what runs in them, and they are
# no stores.
_RUNTIMES = frozenset((
    "almalinux", "alpine", "amazonlinux", "aws-cli", "bash", "bun", "busybox", "centos", "composer", "curl",
    "debian", "deno", "elixir", "fedora", "flyway", "git", "golang", "gradle", "liquibase", "maven", "mc", "migrate",
    "node", "php", "pypy", "python", "rclone", "rockylinux", "ruby", "rust", "ubuntu", "wget",
))
# Servers in front of an app, or helpers of one (certbot): pushrod's edge does their work.
_WEB_SERVERS = frozenset((
    "nginx", "nginx-unprivileged", "nginx-proxy", "nginx-proxy-manager", "openresty", "caddy",
    "caddy-docker-proxy", "traefik", "haproxy", "httpd", "envoy", "swag", "certbot", "acme-companion",
    "docker-letsencrypt-nginx-proxy-companion",
))
# Publishers of other people's programs.
_PACKAGERS = frozenset((
    "apache", "bitnami", "bitnamilegacy", "bitnamisecure", "confluentinc", "library", "linuxserver",
))
# Images for Java programs: Docker's official ones, and those of the makers of Java.
_JAVA = frozenset((
    "amazoncorretto", "eclipse-temurin", "ibm-semeru-runtimes", "ibmjava", "java", "jdk", "jre", "openjdk",
    "sapmachine", "gradle", "jetty", "maven", "tomcat", "tomee",
))
# fmt: on
_JAVA_PARTS = lazy(r"java\d|openj(?:dk|re)|openj9|liberica|zulu|graalvm")  # distroless java21-debian12


def is_store(reference: Reference) -> bool:
    """Whether an image is known to store data."""
    return registry.by_image(reference.name) is not None or reference.name in _OTHER_STORES


def is_web_server(reference: Reference) -> bool:
    """Whether an image is a server in front of an app, which pushrod's edge replaces."""
    return reference.name in _WEB_SERVERS


def share_publisher(one: Reference, other: Reference) -> bool:
    """Whether two images have the same publisher, who is not one that packages other people's programs."""
    publisher = one.path.rpartition("/")[0]
    packs = publisher.rpartition("/")[2] in _PACKAGERS
    return bool(publisher) and not packs and publisher == other.path.rpartition("/")[0]


def is_runtime(reference: Reference) -> bool:
    """Whether an image is an operating system, a language or a small program, whose command the manifest
    determines.
    """
    return reference.name in _RUNTIMES


def is_java(reference: Reference) -> bool:
    """Whether an image is made for Java programs."""
    return reference.name in _JAVA or _JAVA_PARTS.search(reference.name) is not None


def version(reference: Reference) -> tuple[int, ...]:
    """The version in a tag (`17.2-alpine`, `pg17`, `16-3.5`, `3.13-slim`); empty if it has none."""
    match = re.search(r"(?:^|-)pg(\d{1,4})", reference.tag) or re.match(
        r"v?(\d{1,4}(?:\.\d{1,4})*)", reference.tag
    )
    return tuple(int(part) for part in match[1].split(".")) if match else ()
