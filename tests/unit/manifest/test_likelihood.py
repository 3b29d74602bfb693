"""Which of several services that publish a port is the site."""

from typing import Any, Literal

import pytest

from pushrod import manifest
from pushrod.core.errors import ManifestError


def entry(services: dict[str, dict[str, Any]], engine: Literal["docker", "embedded"]) -> str:
    return manifest.read({"services": services}, engine=engine).entry.name


def built(*ports: str, **more: Any) -> dict[str, Any]:
    return {"build": ".", "command": "serve", "ports": [long(port) for port in ports], **more}


def long(port: str) -> dict[str, Any]:
    """`80:8000` in the loader's long form."""
    published, _, target = port.partition(":")
    return {"target": int(target), "published": published, "protocol": "tcp"}


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
def test_what_is_built_goes_before_what_is_pulled(services: dict[str, dict[str, Any]]) -> None:
    assert entry(services, "docker") == "web"


def test_the_reason_is_said() -> None:
    services = {"api": built("8004:8000"), "a": built("9000:9100", depends_on=["api"])}
    found = manifest.read({"services": services}, engine="docker")
    assert found.because == "api is the entry, because others depend on it"
    assert found.notes[0].startswith(f"{found.because}; `x-pushrod: ")


@pytest.mark.parametrize(
    ("services", "why"),
    [
        ({"web": built("80:80"), "a": built("81:80")}, "it publishes port 80"),
        ({"api": built("81:81"), "shop-frontend": built("82:82")}, "its name says so"),
        ({"api": built("81:81"), "ui": built("82:82", depends_on=["api"])}, "its name says so"),
        ({"django": built("81:81"), "react": built("82:82", depends_on=["django"])}, "its name says so"),
        ({"orders": built("81:81"), "a": built("82:8000")}, "it listens on port 8000"),
        ({"orders": built("3000:90"), "a": built("8000:90")}, "it publishes port 8000"),
        ({"web": {"build": "."}}, "nothing else could be"),
        ({"web": built("81:81"), "a": {"build": "."}}, "it alone publishes a port"),
        ({"web": {"build": ".", "expose": ["80"]}, "a": {"build": "."}}, "it alone exposes a port"),
        ({"web": {"build": ".", "x-pushrod": {"role": "entry"}}, "a": built("80:80")}, "it says so"),
        (
            {"nginx": {"image": "nginx", "ports": [long("80:80")]}, "a": built("81:80")},
            "it is a web server that",
        ),
    ],
)
def test_every_reason(services: dict[str, dict[str, Any]], why: str) -> None:
    assert f"because {why}" in manifest.read({"services": services}, engine="docker").because


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
def test_the_port_among_several(ports: tuple[str, ...], port: int) -> None:
    assert manifest.read({"services": {"web": built(*ports)}}, engine="docker").entry.port == port


def test_of_two_pages_beside_an_api_one_has_to_be_chosen() -> None:
    services = {"shop": built("5173:5173"), "team": built("5174:5173"), "api": built("8000:8000")}
    with pytest.raises(ManifestError, match="entries: "):
        entry(services, "docker")


def test_what_is_called_admin_is_never_served_by_guess() -> None:
    with pytest.raises(ManifestError, match="two entries: admin and shop"):
        entry({"admin": built("80:80"), "shop": built("9000:9000")}, "docker")
    assert entry({"admin": built("9000:9000"), "shop": built("80:80")}, "docker") == "shop"


def test_what_has_no_page_comes_after_what_has() -> None:
    tools = {
        "logstash": {"image": "elastic/logstash", "ports": [long("9600:9600")]},
        "kibana": {"image": "elastic/kibana", "ports": [long("5601:5601")]},
    }
    assert entry(tools, "docker") == "kibana"


@pytest.mark.parametrize("engine", ["docker", "embedded"])
def test_a_tool_is_never_served_by_guess(engine: Literal["docker", "embedded"]) -> None:
    services = {"a": {"build": "."}, "b": {"build": "."}, "flower": built("5555:5555")}
    with pytest.raises(ManifestError, match="no entry"):
        entry(services, engine)


def test_a_tool_that_is_all_there_is_is_what_is_wanted() -> None:
    assert entry({"pgadmin": {"image": "dpage/pgadmin4", "ports": [long("80:80")]}}, "docker") == "pgadmin"
