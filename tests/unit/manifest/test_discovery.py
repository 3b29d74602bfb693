"""The labels of service-discovering proxies: traefik's and caddy's labels, nginx-proxy's variables."""

from typing import Any

import msgspec
import pytest

from pushrod import manifest
from pushrod.core.errors import ManifestError
from pushrod.core.values import EngineName, Manifest
from pushrod.manifest import discovery, policy
from pushrod.manifest.discovery import Target
from pushrod.manifest.document import Key
from pushrod.manifest.policy import Terms
from tests.unit.samples import LIMITS

SOCKET = {"volumes": [{"type": "bind", "source": "/var/run/docker.sock", "target": "/var/run/docker.sock"}]}
TRAEFIK = {"image": "traefik:v3", **SOCKET}
ROUTER = {"traefik.http.routers.web.rule": "Host(`a.example.com`)"}


def target(service: dict[str, Any], **others: dict[str, Any]) -> Target:
    services = {name: Key(f"services.{name}", value) for name, value in {"it": service, **others}.items()}
    return discovery.targets(services)["it"]


def read(services: dict[str, dict[str, Any]], engine: EngineName = "docker", *allowed: str) -> Manifest:
    terms = Terms(engine, LIMITS, allowed)
    document, notes = policy.apply({"name": "shop", "services": services}, terms)
    result = manifest.read(document, engine=engine)
    return msgspec.structs.replace(result, notes=(*notes, *result.notes))


@pytest.mark.parametrize(
    ("service", "expected"),
    [
        ({}, Target()),
        ({"labels": {"traefik.enable": "true"}}, Target(True)),
        ({"labels": {"traefik.enable": "false"}}, Target()),
        ({"labels": ROUTER}, Target(True, 0, ("a.example.com",))),
        ({"labels": [f"{k}={v}" for k, v in ROUTER.items()]}, Target(True, 0, ("a.example.com",))),
        (
            {
                "labels": {
                    "traefik.http.routers.x.rule": "Host(`a.b`) || (Host(`c.d`, `e.f`) && PathPrefix(`/x.y`))"
                }
            },
            Target(True, 0, ("a.b", "c.d", "e.f"), path="/x.y"),
        ),
        (
            {"labels": ROUTER | {"traefik.http.services.x.loadbalancer.server.port": "9000"}},
            Target(True, 9000, ("a.example.com",)),
        ),
        ({"labels": {"traefik.frontend.rule": "Host:a.b", "traefik.port": "81"}}, Target(True, 81, ("a.b",))),
        (
            {"environment": {"VIRTUAL_HOST": "a.b,c.d", "VIRTUAL_PORT": 3000}},
            Target(True, 3000, ("a.b", "c.d")),
        ),
        ({"environment": ["VIRTUAL_HOST=a.b", "X"]}, Target(True, 0, ("a.b",))),
        (
            {"labels": {"caddy": "a.b", "caddy.reverse_proxy": "{{upstreams 8080}}"}},
            Target(True, 8080, ("a.b",)),
        ),
        (
            {"labels": {"caddy_1": "http://a.b", "caddy_1.reverse_proxy": "{{upstreams}}"}},
            Target(True, 0, ()),
        ),
    ],
)
def test_the_target_is_read_from_labels_and_variables(service: dict[str, Any], expected: Target) -> None:
    assert target(service) == expected


@pytest.mark.parametrize(
    "labels",
    [
        {"traefik.http.routers.web.middlewares": "a", "traefik.http.middlewares.a.basicauth.users": "x"},
        {"traefik.http.routers.web.middlewares": "a@docker,b", "traefik.http.middlewares.a.ForwardAuth.address": "x"},
        {"traefik.http.routers.web.middlewares": "c", "traefik.http.middlewares.c.chain.middlewares": "d",
         "traefik.http.middlewares.d.ipallowlist.sourcerange": "10.0.0.0/8"},
        {"traefik.http.routers.web.middlewares": "authelia@file"},
        {"traefik.http.routers.web.middlewares": "secured@file"},
        {"traefik.http.routers.web.middlewares": "compress, vpn-only@file,sso@docker"},
        {"traefik.http.routers.web.middlewares": "lan@file"},
        {"traefik.http.routers.web.middlewares": "Private@file"},
        {"traefik.frontend.auth.basic.users": "x"},
        {"caddy": "a.b", "caddy.basic_auth.bob": "x"},
        {"caddy": "a.b", "caddy.1_forward_auth": "x", "caddy.route.forward_auth": "y"},
    ],
)  # fmt: skip
@pytest.mark.parametrize("engine", ["docker", "embedded"])
def test_labels_that_restrict_access_are_not_ignored(labels: dict[str, str], engine: EngineName) -> None:
    web = {"build": {"context": "."}, "command": ["serve"], "labels": ROUTER | labels}
    with pytest.raises(ManifestError, match="would restrict access to web") as refused:
        read({"web": web, "traefik": TRAEFIK}, engine)
    assert refused.value.where == "services.web.labels"
    assert read({"web": {**web, "x-pushrod": {"routes": {"/": {"allow": ["10.0.0.0/8"]}}}}}, engine).entry
    assert read({"web": web, "traefik": TRAEFIK}, "docker", "docker-socket").entry.name == "web"


def test_middlewares_that_only_transform_requests_are_ignored() -> None:
    labels = {
        "traefik.http.routers.web.middlewares": "https-redirect,compress",
        "traefik.http.middlewares.https-redirect.redirectscheme.scheme": "https",
        "traefik.http.middlewares.admins.basicauth.users": "x",
    }
    assert target({"labels": ROUTER | labels}).guard == ""


@pytest.mark.parametrize("engine", ["docker", "embedded"])
def test_middlewares_that_the_file_does_not_define_are_named(engine: EngineName) -> None:
    middlewares = "to-https@file,secure-headers@file,chain-7@file,r,gzip,redirect-to-https"
    labels = {
        "traefik.http.routers.web.middlewares": middlewares,
        "traefik.http.middlewares.r.ratelimit.average": "100",
    }
    web = {"build": {"context": "."}, "command": ["serve"], "labels": ROUTER | labels}
    notes = [n for n in read({"web": web, "traefik": TRAEFIK}, engine).notes if "middlewares" in n]
    assert [n.partition(";")[0] for n in notes] == [
        "web: its labels name middlewares that the file does not define (chain-7@file)"
    ]
    routes: dict[str, Any] = {"x-pushrod": {"routes": {"/": {}}}}
    assert not any("middlewares" in n for n in read({"web": web | routes}, engine).notes)


def test_a_recursive_chain_terminates() -> None:
    labels = {
        "traefik.http.routers.web.middlewares": "c",
        "traefik.http.middlewares.c.chain.middlewares": "c",
    }
    assert target({"labels": ROUTER | labels}).guard == ""


class TestOnDocker:
    WEB = {
        "build": {"context": "."},
        "labels": ROUTER,
        "depends_on": {"traefik": {"condition": "service_started"}},
    }

    def test_the_edge_replaces_a_proxy_that_uses_the_docker_socket(self) -> None:
        result = read({"web": self.WEB, "traefik": TRAEFIK, "other": {"build": {"context": "."}}})
        assert ({s.name: s.role for s in result.services}, result.entry.depends_on) == (
            {"web": "entry", "other": "worker"},
            (),
        )
        assert result.notes[0].startswith("traefik: the edge replaces it, because it uses Docker's socket")
        assert "pushrod apps allow shop docker-socket" in result.notes[0]
        assert any("domains: [a.example.com]" in note for note in result.notes)
        assert result.because == "web is the entry, because it alone has labels for a proxy"
        assert not result.ours

    def test_the_proxy_is_kept_if_the_owner_allows_the_socket(self) -> None:
        traefik = {**TRAEFIK, "ports": [{"target": 80, "published": "80", "protocol": "tcp"}]}
        result = read({"web": self.WEB, "traefik": traefik}, "docker", "docker-socket")
        assert (result.entry.name, result.service("web").role) == ("traefik", "worker")
        assert not any("domains" in note or "replaces it" in note for note in result.notes)

    @pytest.mark.parametrize("image", ["containrrr/watchtower", "portainer/portainer-ce", "nginx", "caddy:2"])
    def test_other_services_with_the_socket_are_refused(self, image: str) -> None:
        with pytest.raises(ManifestError, match="it asks for the Docker socket"):
            read({"web": self.WEB, "traefik": {"image": image, **SOCKET}})

    def test_a_proxy_without_the_socket_runs(self) -> None:
        published = {"ports": [{"target": 80, "published": "80", "protocol": "tcp"}]}
        result = read({"web": {"build": {"context": "."}}, "traefik": {"image": "traefik", **published}})
        assert result.entry.name == "traefik"
