"""Which of several services that publish a port is the site."""

from pathlib import Path
from typing import Any, Literal

import pytest
import yaml

from pushrod import manifest
from pushrod.core.errors import ManifestError


def entry(services: dict[str, dict[str, Any]], engine: Literal["docker", "embedded"]) -> str:
    return manifest.read({"services": services}, engine=engine).entry.name


def built(*ports: str, **more: Any) -> dict[str, Any]:
    return {"build": ".", "command": "serve", "ports": [long(port) for port in ports], **more}


def pulled(image: str, *ports: str) -> dict[str, Any]:
    return {"image": image, "ports": [long(port) for port in ports]}


def long(port: str) -> dict[str, Any]:
    """`80:8000` in the loader's long form."""
    published, _, target = port.partition(":")
    return {"target": int(target), "published": published, "protocol": "tcp"}


def own(directory: str, *ports: str, **more: Any) -> dict[str, Any]:
    """A service built in a directory of its own."""
    return built(*ports, **more) | {"build": f"./{directory}"}


def routed(*paths: str) -> dict[str, Any]:
    return {"x-pushrod": {"routes": {path: {} for path in paths}}}


@pytest.mark.parametrize("engine", ["docker", "embedded"])
@pytest.mark.parametrize(
    "services",
    [
        {"web": built("8004:8000"), "dashboard": built("5556:5555", depends_on=["web"])},
        {"web": built("8004:8000"), "flower": built("80:5555")},
        {"web": built("8004:8000"), "a": built("5555:5555", command="celery -A app flower --port=5555")},
        {"web": built("9000:9000"), "mail": built("8025:8025")},
        {"web": built("9000:9000"), "a": built("2222:22")},
        {"web": built("9001:9001"), "a": built("9000:9000", depends_on=["web"])},
        {"web": built("9001:8000"), "a": built("9000:9100")},
        {"web": built("80:9000"), "a": built("8000:8000")},
        {"web": {"build": ".", "command": "serve", "expose": ["8000"]}, "flower": built("5555:5555")},
        {"web": built("3000:3000", depends_on=["api"]), "api": built("4000:4000")},
        {"web": built("8081:3000", depends_on=["shop-server"]), "shop-server": built("8000:8000")},
        {"web": built("8000:8000"), "docs": built("8001:80")},
        {"web": built("8081:8081"), "core": built("50051:50051", depends_on=["web"])},
        {"web": built("8081:8081"), "core": built("9100:9100")},
        {"web": built("4200:4200"), "orders": built("8000:8000", depends_on=["web"])},
        {"web": built("7000:7000"), "graph-db": built("80:8080", depends_on=["web"])},
    ],
)
def test_the_site_is_found(
    services: dict[str, dict[str, Any]], engine: Literal["docker", "embedded"]
) -> None:
    assert entry(services, engine) == "web"


@pytest.mark.parametrize(
    "services",
    [
        {"web": built("8004:8000"), "pgadmin": {"image": "dpage/pgadmin4", "ports": [long("80:80")]}},
        {"web": built("9000:9000"), "db-admin": {"image": "adminer", "ports": [long("8080:8080")]}},
        {"web": built("9000:9000"), "api": {"image": "somebody/thing", "ports": [long("80:80")]}},
        {
            "web": built("5005:5000"),
            "ui": {"image": "provectuslabs/kafka-ui:latest", "ports": [long("8080:8080")]},
        },
    ],
)
def test_a_built_service_is_preferred_to_a_pulled_one(services: dict[str, dict[str, Any]]) -> None:
    assert entry(services, "docker") == "web"


def test_the_reason_for_the_entry_is_reported() -> None:
    services = {"api": built("8004:8000"), "a": built("9000:9000"), "b": built(depends_on=["api"])}
    result = manifest.read({"services": services}, engine="docker")
    assert result.because == "api is the entry, because others depend on it"
    assert result.notes[0].startswith(f"{result.because}; `x-pushrod: ")


@pytest.mark.parametrize(
    ("services", "why"),
    [
        ({"web": built("80:80"), "a": built("81:80")}, "it publishes port 80"),
        ({"api": built("81:81"), "shop-frontend": built("82:82")}, "its name says so"),
        ({"api": built("81:81"), "ui": built("82:82", depends_on=["api"])}, "its name says so"),
        ({"django": built("81:81"), "react": built("82:82", depends_on=["django"])}, "its name says so"),
        ({"orders": built("81:81"), "a": built("82:8000")}, "it listens on port 8000"),
        (
            {"orders": built("81:81"), "a": built("82:9100")},
            "the others' ports usually serve something beside a",
        ),
        (
            {"a": own("a", "81:81"), "b": own("b", "82:82", depends_on=["a"])},
            "none of the others depends on it",
        ),
        ({"a": built("81:81"), "b": built("82:7860")}, "port 7860 is usual for pages"),
        ({"a": built("81:81"), "b": pulled("kong", "82:82")}, "it is a gateway in front of the others"),
        ({"a": built("81:81"), "b": built("82:82", **routed("/b/"))}, "the others have routes for their own"),
        ({"a": built("81:81"), "b": built(expose=["82"], **routed("/b/"))}, "it alone publishes a port"),
        ({"a": built(**routed("/")), "b": built(**routed("/b/"))}, "it has the route `/`"),
        ({"a": built(**routed("/a/")), "b": built()}, "it alone has routes"),
        ({"a": built(), "admin": built(**routed("/b/"))}, "the others have routes for their own"),
        ({"orders": built("3000:90"), "a": built("8000:90")}, "it publishes port 8000"),
        ({"web": {"build": "."}}, "nothing else could be"),
        ({"a": built("81:81"), "flower": built("5555:5555")}, "the others are tools or helpers"),
        ({"a": built("81:81"), "b": pulled("adminer", "80:80")}, "the others are tools or helpers"),
        ({"a": built("81:81"), "b": built("22:22")}, "the others' ports or names are not those of a site"),
        ({"a": built("82:82"), "mimir": built("81:81")}, "the others' names are those of tools"),
        ({"a": built(command="serve --port=82"), "b": built()}, "its command names a port"),
        (
            {"a": built(command="python manage.py runserver 0.0.0.0:82"), "b": built()},
            "its command names a port",
        ),
        ({"a": built(command="uvicorn --port 82"), "b": built(expose=["82"])}, "it alone exposes a port"),
        (
            {"a": built(healthcheck={"test": "curl -f http://127.0.0.1:82/"}), "b": built()},
            "its health check fetches a page of its own",
        ),
        ({"web": built("81:81"), "a": {"build": "."}}, "it alone publishes a port"),
        ({"web": {"build": ".", "expose": ["80"]}, "a": {"build": "."}}, "it alone exposes a port"),
        ({"web": {"build": ".", "x-pushrod": {"role": "entry"}}, "a": built("80:80")}, "it says so"),
        (
            {"nginx": {"image": "nginx", "ports": [long("80:80")]}, "a": built("81:80")},
            "it is a web server that",
        ),
    ],
)
def test_every_reason_is_reported(services: dict[str, dict[str, Any]], why: str) -> None:
    assert f"because {why}" in manifest.read({"services": services}, engine="docker").because


@pytest.mark.parametrize("engine", ["docker", "embedded"])
@pytest.mark.parametrize(
    ("services", "name"),
    [
        ({"mail": built("80:8000"), "worker": built("9000:9000")}, "mail"),
        ({"flower": built("80:80"), "metrics": built("9100:9100")}, "flower"),
        ({"docs": built("8001:80"), "api": built("8000:8000")}, "api"),
        ({"arena": built("4000:4000"), "game": built("3000:3000")}, "game"),
    ],
)
def test_a_name_alone_makes_no_tool_of_what_is_built(
    services: dict[str, dict[str, Any]], name: str, engine: Literal["docker", "embedded"]
) -> None:
    assert entry(services, engine) == name


@pytest.mark.parametrize(
    "services",
    [
        {"arena": built("3000:3000"), "game": built("4000:4000")},
        {"a": built(command="a --port 82"), "b": built(command="b --port 83")},
        {"a": built(command="psql --port 5432"), "b": built()},
        {"mail": built(), "worker": built()},
    ],
)
def test_two_that_are_equally_good_need_a_line(services: dict[str, dict[str, Any]]) -> None:
    with pytest.raises(ManifestError, match=r"two entries|no entry") as error:
        entry(services, "docker")
    assert "x-pushrod: {role: entry}" in error.value.hint


def test_the_port_of_the_command_is_that_of_the_entry() -> None:
    services = {"a": built(command="serve --port=82"), "b": built(command="celery worker -b redis://r:6379")}
    assert manifest.read({"services": services}, engine="docker").entry.port == 82


@pytest.mark.parametrize(
    ("ports", "port"),
    [
        (("5678:5678", "8001:8001"), 8001),
        (("24678:24678", "5173:5173"), 5173),
        (("9090:9090", "7001:7001"), 7001),
        (("50051:50051", "8081:8081"), 8081),
        (("5678:5678",), 5678),
        (("80:9090", "7001:7001"), 9090),
    ],
)
def test_one_of_several_ports_is_chosen(ports: tuple[str, ...], port: int) -> None:
    assert manifest.read({"services": {"web": built(*ports)}}, engine="docker").entry.port == port


def test_two_equally_likely_pages_next_to_an_api_are_refused() -> None:
    services = {"shop": built("5173:5173"), "team": built("5174:5173"), "api": built("8000:8000")}
    with pytest.raises(ManifestError, match="entries: "):
        entry(services, "docker")


def test_a_service_named_admin_is_not_chosen_as_entry() -> None:
    with pytest.raises(ManifestError, match="two entries: admin and shop"):
        entry({"admin": built("80:80"), "shop": built("9000:9000")}, "docker")
    assert entry({"admin": built("9000:9000"), "shop": built("80:80")}, "docker") == "shop"


def test_a_service_with_a_page_is_preferred_to_one_without() -> None:
    tools = {
        "logstash": {"image": "elastic/logstash", "ports": [long("9600:9600")]},
        "kibana": {"image": "elastic/kibana", "ports": [long("5601:5601")]},
    }
    assert entry(tools, "docker") == "kibana"


@pytest.mark.parametrize("engine", ["docker", "embedded"])
@pytest.mark.parametrize(
    ("site", "beside"),
    [
        (pulled("acme/app", "8081:8081"), {"keycloak": pulled("quay.io/keycloak/keycloak", "8080:8080")}),
        (pulled("acme/app", "3001:3001"), {"flow": pulled("temporalio/auto-setup", "7233:7233")}),
        (pulled("acme/app", "9000:9000"), {"aws": pulled("localstack/localstack", "4566:4566")}),
        (pulled("acme/app", "5001:5001"), {"x": pulled("patrikx3/p3x-redis-ui", "7843:7843")}),
        (pulled("acme/app", "5001:5001"), {"kafka-manager": pulled("acme/km", "80:80")}),
        (pulled("acme/app", "4000:4000"), {"traces": pulled("grafana/tempo", "3200:3200")}),
        (pulled("acme/app", "8070:80"), {"box": pulled("prom/blackbox-exporter", "9115:9115")}),
        (pulled("acme/app", "8070:8070"), {"bus": pulled("eclipse-mosquitto", "1883:1883", "9001:9001")}),
        (built("8001:8001"), {"grpc": built("50052:50052")}),
        (built("7000:7000"), {"other": built("9187:9187")}),
        (built("8010:8010"), {"dashboard": built("8011:8011")}),
        (built("8003:8003"), {"mail": built("8025:8025")}),
        (built("8003:8003"), {"load": built("8089:8089", command="locust -f x.py")}),
        (built("9001:9001"), {"app-admin": built("9002:9002")}),
        (built("8002:8002", depends_on=["auth"]), {"auth": built("8001:8001")}),
    ],
)
def test_what_is_beside_a_site_is_not_taken_for_it(
    site: dict[str, Any], beside: dict[str, Any], engine: Literal["docker", "embedded"]
) -> None:
    name = "app" if "auth" in beside else "shop"
    assert entry({**beside, name: site}, engine) == name


def test_a_dashboard_that_is_built_here_may_be_the_app() -> None:
    assert entry({"dashboard": built("8501:8501"), "scraper": {"build": "."}}, "docker") == "dashboard"
    with pytest.raises(ManifestError, match="two entries: dashboard and api"):
        entry({"dashboard": built("3000:3000"), "api": built("8000:8000")}, "docker")


def test_an_administrators_page_is_no_front_end() -> None:
    services = {
        "admin-frontend": built("3000:3000"),
        "storefront": built("8000:3000"),
        "api": built("9000:9000"),
    }
    assert entry(services, "docker") == "storefront"
    with pytest.raises(ManifestError, match="two entries: admin-panel and api"):
        entry({"admin-panel": built("80:80"), "api": built("8000:8000")}, "docker")


@pytest.mark.parametrize("engine", ["docker", "embedded"])
def test_a_tool_is_not_chosen_as_entry(engine: Literal["docker", "embedded"]) -> None:
    services = {"a": {"build": "."}, "b": {"build": "."}, "flower": built("5555:5555")}
    with pytest.raises(ManifestError, match="no entry"):
        entry(services, engine)


def test_a_tool_is_the_entry_if_it_is_the_only_service() -> None:
    assert entry({"pgadmin": {"image": "dpage/pgadmin4", "ports": [long("80:80")]}}, "docker") == "pgadmin"


@pytest.mark.parametrize("engine", ["docker", "embedded"])
@pytest.mark.parametrize(
    "services",
    [
        {"site": built("80:8000"), "admin": built(expose=["9000"], **routed("/admin/"))},
        {"site": built("3000:3000", depends_on=["api"]), "api": built("8000:8000", **routed("/api/"))},
        {
            "site": built("80:8000", depends_on=["metrics"]),
            "metrics": built("9090:9090", **routed("/metrics/")),
        },
        {"site": built("8000:8000"), "rpc": built(expose=["50051"], **routed("/shop.Orders/"))},
        {"site": built("7000:7000"), "reports": built("80:8000", **routed("/reports/"))},
        {"site": built(**routed("/api/", "/")), "admin": built(expose=["9000"], **routed("/admin/"))},
        {"site": built(expose=["8000"]), "reports": built(expose=["9000"], **routed("/reports/"))},
        {"web": built(expose=["3000"]), "reports": built("9000:9000", **routed("/reports/"))},
        {"site": built("8000:8000", **routed("/api/")), "worker": built()},
        {"site": built("8000:8000", **routed("/api/")), "worker": built(expose=["9100"])},
        {"site": built("8000:8000", **routed("/api/")), "flower": built("5555:5555")},
        {"site": built("8000:8000", **routed("/api/")), "docs": pulled("outlinewiki/outline", "80:80")},
        {"site": built(), "admin": built("9000:9000", **routed("/admin/"))},
        {"site": built(**routed("/api/")), "worker": built()},
    ],
)
def test_a_route_for_a_part_of_the_paths_makes_no_entry(
    services: dict[str, dict[str, Any]], engine: Literal["docker", "embedded"]
) -> None:
    assert entry(services, engine) in ("site", "web")


def test_the_route_that_a_note_proposes_does_not_change_the_entry() -> None:
    rule = "traefik.http.routers.{}.rule"
    services = {
        "api": built(labels={rule.format("api"): "Host(`a.example.org`) && PathPrefix(`/api`)"}),
        "site": own("site", labels={rule.format("site"): "Host(`a.example.org`)"}, **routed("/")),
    }
    assert entry(services, "docker") == "site"
    del services["site"]["x-pushrod"]
    services["api"] |= routed("/api")
    result = manifest.read({"services": services}, engine="docker")
    assert result.because == "site is the entry, because the others have routes for their own paths"
    assert result.notes[0].startswith(result.because)


def test_the_manuals_example_of_routes_has_its_backend_as_entry() -> None:
    manual = Path(__file__).parents[3].joinpath("docs/manifest.md").read_text()
    section = manual.partition("### `services.<name>.x-pushrod.routes`\n")[2]
    services = yaml.safe_load(section.partition("```yaml\n")[2].partition("```")[0])["services"]
    assert set(services) == {"backend", "admin"}
    for engine in ("docker", "embedded"):
        assert entry(services, engine) == "backend"


@pytest.mark.parametrize("engine", ["docker", "embedded"])
@pytest.mark.parametrize(
    ("base", "tool", "site"),
    [
        ("dpage/pgadmin4:8", own("x", "80:80"), own("web", "8081:8081")),
        ("mher/flower:2.0", own("x", "8080:5555"), own("web", "8004:8004")),
        ("grafana/grafana:5.2.4", own("x", "3000:3000"), own("web", "9000:9000")),
        ("quay.io/keycloak/keycloak:26", own("x", "80:8080"), own("web", "9000:9000")),
        ("prom/prometheus", own("x", "9091:9090"), own("web", "9999:9999")),
    ],
)
def test_a_tool_built_from_its_image_is_a_tool(
    base: str, tool: dict[str, Any], site: dict[str, Any], engine: Literal["docker", "embedded"]
) -> None:
    document = {"services": {"gui": tool, "shop": site}}
    result = manifest.read(document, engine=engine, bases={"gui": base, "shop": "python:3.13"})
    assert result.entry.name == "shop"
    document = {"services": {"gui": tool, "shop": pulled("ghcr.io/acme/shop", "8080:8080")}}
    if engine == "docker":
        result = manifest.read(document, engine=engine, bases={"gui": base})
        assert {s.name: s.role for s in result.services} == {"gui": "worker", "shop": "entry"}


def test_an_app_built_from_a_browsers_or_notebooks_image_may_be_the_site() -> None:
    for base in ("jupyter/base-notebook", "selenium/standalone-chrome", "browserless/chrome"):
        document = {"services": {"shop": own("a", "80:80"), "other": own("b", "9000:9000")}}
        result = manifest.read(document, engine="docker", bases={"shop": base, "other": "python:3.13"})
        assert result.entry.name == "shop"


@pytest.mark.parametrize("engine", ["docker", "embedded"])
@pytest.mark.parametrize(
    "services",
    [
        {"backend": own("a", "8000:8000"), "streamlit": own("b", "8501:8501", depends_on=["backend"])},
        {"fastapi": own("a", "8000:8000"), "streamlit_app": own("b", "8600:8600", depends_on=["fastapi"])},
        {"fastapi": built("8000:8000"), "page": built("8501:8501", depends_on=["fastapi"])},
        {"api": own("a", "8000:8000"), "demo": own("b", "7860:7860", depends_on=["api"])},
        {"identity": own("a", "5001:8080"), "shop": own("b", "5000:8080", depends_on=["identity"])},
        {
            "catalog": own("a", "8000:8000", depends_on=["search"]),
            "search": own("b", "8080:8080"),
            "shop": own("c", "8090:8090", depends_on=["search", "catalog"]),
            "mailer": own("b", depends_on=["search"], command="mail"),
        },
        {"orders": own("a", "80:9000"), "a": own("b", "8000:8000", depends_on=["orders"])},
        {"a": built("9001:8000"), "sockets": built("8000:8080", depends_on=["a"])},
        {"a": own("a", "9001:9001"), "admin": own("b", "9000:9000", depends_on=["a"])},
        {"a": own("a", "9001:9001"), "rpc": own("b", "9000:50051", depends_on=["a"])},
    ],
)
def test_the_site_is_what_depends_on_others_that_listen(
    services: dict[str, dict[str, Any]], engine: Literal["docker", "embedded"]
) -> None:
    sites = ("streamlit", "streamlit_app", "page", "demo", "shop", "orders", "a")
    assert entry(services, engine) == next(name for name in sites if name in services)


@pytest.mark.parametrize(
    ("services", "site"),
    [
        (
            {
                "graphql-engine": pulled("hasura/graphql-engine", "8080:8080")
                | {"depends_on": ["connector"]},
                "connector": pulled("hasura/graphql-data-connector", "8081:8081"),
            },
            "graphql-engine",
        ),
        (
            {
                "kong": pulled("kong:2.8.1", "8000:8000", "8443:8443") | {"depends_on": ["analytics"]},
                "analytics": pulled("supabase/logflare", "4000:4000"),
                "studio": pulled("supabase/studio") | {"depends_on": ["analytics"]},
            },
            "kong",
        ),
        (
            {
                "login": pulled("quay.io/oauth2-proxy/oauth2-proxy", "80:4180")
                | {"command": "--upstream=http://app:8080"},
                "app": built("8080:8080"),
            },
            "login",
        ),
        (
            {
                "login": pulled("bitnami/oauth2-proxy", "4180:4180")
                | {"environment": {"OAUTH2_PROXY_UPSTREAMS": "http://app:8080/"}},
                "app": built("80:8080"),
            },
            "login",
        ),
        (
            {"kong": pulled("kong:3.7", "80:8000") | {"depends_on": ["api"]}, "api": built("8080:8080")},
            "kong",
        ),
        ({"gate": pulled("krakend:2", "8000:8080"), "api": built("8080:8080")}, "gate"),
        ({"gate": pulled("acme/gate", "443:8443") | {"depends_on": ["a"]}, "a": built("8080:8080")}, "gate"),
        ({"login": pulled("oauth2-proxy", "4180:4180"), "app": built("8080:8080")}, "app"),
        ({"thing": pulled("acme/thing", "80:80"), "app": built("8080:8080")}, "app"),
        (
            {"adminer": pulled("adminer", "80:8080") | {"depends_on": ["app"]}, "app": built("8080:8080")},
            "app",
        ),
    ],
)
def test_a_gateway_in_front_of_the_app_is_the_entry(services: dict[str, dict[str, Any]], site: str) -> None:
    assert entry(services, "docker") == site


@pytest.mark.parametrize("engine", ["docker", "embedded"])
@pytest.mark.parametrize(
    ("services", "site"),
    [
        (
            {
                "website": own("a", "5005:5005", depends_on=["users"]),
                "users": own("b", "5001:5001"),
            },
            "website",
        ),
        ({"orders": own("a", "80:9003"), "users": own("b", "5001:5001")}, "orders"),
        ({"orders": built("4000:4000"), "a": built("9229:9229")}, "orders"),
        (
            {
                "orders": built("4000:4000"),
                "a": built("80:5005", command="java -agentlib:jdwp=address=*:5005"),
            },
            "orders",
        ),
        ({"orders": built("4000:4000"), "a": built("80:2345", command="dlv debug --listen=:2345")}, "orders"),
        (
            {"orders": built("4000:4000"), "a": built("80:9003", environment={"XDEBUG_MODE": "debug"})},
            "orders",
        ),
    ],
)
def test_a_debuggers_port_is_an_ordinary_one_where_no_debugger_runs(
    services: dict[str, dict[str, Any]], site: str, engine: Literal["docker", "embedded"]
) -> None:
    assert entry(services, engine) == site


@pytest.mark.parametrize(
    ("services", "site"),
    [
        ({"model": built("5005:5005"), "mock": pulled("stoplight/prism:4", "4010:4010")}, "model"),
        (
            {"rasa": pulled("rasa/rasa", "5005:5005"), "duckling": pulled("rasa/duckling", "8000:8000")},
            "rasa",
        ),
    ],
)
def test_a_pulled_helper_is_not_preferred_to_a_service_on_a_debuggers_port(
    services: dict[str, dict[str, Any]], site: str
) -> None:
    assert entry(services, "docker") == site
