"""The real Compose loader: what it reads, what it refuses, and what it leaves behind (nothing)."""

import base64
import json
from pathlib import Path

import pytest

from pushrod import manifest
from pushrod.adapters import compose, compose_loader, landlock
from pushrod.core.errors import ManifestError
from pushrod.core.values import Build
from pushrod.manifest import policy
from pushrod.manifest.policy import Terms
from pushrod.system import processes
from tests.unit import samples

pytestmark = pytest.mark.integration

SECRET = "p$w \"quoted\" 'twice' \\ # ${NOT}"


def project(directory: Path, text: str, name: str = "compose.yaml", **files: str) -> Path:
    (directory / name).write_text(text)
    for path, content in files.items():
        (directory / path).write_text(content)
    return directory


def load(directory: Path, **variables: str) -> compose.Document:
    return compose.load(directory, project="shop", variables=variables)


def names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


def refused(directory: Path, **variables: str) -> ManifestError:
    with pytest.raises(ManifestError) as error:
        load(directory, **variables)
    assert str(directory) not in error.value.what + error.value.where
    return error.value


WHOLE = """\
name: ignored
services:
  nginx: {image: "nginx:latest", ports: ["80:80"], depends_on: [backend]}
  backend:
    build: ./backend
    command: sh -c "exec uvicorn app:app --port $${PORT:-8000}"
    depends_on: [postgres, redis]
    environment: {PASSWORD: "${PASSWORD}", EMPTY: "", INHERITED: , NUMBER: 5, YES: "yes"}
    volumes: [./backend:/app]
    deploy: {replicas: 2}
    stop_grace_period: 90s
    x-pushrod: {release: alembic upgrade head, health: {path: /healthz, deadline: 1m}}
  flower: {image: flower, profiles: [debug]}
  postgres: {image: "postgres:16", volumes: ["data:/var/lib/postgresql/data"]}
  redis: {image: "redis:7"}
volumes: {data: }
x-pushrod: {keep: 3}
"""


def test_the_document_is_resolved_with_relative_paths(tmp_path: Path) -> None:
    backend = load(project(tmp_path, WHOLE), PASSWORD=SECRET)["services"]["backend"]
    assert backend["build"] == {"context": "backend", "dockerfile": "Dockerfile"}
    assert backend["command"] == ["sh", "-c", "exec uvicorn app:app --port ${PORT:-8000}"]
    environment = {"PASSWORD": SECRET, "EMPTY": "", "INHERITED": None, "NUMBER": "5", "YES": "yes"}
    assert backend["environment"] == environment
    assert backend["volumes"][0]["source"] == "backend"
    assert backend["x-pushrod"] == {
        "release": "alembic upgrade head",
        "health": {"path": "/healthz", "deadline": "1m"},
    }


def test_the_document_is_read_as_a_manifest(tmp_path: Path) -> None:
    (tmp_path / "backend").mkdir()
    project(tmp_path, WHOLE, **{"backend/Dockerfile": "FROM python:3\n"})
    document = load(tmp_path, PASSWORD=SECRET)
    result = manifest.read(document, bases=compose.bases(document, tmp_path))
    assert {s.name: s.role for s in result.services} == {
        "backend": "entry",
        "nginx": "edge",
        "postgres": "store",
        "redis": "store",
    }
    assert (result.entry.replicas, result.entry.stop_grace, result.entry.release[0], result.keep) == (
        2,
        90,
        "alembic",
        3,
    )
    assert result.entry.health.path == "/healthz"


def test_a_file_not_written_for_pushrod_is_read(tmp_path: Path) -> None:
    text = """\
services:
  nginx:
    image: nginx:latest
    ports: ["80:80"]
    volumes: ["./nginx.conf:/etc/nginx/nginx.conf:ro"]
  backend:
    build: ./backend
    depends_on: [postgres, redis]
  postgres: {image: "postgres:16"}
  redis: {image: "redis:7"}
"""
    result = manifest.read(load(project(tmp_path, text, "docker-compose.yml")))
    assert (result.entry.name, [s.name for s in result.stores]) == ("backend", ["postgres", "redis"])


ANY = """\
# Nobody wrote this for pushrod: fragments, anchors, extends, profiles, links, jobs, limits.
x-log: &log
  logging: {driver: json-file}
x-app: &app
  <<: *log
  env_file: .env
  restart: unless-stopped
services:
  nginx:
    image: nginx:alpine
    container_name: shop_nginx
    ports: ["443:443", "80:80"]
    volumes: ["static:/static:ro", "./nginx.conf:/etc/nginx/nginx.conf:ro", "/etc/localtime:/etc/localtime:ro"]
    links: ["app:backend"]
    networks: [front]
    read_only: true
  app:
    <<: *app
    extends: {file: common.yaml, service: python}
    build: {args: {VERSION: "${VERSION:-1}", UNSET: }}
    environment: {DEBUG: 0, TOKEN: , DATABASE_URL: "postgres://u:${DB_PASSWORD}@db/shop"}
    depends_on:
      db: {condition: service_healthy}
      collect: {condition: service_completed_successfully}
    ports: ["127.0.0.1:8000:8000", "9000-9001:9000-9001/udp"]
    volumes: ["static:/app/static", "./uploads:/app/uploads"]
    healthcheck: {test: [CMD, curl, -f, "http://localhost:8000/up"], interval: 5s, timeout: 2s, retries: 4,
      start_period: 1m30s}
    deploy: {replicas: 2, resources: {limits: {memory: 256M, cpus: "0.5"}}}
    networks: [front, default]
    secrets: [key]
    configs: [settings]
  collect: {<<: *app, build: ./app, command: collect, volumes: ["static:/app/static"], mem_limit: 1g,
    depends_on: {migrate: {condition: service_completed_successfully}}}
  migrate: {<<: *app, build: ./app, command: [migrate], depends_on: {bucket: {condition:
    service_completed_successfully, required: false}, db: {condition: service_healthy}}}
  bucket: {image: minio/mc, entrypoint: "sh -c 'mc mb x'"}
  once: {image: "postgres:16", command: psql, restart: "no"}
  flower: {image: mher/flower, ports: ["5555"]}
  debug: {image: busybox, profiles: [debug], privileged: true}
  db: {image: "postgres:16", ports: ["5432:5432"], volumes: ["data:/var/lib/postgresql/data"], healthcheck:
    {test: pg_isready, interval: 1s, retries: 60}, configs: [unused]}
networks: {front: {ipam: {config: [{subnet: 172.30.0.0/16}]}}}
volumes: {static: , data: }
secrets: {key: {environment: TOKEN}}
configs: {settings: {file: ./settings.ini}, unused: {content: "a $$b"}}
"""
COMMON = "services: {python: {build: {context: ./app}, init: true, extra_hosts: ['a:10.0.0.1']}}\n"


def anything(directory: Path) -> compose.Document:
    (directory / "app").mkdir()
    (directory / "app" / "Dockerfile").write_text("FROM python:3.13\n")
    project(directory, ANY, **{"common.yaml": COMMON})
    return load(directory, DB_PASSWORD=SECRET, TOKEN="t0ken")


def test_any_compose_file_is_read_for_docker(tmp_path: Path) -> None:
    document = anything(tmp_path)
    result = manifest.read(
        document, engine="docker", bases=compose.bases(document, tmp_path), store_versions={}
    )
    assert {s.name: s.role for s in result.services} == {
        "nginx": "entry", "app": "worker", "once": "worker", "flower": "worker", "db": "store",
        "bucket": "job", "migrate": "job", "collect": "job",
    }  # fmt: skip
    assert [s.name for s in result.services if s.role == "job"] == ["bucket", "migrate", "collect"]
    assert (result.entry.port, result.entry.read_only, result.ours, result.domains) == (80, True, False, ())
    app = result.service("app")
    assert (app.memory, result.service("collect").memory) == (256 * 2**20, 2**30)
    assert app.build == Build(context="app", arguments={"VERSION": "1"})  # Compose omits keys without a value
    assert (app.port, app.replicas, app.depends_on) == (8000, 2, ("db",))
    assert app.environment == {"DATABASE_URL": f"postgres://u:{SECRET}@db/shop", "DB_PASSWORD": SECRET} | {
        "DEBUG": "0",
        "TOKEN": "t0ken",
    }
    assert app.health.command == ("curl", "-f", "http://localhost:8000/up")
    assert (app.health.deadline, result.service("db").health.deadline) == (110.0, 60.0)
    assert result.notes == (
        "app, flower: its published port stays closed; only the entry is reachable, through the edge",
        "nginx: of its published ports only 80 is reachable, through the edge",
        "db: published ports of stores stay closed",
        "nginx: `container_name` and `hostname` are only names by which other services reach it: two releases run at "
        "once",
        "app, nginx: its networks are not created: all services of a release share one, and reach the stores "
        "on another",
        "app: has a volume, which the old and the new release briefly use at the same time; if only one "
        "may: `deploy: {update_config: {order: stop-first}}`",
        "app: backups do not contain the files that it keeps in volumes and in directories that Git does not track",
    )


def test_an_ordinary_compose_file_needs_no_permission(tmp_path: Path) -> None:
    document = anything(tmp_path)
    requested: list[str] = []
    policy.apply(
        document,
        Terms("docker", samples.LIMITS, (), lambda path: not requested.append(path), "/var/lib/pushrod"),
    )
    assert sorted(requested) == ["nginx.conf", "settings.ini"]
    assert compose.wants_env_file(tmp_path)


ASKING = """\
services:
  web:
    image: a
    use_api_socket: true
    privileged: true
    network_mode: host
    pid: host
    cap_add: [CAP_NET_ADMIN]
    security_opt: ["seccomp:unconfined"]
    devices: ["/dev/fuse"]
    gpus: all
    sysctls: [kernel.panic=1]
    volumes: ["/srv/media:/m", "bound:/b", "named:/n", "outer:/o"]
    build: {context: ., network: host, additional_contexts: {inside: ./sub, far: /srv/far}}
    secrets: [host]
volumes:
  bound: {driver_opts: {type: none, o: bind, device: /srv/data}}
  named: {name: blog_data}
  outer: {external: true}
secrets: {host: {file: /etc/secret}}
"""


def test_every_use_of_the_host_is_found_in_composes_output(tmp_path: Path) -> None:
    document = load(project(tmp_path, ASKING))
    with pytest.raises(ManifestError) as error:
        policy.apply(document, Terms("docker", samples.LIMITS))
    app, *words = error.value.hint.partition("apps allow ")[2].split()
    assert (app, sorted(words)) == ("shop", sorted((
        "host-network", "host-pid", "privileged", "NET_ADMIN", "unconfined", "sysctls", "devices",
        "docker-socket", "/srv/media", "/srv/far", "/srv/data", "volume:blog_data", "volume:outer",
        "/etc/secret",
    )))  # fmt: skip


@pytest.mark.parametrize(
    "keys",
    [
        "volumes: ['~/x:/y']",
        "volumes: ['~:/y']",
        "volumes: [{type: bind, source: ~/x, target: /y}]",
        "env_file: ~/x.env",
        "env_file: [{path: ~/x.env, required: false}]",
    ],
)
def test_a_path_in_a_home_directory_is_refused(tmp_path: Path, keys: str) -> None:
    with pytest.raises(ManifestError, match="begins with `~`, which on a server is the home of") as error:
        policy.apply(
            load(project(tmp_path, f"services: {{web: {{image: a, {keys}}}}}")),
            Terms("docker", samples.LIMITS, ["/"], lambda _: True),
        )
    assert str(Path.home()) not in str(error.value)
    assert "~" in str(error.value)


def refused_of_host(directory: Path, mount: str) -> ManifestError:
    with pytest.raises(ManifestError) as error:
        policy.apply(
            load(project(directory, f"services: {{web: {{image: a, volumes: ['{mount}:/x']}}}}")),
            Terms("docker", samples.LIMITS, ["/"], lambda _: True, str(directory.parent.parent)),
        )
    return error.value


@pytest.mark.parametrize("mount", ["../z", "./a/../../z"])
def test_a_path_outside_the_checkout_is_refused(tmp_path: Path, mount: str) -> None:
    error = refused_of_host(tmp_path, mount)
    assert (error.what.partition(":")[0], error.where) == (
        "`../z` leaves the repository",
        "services.web.volumes[0].source",
    )


@pytest.mark.parametrize("mount", ["../../other/secrets", "{root}/other"])
def test_a_path_in_pushrods_own_files_is_refused(tmp_path: Path, mount: str) -> None:
    error = refused_of_host(tmp_path, mount.format(root=tmp_path.parent.parent))
    assert "pushrod's own files" in error.what


def test_the_override_file_is_merged_as_compose_does(tmp_path: Path) -> None:
    project(
        tmp_path, "services: {web: {image: a}}", **{"compose.override.yaml": "services: {web: {command: x}}"}
    )
    assert load(tmp_path)["services"]["web"] == {
        "image": "a",
        "command": ["x"],
        "networks": {"default": None},
    }
    only = compose.load(tmp_path, project="shop", variables={}, file="compose.yaml")
    assert "command" not in only["services"]["web"] or only["services"]["web"]["command"] is None


@pytest.mark.parametrize(
    ("text", "other"),
    [
        ("services: {web: {image: x, command: 'run $KEY'}}", ""),
        ("services: {web: {image: x, command: !override ['run', '$KEY']}}", ""),
        ("x-a: &a {command: 'run $KEY'}\nservices: {web: {<<: *a, image: x}}", ""),
        (
            "services: {web: {extends: {file: other.yaml, service: base}}}",
            "services: {base: {image: x, command: 'run ${KEY:?}'}}",
        ),
        ("include: [other.yaml]", "services: {web: {image: x, entrypoint: ['run', '${OTHER:-${KEY}}']}}"),
    ],
)
def test_a_reference_in_a_command_is_found_wherever_it_is_written(
    tmp_path: Path, text: str, other: str
) -> None:
    project(tmp_path, text, **{"other.yaml": other or "services: {}"})
    result = compose.in_argvs(tmp_path, project="shop", variables={"KEY": "value"})
    assert "KEY" in result["web"]


def test_references_behind_an_include_variable_are_not_found(tmp_path: Path) -> None:
    project(tmp_path, "include: ['${KIND}.yaml']", **{"other.yaml": "services: {web: {image: x}}"})
    assert load(tmp_path, KIND="other")["services"]
    assert compose.in_argvs(tmp_path, project="shop", variables={"KIND": "other"}) == {}


ENV_FILE = 'services: {web: {image: a, env_file: [.env], environment: {B: "2", C: "${A}"}}}'


def test_secrets_replace_an_env_file_that_is_not_in_git(tmp_path: Path) -> None:
    project(tmp_path, ENV_FILE)
    assert load(tmp_path, A=SECRET, B="1")["services"]["web"]["environment"] == {
        "A": SECRET,
        "B": "2",
        "C": SECRET,
    }
    assert names(tmp_path) == ["compose.yaml"]


def test_a_secret_name_with_dots_is_passed_on(tmp_path: Path) -> None:
    project(tmp_path, "services: {web: {image: a, env_file: [.env]}}")
    result = load(tmp_path, **{"spring.datasource.url": "jdbc:x"})["services"]["web"]
    assert result["environment"] == {"spring.datasource.url": "jdbc:x"}


def test_the_temporary_env_file_has_no_values_and_is_removed_on_failure(tmp_path: Path) -> None:
    seen: list[tuple[str, int]] = []
    path = tmp_path / ".env"
    with compose._names_in(path, {"A": SECRET, "not a name": "x"}):
        seen.append((path.read_text(), path.stat().st_mode & 0o777))
    assert seen == [("A\n", 0o600)]
    project(tmp_path, ENV_FILE.replace("image: a", "image: a, imagee: b"))
    refused(tmp_path, A=SECRET)
    assert names(tmp_path) == ["compose.yaml"]


def test_several_env_files_are_combined(tmp_path: Path) -> None:
    (tmp_path / "backend").mkdir()
    project(tmp_path, "services: {web: {image: a, env_file: [.env, backend/.env.production, app.env]}}")
    (tmp_path / "app.env").write_text("FROM_GIT=1\nA=git\n")
    assert load(tmp_path, A="x", Z="y")["services"]["web"]["environment"] == {
        "A": "git",
        "Z": "y",
        "FROM_GIT": "1",
    }
    assert names(tmp_path) == ["app.env", "backend", "compose.yaml"]
    assert names(tmp_path / "backend") == []


def test_an_env_file_in_git_is_read_by_compose(tmp_path: Path) -> None:
    project(tmp_path, ENV_FILE, **{".env": "A=git\n"})
    assert load(tmp_path)["services"]["web"]["environment"] == {"A": "git", "B": "2", "C": "git"}
    assert (tmp_path / ".env").read_text() == "A=git\n"


@pytest.mark.parametrize("name", [".env", "app.env"])
def test_a_missing_env_file_without_secrets_is_refused(tmp_path: Path, name: str) -> None:
    project(tmp_path, f"services: {{web: {{image: a, env_file: {name}}}}}")
    error = refused(tmp_path)
    assert f"env file {name} not found" in error.what
    assert f"pushrod secret import {name}" in error.hint


def test_an_env_file_of_any_name_that_git_does_not_have(tmp_path: Path) -> None:
    project(tmp_path, "services: {web: {image: a, env_file: [.envs/.production/.django, db.env]}}")
    output: list[str] = []
    result = compose.load(tmp_path, project="it", variables={"A": "x"}, on_warning=output.append)
    assert result["services"]["web"]["environment"] == {"A": "x"}
    assert [line.partition(" ")[0] for line in output] == ["`.envs/.production/.django`", "`db.env`"]
    assert names(tmp_path) == ["compose.yaml"]


def test_no_env_file_is_made_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "conf").symlink_to(tmp_path / "outside")
    project(tmp_path / "here", "services: {web: {image: a, env_file: conf/a.env}}")
    refused(tmp_path / "here", A="1")
    assert names(tmp_path / "outside") == []


def test_a_plan_needs_no_values_for_an_env_file(tmp_path: Path) -> None:
    project(tmp_path, ENV_FILE)
    planned = compose.load(tmp_path, project="shop", variables={}, planned=True)
    assert planned["services"]["web"]["environment"] == {"B": "2", "C": ""}
    assert names(tmp_path) == ["compose.yaml"]


def test_no_file_is_made_outside_the_directory(tmp_path: Path) -> None:
    inside, outside = tmp_path / "in", tmp_path / "out"
    inside.mkdir()
    outside.mkdir()
    (inside / "link").symlink_to(outside)
    project(inside, "services: {web: {image: a, env_file: link/.env}}")
    refused(inside, A="1")
    assert names(outside) == []


def test_the_loader_inherits_no_variable_of_this_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TAG", "from outside")
    monkeypatch.setenv("COMPOSE_FILE", "/nowhere.yaml")
    warnings: list[str] = []
    project(tmp_path, 'services: {web: {image: "a:${TAG}"}}')
    document = compose.load(tmp_path, project="shop", variables={}, on_warning=warnings.append)
    assert document["services"]["web"]["image"] == "a:"
    assert warnings == ['The "TAG" variable is not set. Defaulting to a blank string.']


@pytest.mark.parametrize(
    ("text", "where", "what"),
    [
        ("services:\n  a: [\n", "compose.yaml:", "did not find expected node content"),
        ("services:\n  a: {image: x, imagee: y}\n", "compose.yaml: services.a", "'imagee' not allowed"),
        ("services:\n  a: {image: 3}\n", "compose.yaml: services.a.image", "must be a string"),
        (
            "services:\n  a: {image: x, depends_on: [b]}\n",
            "compose.yaml: services.a",
            'service "a" depends on undefined service "b"',
        ),
        ("", "compose.yaml", "empty compose file"),
        (
            "services:\n  a: {command: x}\n",
            "compose.yaml: services.a",
            "neither an image nor a build context",
        ),
        (
            "services:\n  a: {image: x}\n  a: {image: y}\n",
            "compose.yaml:3",
            'mapping key "a" already defined',
        ),
        (
            "services:\n  a: {image: 'x:${TAG:?say which}'}\n",
            "compose.yaml: services.a.image",
            "required variable TAG is missing a value: say which",
        ),
    ],
)
def test_invalid_files_are_refused(tmp_path: Path, text: str, where: str, what: str) -> None:
    error = refused(project(tmp_path, text))
    assert error.where.startswith(where)
    assert what in error.what
    assert error.hint


def test_a_refusal_holds_no_secret(tmp_path: Path) -> None:
    project(tmp_path, 'services: {web: {image: a, ports: ["${PASSWORD}:x"]}}')
    assert "hunter2hunter2" not in refused(tmp_path, PASSWORD="hunter2hunter2").what


def test_the_version_of_the_loader_is_supported() -> None:
    assert int(compose_loader.version().removeprefix("v").split(".")[0]) >= 2
    assert processes.run([*compose_loader.argv_of(), "version"]).status == 0


# ---- files outside the commit ---------------------------------------------------------------------------------

STOLEN = "hunter2-of-another-app"


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout beside another app's files: an env file and a compose file."""
    (tmp_path / "blog").mkdir()
    (tmp_path / "blog" / ".env").write_text(f"PASSWORD={STOLEN}\n")
    (tmp_path / "blog" / "web.env").write_text(f"PASSWORD={STOLEN}\n")
    (tmp_path / "blog" / "web.yaml").write_text(f"services: {{web: {{image: {STOLEN}}}}}\n")
    (tmp_path / "shop" / "sub").mkdir(parents=True)
    (tmp_path / "shop" / "link").symlink_to("../blog")
    (tmp_path / "shop" / "plain.yaml").write_text('services: {web: {image: "a:${PASSWORD}"}}\n')
    return tmp_path / "shop"


@pytest.fixture(params=["by the kernel", "by a look at the file"])
def guarded(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Both ways in which loading is confined to the checkout."""
    if request.param == "by the kernel":
        if not landlock.version():
            pytest.skip("this kernel has no Landlock")
    else:
        monkeypatch.setattr(landlock, "version", lambda: 0)
    return str(request.param)


NAMED_OUTRIGHT = [
    ("services: {web: {image: a, env_file: PLACE/web.env}}", "services.web.env_file"),
    ("services: {web: {image: a, env_file: [{path: PLACE/web.env, required: false}]}}",
     "services.web.env_file[0].path"),
    ("services: {web: {image: a, label_file: [PLACE/web.env]}}", "services.web.label_file[0]"),
    ("services: {web: {extends: {file: PLACE/web.yaml, service: web}}}", "services.web.extends.file"),
    ("include: [PLACE/web.yaml]", "include[0]"),
    ("include: [{path: [plain.yaml, PLACE/web.yaml]}]", "include[0].path"),
    ("include: [{path: plain.yaml, env_file: PLACE/web.env}]", "include[0].env_file"),
    ("include: [{path: plain.yaml, project_directory: PLACE}]", "include[0].project_directory"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "key"), NAMED_OUTRIGHT)
@pytest.mark.parametrize("place", ["/blog", "../blog", "sub/../../blog", "link"])
def test_a_file_of_another_app_is_not_read(
    checkout: Path, guarded: str, text: str, key: str, place: str
) -> None:
    place = str(checkout.parent / "blog") if place == "/blog" else place
    project(checkout, text.replace("PLACE", place))
    with pytest.raises(ManifestError) as error:
        load(checkout)
    assert error.value.where.startswith("compose.yaml: ")
    if guarded == "by the kernel":  # without it, another compose file's content is refused before its path
        assert error.value.where.startswith(f"compose.yaml: {key}")
        assert "is not a path inside the repository" in error.value.what
    assert error.value.hint
    assert STOLEN not in str(vars(error.value))


HIDDEN = [
    "services: {web: {image: a, env_file: '${PLACE}/web.env'}}",
    "services: {web: {image: a, label_file: '${PLACE}/web.env'}}",
    "services: {web: {extends: {file: '${PLACE}/web.yaml', service: web}}}",
    "include: ['${PLACE}/web.yaml']",
    "include: [{path: plain.yaml, env_file: '${PLACE}/web.env'}]",
    "include: [nested.yaml]",
    "services: {web: {extends: {file: nested.yaml, service: web}}}",
    "x-a: &a {env_file: [BLOG/web.env]}\nservices: {web: {image: a, <<: *a}}",
    "x-a: &a [BLOG/web.env]\nservices: {web: {image: a, env_file: *a}}",
    "x-a: &a {file: BLOG/web.yaml, service: web}\nservices: {web: {extends: *a}}",
    "x-k: &k env_file\nservices: {web: {image: a, *k : BLOG/web.env}}",
    'services: {web: {image: a, "env\\x5ffile": BLOG/web.env}}',
    "services: {web: {image: a, ? !!binary ZW52X2ZpbGU= : BLOG/web.env}}",
    "services: {web: {image: a, env_file: !!binary BASE64}}",
    "services: {web: {image: a, env_file: !override [BLOG/web.env]}}",
]


@pytest.mark.parametrize("text", HIDDEN)
def test_an_indirectly_named_file_of_another_app_is_not_read(checkout: Path, guarded: str, text: str) -> None:
    blog = str(checkout.parent / "blog")
    (checkout / "nested.yaml").write_text(f"services: {{web: {{image: a, env_file: {blog}/web.env}}}}\n")
    encoded = base64.b64encode(f"{blog}/web.env".encode()).decode()
    project(checkout, text.replace("BLOG", blog).replace("BASE64", encoded))
    try:
        document = load(checkout, PLACE=blog)
    except ManifestError as error:
        assert error.where.startswith("compose.yaml")
        assert error.hint
        assert STOLEN not in str(vars(error))
    else:
        assert STOLEN not in str(document)
        pytest.fail(f"Compose took it: {document}")


@pytest.mark.parametrize("name", ["compose.yaml", "compose.override.yaml", ".env"])
def test_a_linked_compose_file_is_not_read(checkout: Path, guarded: str, name: str) -> None:
    if name != "compose.yaml":
        project(checkout, "services: {web: {image: 'a:${PASSWORD}'}}")
    (checkout / name).symlink_to("../blog/web.env" if name == ".env" else "../blog/web.yaml")
    assert STOLEN not in str(vars(refused(checkout)))


@pytest.mark.parametrize("name", ["COMPOSE_FILE", "COMPOSE_ENV_FILES"])
def test_a_variable_cannot_name_a_compose_file(checkout: Path, guarded: str, name: str) -> None:
    project(checkout, "services: {web: {image: 'a:${PASSWORD}'}}")
    blog = checkout.parent / "blog"
    value = blog / ("web.yaml" if name == "COMPOSE_FILE" else "web.env")
    document = load(checkout, **{name: str(value)})
    assert document["services"]["web"]["image"] == "a:"


def test_a_variable_cannot_preload_a_library_into_the_loader(checkout: Path) -> None:
    project(checkout, "services: {web: {image: 'a:${LD_PRELOAD}${DOCKER_CONFIG}'}}")
    warnings: list[str] = []
    steering = {"LD_PRELOAD": f"{checkout}/evil.so", "DOCKER_CONFIG": str(checkout)}
    document = compose.load(checkout, project="shop", variables=steering, on_warning=warnings.append)
    assert document["services"]["web"]["image"] == "a:"


LINKED = [
    ("services: {web: {image: a, volumes: ['./link/web.env:/x']}}", "services.web.volumes[0].source"),
    ("services: {web: {image: a, volumes: ['./link:/x']}}", "services.web.volumes[0].source"),
    ("services: {web: {build: ./link}}", "services.web.build.context"),
    ("services: {web: {build: {context: ., dockerfile: link/web.env}}}", "services.web.build.dockerfile"),
    ("services: {web: {build: {context: ., additional_contexts: {o: ./link}}}}",
     "services.web.build.additional_contexts.o"),
    ("services: {web: {image: a, configs: [c]}}\nconfigs: {c: {file: link/web.env}}", "configs.c.file"),
    ("services: {web: {image: a, secrets: [s]}}\nsecrets: {s: {file: link/web.env}}", "secrets.s.file"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "key"), LINKED)
def test_a_path_through_a_link_out_of_the_repository_is_refused(checkout: Path, text: str, key: str) -> None:
    error = refused(project(checkout, text))
    assert (error.where, "is not a path inside the repository" in error.what) == (key, True)


def test_env_files_of_the_commit_are_read(checkout: Path, guarded: str) -> None:
    (checkout / "sub" / "app.env").write_text("FROM_GIT=1\n")
    (checkout / "also.env").symlink_to("sub/app.env")
    text = "services: {web: {image: a, env_file: [.env, ./sub/app.env, also.env, sub/../also.env]}}"
    document = load(project(checkout, text), TOKEN="t")
    assert document["services"]["web"]["environment"] == {"FROM_GIT": "1", "TOKEN": "t"}


def test_included_compose_files_of_the_commit_are_read(checkout: Path) -> None:
    if not landlock.version():
        pytest.skip("this kernel has no Landlock")
    (checkout / "sub" / "more.yaml").write_text("services: {more: {image: b, env_file: ../some.env}}\n")
    (checkout / "some.env").write_text("A=1\n")
    text = "include: [sub/more.yaml]\nservices: {web: {image: a, env_file: '${STAGE:-some}.env'}}"
    services = load(project(checkout, text))["services"]
    assert services["more"]["environment"] == services["web"]["environment"] == {"A": "1"}


def test_a_remote_include_is_not_fetched(checkout: Path, guarded: str) -> None:
    error = refused(project(checkout, "include: ['https://127.0.0.1:1/a/b.git']"))
    assert error.where.startswith("compose.yaml")


OUTSIDE = "it reads a file that is not in the commit"


def test_a_path_refused_by_the_kernel_is_reported_with_its_key(checkout: Path) -> None:
    if not landlock.version():
        pytest.skip("this kernel has no Landlock")
    project(checkout, "services: {web: {image: a, env_file: ['${PLACE}/web.env']}}")
    error = refused(checkout, PLACE=str(checkout.parent / "blog"))
    assert (error.where, error.what) == ("compose.yaml: services.web.env_file[0]", OUTSIDE)


@pytest.mark.parametrize(
    "text",
    [
        "services: {web: {image: a, env_file: '${PLACE}'}}",
        "services: {web: {image: a, label_file: '${PLACE}'}}",
        "services: {web: {image: a, extends: {file: '${PLACE}', service: x}}}",
        "include: ['${PLACE}']\nservices: {web: {image: a}}",
        "include: [{path: sub/more.yaml, env_file: '${PLACE}'}]\nservices: {web: {image: a}}",
        "services: {web: {image: a, env_file: 'a link/${PLACE}'}}",
    ],
)
def test_errors_do_not_reveal_which_files_exist_outside_the_commit(checkout: Path, text: str) -> None:
    if not landlock.version():
        pytest.skip("this kernel has no Landlock")
    (checkout / "sub" / "more.yaml").write_text("services: {more: {image: b}}\n")
    (checkout / "a link").symlink_to("/")
    (checkout.parent / "there").mkdir()
    (checkout.parent / "there" / "file").write_text("A=1\n")
    project(checkout, text)
    for place in ("there/file", "there", "there/file/below", "none", "none/file"):
        assert refused(checkout, PLACE=str(checkout.parent / place)).what == OUTSIDE, place


@pytest.mark.parametrize(
    "text", ["\tone\ntwo", "\n\tone", "  one\n\ttwo", "one\n\ttwo\n", "\t\n", "one\r\ntwo", "\x07\n\t"]
)
def test_multiline_text_is_preserved(tmp_path: Path, text: str) -> None:
    """Including leading tabs, which not every YAML parser accepts as Compose writes them."""
    service = {
        "image": "x",
        "environment": {"TEXT": text},
        "configs": ["file"],
        "x-pushrod": {"health": "/up"},
    }
    files = {"configs": {"file": {"content": text}}}
    project(tmp_path, json.dumps({"services": {"it": service}, **files}))
    result = load(tmp_path)
    assert result["services"]["it"]["environment"] == {"TEXT": text}
    assert result["services"]["it"]["x-pushrod"] == {"health": "/up"}
    assert result["configs"]["file"]["content"] == text
