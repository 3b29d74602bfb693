"""The roles of services in manifests not written for pushrod."""

from collections.abc import Mapping
from typing import Any

import pytest

from pushrod import manifest
from pushrod.core.errors import ManifestError
from pushrod.core.values import EngineName, Manifest


def read(services: Mapping[str, object], **options: Any) -> Manifest:
    return manifest.read({"services": services}, **options)


def refused(services: Mapping[str, object], **options: Any) -> ManifestError:
    with pytest.raises(ManifestError) as error:
        read(services, **options)
    return error.value


BUILD = {"build": {"context": "backend", "dockerfile": "Dockerfile"}}
PUBLISHED = {"ports": [{"target": 8000, "published": "8000", "protocol": "tcp"}]}


class TestStores:
    def test_known_images_are_stores(self) -> None:
        result = read(
            {"db": {"image": "postgis/postgis:17-3.5"}, "cache": {"image": "valkey/valkey:9"}, "web": BUILD}
        )
        assert [(s.name, s.role, s.store) for s in result.stores] == [
            ("db", "store", "postgres"),
            ("cache", "store", "redis"),
        ]

    def test_a_service_built_from_a_store_image_is_a_store(self) -> None:
        services = {"db": {"build": {"context": "db"}}, "web": {**BUILD, **PUBLISHED}}
        result = read(services, bases={"db": "postgres:17"})
        assert result.service("db").store == "postgres"

    @pytest.mark.parametrize("image", ["mysql:8", "mongo", "docker.io/library/rabbitmq:4-management"])
    def test_another_store_needs_the_docker_engine(self, image: str) -> None:
        error = refused({"data": {"image": image}, "web": BUILD})
        assert error.where == "services.data"
        assert "data" in error.what
        assert "Docker engine" in error.what

    def test_another_store_is_accepted_on_docker(self) -> None:
        result = read({"data": {"image": "mongo:8"}, "web": BUILD}, engine="docker")
        assert (result.service("data").role, result.service("data").store) == ("store", None)

    def test_an_unknown_pulled_image_with_a_volume_is_a_store(self) -> None:
        volume = {"volumes": [{"type": "volume", "source": "d", "target": "/data"}]}
        assert "cannot pull" in refused({"odd": {"image": "odd/thing", **volume}, "web": BUILD}).what
        result = read(
            {
                "odd": {"image": "odd/thing", **volume, "x-pushrod": {"role": "worker"}},
                "web": BUILD | PUBLISHED,
            }
        )
        assert result.service("odd").role == "worker"

    @pytest.mark.parametrize("image", ["apache/superset", "odoo:17", "ghcr.io/paperless-ngx/paperless-ngx"])
    def test_an_application_in_an_image_is_refused_for_its_image_on_the_embedded_engine(
        self, image: str
    ) -> None:
        volume = {"volumes": [{"type": "volume", "source": "d", "target": "/data"}]}
        error = refused({"app": {"image": image, **volume, **PUBLISHED}})
        assert error.what == f"app runs the image {image}, which the embedded engine cannot pull"
        assert "role" not in error.hint

    def test_a_store_that_publishes_a_page_is_named_if_there_is_no_entry(self) -> None:
        error = refused({"minio": {"image": "minio/minio", **PUBLISHED}}, engine="docker")
        assert error.what == "no entry: minio, which publishes a port, is a store, and the site is not one"
        assert "x-pushrod: {role: entry}" in error.hint
        assert "publish its port" not in error.hint

    def test_an_unknown_image_without_a_volume_is_a_worker(self) -> None:
        result = read({"odd": {"image": "odd/thing"}, "web": {**BUILD, **PUBLISHED}})
        assert result.service("odd").role == "worker"

    @pytest.mark.parametrize(
        "tool",
        [
            {"image": "mher/flower"},
            {"image": "dpage/pgadmin4", "volumes": [{"type": "volume", "source": "p", "target": "/p"}]},
            {"image": "prom/prometheus", "command": ["--config.file=/x"]},
        ],
    )
    def test_administration_tools_are_left_out_on_the_embedded_engine(self, tool: dict[str, Any]) -> None:
        web = {**BUILD, **PUBLISHED, "depends_on": ["tool"]}
        result = read({"tool": tool, "web": web})
        assert ([s.name for s in result.services], result.entry.depends_on) == (["web"], ())
        assert result.notes[0].startswith("tool: not run: an administration tool in an image")
        assert len(on_docker({"tool": tool, "web": web}).services) == 2

    def test_a_built_service_with_a_volume_stays_stateless(self) -> None:
        assert (
            read(
                {"web": {**BUILD, "volumes": [{"type": "volume", "source": "d", "target": "/d"}]}}
            ).entry.name
            == "web"
        )


class TestEntry:
    def test_the_only_stateless_service_is_the_entry(self) -> None:
        assert read({"web": BUILD, "db": {"image": "postgres"}}).entry.name == "web"

    def test_the_service_with_a_published_port_is_the_entry(self) -> None:
        result = read({"a": BUILD, "web": {**BUILD, **PUBLISHED}, "c": {**BUILD, "expose": ["9000"]}})
        assert result.entry.name == "web"
        assert [s.name for s in result.stateless if s.role == "worker"] == ["a", "c"]

    def test_a_published_udp_port_does_not_count(self) -> None:
        udp = {"ports": [{"target": 53, "published": "53", "protocol": "udp"}]}
        assert refused({"a": {**BUILD, **udp}, "b": BUILD}).what.startswith("no entry")

    def test_the_service_with_an_exposed_port_is_the_entry(self) -> None:
        assert read({"a": BUILD, "web": {**BUILD, "expose": ["9000"]}}).entry.port == 9000

    def test_the_service_with_a_health_path_is_the_entry(self) -> None:
        assert read({"a": BUILD, "web": {**BUILD, "x-pushrod": {"health": "/up"}}}).entry.name == "web"

    @pytest.mark.parametrize("engine", ["embedded", "docker"])
    def test_a_root_route_precedes_a_published_port(self, engine: EngineName) -> None:
        routes: dict[str, Any] = {"x-pushrod": {"routes": {"/": {}}}}
        result = read(
            {"admin": BUILD | PUBLISHED, "web": BUILD | {"expose": ["8000"]} | routes}, engine=engine
        )
        assert result.entry.name == "web"

    def test_a_health_path_decides_between_two_published_ports(self) -> None:
        services = {
            "flower": {**BUILD, **PUBLISHED},
            "web": {**BUILD, **PUBLISHED, "x-pushrod": {"health": "/up"}},
        }
        assert read(services).entry.name == "web"

    def test_the_service_behind_the_web_server_is_the_entry(self) -> None:
        services = {
            "nginx": {
                "image": "nginx:latest",
                **PUBLISHED,
                "depends_on": {"web": {"condition": "service_started"}},
            },
            "web": BUILD,
            "worker": BUILD,
            "flower": {**BUILD, **PUBLISHED},
        }
        assert read(services).entry.name == "web"

    def test_names_decide_between_two_services_behind_the_web_server(self) -> None:
        proxy = {"image": "nginx", **PUBLISHED, "depends_on": ["api", "front"]}
        result = read({"nginx": proxy, "api": BUILD, "front": BUILD})
        assert result.entry.name == "front"
        assert result.because.startswith("front is the entry")

    def test_a_web_server_without_dependencies_serves_the_only_service(self) -> None:
        assert read({"proxy": {"image": "caddy:2", **PUBLISHED}, "web": BUILD}).entry.name == "web"

    def test_an_explicit_role_decides(self) -> None:
        services = {"a": {**BUILD, **PUBLISHED}, "web": {**BUILD, "x-pushrod": {"role": "entry"}}}
        assert read(services).entry.name == "web"
        services = {
            "a": {**BUILD, **PUBLISHED, "x-pushrod": {"role": "worker"}},
            "web": {**BUILD, **PUBLISHED},
        }
        assert read(services).entry.name == "web"

    def test_two_candidates_are_refused(self) -> None:
        error = refused({"a": {**BUILD, **PUBLISHED}, "b": {**BUILD, **PUBLISHED}})
        assert error.what == "two entries: a and b"
        assert "x-pushrod: {role: entry}" in error.hint

    def test_three_candidates_are_refused(self) -> None:
        assert refused({n: {**BUILD, **PUBLISHED} for n in "abc"}).what == "3 entries: a, b and c"

    def test_two_explicit_entries_are_refused(self) -> None:
        role = {"x-pushrod": {"role": "entry"}}
        assert refused({"a": {**BUILD, **role}, "b": {**BUILD, **role}}).what == "two entries: a and b"

    @pytest.mark.parametrize("services", [{"a": BUILD, "b": BUILD}, {"db": {"image": "postgres"}}])
    def test_no_candidate_is_refused(self, services: Mapping[str, object]) -> None:
        error = refused(services)
        assert error.what.startswith("no entry")
        assert "ports" in error.hint

    def test_an_entry_without_instances_is_refused(self) -> None:
        error = refused({"web": {**BUILD, "deploy": {"replicas": 0}}})
        assert (error.where, error.what[:30]) == (
            "services.web.deploy.replicas",
            "expected at least one replica ",
        )

    def test_on_docker_the_web_server_is_the_entry(self) -> None:
        services = {"nginx": {"image": "nginx", **PUBLISHED}, "web": {**BUILD, **PUBLISHED}}
        result = read(services, engine="docker")
        assert result.entry.name == "nginx"
        assert result.notes == (
            "web: its published port stays closed; only the entry is reachable, through the edge",
        )


class TestEdge:
    def test_the_edge_replaces_a_pulled_web_server(self) -> None:
        result = read({"nginx": {"image": "nginx:latest", **PUBLISHED}, "web": BUILD})
        assert result.service("nginx").role == "edge"
        assert [s.name for s in result.stateless] == ["web"]

    def test_the_edge_replaces_a_service_built_from_a_web_server(self) -> None:
        services = {"proxy": {"build": {"context": "proxy"}, **PUBLISHED}, "web": BUILD}
        assert read(services, bases={"proxy": "nginx:1.27"}).service("proxy").role == "edge"
        assert read(services).entry.name == "proxy"

    @pytest.mark.parametrize("engine", ["embedded", "docker"])
    def test_the_edge_replaces_a_service_with_the_edge_role(self, engine: EngineName) -> None:
        """Also on Docker, where an app's own web server would be the entry."""
        front = {"image": "nginx:1", **PUBLISHED, "depends_on": ["api"], "x-pushrod": {"role": "edge"}}
        result = read({"front": front, "web": BUILD, "api": BUILD}, engine=engine)
        assert (result.service("front").role, result.entry.name) == ("edge", "api")

    def test_a_route_to_a_replaced_service_is_refused(self) -> None:
        routes = {"role": "edge", "routes": {"/a/": {}}}
        error = refused(
            {"front": {"image": "nginx:1", "x-pushrod": routes}, "web": BUILD | PUBLISHED}, engine="docker"
        )
        assert (error.what, error.where) == (
            "requests cannot go to front, because it has no instances",
            "services.front",
        )


class TestJobs:
    WAITS = {"depends_on": {"migrate": {"condition": "service_completed_successfully"}}}

    def test_a_one_shot_service_becomes_the_release_command(self) -> None:
        services = {
            "worker": {**BUILD, **self.WAITS},
            "web": {**BUILD, **PUBLISHED, **self.WAITS},
            "migrate": {**BUILD, "command": ["alembic", "upgrade", "head"]},
        }
        result = read(services)
        assert [s.name for s in result.services] == ["worker", "web"]
        assert result.entry.release == ("alembic", "upgrade", "head")
        assert result.service("worker").release == ()
        assert result.entry.depends_on == ()
        assert result.notes[0] == "migrate: runs once per release, as the release command of web"

    @pytest.mark.parametrize(
        "job",
        [
            {"build": {"context": "other"}, "command": ["x"]},
            {**BUILD},
        ],
    )
    def test_a_one_shot_service_that_cannot_be_the_release_command_is_refused(
        self, job: dict[str, Any]
    ) -> None:
        error = refused({"web": {**BUILD, **self.WAITS}, "migrate": job})
        assert error.where == "services.migrate"
        assert "release" in error.hint

    def test_a_second_release_command_is_refused(self) -> None:
        own = {"x-pushrod": {"release": "python seed.py"}}
        error = refused({"web": {**BUILD, **self.WAITS, **own}, "migrate": {**BUILD, "command": ["x"]}})
        assert "one release command" in error.what


def published(*ports: tuple[int, int]) -> dict[str, Any]:
    """A built service that publishes these ports: of the container, of the host."""
    return {**BUILD, "ports": [{"target": t, "published": str(p), "protocol": "tcp"} for t, p in ports]}


def on_docker(services: Mapping[str, object], **options: Any) -> Manifest:
    return read(services, engine="docker", **options)


VOLUME = {"volumes": [{"type": "volume", "source": "d", "target": "/d"}]}


class TestEntryOnDocker:
    @pytest.mark.parametrize(
        ("ports", "result"),
        [
            ({"a": 9000, "b": 3000, "c": 8080}, "c"),
            ({"a": 443, "b": 80}, "b"),
            ({"a": 5000, "b": 3000}, "b"),
        ],
    )
    def test_the_most_likely_published_port_is_the_entry(self, ports: dict[str, int], result: str) -> None:
        read = on_docker({name: published((1000, port)) for name, port in ports.items()})
        assert read.entry.name == result
        others = ", ".join(name for name in ports if name != result)
        assert list(read.notes) == [
            f"{result} is the entry, because it publishes port {ports[result]}; `x-pushrod: {{role: entry}}` in "
            "another service changes that",
            f"{others}: its published port stays closed; only the entry is reachable, through the edge",
        ]

    def test_two_equally_likely_services_are_refused(self) -> None:
        result = {name: published((1000, port)) for name, port in {"a": 9001, "b": 9000}.items()}
        error = refused(result, engine="docker")
        assert error.what == "two entries: a and b"
        assert "x-pushrod: {role: entry}" in error.hint

    def test_an_explicit_role_precedes_ports(self) -> None:
        marked = published((9000, 9000)) | {"x-pushrod": {"role": "entry"}}
        result = on_docker({"a": published((80, 80)), "b": marked})
        assert result.entry.name == "b"
        assert not any("because" in note for note in result.notes)
        assert refused({"a": marked, "b": marked}, engine="docker").what == "two entries: a and b"

    def test_two_exposed_services_are_refused(self) -> None:
        exposed = {**BUILD, "expose": ["80"]}
        assert refused({"a": exposed, "b": exposed}, engine="docker").what == "two entries: a and b"

    def test_the_port_for_plain_http_is_chosen(self) -> None:
        assert on_docker({"a": published((443, 443), (8080, 80))}).entry.port == 8080
        assert on_docker({"a": published((9090, 9090), (3000, 3000))}).entry.port == 3000
        assert on_docker({"a": published((8443, 443), (8001, 8001))}).entry.port == 8001
        assert on_docker({"a": published((8443, 443))}).entry.port == 8443
        assert read({"a": published((443, 443), (8080, 80))}).entry.port == 8080
        assert on_docker({"a": published((9229, 9229), (3333, 3333))}).entry.port == 3333
        assert read({"a": published((22, 22), (3333, 3333))}).entry.port == 3333

    def test_a_pulled_app_with_a_volume_is_the_entry(self) -> None:
        """Pulled, with a volume, and the only service that can be reached."""
        wordpress = {"image": "wordpress", "ports": PUBLISHED["ports"], **VOLUME}
        result = on_docker({"wordpress": wordpress, "db": {"image": "mysql", **VOLUME}, "cron": BUILD})
        assert {s.name: s.role for s in result.services} == {
            "wordpress": "entry",
            "db": "store",
            "cron": "worker",
        }
        assert result.notes == (
            "wordpress: has a volume, which the old and the new release briefly use at the same time; "
            "if only one may: `deploy: {update_config: {order: stop-first}}`",
        )

    def test_next_to_a_built_service_a_pulled_app_with_a_volume_is_a_store(self) -> None:
        grafana = {"image": "grafana/grafana", "ports": PUBLISHED["ports"], **VOLUME}
        result = on_docker({"grafana": grafana, "web": published((8000, 8000))})
        assert (result.entry.name, result.service("grafana").role) == ("web", "store")

    def test_a_known_store_is_never_the_entry(self) -> None:
        database = {"image": "postgres", "ports": PUBLISHED["ports"], **VOLUME}
        assert refused({"db": database}, engine="docker").what.startswith("no entry")


class TestJobsOnDocker:
    @staticmethod
    def after(*names: str, condition: str = "service_completed_successfully") -> dict[str, Any]:
        return {"depends_on": {name: {"condition": condition} for name in names}}

    @pytest.mark.parametrize(
        "job", [{"build": "other"}, {"image": "minio/mc"}, {"image": "postgres:17", **VOLUME}]
    )
    def test_a_service_awaited_to_complete_is_a_job(self, job: dict[str, Any]) -> None:
        result = on_docker({"web": {**BUILD, **PUBLISHED, **self.after("job")}, "job": job})
        assert (result.service("job").role, result.service("job").replicas) == ("job", 0)
        assert result.entry.depends_on == ()
        assert result.entry.release == ()
        assert [s.name for s in result.stateless] == ["web", "job"]
        assert result.notes == ()

    def test_jobs_run_after_the_jobs_they_wait_for(self) -> None:
        services = {
            "a-seed": {**BUILD, **self.after("m-check")},
            "db": {"image": "postgres"},
            "m-check": {**BUILD, **self.after("z-migrate", "db", condition="service_started")},
            "web": {**BUILD, **PUBLISHED, **self.after("a-seed", "m-check", "z-migrate")},
            "z-migrate": {**BUILD, **self.after("db", condition="service_healthy")},
        }
        result = on_docker(services)
        assert [s.name for s in result.services if s.role == "job"] == ["z-migrate", "m-check", "a-seed"]
        assert [s.name for s in result.services] == ["z-migrate", "db", "m-check", "web", "a-seed"]
        assert result.service("m-check").depends_on == ("db",)

    def test_an_awaited_service_with_a_role_keeps_it(self) -> None:
        worker = {**BUILD, "x-pushrod": {"role": "worker"}}
        result = on_docker({"web": {**BUILD, **PUBLISHED, **self.after("job")}, "job": worker})
        assert (result.service("job").role, result.entry.depends_on) == ("worker", ("job",))

    def test_a_one_shot_service_that_nobody_awaits_is_a_worker(self) -> None:
        once = {"image": "postgres:17", "command": ["psql"], "restart": "no"}
        result = on_docker({"web": {**BUILD, **PUBLISHED}, "once": once, "db": {"image": "postgres:17"}})
        assert [(s.name, s.role) for s in result.services] == [
            ("web", "entry"),
            ("once", "worker"),
            ("db", "store"),
        ]
        assert on_docker({"web": BUILD, "db": {**once, **VOLUME}}).service("db").role == "store"

    @pytest.mark.parametrize(
        "words",
        [
            {},
            {"command": ["-c", "fsync=off"]},
            {"command": ["sh", "-c", "exec postgres -c fsync=off"]},
            {"entrypoint": ["docker-entrypoint.sh", "postgres"]},
        ],
    )
    def test_a_database_server_is_a_store_even_without_a_restart_policy(
        self, words: dict[str, object]
    ) -> None:
        db = {"image": "postgres:17", "restart": "no", **words}
        assert on_docker({"web": BUILD, "db": db}).service("db").role == "store"

    @pytest.mark.parametrize("image", ["busybox", "node:22-alpine", "docker.io/library/python:3.13"])
    def test_a_language_image_with_a_volume_is_not_a_store(self, image: str) -> None:
        runs = {"image": image, "command": "npm run dev", **VOLUME}
        assert on_docker({"web": {**BUILD, **PUBLISHED}, "a": runs}).service("a").role == "worker"
        assert on_docker({"a": {**runs, **PUBLISHED}}).entry.name == "a"

    def test_an_unmet_start_order_is_noted(self) -> None:
        services = {
            "web": {**BUILD, **PUBLISHED},
            "worker": {**BUILD, **self.after("seed")},
            "seed": {**BUILD, **self.after("web", condition="service_healthy")},
            "keys": BUILD,
            "db": {"image": "mysql", **self.after("keys")},
        }
        assert on_docker(services).notes == (
            "db: starts before keys, which it waits for: stores come first",
            "seed: runs before the new web, which it depends on",
        )

    def test_a_dependency_cycle_is_refused(self) -> None:
        services = {
            "web": {**BUILD, **PUBLISHED, **self.after("a")},
            "a": {**BUILD, **self.after("b")},
            "b": {**BUILD, **self.after("a")},
        }
        error = refused(services, engine="docker")
        assert "wait for each other" in error.what
