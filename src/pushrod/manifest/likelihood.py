"""Which of several services people come for, as somebody would decide who reads the file. Pure."""

import posixpath
import re
from collections.abc import Sequence
from typing import NamedTuple

from pushrod.values import Service

WEB_PORTS = (80, 443, 8080, 8000, 3000, 5000)
"""Where people look for a site, the likeliest first."""

# What looks into an app, or catches its mail, and is for those who run it. By the last part of an image's name, by a
# service's name, and by the program that a command runs.
_TOOLS = frozenset((
    "adminer", "phpmyadmin", "pgadmin", "pgadmin4", "pgweb", "mongo-express", "redis-commander", "redisinsight",
    "redis-insight", "phpredisadmin", "flower", "mailhog", "mailpit", "mailcatcher", "maildev", "inbucket",
    "portainer", "portainer-ce", "grafana", "prometheus", "alertmanager", "loki", "jaeger", "all-in-one", "zipkin",
    "kibana", "opensearch-dashboards", "kafka-ui", "kafdrop", "akhq", "cadvisor", "dozzle", "netdata", "swagger-ui",
    "redoc", "storybook", "jupyter", "base-notebook", "bull-board", "arena", "rq-dashboard", "celery-flower",
    "cloudbeaver", "sqlpad", "dbgate", "nocodb-admin", "influxdb-admin", "chronograf", "node-exporter", "selenium",
    "standalone-chrome", "debugger", "dashboard", "monitoring", "mail",
))  # fmt: skip
_PROGRAMS = re.compile(
    r"(?:^|[\s/])(?:flower|rq-dashboard|storybook|jupyter(?:-\w+)?|mailhog|maildev)(?=\s|$)"
)
# Container ports that speak no HTTP, by the IANA's registrations: FTP, SSH, mail, DNS, LDAP, databases, brokers.
_OTHER_PORTS = frozenset((
    20, 21, 22, 23, 25, 53, 110, 143, 389, 465, 587, 636, 993, 995, 1025, 1433, 1521, 1883, 2181, 3306, 4222, 5432,
    5672, 6379, 7687, 8883, 9042, 9092, 11211, 27017,
))  # fmt: skip


class Candidate(NamedTuple):
    """A service that may be the one: the last part of its image's name, the port it publishes on the host."""

    service: Service
    image: str
    published: int


def rank(port: int) -> int:
    """How likely a site is at a port; the lower, the likelier."""
    return WEB_PORTS.index(port) if port in WEB_PORTS else len(WEB_PORTS)


def is_tool(service: Service, image: str) -> bool:
    """Whether a service is for those who run the app: never the site by guess."""
    words = " ".join((*service.entrypoint, *service.command))
    named = re.sub(r"[^a-z0-9-]+", "-", service.name.lower())
    return image in _TOOLS or named in _TOOLS or _PROGRAMS.search(posixpath.normpath(words)) is not None


def speaks_otherwise(service: Service) -> bool:
    """Whether a service's port is known for something else than HTTP."""
    return service.port in _OTHER_PORTS


def choose(candidates: Sequence[Candidate], awaited: Sequence[str]) -> tuple[str, str]:
    """The name of the likeliest and why; no name where two are equally likely. `awaited` are depended on."""
    ordered = sorted(candidates, key=lambda c: _key(c, awaited))
    first, second = (_key(c, awaited) for c in ordered[:2])
    found = ordered[0]
    for mine, other, why in zip(first, second, _reasons(found), strict=True):
        if mine < other:
            return found.service.name, why
    return "", ""


def _key(candidate: Candidate, awaited: Sequence[str]) -> tuple[int, ...]:
    service = candidate.service
    return (
        is_tool(service, candidate.image),
        speaks_otherwise(service),
        service.build is None,
        rank(candidate.published),
        service.name not in awaited,
        rank(service.port),
    )


def _reasons(found: Candidate) -> tuple[str, ...]:
    return (
        "the others are for those who run the app",
        "what the others publish is not HTTP",
        "it is built here",
        f"it publishes port {found.published}" if found.published else "it publishes a port",
        "others depend on it",
        f"it listens on port {found.service.port}",
    )
