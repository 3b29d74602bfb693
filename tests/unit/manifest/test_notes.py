"""The notes on what the embedded engine does differently from a manifest."""

from typing import Any

import pytest

from pushrod import manifest
from pushrod.manifest import notes

WEB = {"build": {"context": "."}}
VERSIONS = {"postgres": "PostgreSQL 18.6", "redis": "Valkey 9.1.2"}


def notes_of(services: dict[str, dict[str, Any]], **options: Any) -> list[str]:
    options = {"store_versions": VERSIONS, **options}
    return list(manifest.read({"services": {"web": WEB, **services}}, **options).notes)


def test_a_matching_manifest_has_no_notes() -> None:
    assert notes_of({"db": {"image": "postgres:18"}, "cache": {"image": "valkey/valkey:9"}}) == []


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
def test_another_major_version_is_noted(image: str, note: list[str]) -> None:
    assert notes_of({"s": {"image": image}}) == note


def test_a_version_of_an_unknown_product_is_noted() -> None:
    assert notes_of({"s": {"image": "postgres:9.6"}}, store_versions={"postgres": "18.6"}) == [
        "s: the manifest names PostgreSQL 9; the embedded engine runs PostgreSQL 18.6"
    ]


def test_without_known_versions_there_is_no_note() -> None:
    assert notes_of({"s": {"image": "postgres:9.6"}}, store_versions=None) == []


def test_a_missing_extension_is_noted() -> None:
    assert notes_of({"s": {"image": "postgis/postgis:18-3.6"}}) == [
        "s: the embedded engine's PostgreSQL has no PostGIS"
    ]


def test_an_explicit_edge_role_suppresses_the_note() -> None:
    nginx = {"image": "nginx:1.29", "depends_on": ["web"]}
    assert len(notes_of({"nginx": nginx})) == 1
    assert notes_of({"nginx": {**nginx, "x-pushrod": {"role": "edge"}}}) == []


def test_unused_keys_of_a_store_are_noted() -> None:
    binds = [{"type": "bind", "source": "init.sql", "target": "/docker-entrypoint-initdb.d/init.sql"}]
    data = [{"type": "volume", "source": "data", "target": "/var/lib/postgresql/data"}]
    assert notes_of({"s": {"image": "redis:9", "command": ["redis-server", "--appendonly", "yes"]}}) == [
        "s: `command` not used: the embedded engine configures its stores itself"
    ]
    assert notes_of({"s": {"image": "postgres:18", "volumes": binds}}) == [
        "s: its SQL files (init.sql) run once, in an empty database, as the app's migrating role"
    ]
    assert notes_of({"s": {"image": "redis:9", "volumes": binds}}) == [
        "s: its mounted files not used: the embedded engine configures its stores itself"
    ]
    assert notes_of({"s": {"image": "postgres:18", "volumes": data}}) == []
    secret = {"secrets": [{"source": "pw"}], "environment": {"POSTGRES_PASSWORD_FILE": "/run/secrets/pw"}}
    assert notes_of({"s": {"image": "postgres:18", **secret}}) == [
        "s: `secrets`, `POSTGRES_PASSWORD_FILE` not used: the embedded engine configures its stores itself"
    ]


def test_replaced_web_servers_are_listed_in_one_note() -> None:
    result = notes_of({"nginx": {"image": "nginx"}, "certbot": {"image": "certbot/certbot"}})
    assert len(result) == 1
    assert result[0].startswith("nginx, certbot: pushrod's edge (nginx) replaces it")


def test_a_published_port_of_another_service_is_noted() -> None:
    published = {"ports": [{"target": 5555, "protocol": "tcp"}]}
    result = notes_of({"web": {**WEB, "x-pushrod": {"role": "entry"}}, "flower": {**WEB, **published}})
    assert result == [
        "flower: its published port stays closed; only the entry is reachable, through the edge"
    ]


def test_hooks_that_do_not_run_are_noted() -> None:
    hooks = {"post_start": [{"command": ["a"]}], "pre_stop": [{"command": ["b"]}]}
    assert notes_of({"web": {**WEB, **hooks}}) == [
        "web: `post_start`, `pre_stop` not applied on the embedded engine"
    ]


def test_keys_without_effect_are_noted() -> None:
    keys = {
        "privileged": True,
        "secrets": [{"source": "s"}],
        "deploy": {"resources": {"limits": {"cpus": 1}}},
    }
    assert notes_of({"web": {**WEB, **keys, "restart": "always", "networks": {"default": None}}}) == [
        "web: `privileged`, `secrets`, `deploy.resources` not applied on the embedded engine"
    ]


@pytest.mark.parametrize(
    ("working_dir", "mounts", "noted"),
    [
        ("/app", [("client", "/app")], False),
        ("/app/", [("shop.conf", "/etc/shop.conf"), (".", "/app")], False),
        ("/app/client", [(".", "/app")], True),
        ("/app", [("config", "/config"), (".", "/app")], True),
        ("/app", [("uploads", "/app")], True),
        ("/app", [("/srv/shop", "/app")], True),
        ("/app", [], True),
    ],
)
def test_a_working_directory_is_noted_unless_the_code_is_mounted_there(
    working_dir: str, mounts: list[tuple[str, str]], noted: bool
) -> None:
    """Programs of an image that is not built start where the first directory of the commit is mounted."""
    volumes = [{"type": "bind", "source": source, "target": target} for source, target in mounts]
    page = {
        "image": "node:22",
        "command": ["npm", "start"],
        "working_dir": working_dir,
        "volumes": volumes,
        "x-pushrod": {"role": "worker"},
    }
    result = notes_of({"page": page}, tracked=lambda path: path != "uploads")
    assert ("page: `working_dir` not applied on the embedded engine" in result) is noted


@pytest.mark.parametrize(("source", "noted"), [("./", False), ("client", True)])
def test_that_of_a_built_image_is_noted_unless_its_context_is_mounted_there(source: str, noted: bool) -> None:
    volumes = [{"type": "bind", "source": source, "target": "/app"}]
    assert (
        notes_of({"web": {**WEB, "working_dir": "/app", "volumes": volumes}})
        == ["web: `working_dir` not applied on the embedded engine"] * noted
    )


@pytest.mark.parametrize(
    ("mount", "noted"),
    [
        ({"type": "volume", "source": "media", "target": "/code/media"}, True),
        ({"type": "volume", "target": "/code/media"}, True),
        ({"type": "bind", "source": "./uploads", "target": "/code/uploads"}, True),
        ({"type": "volume", "source": "media", "target": "/code/media", "read_only": True}, False),
        ({"type": "volume", "source": "modules", "target": "/code/node_modules"}, False),
        ({"type": "volume", "target": "/code/node_modules"}, False),
        ({"type": "bind", "source": "./code", "target": "/code"}, False),
        ({"type": "tmpfs", "target": "/code/media"}, False),
    ],
)
def test_files_that_no_backup_contains_are_noted(mount: dict[str, Any], noted: bool) -> None:
    result = notes_of({"web": {**WEB, "volumes": [mount]}}, tracked=lambda path: path != "uploads")
    assert result == [f"web: {notes._NOT_COPIED}"] * noted


def test_a_limit_of_memory_of_a_jvm_has_the_note_on_its_heap_instead() -> None:
    limits = {"deploy": {"resources": {"limits": {"memory": "1048576"}}}, "mem_limit": "1048576"}
    both = ["web: `mem_limit`, `deploy.resources` not applied on the embedded engine"]
    assert notes_of({"web": {**WEB, **limits}}, bases={"web": "python"}) == both
    assert notes_of({"web": {**WEB, **limits}}, bases={"web": "eclipse-temurin:21-jre"}) == []
    limits["deploy"]["resources"]["limits"]["cpus"] = "1"  # type: ignore[index]
    assert notes_of({"web": {**WEB, **limits}}, bases={"web": "eclipse-temurin:21-jre"}) == [
        "web: `deploy.resources` not applied on the embedded engine"
    ]


def test_another_python_version_is_noted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(notes, "_PYTHON", "3.11")
    assert notes_of({}, bases={"web": "python:3.13-slim"}) == [
        "web: its Dockerfile names another Python version; the embedded engine runs it on 3.11"
    ]
    assert notes_of({}, bases={"web": "python:3.11.9"}) == []
    assert notes_of({}, bases={"web": "python:3"}) == []


class TestDocker:
    PUBLISHED = {"ports": [{"target": 80, "published": "80", "protocol": "tcp"}]}

    def notes_of(self, services: dict[str, dict[str, Any]]) -> list[str]:
        return notes_of({"web": {**WEB, **self.PUBLISHED}, **services}, engine="docker")

    def test_keys_that_are_applied_have_no_notes(self) -> None:
        keys = {
            "restart": "no", "cpus": 1, "mem_limit": "1048576", "links": ["web"], "volumes": ["./x:/x"],
            "networks": {"default": None}, "configs": [{"source": "c"}], "secrets": [{"source": "s"}],
            "build": {"context": ".", "network": "none"}, "pull_policy": "always", "init": True, "tmpfs": ["/t"],
        }  # fmt: skip
        assert (
            self.notes_of(
                {"worker": keys, "db": {"image": "postgres:16", "command": ["postgres", "-c", "x=1"]}}
            )
            == []
        )

    def test_closed_ports_of_stores_are_noted_once(self) -> None:
        stores = {"db": {"image": "mysql", **self.PUBLISHED}, "redis": {"image": "redis", **self.PUBLISHED}}
        assert self.notes_of(stores) == ["db, redis: published ports of stores stay closed"]

    def test_closed_ports_of_the_entry_are_noted(self) -> None:
        ports = [*self.PUBLISHED["ports"], {"target": 443, "published": "443", "protocol": "tcp"}]
        assert self.notes_of({"web": {**WEB, "ports": ports}}) == [
            "web: of its published ports only 80 is reachable, through the edge"
        ]

    def test_a_volume_shared_by_two_releases_is_noted(self) -> None:
        worker = {**WEB, "volumes": [{"type": "volume", "source": "data", "target": "/x"}]}
        note, unsaved = self.notes_of({"worker": worker})
        assert unsaved == f"worker: {notes._NOT_COPIED}"
        assert note.startswith("worker: has a volume, which the old and the new release briefly use")
        first = {**worker, "deploy": {"update_config": {"order": "stop-first"}}}
        unsaved, note = self.notes_of({"worker": first})
        assert unsaved == f"worker: {notes._NOT_COPIED}"
        assert note.startswith("worker: stops before its new instances start")

    def test_of_the_volume_of_a_store_there_are_backups(self) -> None:
        volumes = {"volumes": [{"type": "volume", "source": "data", "target": "/x"}]}
        services: dict[str, Any] = {"mongo": {"image": "mongo", **volumes}, "worker": {**WEB, **volumes}}
        assert not [note for note in self.notes_of(services) if notes._NOT_COPIED in note]

    def test_an_anonymous_volume_has_one_note(self) -> None:
        (note,) = self.notes_of({"worker": {**WEB, "volumes": [{"type": "volume", "target": "/x"}]}})
        assert note.startswith("worker: keeps its anonymous volume (/x)")

    def test_container_names_and_networks_are_noted(self) -> None:
        mine = {**WEB, "networks": {"front": None}}
        assert self.notes_of(
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
        ({"image": "metabase/metabase", **PAGE, **RUNS, "deploy": {"replicas": 1}}, False),  # it is kept
        ({"image": "metabase/metabase", **RUNS, "environment": {"FOR": "http://web:8000"}}, True),
        (
            {"image": "metabase/metabase", **RUNS, "x-pushrod": {"routes": {"/m/": {}}}, "expose": ["3000"]},
            True,
        ),
        ({"image": "nginx", "environment": {"FOR": "http://web:8000"}}, False),
        ({"image": "metabase/metabase", **PAGE, **RUNS, **DATA}, False),
        ({"image": "metabase/metabase", **PAGE, **RUNS, **BY_DB}, True),
        ({"image": "grafana/grafana", **PAGE, **BY_DB}, True),
        *(
            ({"image": name, **PAGE, **BY_DB}, True)
            for name in (
                "directus/directus",
                "drupal",
                "ghcr.io/open-webui/open-webui",
                "moodle",
                "nextcloud",
                "vaultwarden/server",
                "wordpress:6",
            )
        ),
        ({"image": "louislam/uptime-kuma", **PAGE, **BY_DB}, True),
        ({"image": "wordpress", **PAGE, **BY_DB, **DATA}, False),
        ({"image": "adminer", **PAGE}, False),
        ({"image": "somebody/worker"}, False),
        ({"image": "nginx", **PAGE}, False),
        ({"image": "metabase/metabase", **PAGE, **RUNS, "x-pushrod": {"role": "worker"}}, False),
        ({"build": {"context": "."}, **PAGE, "depends_on": ["web"]}, False),
    ],
)
def test_a_pulled_service_that_loses_its_files_is_noted(service: dict[str, Any], noted: bool) -> None:
    services: dict[str, Any] = {"web": {**WEB, **PAGE}, "db": {"image": "postgres"}, "a": service}
    result = notes_of(services, engine="docker", store_versions=None)
    assert any(n.startswith("a: is replaced with each release") for n in result) == noted


@pytest.mark.parametrize(
    ("service", "noted"),
    [
        ({"build": {"context": "db"}}, True),
        ({"build": {"context": "db"}, **DATA}, False),
        ({"build": {"context": "db"}, "x-pushrod": {"role": "worker"}}, False),
    ],
)
def test_a_built_database_that_loses_its_files_is_noted(service: dict[str, Any], noted: bool) -> None:
    result = notes_of({"web": {**WEB, **PAGE}, "graph-db": service}, engine="docker", store_versions=None)
    assert any(n.startswith("graph-db: is replaced with each release") for n in result) == noted


@pytest.mark.parametrize(
    ("service", "condition"),
    [
        ({"build": {"context": "."}}, "as with Compose, if its image has no files there"),
        ({"image": "wordpress", **PAGE, "x-pushrod": {"role": "worker"}}, "as with Compose"),
        ({"image": "wordpress", **BY_DB}, ""),  # a store, whose volumes get names
    ],
)
def test_kept_volumes_without_a_name_are_noted(service: dict[str, Any], condition: str) -> None:
    paths = ("/code/uploads", "/code/node_modules", "/code/.venv/", "/tmp/x")
    volumes = [{"type": "volume", "target": path} for path in paths]
    services: dict[str, Any] = {"web": {**WEB, **PAGE}, "db": {"image": "postgres"}}
    services["a"] = {**service, "volumes": volumes}
    result = notes_of(services, engine="docker", store_versions=None)
    mine = [n for n in result if n.startswith(("a: keeps", "a: is replaced"))]
    note = f"a: keeps its anonymous volume (/code/uploads) from release to release, {condition}"
    twice = "the old and the new release briefly use it at the same time; if only one may: "
    stop_first = "`deploy: {update_config: {order: stop-first}}`"
    assert mine == ([f"{note}; backups do not contain it; {twice}{stop_first}"] if condition else [])


def test_a_proxy_label_without_a_route_is_noted() -> None:
    labels = ["traefik.enable=true", "traefik.http.routers.a.rule=Host(`x.org`) && PathPrefix(`/api`)"]
    entry = {**WEB, **PAGE, "labels": ["traefik.enable=true"], "x-pushrod": {"role": "entry"}}
    services: dict[str, Any] = {"web": entry, "a": {**WEB, "labels": labels}}
    note = "a: a proxy would lead requests to it by its labels; here only a route does: "
    note += "`x-pushrod: {routes: {/api: {}}}`"
    assert note in notes_of(services)
    services["a"] |= {"x-pushrod": {"routes": {"/api": {}}}, "expose": ["8000"]}
    assert not any(n.startswith("a: a proxy would") for n in notes_of(services))
