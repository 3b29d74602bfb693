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
    def test_known_images(self) -> None:
        found = read(
            {"db": {"image": "postgis/postgis:17-3.5"}, "cache": {"image": "valkey/valkey:9"}, "web": BUILD}
        )
        assert [(s.name, s.role, s.store) for s in found.stores] == [
            ("db", "store", "postgres"),
            ("cache", "store", "redis"),
        ]

    def test_one_that_is_built_from_a_known_image(self) -> None:
        services = {"db": {"build": {"context": "db"}}, "web": {**BUILD, **PUBLISHED}}
        found = read(services, bases={"db": "postgres:17"})
        assert found.service("db").store == "postgres"

    @pytest.mark.parametrize("image", ["mysql:8", "mongo", "docker.io/library/rabbitmq:4-management"])
    def test_another_kind_needs_the_other_engine(self, image: str) -> None:
        error = refused({"data": {"image": image}, "web": BUILD})
        assert error.where == "services.data"
        assert "data" in error.what
        assert "Docker engine" in error.what

    def test_another_kind_is_fine_on_docker(self) -> None:
        found = read({"data": {"image": "mongo:8"}, "web": BUILD}, engine="docker")
        assert (found.service("data").role, found.service("data").store) == ("store", None)

    def test_an_unknown_pulled_image_with_a_volume_holds_data(self) -> None:
        volume = {"volumes": [{"type": "volume", "source": "d", "target": "/data"}]}
        assert "Docker engine" in refused({"odd": {"image": "odd/thing", **volume}, "web": BUILD}).what
        found = read(
            {
                "odd": {"image": "odd/thing", **volume, "x-pushrod": {"role": "worker"}},
                "web": BUILD | PUBLISHED,
            }
        )
        assert found.service("odd").role == "worker"

    def test_one_without_a_volume_does_not(self) -> None:
        found = read({"odd": {"image": "odd/thing"}, "web": {**BUILD, **PUBLISHED}})
        assert found.service("odd").role == "worker"

    @pytest.mark.parametrize(
        "tool",
        [
            {"image": "mher/flower"},
            {"image": "dpage/pgadmin4", "volumes": [{"type": "volume", "source": "p", "target": "/p"}]},
            {"image": "prom/prometheus", "command": ["--config.file=/x"]},
        ],
    )
    def test_tools_that_are_images_are_left_out_on_the_embedded_engine(self, tool: dict[str, Any]) -> None:
        web = {**BUILD, **PUBLISHED, "depends_on": ["tool"]}
        found = read({"tool": tool, "web": web})
        assert ([s.name for s in found.services], found.entry.depends_on) == (["web"], ())
        assert found.notes[0].startswith("tool: not run: an administration tool in an image")
        assert len(on_docker({"tool": tool, "web": web}).services) == 2

    def test_a_built_service_with_a_volume_stays_stateless(self) -> None:
        assert (
            read(
                {"web": {**BUILD, "volumes": [{"type": "volume", "source": "d", "target": "/d"}]}}
            ).entry.name
            == "web"
        )


class TestEntry:
    def test_the_only_stateless_service(self) -> None:
        assert read({"web": BUILD, "db": {"image": "postgres"}}).entry.name == "web"

    def test_the_published_port(self) -> None:
        found = read({"a": BUILD, "web": {**BUILD, **PUBLISHED}, "c": {**BUILD, "expose": ["9000"]}})
        assert found.entry.name == "web"
        assert [s.name for s in found.stateless if s.role == "worker"] == ["a", "c"]

    def test_a_published_udp_port_says_nothing(self) -> None:
        udp = {"ports": [{"target": 53, "published": "53", "protocol": "udp"}]}
        assert refused({"a": {**BUILD, **udp}, "b": BUILD}).what.startswith("no entry")

    def test_the_exposed_port(self) -> None:
        assert read({"a": BUILD, "web": {**BUILD, "expose": ["9000"]}}).entry.port == 9000

    def test_the_health_path(self) -> None:
        assert read({"a": BUILD, "web": {**BUILD, "x-pushrod": {"health": "/up"}}}).entry.name == "web"

    @pytest.mark.parametrize("engine", ["embedded", "docker"])
    def test_a_route_says_so_before_a_published_port_does(self, engine: EngineName) -> None:
        routes: dict[str, Any] = {"x-pushrod": {"routes": {"/": {}}}}
        found = read(
            {"admin": BUILD | PUBLISHED, "web": BUILD | {"expose": ["8000"]} | routes}, engine=engine
        )
        assert found.entry.name == "web"

    def test_a_health_path_tells_two_published_ones_apart(self) -> None:
        services = {
            "flower": {**BUILD, **PUBLISHED},
            "web": {**BUILD, **PUBLISHED, "x-pushrod": {"health": "/up"}},
        }
        assert read(services).entry.name == "web"

    def test_what_the_web_server_stands_in_front_of(self) -> None:
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

    def test_a_web_server_that_names_nothing_stands_in_front_of_the_only_one(self) -> None:
        assert read({"proxy": {"image": "caddy:2", **PUBLISHED}, "web": BUILD}).entry.name == "web"

    def test_the_role_that_is_written(self) -> None:
        services = {"a": {**BUILD, **PUBLISHED}, "web": {**BUILD, "x-pushrod": {"role": "entry"}}}
        assert read(services).entry.name == "web"
        services = {
            "a": {**BUILD, **PUBLISHED, "x-pushrod": {"role": "worker"}},
            "web": {**BUILD, **PUBLISHED},
        }
        assert read(services).entry.name == "web"

    def test_two(self) -> None:
        error = refused({"a": {**BUILD, **PUBLISHED}, "b": {**BUILD, **PUBLISHED}})
        assert error.what == "two entries: a and b"
        assert "x-pushrod: {role: entry}" in error.hint

    def test_three(self) -> None:
        assert refused({n: {**BUILD, **PUBLISHED} for n in "abc"}).what == "3 entries: a, b and c"

    def test_two_that_are_written(self) -> None:
        role = {"x-pushrod": {"role": "entry"}}
        assert refused({"a": {**BUILD, **role}, "b": {**BUILD, **role}}).what == "two entries: a and b"

    @pytest.mark.parametrize("services", [{"a": BUILD, "b": BUILD}, {"db": {"image": "postgres"}}])
    def test_none(self, services: Mapping[str, object]) -> None:
        error = refused(services)
        assert error.what.startswith("no entry")
        assert "ports" in error.hint

    def test_one_without_instances(self) -> None:
        error = refused({"web": {**BUILD, "deploy": {"replicas": 0}}})
        assert (error.where, error.what[:30]) == (
            "services.web.deploy.replicas",
            "expected at least one replica ",
        )

    def test_on_docker_the_web_server_itself(self) -> None:
        services = {"nginx": {"image": "nginx", **PUBLISHED}, "web": {**BUILD, **PUBLISHED}}
        found = read(services, engine="docker")
        assert found.entry.name == "nginx"
        assert found.notes == (
            "web: its published port stays closed; only the entry is reachable, through the edge",
        )


class TestEdge:
    def test_a_pulled_web_server_gives_way(self) -> None:
        found = read({"nginx": {"image": "nginx:latest", **PUBLISHED}, "web": BUILD})
        assert found.service("nginx").role == "edge"
        assert [s.name for s in found.stateless] == ["web"]

    def test_so_does_one_that_is_built_from_it(self) -> None:
        services = {"proxy": {"build": {"context": "proxy"}, **PUBLISHED}, "web": BUILD}
        assert read(services, bases={"proxy": "nginx:1.27"}).service("proxy").role == "edge"
        assert read(services).entry.name == "proxy"

    @pytest.mark.parametrize("engine", ["embedded", "docker"])
    def test_so_does_whatever_is_written_to_be_one(self, engine: EngineName) -> None:
        """Also on Docker, where an app's own web server would be the entry."""
        front = {"image": "nginx:1", **PUBLISHED, "depends_on": ["api"], "x-pushrod": {"role": "edge"}}
        found = read({"front": front, "web": BUILD, "api": BUILD}, engine=engine)
        assert (found.service("front").role, found.entry.name) == ("edge", "api")

    def test_no_request_goes_there(self) -> None:
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

    def test_becomes_the_release_command(self) -> None:
        services = {
            "worker": {**BUILD, **self.WAITS},
            "web": {**BUILD, **PUBLISHED, **self.WAITS},
            "migrate": {**BUILD, "command": ["alembic", "upgrade", "head"]},
        }
        found = read(services)
        assert [s.name for s in found.services] == ["worker", "web"]
        assert found.entry.release == ("alembic", "upgrade", "head")
        assert found.service("worker").release == ()
        assert found.entry.depends_on == ()
        assert found.notes[0] == "migrate: runs once per release, as the release command of web"

    @pytest.mark.parametrize(
        "job",
        [
            {"build": {"context": "other"}, "command": ["x"]},
            {**BUILD},
        ],
    )
    def test_one_that_has_no_place(self, job: dict[str, Any]) -> None:
        error = refused({"web": {**BUILD, **self.WAITS}, "migrate": job})
        assert error.where == "services.migrate"
        assert "release" in error.hint

    def test_a_service_has_room_for_one(self) -> None:
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
        ("ports", "found"),
        [
            ({"a": 9000, "b": 3000, "c": 8080}, "c"),
            ({"a": 443, "b": 80}, "b"),
            ({"a": 5000, "b": 3000}, "b"),
        ],
    )
    def test_of_several_published_ones_the_likeliest_port(self, ports: dict[str, int], found: str) -> None:
        read = on_docker({name: published((1000, port)) for name, port in ports.items()})
        assert read.entry.name == found
        others = ", ".join(name for name in ports if name != found)
        assert list(read.notes) == [
            f"{found} is the entry, because it publishes port {ports[found]}; `x-pushrod: {{role: entry}}` in "
            "another service changes that",
            f"{others}: its published port stays closed; only the entry is reachable, through the edge",
        ]

    def test_two_that_are_equally_likely_are_asked_about(self) -> None:
        found = {name: published((1000, port)) for name, port in {"a": 9001, "b": 9000}.items()}
        error = refused(found, engine="docker")
        assert error.what == "two entries: a and b"
        assert "x-pushrod: {role: entry}" in error.hint

    def test_what_is_written_goes_before(self) -> None:
        marked = published((9000, 9000)) | {"x-pushrod": {"role": "entry"}}
        found = on_docker({"a": published((80, 80)), "b": marked})
        assert found.entry.name == "b"
        assert not any("because" in note for note in found.notes)
        assert refused({"a": marked, "b": marked}, engine="docker").what == "two entries: a and b"

    def test_two_that_are_only_exposed(self) -> None:
        exposed = {**BUILD, "expose": ["80"]}
        assert refused({"a": exposed, "b": exposed}, engine="docker").what == "two entries: a and b"

    def test_its_port_is_the_one_for_plain_http(self) -> None:
        assert on_docker({"a": published((443, 443), (8080, 80))}).entry.port == 8080
        assert on_docker({"a": published((9090, 9090), (3000, 3000))}).entry.port == 3000
        assert on_docker({"a": published((8443, 443), (8001, 8001))}).entry.port == 8001
        assert on_docker({"a": published((8443, 443))}).entry.port == 8443
        assert read({"a": published((443, 443), (8080, 80))}).entry.port == 8080
        assert on_docker({"a": published((9229, 9229), (3333, 3333))}).entry.port == 3333
        assert read({"a": published((22, 22), (3333, 3333))}).entry.port == 3333

    def test_an_app_that_somebody_else_made(self) -> None:
        """Pulled, with a volume, and the only service that can be reached."""
        wordpress = {"image": "wordpress", "ports": PUBLISHED["ports"], **VOLUME}
        found = on_docker({"wordpress": wordpress, "db": {"image": "mysql", **VOLUME}, "cron": BUILD})
        assert {s.name: s.role for s in found.services} == {
            "wordpress": "entry",
            "db": "store",
            "cron": "worker",
        }
        assert found.notes == (
            "wordpress: has a volume, which the old and the new release briefly use at the same time; "
            "if only one may: `deploy: {update_config: {order: stop-first}}`",
        )

    def test_beside_one_that_is_the_apps_own_it_is_a_store(self) -> None:
        grafana = {"image": "grafana/grafana", "ports": PUBLISHED["ports"], **VOLUME}
        found = on_docker({"grafana": grafana, "web": published((8000, 8000))})
        assert (found.entry.name, found.service("grafana").role) == ("web", "store")

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
    def test_whatever_its_image(self, job: dict[str, Any]) -> None:
        found = on_docker({"web": {**BUILD, **PUBLISHED, **self.after("job")}, "job": job})
        assert (found.service("job").role, found.service("job").replicas) == ("job", 0)
        assert found.entry.depends_on == ()
        assert found.entry.release == ()
        assert [s.name for s in found.stateless] == ["web", "job"]
        assert found.notes == ()

    def test_each_after_those_it_waits_for(self) -> None:
        services = {
            "a-seed": {**BUILD, **self.after("m-check")},
            "db": {"image": "postgres"},
            "m-check": {**BUILD, **self.after("z-migrate", "db", condition="service_started")},
            "web": {**BUILD, **PUBLISHED, **self.after("a-seed", "m-check", "z-migrate")},
            "z-migrate": {**BUILD, **self.after("db", condition="service_healthy")},
        }
        found = on_docker(services)
        assert [s.name for s in found.services if s.role == "job"] == ["z-migrate", "m-check", "a-seed"]
        assert [s.name for s in found.services] == ["z-migrate", "db", "m-check", "web", "a-seed"]
        assert found.service("m-check").depends_on == ("db",)

    def test_one_that_has_a_role_keeps_it(self) -> None:
        worker = {**BUILD, "x-pushrod": {"role": "worker"}}
        found = on_docker({"web": {**BUILD, **PUBLISHED, **self.after("job")}, "job": worker})
        assert (found.service("job").role, found.entry.depends_on) == ("worker", ("job",))

    def test_one_that_nobody_awaits_is_a_worker(self) -> None:
        once = {"image": "postgres:17", "command": ["psql"], "restart": "no"}
        found = on_docker({"web": {**BUILD, **PUBLISHED}, "once": once, "db": {"image": "postgres:17"}})
        assert [(s.name, s.role) for s in found.services] == [
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
    def test_a_server_is_a_store_though_nothing_restarts_it(self, words: dict[str, object]) -> None:
        db = {"image": "postgres:17", "restart": "no", **words}
        assert on_docker({"web": BUILD, "db": db}).service("db").role == "store"

    @pytest.mark.parametrize("image", ["busybox", "node:22-alpine", "docker.io/library/python:3.13"])
    def test_a_language_with_a_volume_is_no_store(self, image: str) -> None:
        runs = {"image": image, "command": "npm run dev", **VOLUME}
        assert on_docker({"web": {**BUILD, **PUBLISHED}, "a": runs}).service("a").role == "worker"
        assert on_docker({"a": {**runs, **PUBLISHED}}).entry.name == "a"

    def test_what_comes_too_early_is_said(self) -> None:
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

    def test_two_that_wait_for_each_other(self) -> None:
        services = {
            "web": {**BUILD, **PUBLISHED, **self.after("a")},
            "a": {**BUILD, **self.after("b")},
            "b": {**BUILD, **self.after("a")},
        }
        error = refused(services, engine="docker")
        assert "wait for each other" in error.what
