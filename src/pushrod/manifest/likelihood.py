"""Which of several services is the site, as a person reading the file would decide. Pure."""

import posixpath
import re
from collections.abc import Collection, Sequence
from typing import NamedTuple

from pushrod.core.patterns import lazy
from pushrod.core.values import Service

WEB_PORTS = (80, 443, 8080, 8000, 3000, 5000)
"""Ports where a site is expected, the most likely first."""

_SITES = (80, 443)
# Names of services that browsers talk to: as one word of the name (_FRONTS), or as all of it (_FRONT_NAMES).
_FRONTS = frozenset(
    ("client", "frontend", "gateway", "storefront", "webapp", "webserver", "website", "webui")
)
_FRONT_NAMES = frozenset((
    "front", "front-end", "site", "www", "ui", "web-ui", "web-app", "spa", "react", "vue", "angular", "next",
    "nextjs", "nuxt", "svelte", "sveltekit",
))  # fmt: skip
# Names of a site beside a service whose name contains one of the words in _BACKS (`web` and `api`), or where no other
# name is a site's.
_PAIRED_FRONTS = frozenset(("web", "app", "portal"))
_BACKS = frozenset(("api", "backend", "graphql", "rest", "server"))
_ADMINS = frozenset(("admin", "administration", "administrator", "backoffice"))
# Programs for pages in Python, as a word of the name, and their ports: Streamlit, Gradio, Dash, Voilà.
_PAGES = frozenset(("chainlit", "dash", "gradio", "streamlit", "voila"))
_PAGE_PORTS = frozenset((8501, 7860, 8050, 8866))
# Images of gateways to APIs, and of proxies that let only some people in.
_GATEWAYS = frozenset((
    "apisix", "apisix-gateway", "express-gateway", "gravitee-apim-gateway", "kong", "kong-gateway", "krakend",
    "krakend-ce", "spring-cloud-gateway", "tyk-gateway", "zuul",
))  # fmt: skip
_GUARDS = frozenset((
    "anubis", "gogatekeeper", "keycloak-gatekeeper", "louketo-proxy", "modsecurity-crs", "oathkeeper", "oauth2-proxy",
    "oauth2_proxy", "pomerium", "varnish",
))  # fmt: skip

# Tools for operators, which inspect an app or catch its mail. Matched against the last component of an image's
# name, a service's name, and the program of a command.
_TOOLS = frozenset((
    "adminer", "phpmyadmin", "pgadmin", "pgadmin4", "pgweb", "mongo-express", "redis-commander", "redisinsight",
    "redis-insight", "phpredisadmin", "flower", "mailhog", "mailpit", "mailcatcher", "maildev", "inbucket",
    "portainer", "portainer-ce", "grafana", "grafana-oss", "grafana-enterprise", "prometheus", "alertmanager",
    "loki", "jaeger", "all-in-one", "zipkin", "kibana", "opensearch-dashboards", "kafka-ui", "kafdrop", "akhq",
    "locust", "k6", "pushgateway", "zipkin-slim",
    "cadvisor", "dozzle", "netdata", "swagger-ui", "redoc", "storybook", "jupyter", "base-notebook",
    "bull-board", "bull-monitor", "arena", "asynqmon", "rq-dashboard", "celery-flower", "cloudbeaver", "sqlpad",
    "dbgate", "nocodb-admin", "influxdb-admin", "chronograf", "selenium", "selenium-hub", "standalone-chrome",
    "debugger", "mail", "docs", "documentation", "mkdocs",
    "cerebro", "cmak", "konga", "cp-enterprise-control-center", "control-center", "dejavu", "dockge", "elasticvue",
    "fake-smtp-server", "glances", "greenmail", "attu", "mimir", "omnidb", "papercut", "pghero", "phpldapadmin",
    "phpliteadmin", "prisma-studio",
    "pyroscope", "smtp4dev", "sqlite-web", "swagger", "swagger-editor", "tempo", "uptime-kuma", "watchtower",
    "zoonavigator",
))  # fmt: skip
# Names of a store or a queue, then of a page that shows it.
_SHOWING = lazy(
    r"(?:bull|cassandra|celery|clickhouse|db|dynamodb|elastic\w*|etcd|influx\w*|kafka|mail|maria\w*|minio|mongo\w*|mysql"
    r"|nats|neo4j|opensearch|pg|postgres\w*|p3x-redis|qdrant|queue|rabbit\w*|redis|redpanda|sql|temporal|zookeeper)"
    r"-?(?:admin|board|browser|commander|console|dashboard|explorer|gui|insight|manager|monitor|ui|viewer|web)"
)
# The ports of such tools. Of a service that is built here, the name alone says nothing.
_TOOL_PORTS = frozenset((
    1080, 3100, 5050, 5555, 5601, 6006, 8025, 8081, 8089, 8888, 9090, 9093, 9181, 9411, 16686, 61208,
))  # fmt: skip
# Names of documentation, which is not the site beside one.
_DOCUMENTS = frozenset(("docs", "documentation", "mkdocs", "redoc", "storybook", "swagger", "swagger-ui"))
# Such words for a tool, unless the service is built here: then it may be the app itself.
_LIKE_TOOLS = frozenset(("dashboard", "monitoring"))
# Servers that an app uses, beside which they are not the site: identities, workflows, documents, mocks, models.
_HELPERS = frozenset((
    "authelia", "auto-setup", "azurite", "browserless", "centrifugo", "chrome", "coturn", "dex", "duckling",
    "dynamodb-local", "eclipse-mosquitto", "emqx", "mosquitto",
    "elasticmq", "fake-gcs-server", "gotenberg", "gotrue", "httpbin", "hydra", "imaginary", "imgproxy", "keycloak",
    "kratos", "kroki", "languagetool", "libretranslate", "livekit-server", "localstack", "mailserver", "metabase",
    "mlflow", "mockserver", "oauth2-proxy", "ollama", "plantuml-server", "postgrest", "prism", "soketi",
    "stripe-mock", "temporal", "thumbor", "tika", "toxiproxy", "unleash-server", "vllm-openai", "wiremock", "zitadel",
))  # fmt: skip
# Words in names of services that keep data.
_STORES = frozenset((
    "broker", "cache", "database", "db", "mongo", "mongodb", "mysql", "postgres", "postgresql", "queue", "rabbitmq",
    "redis",
))  # fmt: skip
# Collectors and forwarders, which have no page.
_SILENT = frozenset((
    "logstash", "filebeat", "fluentd", "fluent-bit", "promtail", "telegraf", "vector", "opentelemetry-collector",
    "opentelemetry-collector-contrib", ))  # fmt: skip
# Tools among these that keep data of their own.
_KEEPERS = frozenset((
    "base-notebook", "chronograf", "cloudbeaver", "grafana", "grafana-enterprise", "grafana-oss", "jupyter", "loki",
    "netdata", "pgadmin", "pgadmin4", "portainer", "portainer-ce", "prometheus", "sqlpad", "uptime-kuma",
))  # fmt: skip
# Servers that compute or convert, copiers and tunnels: they keep nothing of their own.
_STATELESS = frozenset((
    "autoheal", "browserless", "chrome", "cloudflared", "coturn", "docker-volume-backup", "gotenberg", "httpbin",
    "imaginary", "imgproxy", "kroki", "ngrok", "oauth2-proxy", "plantuml-server", "postgrest", "thumbor", "tika",
))  # fmt: skip
_PROGRAMS = lazy(
    r"(?:^|[\s/])(?:flower|rq-dashboard|storybook|jupyter(?:-\w+)?|locust|mailhog|maildev)(?=\s|$)"
)
# Container ports that do not speak HTTP, by the IANA's registrations: FTP, SSH, mail, DNS, LDAP, databases,
# brokers; also Node's debugger, reloaders of pages under development, log shippers, OpenTelemetry and Temporal.
_OTHER_PORTS = frozenset((
    9229, 9230, 5044, 24678, 35729, 4317, 4318, 7233, 8125,
    20, 21, 22, 23, 25, 53, 110, 143, 389, 465, 587, 636, 993, 995, 1025, 1433, 1521, 1883, 2181, 3306, 4222, 5432,
    5672, 6379, 7687, 8883, 9042, 9092, 11211, 27017,
))  # fmt: skip

# Ports of the debuggers of Java, PHP and Go, which other programs use too, and what shows that one of these runs.
_DEBUGGERS = frozenset((5005, 9003, 2345))
_DEBUGGING = lazy(r"jdwp|xdebug|(?:^|[\s/])dlv(?=\s|$)", re.IGNORECASE)
# Images of browsers and notebooks, from which ordinary programs are built.
_BASES = frozenset(("base-notebook", "browserless", "chrome", "jupyter", "selenium", "standalone-chrome"))

# Ports of development servers for pages: Vite, Angular, Astro.
_DEVELOPING = frozenset((5173, 4173, 4200, 4321))
# Ports that a site may have but that usually have another purpose beside one: gRPC, metrics, debugpy.
_BESIDE = frozenset((*range(50050, 50100), 9090, 9100, 9102, 9104, 9113, 9121, 9187, 9216, 2112, 5678))


TOOLS = "the others are tools or helpers"
OTHERWISE = "the others' ports or names are not those of a site"
_UNLIKE_TOOLS = "the others' names are those of tools"


class Candidate(NamedTuple):
    """A possible entry, with the last component of the name of its image, or of the image from which it is built,
    and the port it publishes on the host. `uses` are the candidates with another image on which it depends, `helps`
    those with the same image, `before` those to which it sends requests, as far as the manifest says.
    """

    service: Service
    image: str
    published: int
    uses: frozenset[str] = frozenset()
    helps: frozenset[str] = frozenset()
    before: frozenset[str] = frozenset()


def rank(port: int) -> int:
    """How likely a site is at a port; lower is likelier."""
    return WEB_PORTS.index(port) if port in WEB_PORTS else len(WEB_PORTS)


def is_tools(image: str) -> bool:
    """Whether an image, by the last component of its name, is such a tool."""
    name = image.replace("_", "-")
    return name in _TOOLS or _is_silent(name) or _SHOWING.fullmatch(name) is not None


def _is_silent(name: str) -> bool:
    return name in _SILENT or name.endswith("-exporter")


def keeps_own(image: str) -> bool:
    """Whether an image, by the last component of its name, is such a tool with data of its own."""
    return image in _KEEPERS


def is_stateless(image: str) -> bool:
    """Whether an image, by the last component of its name, is a server or a collector that keeps nothing."""
    return image in _STATELESS or _is_silent(image)


def is_tool(service: Service, image: str) -> bool:
    """Whether a service is a tool for operators, which is never guessed to be the site."""
    words = " ".join((*service.entrypoint, *service.command))
    named = _words(service.name)
    if service.build is None:
        seems = named in _LIKE_TOOLS or is_tools(named)
    else:
        seems = is_tools(named) and service.port in _TOOL_PORTS
    return seems or is_tools(image) or _PROGRAMS.search(posixpath.normpath(words)) is not None


def is_stores(name: str) -> bool:
    """Whether a service's name says that it keeps data: `db`, `graph-db`."""
    return bool(_STORES & {*_words(name).split("-")[-1:]})


def is_other(port: int) -> bool:
    """Whether a port is known for something other than HTTP; a debugger's port is, beside others."""
    return port in _OTHER_PORTS or port in _DEBUGGERS


def speaks_otherwise(service: Service) -> bool:
    """Whether a service has only a port that is known for something other than HTTP."""
    if service.port not in _DEBUGGERS:
        return service.port in _OTHER_PORTS
    words = (*service.entrypoint, *service.command, *service.environment)
    values = (value for value in service.environment.values() if value)
    return any(map(_DEBUGGING.search, (*words, *values, " ".join(words))))


def base_of_apps(image: str) -> bool:
    """Whether ordinary programs are built from an image, by the last component of its name, that is a tool itself."""
    return image in _BASES


def is_front(service: Service) -> bool:
    """Whether a service's name or port says that browsers talk to it."""
    return service.name in _fronts([service.name]) or _has_page(service)


def _has_page(service: Service) -> bool:
    words = {*_words(service.name).split("-")}
    return service.port in _DEVELOPING or service.port in _PAGE_PORTS or bool(_PAGES & words)


def is_beside(port: int) -> bool:
    """Whether a port usually serves something beside the site."""
    return port in _BESIDE


def _words(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", name.lower())


def _fronts(names: Sequence[str]) -> set[str]:
    """The services that browsers talk to, judging by all of their names."""
    names = [name for name in names if not is_admins(name)]
    fronts = {name for name in names if _words(name) in _FRONT_NAMES or _FRONTS & {*_words(name).split("-")}}
    if any(map(_is_back, names)) or not fronts:
        fronts |= {name for name in names if _words(name) in _PAIRED_FRONTS}
    return fronts


def is_admins(name: str) -> bool:
    """Whether a service's name says that it is for administrators."""
    return bool(_ADMINS & {*_words(name).split("-")})


def _is_back(name: str) -> bool:
    return bool(_BACKS & {*_words(name).split("-")})


def choose(candidates: Sequence[Candidate], awaited: Collection[str]) -> tuple[str, str]:
    """The name of the likeliest candidate and the reason; empty if two are equally likely, if its name says it is
    for administrators, or if it is an API beside what may be its page. `awaited` are the services on which those
    depend that are not candidates."""
    names = [c.service.name for c in candidates]
    fronts = _fronts(names) | {c.service.name for c in candidates if _has_page(c.service)}
    used = {
        name
        for c in candidates
        if is_plausible(c)
        for name in c.uses
        if c.service.name not in _uses(candidates, name)
    }
    helped = {name for c in candidates for name in (c.helps if is_plausible(c) else c.helps | c.uses)}
    surroundings = Surroundings(frozenset(fronts), frozenset(used), frozenset({*awaited, *helped}))
    ordered = sorted(candidates, key=lambda c: _key(c, surroundings))
    first, second = (_key(c, surroundings) for c in ordered[:2])
    likeliest = ordered[0]
    pages = any(_words(name) == "dashboard" for name in names)
    if is_admins(likeliest.service.name) or (pages and _is_back(likeliest.service.name)):
        return "", ""
    for mine, other, why in zip(first, second, _reasons(likeliest), strict=True):
        if mine < other:
            usual = _usual(likeliest.service) > _usual(ordered[1].service)
            documents = _words(ordered[1].service.name) in _DOCUMENTS
            unclear = why == _UNLIKE_TOOLS and usual and not documents
            return ("", "") if unclear else (likeliest.service.name, why)
    return "", ""


def _usual(service: Service) -> int:
    return 0 if service.port in _SITES else 1 if service.port in WEB_PORTS else 2


class Surroundings(NamedTuple):
    """What the candidates say about each other: which have the name or port of a front end, which are used by
    another that may be the site, and on which anything else depends."""

    fronts: frozenset[str]
    used: frozenset[str]
    awaited: frozenset[str]


def is_plausible(candidate: Candidate) -> bool:
    """Whether nothing in a candidate's own name, image and port speaks against its being the site."""
    service = candidate.service
    known = speaks_otherwise(service) or is_stores(service.name) or is_beside(service.port)
    return not known and not _beside_site(candidate) and not is_admins(service.name)


def _uses(candidates: Sequence[Candidate], name: str) -> frozenset[str]:
    return next((c.uses for c in candidates if c.service.name == name), frozenset())


def _key(candidate: Candidate, surroundings: Surroundings) -> tuple[int, ...]:
    service = candidate.service
    return (
        not _is_before(candidate),
        _beside_site(candidate),
        speaks_otherwise(service) or is_stores(service.name),
        service.build is None,
        candidate.published not in _SITES,
        service.name not in surroundings.fronts,
        is_beside(service.port),
        service.name in surroundings.used,
        service.name not in surroundings.awaited,
        service.build is not None and is_tools(_words(service.name)),
        _usual(service),
        rank(candidate.published),
        is_admins(service.name),
    )


def _is_before(candidate: Candidate) -> bool:
    """Whether a candidate is a gateway in front of the others: by its image, or because it publishes port 80 or 443
    and sends requests to one of them."""
    service, public = candidate.service, candidate.published in _SITES
    if candidate.image in _GATEWAYS:
        return True
    if candidate.image in _GUARDS:
        return public or bool(candidate.before)
    tool = is_tool(service, candidate.image) or _words(service.name) in _LIKE_TOOLS
    return public and bool(candidate.before) and not tool and not is_stores(service.name)


def _beside_site(candidate: Candidate) -> int:
    """How surely a service is there for another one, or for its operators."""
    service, image = candidate.service, candidate.image
    if is_tool(service, image):
        return 3 if _is_silent(image) or _is_silent(service.name) else 2
    return int(image in _HELPERS | _GUARDS or _words(service.name) in _HELPERS | _LIKE_TOOLS)


def _reasons(candidate: Candidate) -> tuple[str, ...]:
    service = candidate.service
    named = "it is developed with a server for pages" if service.port in _DEVELOPING else "its name says so"
    if service.port in _PAGE_PORTS and not _PAGES & {*_words(service.name).split("-")}:
        named = f"port {service.port} is usual for pages"
    return (
        "it is a gateway in front of the others",
        TOOLS,
        OTHERWISE,
        "it is built here",
        f"it publishes port {candidate.published}",
        named,
        "the others' ports usually serve something beside a site",
        "none of the others depends on it",
        "others depend on it",
        _UNLIKE_TOOLS,
        f"it listens on port {service.port}",
        f"it publishes port {candidate.published}",
        "the other's name is that of a tool for administrators",
    )
