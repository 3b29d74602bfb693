"""Which of several services is the site, as a person reading the file would decide. Pure."""

import posixpath
import re
from collections.abc import Collection, Sequence
from typing import NamedTuple

from pushrod.core.values import Service

WEB_PORTS = (80, 443, 8080, 8000, 3000, 5000)
"""Ports where a site is expected, the most likely first."""

_SITES = (80, 443)
# Names of services that browsers talk to: as one word of the name (_FRONTS), or as all of it (_FRONT_NAMES).
_FRONTS = frozenset(("client", "frontend", "gateway", "webapp", "website", "webui"))
_FRONT_NAMES = frozenset((
    "front", "front-end", "site", "www", "ui", "web-ui", "web-app", "spa", "react", "vue", "angular", "next",
    "nextjs", "nuxt", "svelte", "sveltekit",
))  # fmt: skip
# Names of a site beside a service whose name contains one of the words in _BACKS: `web` and `api`.
_PAIRED_FRONTS = frozenset(("web", "app", "portal"))
_BACKS = frozenset(("api", "backend", "graphql", "rest", "server"))
_ADMINS = frozenset(("admin", "administration", "backoffice"))

# Tools for operators, which inspect an app or catch its mail. Matched against the last component of an image's
# name, a service's name, and the program of a command.
_TOOLS = frozenset((
    "adminer", "phpmyadmin", "pgadmin", "pgadmin4", "pgweb", "mongo-express", "redis-commander", "redisinsight",
    "redis-insight", "phpredisadmin", "flower", "mailhog", "mailpit", "mailcatcher", "maildev", "inbucket",
    "portainer", "portainer-ce", "grafana", "grafana-oss", "grafana-enterprise", "prometheus", "alertmanager",
    "loki", "jaeger", "all-in-one", "zipkin", "kibana", "opensearch-dashboards", "kafka-ui", "kafdrop", "akhq",
    "cadvisor", "dozzle", "netdata", "swagger-ui", "redoc", "storybook", "jupyter", "base-notebook",
    "bull-board", "arena", "rq-dashboard", "celery-flower", "cloudbeaver", "sqlpad", "dbgate", "nocodb-admin",
    "influxdb-admin", "chronograf", "selenium", "standalone-chrome", "debugger", "dashboard", "monitoring",
    "mail", "docs", "documentation", "mkdocs",
))  # fmt: skip
# Words in names of services that keep data.
_STORES = frozenset((
    "broker", "cache", "database", "db", "mongo", "mongodb", "mysql", "postgres", "postgresql", "queue", "rabbitmq",
    "redis",
))  # fmt: skip
# Collectors and forwarders, which have no page.
_SILENT = frozenset((
    "logstash", "filebeat", "fluentd", "fluent-bit", "promtail", "telegraf", "vector", "opentelemetry-collector",
    "opentelemetry-collector-contrib", "node-exporter", "postgres-exporter", "redis-exporter", "statsd-exporter",
))  # fmt: skip
# Tools among these that keep data of their own.
_KEEPERS = frozenset((
    "base-notebook", "chronograf", "cloudbeaver", "grafana", "grafana-enterprise", "grafana-oss", "jupyter", "loki",
    "netdata", "pgadmin", "pgadmin4", "portainer", "portainer-ce", "prometheus", "sqlpad",
))  # fmt: skip
_PROGRAMS = re.compile(
    r"(?:^|[\s/])(?:flower|rq-dashboard|storybook|jupyter(?:-\w+)?|mailhog|maildev)(?=\s|$)"
)
# Container ports that do not speak HTTP, by the IANA's registrations: FTP, SSH, mail, DNS, LDAP, databases,
# brokers; also the debuggers of Node, Java, PHP and Go, reloaders of pages under development, and log shippers.
_OTHER_PORTS = frozenset((
    9229, 9230, 5005, 9003, 2345, 5044, 24678, 35729,
    20, 21, 22, 23, 25, 53, 110, 143, 389, 465, 587, 636, 993, 995, 1025, 1433, 1521, 1883, 2181, 3306, 4222, 5432,
    5672, 6379, 7687, 8883, 9042, 9092, 11211, 27017,
))  # fmt: skip

# Ports of development servers for pages: Vite, Angular, Astro.
_DEVELOPING = frozenset((5173, 4173, 4200, 4321))
# Ports that a site may have but that usually have another purpose beside one: gRPC, metrics, debugpy.
_BESIDE = frozenset((50051, 9090, 9100, 5678))


class Candidate(NamedTuple):
    """A possible entry, with the last component of its image's name and the port it publishes on the host."""

    service: Service
    image: str
    published: int


def rank(port: int) -> int:
    """How likely a site is at a port; lower is likelier."""
    return WEB_PORTS.index(port) if port in WEB_PORTS else len(WEB_PORTS)


def is_tools(image: str) -> bool:
    """Whether an image, by the last component of its name, is such a tool."""
    name = image.replace("_", "-")
    return name in _TOOLS or name in _SILENT


def keeps_own(image: str) -> bool:
    """Whether an image, by the last component of its name, is such a tool with data of its own."""
    return image in _KEEPERS


def is_tool(service: Service, image: str) -> bool:
    """Whether a service is a tool for operators, which is never guessed to be the site."""
    words = " ".join((*service.entrypoint, *service.command))
    named = re.sub(r"[^a-z0-9-]+", "-", service.name.lower())
    return is_tools(image) or is_tools(named) or _PROGRAMS.search(posixpath.normpath(words)) is not None


def is_stores(name: str) -> bool:
    """Whether a service's name says that it keeps data: `db`, `graph-db`."""
    return bool(_STORES & {*_words(name).split("-")[-1:]})


def is_other(port: int) -> bool:
    """Whether a port is known for something other than HTTP."""
    return port in _OTHER_PORTS


def is_beside(port: int) -> bool:
    """Whether a port usually serves something beside the site."""
    return port in _BESIDE


def _words(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", name.lower())


def _fronts(names: Sequence[str]) -> set[str]:
    """The services that browsers talk to, judging by all of their names."""
    behind = any(_BACKS & {*_words(name).split("-")} for name in names)
    known = _FRONT_NAMES | _PAIRED_FRONTS if behind else _FRONT_NAMES
    return {name for name in names if _words(name) in known or _FRONTS & {*_words(name).split("-")}}


def choose(candidates: Sequence[Candidate], awaited: Sequence[str]) -> tuple[str, str]:
    """The name of the likeliest candidate and the reason; empty if two are equally likely, or if its name says it
    is for administrators. `awaited` are the services others depend on."""
    fronts = _fronts([c.service.name for c in candidates])
    fronts |= {c.service.name for c in candidates if c.service.port in _DEVELOPING}
    ordered = sorted(candidates, key=lambda c: _key(c, awaited, fronts))
    first, second = (_key(c, awaited, fronts) for c in ordered[:2])
    likeliest = ordered[0]
    for mine, other, why in zip(first, second, _reasons(likeliest), strict=True):
        if mine < other and likeliest.service.name.lower() not in _ADMINS:
            return likeliest.service.name, why
    return "", ""


def _key(candidate: Candidate, awaited: Sequence[str], fronts: Collection[str]) -> tuple[int, ...]:
    service = candidate.service
    usual = 0 if service.port in _SITES else 1 if service.port in WEB_PORTS else 2
    return (
        is_tool(service, candidate.image) + (candidate.image in _SILENT or service.name in _SILENT),
        is_other(service.port) or is_stores(service.name),
        service.build is None,
        candidate.published not in _SITES,
        service.name not in fronts,
        service.name not in awaited,
        usual + is_beside(service.port),
        rank(candidate.published),
    )


def _reasons(candidate: Candidate) -> tuple[str, ...]:
    service = candidate.service
    return (
        "the others are administration tools",
        "the others' ports or names are not those of a site",
        "it is built here",
        f"it publishes port {candidate.published}",
        "it is developed with a server for pages" if service.port in _DEVELOPING else "its name says so",
        "others depend on it",
        f"it listens on port {service.port}",
        f"it publishes port {candidate.published}",
    )
