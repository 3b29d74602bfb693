"""A resolved compose document as a Manifest: values, refusals, and no crash whatever it contains."""

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pushrod import manifest
from pushrod.core.errors import ManifestError
from pushrod.core.values import Build, EngineName, Health, Manifest, Service, Volume


def read(service: dict[str, Any], **top: Any) -> Manifest:
    return manifest.read({"services": {"web": service}, **top})


def refused(service: dict[str, Any], **top: Any) -> ManifestError:
    with pytest.raises(ManifestError) as error:
        read(service, **top)
    return error.value


def test_a_file_not_written_for_pushrod_is_read() -> None:
    """As the loader returns it: nginx in front of a built backend, PostgreSQL and Redis."""
    started = {"condition": "service_started", "required": True}
    document = {
        "name": "shop",
        "services": {
            "backend": {
                "build": {"context": "backend", "dockerfile": "Dockerfile"},
                "depends_on": {"postgres": started, "redis": started},
                "networks": {"default": None},
            },
            "nginx": {
                "image": "nginx:latest",
                "ports": [{"mode": "ingress", "target": 80, "published": "80", "protocol": "tcp"}],
                "volumes": [{"type": "bind", "source": "nginx.conf", "target": "/etc/nginx/nginx.conf"}],
            },
            "postgres": {"image": "postgres:16", "healthcheck": {"test": ["CMD", "pg_isready"]}},
            "redis": {"image": "redis:7"},
        },
        "networks": {"default": {"name": "shop_default"}},
    }
    result = manifest.read(document, store_versions={"postgres": "PostgreSQL 18.6", "redis": "Valkey 9.1.2"})
    assert result == Manifest(
        services=(
            Service(
                name="backend", role="entry", build=Build(context="backend"), depends_on=("postgres", "redis")
            ),
            Service(
                name="nginx",
                role="edge",
                image="nginx:latest",
                port=80,
                volumes=(Volume("nginx.conf", "/etc/nginx/nginx.conf", bind=True),),
            ),
            Service(name="postgres", role="store", image="postgres:16", store="postgres"),
            Service(name="redis", role="store", image="redis:7", store="redis"),
        ),
        notes=(
            "nginx: pushrod's edge (nginx) replaces it; of its configuration only files and paths of services are "
            "used on the embedded engine",
            "postgres: the manifest names PostgreSQL 16; the embedded engine runs PostgreSQL 18.6",
            "redis: the manifest names Redis 7; the embedded engine runs Valkey 9.1.2",
        ),
        ours=False,
        keep=5,
        because="backend is the entry, because nothing else could be",
    )


def test_every_supported_key_is_read() -> None:
    result = read(
        {
            "build": {"context": "./backend/", "dockerfile": "docker/Dockerfile", "target": "prod"},
            "image": "shop:dev",
            "command": ["uvicorn", "app:app"],
            "entrypoint": ["entry.sh"],
            "environment": {"A": "1", "B": None, "N": 5, "F": False, "E": ""},
            "ports": [{"target": 8000, "published": "80", "protocol": "tcp"}],
            "deploy": {"replicas": 3, "update_config": {"order": "stop-first"}},
            "stop_grace_period": "1m30s",
            "depends_on": {},
            "x-pushrod": {"health": {"path": "/healthz", "deadline": 12}, "release": "alembic upgrade head"},
        },
        **{"x-pushrod": {"keep": 9}},
    )
    assert result.keep == 9
    assert result.entry == Service(
        name="web",
        role="entry",
        image="shop:dev",
        build=Build(context="backend", dockerfile="docker/Dockerfile", target="prod"),
        command=("uvicorn", "app:app"),
        entrypoint=("entry.sh",),
        environment={"A": "1", "B": None, "N": "5", "F": "false", "E": ""},
        port=8000,
        replicas=3,
        stop_first=True,
        stop_grace=90.0,
        health=Health(path="/healthz", deadline=12),
        release=("alembic", "upgrade", "head"),
    )


def test_short_forms_are_read() -> None:
    result = read(
        {
            "build": "backend",
            "command": "sh -c 'a b'",
            "ports": ["127.0.0.1:80:8000/tcp"],
            "environment": ["A=1=2", "B"],
            "depends_on": [],
            "scale": 2,
            "x-pushrod": {"release": ["alembic", "upgrade", "head"]},
        }
    ).entry
    assert result.command == ("sh", "-c", "a b")
    assert (result.port, result.replicas, result.environment) == (8000, 2, {"A": "1=2", "B": None})
    assert result.release == ("alembic", "upgrade", "head")


def test_memory_limits_and_read_only_are_read() -> None:
    limits = {"resources": {"limits": {"memory": "268435456"}}}
    assert read({"build": ".", "deploy": limits, "mem_limit": "1"}).entry.memory == 268435456
    assert read({"build": ".", "mem_limit": 1048576}).entry.memory == 1048576
    assert read({"build": "."}).entry.memory == 0
    assert not read({"build": "."}).entry.read_only
    assert read({"build": ".", "read_only": True}).entry.read_only
    assert read({"build": ".", "x-pushrod": {"read_only": True}}).entry.read_only


def test_the_base_image_determines_whether_a_service_is_java() -> None:
    document = {"services": {"web": {"build": "."}}}
    assert not manifest.read(document, bases={"web": "python:3.13-slim"}).entry.java
    assert manifest.read(document, bases={"web": "eclipse-temurin:21-jre"}).entry.java
    assert manifest.read({"services": {"web": {"image": "tomcat:11"}}}).entry.java


def test_build_arguments_are_read() -> None:
    for arguments in ({"A": "1", "B": None, "C": 2}, ["A=1", "B", "C=2"]):
        build = read({"build": {"context": ".", "args": arguments}}).entry.build
        assert build is not None
        assert build.arguments == {"A": "1", "B": None, "C": "2"}


@pytest.mark.parametrize("engine", ["embedded", "docker"])
def test_x_pushrod_keys_mark_a_manifest_as_written_for_pushrod(engine: EngineName) -> None:
    service = {"build": "."}
    assert not manifest.read({"services": {"web": service}}, engine=engine).ours
    assert manifest.read({"services": {"web": {**service, "x-pushrod": {}}}}, engine=engine).ours
    assert manifest.read({"services": {"web": service}, "x-pushrod": {"keep": 1}}, engine=engine).ours
    assert not manifest.read({"services": {"web": service}, "x-other": {}}, engine=engine).ours


def test_on_docker_the_containers_own_check_is_kept() -> None:
    check = {
        "test": ["CMD", "curl", "http://localhost:80/up"],
        "interval": "5s",
        "retries": 4,
        "start_period": "1m",
    }
    services = {
        "web": {"build": ".", "healthcheck": check},
        "db": {"image": "postgres", "healthcheck": check},
    }
    result = manifest.read({"services": services}, engine="docker")
    for service in result.services:
        assert service.health.command == ("curl", "http://localhost:80/up")
        assert (service.health.path, service.health.deadline) == ("", 80.0)
    del check["test"]
    result = manifest.read({"services": services}, engine="docker")
    assert (result.entry.health.command, result.entry.health.deadline) == ((), 80.0)
    assert manifest.read({"services": services}).entry.health == Health()
    services["web"]["x-pushrod"] = {"health": "/healthz"}
    assert manifest.read({"services": services}, engine="docker").entry.health.path == "/healthz"


def test_the_port_is_read_from_the_healthcheck() -> None:
    check = {"test": ["CMD", "curl", "-f", "http://localhost:8000/up"], "retries": 1}
    result = read({"build": ".", "healthcheck": check}).entry
    assert (result.port, result.health) == (8000, Health(path="/up", host="localhost:8000"))


def test_the_stores_own_healthcheck_is_not_used() -> None:
    check = {"test": ["CMD", "pg_isready"], "interval": "1s"}
    result = manifest.read(
        {"services": {"web": {"build": "."}, "db": {"image": "postgres", "healthcheck": check}}}
    )
    assert result.service("db").health == Health()


@pytest.mark.parametrize(
    ("service", "where", "what"),
    [
        ({"build": ".", "x-pushrod": {"helth": "/"}}, "services.web.x-pushrod.helth", "unknown key `helth`"),
        (
            {"build": ".", "x-pushrod": {"role": "main"}},
            "services.web.x-pushrod.role",
            "expected edge or entry or worker or store, found `main` (text)",
        ),
        (
            {"build": ".", "x-pushrod": {"release": ""}},
            "services.web.x-pushrod.release",
            "expected a command such as `alembic upgrade head`, found nothing",
        ),
        (
            {"build": ".", "x-pushrod": {"release": {"a": 1}}},
            "services.web.x-pushrod.release",
            "expected text, found a mapping",
        ),
        ({"build": ".", "x-pushrod": 3}, "services.web.x-pushrod", "expected a mapping, found 3 (a number)"),
        ({}, "services.web", "expected a service with `image` or `build`, found a mapping"),
        (
            {"build": {"context": "/~/app"}},
            "services.web.build.context",
            "`~/app` begins with `~`, which on a server is the home of pushrod's account, not yours",
        ),
        (
            {"build": {"context": "/srv/elsewhere"}},
            "services.web.build.context",
            "expected a directory inside the repository, found `/srv/elsewhere` (text)",
        ),
        (
            {"build": {"context": "backend/../../x"}},
            "services.web.build.context",
            "expected a directory inside the repository, found `backend/../../x` (text)",
        ),
        (
            {"build": "https://example.com/x.git"},
            "services.web.build",
            "expected a directory inside the repository, found `https://example.com/x.git` (text)",
        ),
        (
            {"build": {"context": "backend", "dockerfile": "../../Dockerfile"}},
            "services.web.build.dockerfile",
            "expected a file inside the repository, found `../../Dockerfile` (text)",
        ),
        (
            {"build": ".", "mem_limit": "much"},
            "services.web.mem_limit",
            "expected a number of bytes, found `much` (text)",
        ),
        (
            {"build": {"context": ".", "dockerfile_inline": "FROM x"}},
            "services.web.build.dockerfile_inline",
            "expected a separate Dockerfile (`dockerfile: Dockerfile`), found `FROM x` (text)",
        ),
        (
            {"build": ".", "stop_grace_period": "soon"},
            "services.web.stop_grace_period",
            "expected a duration such as 30s or 1m30s, found `soon` (text)",
        ),
        (
            {"build": ".", "deploy": {"replicas": -1}},
            "services.web.deploy.replicas",
            "expected a whole number from 0 up, found -1 (a number)",
        ),
        (
            {"build": ".", "expose": ["x"]},
            "services.web.expose[0]",
            "expected a port such as 8000, found `x` (text)",
        ),
    ],
)
def test_invalid_services_are_refused(service: dict[str, Any], where: str, what: str) -> None:
    error = refused(service)
    assert (error.where, error.what) == (where, what)


def test_invalid_top_level_keys_are_refused() -> None:
    error = refused({"build": "."}, **{"x-pushrod": {"keeps": 3}})
    assert (error.where, error.hint) == (
        "x-pushrod.keeps",
        "did you mean `keep`? valid here: backups, domains, keep, nginx, notify, redirects, tls, "
        "trusted_proxies",
    )
    error = refused({"build": "."}, **{"x-pushrod": {"keep": "many"}})
    assert (error.where, error.what) == (
        "x-pushrod.keep",
        "expected a whole number from 1 up, found `many` (text)",
    )
    with pytest.raises(ManifestError, match="no services"):
        manifest.read({"services": {}})
    with pytest.raises(ManifestError, match="a service name"):
        manifest.read({"services": {"../x": {"build": "."}}})


def test_a_secret_is_not_in_an_error() -> None:
    error = refused({"build": ".", "environment": {"A": ["hunter2"]}})
    assert error.where == "services.web.environment.A"
    assert "hunter2" not in error.what


_KEYS = st.sampled_from(
    """
    services web db image build context dockerfile target command entrypoint environment ports published protocol
    expose deploy replicas resources scale stop_grace_period depends_on condition healthcheck test interval retries
    start_period disable volumes type source x-pushrod role release health path deadline keep domains read_only
    restart mem_limit container_name networks args privileged cap_add security_opt devices driver_opts name external
    """.split()  # noqa: SIM905
)
_WORDS = """
    postgres:16 redis nginx mysql entry store 8000 80:8000 /up 30s CMD NONE CMD-SHELL service_completed_successfully
    volume bind . tcp
    """.split()  # noqa: SIM905
_SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=12),
    st.sampled_from([*_WORDS, "curl http://localhost/"]),
)
_VALUES = st.recursive(
    _SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_KEYS, inner, max_size=6),
    max_leaves=25,
)
_SERVICES = st.dictionaries(
    _KEYS | st.text(max_size=5), st.dictionaries(_KEYS, _VALUES, max_size=10) | _VALUES, max_size=5
)
_DOCUMENTS = st.fixed_dictionaries({"services": _SERVICES}, optional={"x-pushrod": _VALUES}) | _VALUES


@pytest.mark.slow
@settings(max_examples=200, suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(
    _DOCUMENTS,
    st.sampled_from(["embedded", "docker"]),
    st.dictionaries(_KEYS, st.sampled_from(["postgres:17", "nginx", "python:3.12"])),
)
def test_any_document_gives_a_manifest_or_a_manifest_error(
    document: Any, engine: Any, bases: dict[str, str]
) -> None:
    try:
        result = manifest.read(
            document, engine=engine, bases=bases, store_versions={"postgres": "18.6", "redis": "9"}
        )
    except ManifestError as error:
        assert error.what
        return
    assert [s for s in result.services if s.role == "entry"] == [result.entry]
    assert len({s.name for s in result.services}) == len(result.services)


_GOOD = st.fixed_dictionaries(
    {},
    optional={
        "image": st.sampled_from(["postgres:16", "redis:7", "nginx", "shop", "mysql"]),
        "build": st.sampled_from(["backend", {"context": "."}]),
        "ports": st.lists(
            st.sampled_from([{"target": 80, "protocol": "tcp"}, {"target": 53, "protocol": "udp"}])
        ),
        "expose": st.lists(st.sampled_from(["9000", "80-82/tcp"])),
        "command": st.sampled_from([["x"], [], None]),
        "deploy": st.sampled_from([{"replicas": 2}, {"replicas": 0}, {}]),
        "depends_on": st.dictionaries(
            st.sampled_from("abcd"),
            st.sampled_from(
                [{"condition": "service_started"}, {"condition": "service_completed_successfully"}]
            ),
        ),
        "x-pushrod": st.sampled_from(
            [{"role": "entry"}, {"role": "worker"}, {"health": "/up"}, {"release": "x"}]
        ),
    },
)


@pytest.mark.slow
@settings(max_examples=150, deadline=None)
@given(st.dictionaries(st.sampled_from("abcd"), _GOOD, min_size=1))
def test_nearly_valid_documents_give_a_manifest_or_an_error(services: dict[str, Any]) -> None:
    try:
        result = manifest.read({"services": services})
    except ManifestError as error:
        assert error.what
        assert error.where
        assert error.hint or "expected" in error.what
        return
    assert result.entry.replicas
    assert all(s.store in ("postgres", "redis") for s in result.stores)


def test_composes_image_name_refers_to_the_service_that_builds_it() -> None:
    web = {"build": {"context": "."}, "ports": [{"target": 80}]}
    for image, builder in {
        "shop-web": "web",
        "shop_web:latest": "web",
        "other-web": None,
        "web": None,
    }.items():
        document = {"services": {"web": web, "worker": {"image": image}}}
        build = manifest.read(document, engine="docker", projects=["shop", "case"]).service("worker").build
        assert (build and build.of) == builder, image


def test_an_explicit_image_name_refers_to_the_service_that_builds_it() -> None:
    services = {
        "worker": {"image": "docker.io/library/master-image:latest", "command": ["work"]},
        "server": {
            "build": {"context": ".", "args": {"A": "1"}},
            "image": "master-image",
            "ports": [{"target": 80, "published": "80"}],
        },
        "other": {"image": "master-image:2"},
    }
    result = manifest.read({"services": services}, engine="docker", bases={"server": "python:3.13"})
    assert result.service("worker").build == Build(arguments={"A": "1"}, of="server")
    assert result.service("server").build == Build(arguments={"A": "1"})
    assert result.service("other").build is None


def test_a_service_that_names_the_image_of_a_built_store_runs_that_image() -> None:
    services = {
        "web": {"build": ".", "ports": [{"target": 80, "published": "80"}]},
        "db": {"build": "./db", "image": "shop-db"},
        "second": {"image": "shop-db"},
        "seed": {"build": "./seed", "restart": "no"},
        "dump": {"image": "shop-db", "command": ["pg_dump", "-h", "db"], "restart": "no"},
    }
    bases = {"web": "python:3.13", "db": "postgres:17", "seed": "shop-db"}
    result = manifest.read({"services": services}, engine="docker", bases=bases)
    builds = {s.name: s.build for s in result.services}
    assert builds["db"] == Build("db")
    assert builds["second"] == builds["dump"] == Build("db", of="db", stores={"db": "db"})
    assert builds["seed"] == Build("seed", siblings={"shop-db": "db"}, stores={"db": "db"})
    assert {s.name: s.role for s in result.services} == {
        "web": "entry", "db": "store", "second": "store", "dump": "worker", "seed": "store",
    }  # fmt: skip


@pytest.mark.parametrize(
    "service",
    [
        {"image": "--help"},
        {"image": "0123456789ab"},
        {"image": "pushrod/victim/web:1"},
    ],
)
def test_a_reserved_image_name_is_refused(service: dict[str, Any]) -> None:
    assert refused(service).where.startswith("services.web.")
