"""Names of images and services, and ports, by what such a service is usually for. Data only.

They were collected from public compose files (`tests/integration/shapes` has their forms) and from the documents of
the programs; ports are from the IANA's registrations. A name is listed when a plan guessed wrongly without it; one
that is not listed is judged by what the manifest says of the service.
"""

import re

from pushrod.core.patterns import lazy

WEB_PORTS = (80, 443, 8080, 8000, 3000, 5000)
"""Ports where a site is expected, the most likely first."""

SITES = (80, 443)
# Names of services that browsers talk to: as one word of the name (FRONTS), or as all of it (FRONT_NAMES).
FRONTS = frozenset(("client", "frontend", "gateway", "storefront", "webapp", "webserver", "website", "webui"))
FRONT_NAMES = frozenset((
    "front", "front-end", "site", "www", "ui", "web-ui", "web-app", "spa", "react", "vue", "angular", "next",
    "nextjs", "nuxt", "svelte", "sveltekit",
))  # fmt: skip
# Names of a site beside a service whose name contains one of the words in BACKS (`web` and `api`), or where no other
# name is a site's.
PAIRED_FRONTS = frozenset(("web", "app", "portal"))
BACKS = frozenset(("api", "backend", "graphql", "rest", "server"))
ADMINS = frozenset(("admin", "administration", "administrator", "backoffice"))
# Programs for pages in Python, as a word of the name, and their ports: Streamlit, Gradio, Dash, Voilà.
PAGES = frozenset(("chainlit", "dash", "gradio", "streamlit", "voila"))
PAGE_PORTS = frozenset((8501, 7860, 8050, 8866))
# Images of gateways to APIs, and of proxies that let only some people in.
GATEWAYS = frozenset((
    "apisix", "apisix-gateway", "express-gateway", "gravitee-apim-gateway", "kong", "kong-gateway", "krakend",
    "krakend-ce", "spring-cloud-gateway", "tyk-gateway", "zuul",
))  # fmt: skip
GUARDS = frozenset((
    "anubis", "gogatekeeper", "keycloak-gatekeeper", "louketo-proxy", "modsecurity-crs", "oathkeeper", "oauth2-proxy",
    "oauth2_proxy", "pomerium", "varnish",
))  # fmt: skip

# Tools for operators, which inspect an app or catch its mail. Matched against the last component of an image's
# name, a service's name, and the program of a command.
TOOLS = frozenset((
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
SHOWING = lazy(
    r"(?:bull|cassandra|celery|clickhouse|db|dynamodb|elastic\w*|etcd|influx\w*|kafka|mail|maria\w*|minio|mongo\w*|mysql"
    r"|nats|neo4j|opensearch|pg|postgres\w*|p3x-redis|qdrant|queue|rabbit\w*|redis|redpanda|sql|temporal|zookeeper)"
    r"-?(?:admin|board|browser|commander|console|dashboard|explorer|gui|insight|manager|monitor|ui|viewer|web)"
)
# The ports of such tools. Of a service that is built here, the name alone says nothing.
TOOL_PORTS = frozenset((
    1080, 3100, 5050, 5555, 5601, 6006, 8025, 8081, 8089, 8888, 9090, 9093, 9181, 9411, 16686, 61208,
))  # fmt: skip
# Names of documentation, which is not the site beside one.
DOCUMENTS = frozenset(("docs", "documentation", "mkdocs", "redoc", "storybook", "swagger", "swagger-ui"))
# Such words for a tool, unless the service is built here: then it may be the app itself.
LIKE_TOOLS = frozenset(("dashboard", "monitoring"))
# Servers that an app uses, beside which they are not the site: identities, workflows, documents, mocks, models.
HELPERS = frozenset((
    "authelia", "auto-setup", "azurite", "browserless", "centrifugo", "chrome", "coturn", "dex", "duckling",
    "dynamodb-local", "eclipse-mosquitto", "emqx", "mosquitto",
    "elasticmq", "fake-gcs-server", "gotenberg", "gotrue", "httpbin", "hydra", "imaginary", "imgproxy", "keycloak",
    "kratos", "kroki", "languagetool", "libretranslate", "livekit-server", "localstack", "mailserver", "metabase",
    "mlflow", "mockserver", "oauth2-proxy", "ollama", "plantuml-server", "postgrest", "prism", "soketi",
    "stripe-mock", "temporal", "thumbor", "tika", "toxiproxy", "unleash-server", "vllm-openai", "wiremock", "zitadel",
))  # fmt: skip
# Words in names of services that keep data.
STORES = frozenset((
    "broker", "cache", "database", "db", "mongo", "mongodb", "mysql", "postgres", "postgresql", "queue", "rabbitmq",
    "redis",
))  # fmt: skip
# Collectors and forwarders, which have no page.
SILENT = frozenset((
    "logstash", "filebeat", "fluentd", "fluent-bit", "promtail", "telegraf", "vector", "opentelemetry-collector",
    "opentelemetry-collector-contrib", ))  # fmt: skip
# Tools among these that keep data of their own.
KEEPERS = frozenset((
    "base-notebook", "chronograf", "cloudbeaver", "grafana", "grafana-enterprise", "grafana-oss", "jupyter", "loki",
    "netdata", "pgadmin", "pgadmin4", "portainer", "portainer-ce", "prometheus", "sqlpad", "uptime-kuma",
))  # fmt: skip
# Servers that compute or convert, copiers and tunnels: they keep nothing of their own.
STATELESS = frozenset((
    "autoheal", "browserless", "chrome", "cloudflared", "coturn", "docker-volume-backup", "gotenberg", "httpbin",
    "imaginary", "imgproxy", "kroki", "ngrok", "oauth2-proxy", "plantuml-server", "postgrest", "thumbor", "tika",
))  # fmt: skip
PROGRAMS = lazy(
    r"(?:^|[\s/])(?:flower|rq-dashboard|storybook|jupyter(?:-\w+)?|locust|mailhog|maildev)(?=\s|$)"
)
# Container ports that do not speak HTTP, by the IANA's registrations: FTP, SSH, mail, DNS, LDAP, databases,
# brokers; also Node's debugger, reloaders of pages under development, log shippers, OpenTelemetry and Temporal.
OTHER_PORTS = frozenset((
    9229, 9230, 5044, 24678, 35729, 4317, 4318, 7233, 8125,
    20, 21, 22, 23, 25, 53, 110, 143, 389, 465, 587, 636, 993, 995, 1025, 1433, 1521, 1883, 2181, 3306, 4222, 5432,
    5672, 6379, 7687, 8883, 9042, 9092, 11211, 27017,
))  # fmt: skip

# Ports of the debuggers of Java, PHP and Go, which other programs use too, and what shows that one of these runs.
DEBUGGERS = frozenset((5005, 9003, 2345))
DEBUGGING = lazy(r"jdwp|xdebug|(?:^|[\s/])dlv(?=\s|$)", re.IGNORECASE)
# Images of browsers and notebooks, from which ordinary programs are built.
BASES = frozenset(("base-notebook", "browserless", "chrome", "jupyter", "selenium", "standalone-chrome"))

# Ports of development servers for pages: Vite, Angular, Astro.
DEVELOPING = frozenset((5173, 4173, 4200, 4321))
# Ports that a site may have but that usually have another purpose beside one: gRPC, metrics, debugpy.
BESIDE = frozenset((*range(50050, 50100), 9090, 9100, 9102, 9104, 9113, 9121, 9187, 9216, 2112, 5678))
