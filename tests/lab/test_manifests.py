"""Compose files not written for pushrod, unchanged, on a host; and the files pushrod renders from them."""

import contextlib
import functools
import json
import re
import socket
import time
from typing import Any

import pytest

from devtools.apps import complaint, eventually
from devtools.lab.ground import DOCKERFILE, Ground, Shop, code, unwatched
from pushrod.manifest.grants import ROOT_CAPABILITIES
from pushrod.system import processes

pytestmark = pytest.mark.lab

CLASSIC = """\
services:
  nginx:
    image: nginx:latest
    ports: ["80:80"]
  backend:
    build: ./backend
    depends_on: [postgres, redis]
  postgres:
    image: postgres:16
  redis:
    image: redis:7
"""
# The file stays as written; an override says where nginx finds its configuration.
OVERRIDE = """\
services:
  nginx:
    volumes: ["./docker/nginx/default.conf:/etc/nginx/conf.d/default.conf:ro"]
"""
NGINX = """\
server {
    listen 80;
    server_name example.com;
    location /api/ { proxy_pass http://backend:8080; }
    location / { root /usr/share/nginx/html; }
}
"""


def classic(version: str) -> dict[str, str]:
    """The tree of the classic app: nginx in front of a backend with PostgreSQL and Redis."""
    return {
        "compose.yaml": CLASSIC,
        "compose.override.yaml": OVERRIDE,
        "docker/nginx/default.conf": NGINX,
        "backend/Dockerfile": DOCKERFILE,
        "backend/app.py": code(version),
    }


@pytest.fixture(scope="module")
def seed(ground: Ground) -> Shop:
    """The classic app, pushed once."""
    app = ground.app("seed", classic("one"))
    began = time.monotonic()
    pushed = app.push()
    assert pushed.ok, pushed.err
    print(f"first push of the classic app: {time.monotonic() - began:.1f} s")
    return app


# ---- the classic app ----------------------------------------------------------------------------------------------


def test_a_classic_app_is_served_by_its_own_nginx(seed: Shop) -> None:
    page = seed.get("/")
    assert (page.status, page.headers["content-type"]) == (200, "text/html")
    assert b"nginx" in page.body
    one = _api(seed)
    assert (one["app"], one["version"], one["release"]) == ("seed", "one", 1)
    assert _api(seed)["redis"] == one["redis"] + 1
    seed.post("a row", path="/api/")
    assert _api(seed)["rows"] == one["rows"] + 1


def test_only_the_edge_listens_on_the_host(seed: Shop) -> None:
    options = ("--listening", "--tcp", "--numeric", "--processes", "--no-header")
    rows = [line.split() for line in seed.box.exec("ss", *options).stdout.splitlines()]
    outside = [(row[3].rpartition(":")[2], row[5:]) for row in rows if not row[3].startswith("127.")]
    assert {port for port, _ in outside} == {"22", "80"}, rows
    assert all("nginx" in str(who) for port, who in outside if port == "80"), rows
    bound = seed.box.docker("ps", "--format={{.Names}}|{{.Ports}}")
    assert "->" not in bound, bound


def _runs(shop: Shop, container: str) -> bool:
    return shop.box.docker("inspect", "--format={{.State.Running}}", container) == "true"


@pytest.mark.long
def test_each_of_two_releases_uses_its_own_backend_and_rows_are_kept(seed: Shop) -> None:
    """The second release's backend starts slowly, so both run side by side for a while."""
    stores = [seed.inspect(name)["Id"] for name in ("postgres", "redis")]
    rows = _api(seed)["rows"]
    slow = code("two").replace('    server = Server(("",', '    time.sleep(12)\n    server = Server(("",')
    seed.tree.commit({**classic("two"), "backend/app.py": slow}, "two")
    pushing = seed.pushing()
    try:
        pushing.until(r"^ +start ")
        for release in (1, 2):
            eventually(functools.partial(_runs, seed, seed.container("nginx", release)), "nginx runs")
            at = _address(seed, "backend", release)
            addresses = seed.box.docker(
                "exec", seed.container("nginx", release), "getent", "ahostsv4", "backend"
            )
            assert {line.split()[0] for line in addresses.splitlines()} == {at}, (release, addresses)
        others = _address(seed, "backend", 1)
        reach = ("exec", seed.container("nginx", 2), "curl", "--silent", "--max-time", "2", f"{others}:8080/")
        assert seed.box.exec("docker", *reach, check=False).status == 28  # curl(1): timed out
        assert _api(seed)["version"] == "one"
        done = pushing.done()
    finally:
        pushing.end()
    assert done.ok, done.err
    two = _api(seed)
    assert (two["version"], two["release"], two["rows"]) == ("two", 2, rows)
    assert [seed.inspect(name)["Id"] for name in ("postgres", "redis")] == stores


# ---- a release by Compose alone -----------------------------------------------------------------------------------


def test_plain_docker_compose_starts_a_release(seed: Shop) -> None:
    live = f"{seed.directory}/state/live/compose.yaml"
    with unwatched(seed.box):  # the watchdog would start it too
        seed.box.exec("docker", "compose", "--file", live, "down", user="pushrod")
        assert seed.get("/").status == 502
        began = time.monotonic()
        seed.box.exec("docker", "compose", "--file", live, "up", "--detach", user="pushrod")
        eventually(lambda: seed.get("/api/").status == 200, "it serves again", 30)
    print(f"docker compose up of a release by hand: serves after {time.monotonic() - began:.1f} s")
    assert _api(seed)["release"] == seed.live


def test_sealed_files_contain_no_secret(seed: Shop) -> None:
    state = f"{seed.directory}/state"
    kept = seed.box.exec("git", "-C", state, "ls-files", user="pushrod").stdout.split()
    assert {f"releases/{seed.live}/{name}" for name in ("compose.yaml", "stores.yaml", "release.json")} <= {
        *kept
    }
    passwords = seed.box.exec("sh", "-c", f"grep -rhoE 'PASSWORD=.+' {seed.directory}/secrets").stdout.split()
    assert passwords
    for password in {line.partition("=")[2] for line in passwords}:
        leaking = seed.box.exec("grep", "-rlF", password, state, check=False)
        assert leaking.stdout == ""


def test_containers_are_hardened(seed: Shop) -> None:
    """Everything not listed here is Docker's default; official images start as root and drop it themselves."""
    whose = {"nginx": True, "backend": False, "postgres": True, "redis": True}
    for service, begins_as_root in whose.items():
        release = seed.live if service in ("nginx", "backend") else 0
        container = seed.inspect(service, release)
        given = container["HostConfig"]
        assert "no-new-privileges" in given["SecurityOpt"], service
        assert given["CapDrop"] == ["ALL"], service
        assert _names(given["CapAdd"]) == ({*ROOT_CAPABILITIES} if begins_as_root else set()), service
        assert given["PidsLimit"] == 1024, service
        assert (
            0
            < given["Memory"]
            <= int(seed.box.exec("awk", "/MemTotal/{print $2}", "/proc/meminfo").stdout) * 1024
        )
        assert given["LogConfig"] == {"Type": "json-file", "Config": {"max-file": "3", "max-size": "10m"}}, (
            service
        )
        assert not given["PortBindings"], service
        assert (given["Privileged"], given["NetworkMode"] == "host", given["PidMode"]) == (False, False, "")
        assert not [m for m in container["Mounts"] if m["Source"].endswith(".sock")], service
        assert given["RestartPolicy"]["Name"] == ("on-failure" if service == "backend" else "unless-stopped")


# ---- everything real files contain
# --------------------------------------------------------------------------------

RICH = """\
x-logging: &logging
  logging: {driver: json-file, options: {max-size: 1m, max-file: "2"}}
x-backend: &backend
  <<: *logging
  build: {context: ./backend, args: {FLAVOUR: mint}}
  env_file: .env
  environment: &environment
    DATABASE_URL: postgresql://rich:${DB_PASSWORD}@db:5432/rich
    REDIS_URL: redis://cache:6379/1
  depends_on: {db: {condition: service_healthy}}

services:
  web:
    image: nginx:latest
    container_name: rich_nginx
    restart: always
    ports: ["8081:80", "8443:443"]
    links: ["api:backend"]
    volumes:
      - ./docker/nginx/default.conf:/etc/nginx/conf.d/default.conf:ro
      - static:/usr/share/nginx/html/static:ro
    depends_on: {api: {condition: service_healthy}}
  api:
    <<: *backend
    container_name: rich_api
    restart: unless-stopped
    ports: ["9000:8080"]
    command: sh -c 'echo "$$FLAVOUR costs \\$$5" >static/price; exec python app.py'
    stop_grace_period: 7s
    volumes: ["static:/app/static", "./config:/app/config:ro", "./uploads:/app/uploads", "./media:/app/media"]
    tmpfs: ["/scratch:size=1m"]
    ulimits: {nofile: {soft: 1234, hard: 2345}, nproc: 300}
    labels: {com.example.team: red}
    configs: [{source: settings, target: /etc/settings.json}]
    secrets: [licence, {source: licence, target: own, uid: "65534", gid: "100", mode: "0400"}]
    healthcheck:
      test: ["CMD", "python", "-c", "import urllib.request as u; u.urlopen('http://localhost:8080/healthz')"]
      start_period: 9s
      interval: 2s
      retries: 4
      timeout: 3s
    depends_on:
      db: {condition: service_healthy}
      cache: {condition: service_started}
      migrate: {condition: service_completed_successfully}
  migrate:
    <<: *backend
    command: sh -c 'python app.py migrate && echo migrated with $$DEBUG'
    restart: "no"
  worker:
    extends: {file: common.yaml, service: background}
    <<: *logging
    command: python app.py work
    restart: on-failure
    environment: {<<: *environment, ROLE: worker}
    links: [cache, "db:database"]
  toolbox:
    image: nobody.invalid/toolbox:1
    profiles: [debug]
  db:
    image: postgres:16
    container_name: rich_db
    restart: always
    ports: ["5432:5432"]
    environment: {POSTGRES_USER: rich, POSTGRES_PASSWORD: "${DB_PASSWORD}", POSTGRES_DB: rich}
    volumes: ["db:/var/lib/postgresql/data"]
    healthcheck:
      test: ["CMD-SHELL", "pg_isready -U $${POSTGRES_USER} -d $${POSTGRES_DB}"]
      interval: 1s
      retries: 30
  cache:
    image: redis:7
    command: redis-server --maxmemory 20mb
    ports: ["6379:6379"]
configs:
  settings: {file: ./config/settings.json}
secrets:
  licence: {file: ./config/licence.txt}
volumes:
  static:
  db:
"""
COMMON = """\
services:
  background:
    build: {context: ./backend, args: {FLAVOUR: mint}}
    env_file: .env
    init: true
"""
RICH_DOCKERFILE = """\
FROM python:3.13-slim
ARG FLAVOUR=plain
ENV FLAVOUR=$FLAVOUR
WORKDIR /app
RUN mkdir static && chown nobody static
COPY app.py .
USER nobody
CMD ["python", "app.py"]
"""
RICH_NGINX = """\
server {
    listen 80;
    location /static/ { root /usr/share/nginx/html; }
    location / { proxy_pass http://backend:8080; proxy_set_header Host $host; }
}
"""
# As Compose reads it: text outside single quotes may have references, and in double quotes `\$` is a dollar.
DOTENV = """\
DB_PASSWORD="s3cr'et%\\$x"
DEBUG=no
GREETING='hello  $HOME # all'
LATER=$DEBUG, not ${NEVER:-ever}
"""
EXAMPLE = "DB_PASSWORD=changeme\nDEBUG=no\nGREETING=\nPAYMENT_KEY=<your key>\n"
PORT = 8081


def rich(version: str) -> dict[str, str]:
    """The tree of an app whose file has every feature that pushrod knows."""
    return {
        "compose.yaml": RICH,
        "common.yaml": COMMON,
        ".env.example": EXAMPLE,
        "backend/Dockerfile": RICH_DOCKERFILE,
        "backend/app.py": code(version),
        "docker/nginx/default.conf": RICH_NGINX,
        "config/greeting": f"greeting of {version}",
        "config/settings.json": '{"colour": "red"}',
        "config/licence.txt": "licence 7",
        "media/large/.gitkeep": "",
    }


class Rich(Shop):
    """The app, reached by its own port: its file gives it no name."""

    edge = PORT
    output = ""

    def inside(self, service: str, *argv: str) -> str:
        """The output of a program in the container of a service of the live release, or of a store."""
        release = 0 if service in ("db", "cache") else self.live
        return self.box.docker("exec", self.container(service, release), *argv)


@pytest.fixture(scope="module")
def shop(ground: Ground) -> Rich:
    """The app, pushed once."""
    made = ground.app("rich", rich("one"))
    app = Rich(ground, "rich", made.tree)
    ground.box.ssh("apps", "create", "rich", "--port", str(PORT), user="pushrod")
    unknown = json.loads(app.at_desk("plan", "--json").stdout)
    assert unknown["lacking"] == ["DB_PASSWORD", "DEBUG", "GREETING", "PAYMENT_KEY"], unknown
    assert any("pushrod secret import .env" in note for note in unknown["notes"]), unknown
    (app.tree.path.parent / "rich.env").write_text(DOTENV)
    app.at_desk("secret", "import", "../rich.env")
    planned = json.loads(app.at_desk("plan", "--json").stdout)
    assert planned["lacking"] == ["PAYMENT_KEY"], planned
    pushed = app.push()
    assert pushed.ok, pushed.err
    app.output = pushed.err
    return app


def test_an_app_with_a_comprehensive_file_is_served(shop: Rich) -> None:
    state = shop.state()
    assert (state["app"], state["version"], state["release"]) == ("rich", "one", 1)
    price = shop.get("/static/price")  # written by one service, read by the other
    assert (price.status, price.body) == (200, b"mint costs $5\n")
    assert [port for port in (PORT, 8443, 9000, 5432, 6379) if _open(shop, port)] == [PORT]


def test_each_difference_is_noted_once(shop: Rich) -> None:
    notes = [
        line.removeprefix("  note     ") for line in shop.output.splitlines() if line.startswith("  note ")
    ]
    expected = (
        r"^api: its published port stays closed",
        r"^web: of its published ports only 80 is reachable",
        r"^cache, db: published ports of stores stay closed$",
        r"^api, web: `container_name` and `hostname` are only names",
        r"has a volume, which the old and the new release briefly use",
        r": backups do not contain the files that it keeps",
    )
    assert [sum(bool(re.search(pattern, note)) for note in notes) for pattern in expected] == [1] * 6, notes
    assert len(notes) == len(expected), notes


def test_env_files_build_arguments_and_dollar_signs_are_applied(shop: Rich) -> None:
    environment: dict[str, str] = json.loads(shop.get("/environment").body)
    assert {
        name: environment.get(name) for name in ("DEBUG", "GREETING", "LATER", "FLAVOUR", "DB_PASSWORD")
    } == {
        "DEBUG": "no",
        "GREETING": "hello  $HOME # all",
        "LATER": "no, not ever",
        "FLAVOUR": "mint",
        "DB_PASSWORD": "s3cr'et%$x",
    }
    assert (
        environment["DATABASE_URL"] == "postgresql://rich:s3cr'et%$x@db:5432/rich"
    )  # not pushrod's, so it stays as written
    assert environment["REDIS_URL"] == "redis://cache:6379/1"
    worker = shop.inside("worker", "sh", "-c", 'echo "$ROLE $FLAVOUR $GREETING"')
    assert worker == "worker mint hello  $HOME # all"


def test_host_names_resolve_as_in_the_file(shop: Rich) -> None:
    release = shop.live
    api, db = _address(shop, "api", release), None
    for service, name in (("web", "backend"), ("web", "api"), ("web", "rich_api"), ("worker", "api")):
        assert shop.inside(service, "getent", "ahostsv4", name).split()[0] == api, (service, name)
    db = shop.inside("worker", "getent", "ahostsv4", "database").split()[0]
    assert db == shop.inside("api", "getent", "ahostsv4", "db").split()[0]
    assert db == shop.inside("worker", "getent", "ahostsv4", "rich_db").split()[0]


def test_limits_labels_logging_and_health_are_those_of_the_file(shop: Rich) -> None:
    api, worker, web = (shop.inspect(name, shop.live) for name in ("api", "worker", "web"))
    assert api["HostConfig"]["LogConfig"] == {
        "Type": "json-file",
        "Config": {"max-size": "1m", "max-file": "2"},
    }
    assert worker["HostConfig"]["LogConfig"] == api["HostConfig"]["LogConfig"]
    assert web["HostConfig"]["LogConfig"]["Config"]["max-size"] == "10m"
    assert api["Config"]["Labels"]["com.example.team"] == "red"
    assert api["Config"]["StopTimeout"] == 7
    check = api["Config"]["Healthcheck"]
    seconds = {name: check[name] / 1e9 for name in ("StartPeriod", "Interval", "Timeout")}
    assert (seconds, check["Retries"]) == ({"StartPeriod": 9, "Interval": 2, "Timeout": 3}, 4)
    policies = {name: c["HostConfig"]["RestartPolicy"]["Name"] for name, c in
                {"api": api, "worker": worker, "web": web, "db": shop.inspect("db")}.items()}  # fmt: skip
    kept = "unless-stopped"  # with `always`, dockerd would start what was stopped on purpose
    assert policies == {"api": kept, "web": kept, "db": kept, "worker": "on-failure"}
    assert worker["HostConfig"]["Init"] is True
    assert shop.inside("api", "sh", "-c", "ulimit -Sn; ulimit -Hn").split() == ["1234", "2345"]
    assert "size=1024k" in shop.inside("api", "grep", " /scratch tmpfs", "/proc/mounts")
    assert shop.inside("cache", "redis-cli", "config", "get", "maxmemory").split() == [
        "maxmemory",
        "20971520",
    ]


def test_configs_and_secrets_are_mounted_as_files(shop: Rich) -> None:
    assert shop.inside("api", "cat", "/etc/settings.json") == '{"colour": "red"}'
    assert shop.inside("api", "cat", "/run/secrets/licence") == "licence 7"
    assert shop.inside("api", "cat", "/run/secrets/own") == "licence 7"
    assert shop.inside("api", "stat", "-c", "%u %g %a", "/run/secrets/own") == "65534 100 400"


def test_a_job_runs_once_before_the_instances(shop: Rich) -> None:
    assert "migrated with no" in shop.output
    names = shop.box.docker("ps", "--all", "--format={{.Names}}", "--filter=label=pushrod.app=rich").split()
    assert sorted(names) == sorted(
        ["rich-cache", "rich-db", *(f"rich-r{shop.live}-{name}-1" for name in ("api", "web", "worker"))]
    )
    assert shop.output.index("migrated with no") < shop.output.index("  start ")


def test_data_is_shared_by_releases_and_tracked_files_change_with_the_commit(shop: Rich) -> None:
    for place in ("uploads", "media/large"):  # directories that are not in Git, one of them nested
        shop.inside("api", "sh", "-c", f"echo mine >{place}/photo")
    before = {name: shop.inspect(name)["Id"] for name in ("db", "cache")}
    rows = shop.state()["rows"]
    shop.post("a row")
    assert shop.inside("api", "cat", "config/greeting") == "greeting of one"
    shop.tree.commit(rich("two"), "two")
    pushed = shop.push()
    assert pushed.ok, pushed.err
    assert "  note " not in pushed.err
    assert shop.state()["version"] == "two"
    assert shop.inside("api", "cat", "config/greeting") == "greeting of two"
    assert shop.inside("api", "cat", "uploads/photo", "media/large/photo").split() == ["mine", "mine"]
    assert shop.state()["rows"] == rows + 1
    assert {name: shop.inspect(name)["Id"] for name in before} == before
    refused = shop.box.exec(
        "docker", "exec", shop.container("api", shop.live), "touch", "config/x", check=False
    )
    assert "Read-only file system" in refused.stderr


# ---- what a push will do, and whether there is room ---------------------------------------------------------------


def test_a_plan_over_ssh_equals_the_plan_on_the_host(shop: Rich) -> None:
    changed = rich("three") | {"compose.yaml": RICH.replace("--maxmemory 20mb", "--maxmemory 30mb")}
    commit = shop.tree.commit(changed, "more memory for the cache")
    before, answers = shop.footprint(), shop.state()["version"]
    elsewhere = json.loads(shop.at_desk("plan", "--json").stdout)
    there = json.loads(shop.ground.pushrod("plan", commit, "--app", "rich", "--json").stdout)
    for plan in (elsewhere, there):
        for need in plan["needs"]:
            need["free"] = 0  # it varies
    assert elsewhere == there
    lines = {(c["what"], c["name"], c["action"]): c["detail"] for c in there["changes"]}
    assert lines["image", "api", "new"] == f"built: pushrod/rich/api:{commit}"
    assert lines["image", "db", "same"].endswith(" exists already")
    assert "restarts on its data" in lines["store", "cache", "changed"]
    assert ("store", "db", "changed") not in lines
    assert {need["what"] for need in there["needs"]} == {"memory", "disk"}
    assert all(need["wanted"] > 0 for need in there["needs"])
    assert (shop.footprint(), shop.state()["version"]) == (before, answers)
    shown = shop.at_desk("plan").stdout
    assert re.search(r"^store +cache +changed +its definition changed: it restarts", shown, re.MULTILINE), (
        shown
    )
    assert re.search(r"^needs \d+ MiB of memory, \d+ MiB are free", shown, re.MULTILINE), shown


SMALL = """\
x-pushrod: {domains: [small.localhost]}
services:
  web:
    build: .
    ports: ["8080:8080"]
    mem_reservation: RESERVED
    x-pushrod: {read_only: true, health: {path: /healthz, deadline: 20s}}
"""
TOOL = """\
  tool:
    image: nobody.invalid/tool:1
    stop_grace_period: 1s
"""
# A program with its libraries, for an image of two megabytes.
PACK = "tar -chC / usr/bin/sleep $(ldd /usr/bin/sleep | grep -o '/lib[^ ]*')"


def small(reserved: str = "64m", more: str = "") -> dict[str, str]:
    """The tree of an app without stores."""
    compose = SMALL.replace("RESERVED", reserved) + more
    return {"compose.yaml": compose, "Dockerfile": DOCKERFILE, "app.py": STATELESS}


# The routes of the app's program that need no stores.
STATELESS = code().replace('"/": state', '"/": lambda: VERSION')


@pytest.fixture(scope="module")
def tiny(ground: Ground) -> Shop:
    """An app without stores, pushed once."""
    app = ground.app("small", small())
    pushed = app.push()
    assert pushed.ok, pushed.err
    return app


def test_a_read_only_container_cannot_write_to_its_files(tiny: Shop) -> None:
    assert tiny.get().status == 200
    assert tiny.inspect("web", tiny.live)["HostConfig"]["ReadonlyRootfs"] is True
    inside = ("docker", "exec", tiny.container("web", tiny.live), "touch")
    assert "Read-only file system" in tiny.box.exec(*inside, "/app/x", check=False).stderr
    tiny.box.exec(*inside, "/tmp/x")


@pytest.mark.long
def test_a_compose_file_in_a_folder_is_chosen_over_ssh(tiny: Shop) -> None:
    """Its build, and what it mounts, are found from there; a file beside it is the release's, one that Git does not
    have is data."""
    good = tiny.tree.head()
    mounts = '    volumes: ["./conf:/conf:ro", "../uploads:/uploads"]\n'
    placed = SMALL.replace("RESERVED", "64m").replace("build: .", "build: ..") + mounts
    tiny.tree.git("rm", "--quiet", "compose.yaml")
    tiny.tree.commit({"deploy/compose.prod.yaml": placed, "deploy/conf/x": "of the commit"}, "in a folder")
    refused = complaint(tiny.push())
    assert refused.what.endswith("there is deploy/compose.prod.yaml")
    word = "file=deploy/compose.prod.yaml"
    assert f"pushrod apps set small {word}" in refused.to_do
    tiny.box.ssh("apps", "set", "small", word, user="pushrod")
    pushed = tiny.push()
    assert pushed.ok, pushed.err
    assert tiny.get().status == 200
    inside = ("exec", tiny.container("web", tiny.live), "sh", "-c")
    assert tiny.box.docker(*inside, "cat /conf/x; touch /uploads/kept") == "of the commit"
    assert "compose file: deploy/compose.prod.yaml" in tiny.ssh("status").stdout
    assert tiny.at_desk("plan").status == 0

    tiny.tree.commit({"deploy/conf/x": "of the next"}, "next")
    assert tiny.push().ok
    inside = ("exec", tiny.container("web", tiny.live), "sh", "-c")
    assert tiny.box.docker(*inside, "cat /conf/x; ls /uploads") == "of the nextkept"
    tiny.box.ssh("apps", "set", "small", "file=", user="pushrod")
    tiny.tree.reset(good)
    again = tiny.tree.push("--force", "pushrod", "HEAD:main")
    assert again.ok, again.err


def test_a_push_that_does_not_fit_is_refused_before_anything_starts(tiny: Shop) -> None:
    good = tiny.tree.head()
    # Each reserves the maximum for one container, half of the machine: together that exceeds any machine.
    tiny.tree.commit(small("2000g", "    scale: 40\n"), "everything")
    before = tiny.footprint()
    refused = complaint(tiny.push())
    assert re.fullmatch(r"it does not fit: \d+ MiB of memory are needed, \d+ MiB are free", refused.what)
    assert tiny.footprint() == before
    assert tiny.get().status == 200
    tiny.tree.reset(good)


def test_scaling_beyond_the_memory_is_refused(tiny: Shop) -> None:
    good = tiny.tree.head()
    whole = int(tiny.box.exec("awk", "/MemTotal/{print $2}", "/proc/meminfo").stdout)
    tiny.tree.commit(small(f"{whole // 20}k"), "reserve")
    pushed = tiny.push()
    assert pushed.ok, pushed.err
    before = tiny.footprint()
    done = tiny.box.ssh("scale", "web=40", "--app", "small", user="pushrod", check=False)
    assert (done.status, "it does not fit" in done.stderr) == (10, True), done
    assert tiny.footprint() == before
    assert good != tiny.tree.head()


EXCLUSIVE = """\
x-pushrod: {domains: [exclusive.localhost]}
services:
  web:
    build: .
    ports: ["8080:8080"]
    x-pushrod: {health: /healthz}
  keeper:
    build: .
    command: python keeper.py
    volumes: ["data:/data"]
    deploy: {update_config: {order: stop-first}}
volumes: {data: }
"""
KEEPER = """\
import fcntl, signal, sys

signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
lock = open("/data/lock", "a")
fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
signal.pause()
"""


@pytest.mark.long
def test_an_exclusive_worker_is_replaced_and_restarts_if_the_push_fails(ground: Ground) -> None:
    dockerfile = DOCKERFILE.replace("COPY app.py .", "COPY app.py keeper.py ./").replace("USER nobody\n", "")
    tree = {"compose.yaml": EXCLUSIVE, "Dockerfile": dockerfile, "app.py": STATELESS, "keeper.py": KEEPER}
    app = ground.app("exclusive", tree)
    for version in ("one", "two"):
        app.tree.commit({"app.py": STATELESS.replace('"one"', f'"{version}"')}, version)
        done = app.push()
        assert done.ok, done.err
    # Workers that end at the switch are distinguished from those that serve requests by their listening ports.
    listens = "import sys; from pushrod.system import network; "
    listens += "print([network.listens(int(pid)) for pid in sys.argv[1:]])"
    pids = [str(app.inspect(service, app.live)["State"]["Pid"]) for service in ("web", "keeper")]
    listening = app.box.exec("/opt/pushrod/bin/python", "-c", listens, *pids, user="pushrod").stdout
    assert listening.strip() == "[True, False]"
    app.tree.commit({"app.py": "raise SystemExit('broken')"}, "broken")
    assert not app.push().ok
    assert app.inspect("keeper", app.live)["State"]["Status"] == "running"
    assert app.get().status == 200


SHARED = """\
x-pushrod: {domains: [shared.localhost]}
services:
  server:
    build: .
    image: master-image
    ports: ["8080:8080"]
    x-pushrod: {health: /healthz}
  worker:
    image: master-image
    command: python -c "import time; time.sleep(600)"
    stop_grace_period: 1s
  base: {build: {context: ., dockerfile: Dockerfile.base}, image: shared-base, scale: 0}
  middle:
    build: {context: ., dockerfile: Dockerfile.middle, additional_contexts: {below: "service:base"}}
    scale: 0
  server.again: {build: {context: ., dockerfile: Dockerfile.again}, image: again, command: cat, scale: 0}
"""
LAYERS = {
    "Dockerfile.base": "FROM python:3.13-slim\nRUN echo base >/base\n",
    "Dockerfile.middle": "FROM below\nRUN cat /base && echo middle >/middle\n",
    "Dockerfile.again": "FROM shared-base\nRUN cat /base\n",
}


KEPT = """\
x-pushrod: {domains: [kept.localhost]}
services:
  web:
    build: .
    ports: ["8080:8080"]
    depends_on: [odd]
    x-pushrod: {health: /healthz}
  odd: {image: "vendor/odd:1"}
  notes:
    image: python:3.13-slim
    command: sh -c 'date >>/notes/starts; trap exit TERM; sleep 1000 & wait'
    volumes: ["notes:/notes"]
volumes: {notes: }
"""


def test_data_that_compose_keeps_survives_a_push_and_the_loss_of_networks(ground: Ground) -> None:
    """A pulled image of an unknown kind keeps its data in its container; one of a language, in its volume."""
    ground.box.docker("tag", "redis:7", "vendor/odd:1")
    app = ground.app("kept", {"compose.yaml": KEPT, "Dockerfile": DOCKERFILE, "app.py": STATELESS})
    assert app.push().ok
    app.box.docker("exec", "kept-odd", "touch", "/srv/mine")
    before = app.inspect("odd")["Id"]
    for version in ("two", "three"):
        app.tree.commit({"app.py": STATELESS.replace('"one"', f'"{version}"')}, version)
        done = app.push()
        assert done.ok, done.err
        assert app.box.docker("exec", "kept-odd", "ls", "/srv") == "mine"
        app.box.docker("stop", "kept-odd")
        app.box.docker("network", "rm", "kept", "kept_outside")
    module = "import pushrod.engines.docker.rendering as module; print(module.__file__)"
    path = app.box.exec("/opt/pushrod/bin/python", "-c", module).stdout.strip()
    rendering = app.box.get(path)
    try:  # another version of pushrod, which renders stores otherwise
        app.box.put(path, rendering.replace(b'"restart": "unless-stopped",', b'"restart": "on-failure",'))
        assert app.ssh("restart").status == 0
    finally:
        app.box.put(path, rendering)
    assert app.inspect("odd")["Id"] == before
    assert app.box.docker("exec", "kept-odd", "ls", "/srv") == "mine"
    assert app.box.docker("exec", app.container("web", app.live), "getent", "hosts", "odd")
    starts = app.box.docker("exec", app.container("notes", app.live), "cat", "/notes/starts")
    assert len(starts.splitlines()) >= 3


@pytest.mark.long
def test_two_services_share_one_image(ground: Ground) -> None:
    """It is built once, and does not get its name from the file, which other apps may use too; images are built from
    it under that name."""
    tree = {"compose.yaml": SHARED, "Dockerfile": DOCKERFILE, "app.py": STATELESS, **LAYERS}
    app = ground.app("shared", tree)
    done = app.push()
    assert done.ok, done.err
    assert "not applied" not in done.err
    server, worker = (app.inspect(service, app.live) for service in ("server", "worker"))
    assert server["Image"] == worker["Image"]
    built = ("server", "base", "middle", "server.again")
    assert app.images() == {f"pushrod/shared/{name}:{app.tree.head()}" for name in built}
    assert app.box.exec("docker", "image", "inspect", "master-image", check=False).status != 0


@pytest.mark.long
def test_an_image_can_be_loaded_from_an_archive(tiny: Shop) -> None:
    tiny.tree.commit(small(more=TOOL), "an image that no registry has")
    before, began = tiny.footprint(), time.monotonic()
    refused = complaint(tiny.push())
    print(f"an image that cannot be pulled: refused after {time.monotonic() - began:.1f} s")
    assert refused.what.startswith("the image cannot be pulled: ")
    assert (refused.where, "image load -" in refused.to_do) == ("nobody.invalid/tool:1", True)
    assert tiny.footprint() == before

    change = """--change='CMD ["/usr/bin/sleep", "600"]'"""
    tiny.box.exec("sh", "-c", f"{PACK} | docker import {change} - nobody.invalid/tool:1")
    archive = tiny.ground.directory / "tool.tar"
    tiny.box.docker("save", "--output=/root/tool.tar", "nobody.invalid/tool:1")
    archive.write_bytes(tiny.box.get("/root/tool.tar"))
    tiny.box.docker("rmi", "nobody.invalid/tool:1")
    with archive.open("rb") as source:
        ssh = [*tiny.box.ssh_command(), f"pushrod@{tiny.box.address}", "image load -"]
        loaded = processes.run(ssh, stdin=source, timeout=60)
    assert (loaded.status, loaded.stdout.splitlines()[-1]) == (0, "loaded: nobody.invalid/tool:1"), loaded

    tiny.tree.commit({}, "once more")
    pushed = tiny.push()
    assert pushed.ok, pushed.err
    assert tiny.inspect("tool")["State"]["Running"], "kept at later pushes, as everything of unknown kind"


# ---- small things -------------------------------------------------------------------------------------------------


def _api(app: Shop) -> dict[str, Any]:
    """The backend's description of itself, through the app's nginx."""
    answer = app.get("/api/")
    assert answer.status == 200, answer
    result: dict[str, Any] = json.loads(answer.body)
    return result


def _names(capabilities: list[str] | None) -> set[str]:
    return {name.removeprefix("CAP_") for name in capabilities or ()}


def _address(app: Shop, service: str, release: int) -> str:
    networks = app.inspect(service, release)["NetworkSettings"]["Networks"]
    return str(networks[f"{app.name}-r{release}"]["IPAddress"])


def _open(app: Shop, port: int) -> bool:
    """Whether something listens there, seen from this machine."""
    with contextlib.suppress(OSError), socket.create_connection((app.box.address, port), 2):
        return True
    return False
