"""The notes on what the embedded engine does differently from a manifest."""

from typing import Any

import pytest

from pushrod import manifest
from pushrod.manifest import notes

WEB = {"build": {"context": "."}}
VERSIONS = {"postgres": "PostgreSQL 18.6", "redis": "Valkey 9.1.2"}


def said(services: dict[str, dict[str, Any]], **options: Any) -> list[str]:
    options = {"store_versions": VERSIONS, **options}
    return list(manifest.read({"services": {"web": WEB, **services}}, **options).notes)


def test_nothing_to_say() -> None:
    assert said({"db": {"image": "postgres:18"}, "cache": {"image": "valkey/valkey:9"}}) == []


@pytest.mark.parametrize(
    ("image", "note"),
    [
        ("postgres:16", ["s: the manifest names PostgreSQL 16; the embedded engine runs PostgreSQL 18.6"]),
        ("redis:7-alpine", ["s: the manifest names Redis 7; the embedded engine runs Valkey 9.1.2"]),
        ("valkey/valkey:8", ["s: the manifest names Valkey 8; the embedded engine runs Valkey 9.1.2"]),
        ("postgres:18.1", []),
        ("postgres", []),
        ("redis:latest", []),
    ],
)
def test_another_major_version(image: str, note: list[str]) -> None:
    assert said({"s": {"image": image}}) == note


def test_a_version_without_its_product() -> None:
    assert said({"s": {"image": "postgres:9.6"}}, store_versions={"postgres": "18.6"}) == [
        "s: the manifest names PostgreSQL 9; the embedded engine runs PostgreSQL 18.6"
    ]


def test_no_versions_no_note() -> None:
    assert said({"s": {"image": "postgres:9.6"}}, store_versions=None) == []


def test_an_extension_that_is_not_there() -> None:
    assert said({"s": {"image": "postgis/postgis:18-3.6"}}) == [
        "s: the embedded engine's PostgreSQL has no PostGIS"
    ]


def test_who_wants_the_edge_in_its_place_need_not_be_told() -> None:
    nginx = {"image": "nginx:1.29", "depends_on": ["web"]}
    assert len(said({"nginx": nginx})) == 1
    assert said({"nginx": {**nginx, "x-pushrod": {"role": "edge"}}}) == []


def test_what_a_store_does_not_use() -> None:
    binds = [{"type": "bind", "source": "init.sql", "target": "/docker-entrypoint-initdb.d/init.sql"}]
    data = [{"type": "volume", "source": "data", "target": "/var/lib/postgresql/data"}]
    assert said({"s": {"image": "redis:9", "command": ["redis-server", "--appendonly", "yes"]}}) == [
        "s: `command` not used: the embedded engine configures its stores itself"
    ]
    assert said({"s": {"image": "postgres:18", "volumes": binds}}) == [
        "s: its mounted files not used: the embedded engine configures its stores itself"
    ]
    assert said({"s": {"image": "postgres:18", "volumes": data}}) == []


def test_web_servers_are_named_in_one_note() -> None:
    found = said({"nginx": {"image": "nginx"}, "certbot": {"image": "certbot/certbot"}})
    assert len(found) == 1
    assert found[0].startswith("nginx, certbot: pushrod's edge (nginx) replaces it")


def test_volumes_of_stateless_services_are_named_in_one_note() -> None:
    mount = {"volumes": [{"type": "bind", "source": "backend", "target": "/app"}]}
    published = {"ports": [{"target": 80, "protocol": "tcp"}]}
    found = said({"web": {**WEB, **mount, **published}, "worker": {**WEB, **mount}})
    assert found == [
        "web, worker: volumes are not mounted on the embedded engine; its paths are those of the checkout"
    ]


def test_a_published_port_that_is_not_the_entrys() -> None:
    published = {"ports": [{"target": 5555, "protocol": "tcp"}]}
    found = said({"web": {**WEB, "x-pushrod": {"role": "entry"}}, "flower": {**WEB, **published}})
    assert found == ["flower: its published port stays closed; only the entry is reachable, through the edge"]


def test_hooks_are_not_run_where_there_is_no_container() -> None:
    hooks = {"post_start": [{"command": ["a"]}], "pre_stop": [{"command": ["b"]}]}
    assert said({"web": {**WEB, **hooks}}) == [
        "web: `post_start`, `pre_stop` not applied on the embedded engine"
    ]


def test_keys_that_have_no_effect() -> None:
    keys = {
        "privileged": True,
        "secrets": [{"source": "s"}],
        "deploy": {"resources": {"limits": {"cpus": 1}}},
    }
    assert said({"web": {**WEB, **keys, "restart": "always", "networks": {"default": None}}}) == [
        "web: `privileged`, `secrets`, `deploy.resources` not applied on the embedded engine"
    ]


def test_another_python(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(notes, "_PYTHON", "3.11")
    assert said({}, bases={"web": "python:3.13-slim"}) == [
        "web: its Dockerfile names another Python version; the embedded engine runs it on 3.11"
    ]
    assert said({}, bases={"web": "python:3.11.9"}) == []
    assert said({}, bases={"web": "python:3"}) == []


class TestDocker:
    PUBLISHED = {"ports": [{"target": 80, "published": "80", "protocol": "tcp"}]}

    def said(self, services: dict[str, dict[str, Any]]) -> list[str]:
        return said({"web": {**WEB, **self.PUBLISHED}, **services}, engine="docker")

    def test_nothing_to_say_of_what_runs_as_it_is_written(self) -> None:
        keys = {
            "restart": "no", "cpus": 1, "mem_limit": "1048576", "links": ["web"], "volumes": ["./x:/x"],
            "networks": {"default": None}, "configs": [{"source": "c"}], "secrets": [{"source": "s"}],
            "build": {"context": ".", "network": "none"}, "pull_policy": "always", "init": True, "tmpfs": ["/t"],
        }  # fmt: skip
        assert (
            self.said({"worker": keys, "db": {"image": "postgres:16", "command": ["postgres", "-c", "x=1"]}})
            == []
        )

    def test_closed_ports_of_stores_are_said_once(self) -> None:
        stores = {"db": {"image": "mysql", **self.PUBLISHED}, "redis": {"image": "redis", **self.PUBLISHED}}
        assert self.said(stores) == ["db, redis: published ports of stores stay closed"]

    def test_an_entry_with_several_ports(self) -> None:
        ports = [*self.PUBLISHED["ports"], {"target": 443, "published": "443", "protocol": "tcp"}]
        assert self.said({"web": {**WEB, "ports": ports}}) == [
            "web: of its published ports only 80 is reachable, through the edge"
        ]

    def test_a_volume_that_two_releases_have_open(self) -> None:
        worker = {**WEB, "volumes": [{"type": "volume", "source": "data", "target": "/x"}]}
        (note,) = self.said({"worker": worker})
        assert note.startswith("worker: has a volume, which the old and the new release briefly use")
        first = {**worker, "deploy": {"update_config": {"order": "stop-first"}}}
        (note,) = self.said({"worker": first})
        assert note.startswith("worker: stops before its new instances start")

    def test_names_and_networks(self) -> None:
        mine = {**WEB, "networks": {"front": None}}
        assert self.said(
            {"a": {**mine, "container_name": "x"}, "b": {**mine, "hostname": "y"}, "db": {"image": "redis"}}
        ) == [
            "a, b: `container_name` and `hostname` are only names by which other services reach it: two releases run "
            "at once",
            "a, b: its networks are not created: all services of a release share one, and reach the stores on "
            "another",
        ]


PAGE = {"ports": [{"target": 3000, "published": "3000", "protocol": "tcp"}]}
DATA = {"volumes": [{"type": "volume", "source": "d", "target": "/data"}]}
RUNS = {"command": ["run"]}
BY_DB = {"environment": {"DB": "postgres://db/x"}}


@pytest.mark.parametrize(
    ("service", "noted"),
    [
        ({"image": "metabase/metabase", **PAGE, **RUNS}, True),
        ({"image": "metabase/metabase", **PAGE}, False),  # it is kept
        ({"image": "metabase/metabase", **PAGE, **RUNS, **DATA}, False),
        ({"image": "metabase/metabase", **PAGE, **RUNS, **BY_DB}, False),
        ({"image": "grafana/grafana", **PAGE, **BY_DB}, True),
        ({"image": "adminer", **PAGE}, False),
        ({"image": "somebody/worker"}, False),
        ({"image": "nginx", **PAGE}, False),
        ({"image": "metabase/metabase", **PAGE, **RUNS, "x-pushrod": {"role": "worker"}}, False),
        ({"build": {"context": "."}, **PAGE, "depends_on": ["web"]}, False),
    ],
)
def test_what_a_pulled_program_wrote_is_not_lost_without_a_word(service: dict[str, Any], noted: bool) -> None:
    services: dict[str, Any] = {"web": {**WEB, **PAGE}, "db": {"image": "postgres"}, "a": service}
    found = said(services, engine="docker", store_versions=None)
    assert any(n.startswith("a: is replaced with each release") for n in found) == noted


@pytest.mark.parametrize(
    ("service", "noted"),
    [
        ({"build": {"context": "db"}}, True),
        ({"build": {"context": "db"}, **DATA}, False),
        ({"build": {"context": "db"}, "x-pushrod": {"role": "worker"}}, False),
    ],
)
def test_nor_what_a_database_wrote_that_is_built_here(service: dict[str, Any], noted: bool) -> None:
    found = said({"web": {**WEB, **PAGE}, "graph-db": service}, engine="docker", store_versions=None)
    assert any(n.startswith("graph-db: is replaced with each release") for n in found) == noted


def test_a_label_that_leads_requests_to_a_service_without_a_route() -> None:
    labels = ["traefik.enable=true", "traefik.http.routers.a.rule=Host(`x.org`) && PathPrefix(`/api`)"]
    entry = {**WEB, **PAGE, "labels": ["traefik.enable=true"], "x-pushrod": {"role": "entry"}}
    services: dict[str, Any] = {"web": entry, "a": {**WEB, "labels": labels}}
    note = "a: a proxy would lead requests to it by its labels; here only a route does: "
    note += "`x-pushrod: {routes: {/api: {}}}`"
    assert note in said(services)
    services["a"] |= {"x-pushrod": {"routes": {"/api": {}}}, "expose": ["8000"]}
    assert not any(n.startswith("a: a proxy would") for n in said(services))
