"""A server that is a Docker host, and apps pushed to it over SSH from work trees on this machine."""

import contextlib
import hashlib
import http.client
import json
import os
import re
import shlex
import shutil
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any

import pushrod as package
from devtools.apps import Done, Running, Tree, edge_port, eventually
from devtools.lab import app as program
from devtools.lab import images
from devtools.lab.box import Answer, Box
from pushrod.provisioning import shares
from pushrod.system import processes
from pushrod.system.processes import Completed

ROOT = "/var/lib/pushrod"
SOURCE = Path(package.__file__).parent

DOCKERFILE = """\
FROM python:3.13-slim
WORKDIR /app
COPY app.py .
USER nobody
EXPOSE 8080
CMD ["python", "app.py"]
"""
COMPOSE = """\
x-pushrod: {domains: [DOMAIN], keep: 3}
services:
  web:
    build: .
    ports: ["8080:8080"]
    environment: {PYTHONUNBUFFERED: "1", TROUBLE: ""}
    depends_on: [postgres, redis]
    restart: unless-stopped
    stop_grace_period: 10s
    x-pushrod: {release: python app.py migrate, health: {path: /healthz, deadline: 20s}}
  postgres:
    image: postgres:18
    volumes: ["data:/var/lib/postgresql"]
  redis:
    image: valkey/valkey:9
volumes:
  data:
"""

# One program in the box for all of it: each call of `docker exec` costs a tenth of a second of a processor.
_FOOTPRINT = r"""
of="--filter=label=pushrod.app=$1"
docker ps --all --no-trunc --format='{{.ID}} {{.Names}} {{.State}}' "$of" || exit 1
printf '\036'; docker network ls --format={{.Name}} "$of" || exit 1
printf '\036'; docker volume ls --format={{.Name}} "$of" || exit 1
printf '\036'; docker image ls --all --format='{{.Repository}}:{{.Tag}} {{.ID}}' "$of" || exit 1
cd "$2" || exit 1
printf '\036'
find . checkouts state state/releases secrets/releases stores repo.git -mindepth 1 -maxdepth 1 2>/dev/null
printf '\036'; runuser -u pushrod -- git --git-dir=repo.git show-ref || exit 1
printf '\036'; readlink state/live
"""


def code(version: str = "one") -> str:
    """The app's program with this version in its text."""
    return Path(program.__file__).read_text().replace('VERSION = "one"', f'VERSION = "{version}"')


def files(domain: str, version: str = "one") -> dict[str, str]:
    """The tree of an app with PostgreSQL and Redis."""
    return {
        "app.py": code(version),
        "Dockerfile": DOCKERFILE,
        "compose.yaml": COMPOSE.replace("DOMAIN", domain),
    }


@cache
def source_digest() -> str:
    """A digest of pushrod's source, which decides what `pushrod host init` does."""
    result = hashlib.sha256()
    for path in sorted(
        path for path in SOURCE.rglob("*") if path.is_file() and "__pycache__" not in path.parts
    ):
        result.update(f"{path.relative_to(SOURCE)}\0".encode())
        result.update(path.read_bytes() + b"\0")
    return result.hexdigest()


@contextlib.contextmanager
def unwatched(box: Box) -> Iterator[None]:
    """Stop the watchdog during the block, so that no app is restarted."""
    box.exec("systemctl", "stop", "pushrod-watch.timer", "pushrod-watch.service")
    try:
        yield
    finally:
        box.exec("systemctl", "start", "pushrod-watch.timer")


def assert_within(box: Box, key: str) -> None:
    """Assert that the running call of a key is in the control groups of its unit, and that these are limited.

    Version 1 of control groups has a line for each kind, version 2 one for all.
    """
    unit = shares.unit(key)
    shown = box.exec("systemctl", "show", "--property=ControlGroup,MemoryMax,TasksMax", unit).stdout
    properties = dict(line.split("=", 1) for line in shown.splitlines())
    assert properties["ControlGroup"] == f"/pushrodgate.slice/{unit}"
    assert "infinity" not in properties.values()
    running = box.exec("pgrep", "--full", f"gate {key}|docker exec").stdout.split()
    groups = [box.get(f"/proc/{number}/cgroup").decode() for number in running]
    inside = [group for group in groups if unit in group]
    assert len(inside) >= 2, groups  # the gate, and the Docker program that it has started
    for group in inside:
        kinds = [line for line in group.splitlines() if re.search(r":(memory|pids|cpu):|^0::", line)]
        assert all(unit in line for line in kinds), group


@contextlib.contextmanager
def a_host(desk: Path) -> Iterator["Ground"]:
    """A host without apps; prints its journal at the end."""
    made = Ground(Box(), desk)
    try:
        yield made.create()
        print(made.box.journal())
    finally:
        made.box.remove()


@contextlib.contextmanager
def a_quiet_host(desk: Path) -> Iterator["Ground"]:
    """A host without apps; a failure shows the end of its journal."""
    made = Ground(Box(), desk)
    try:
        yield made.create()
    except BaseException:
        print(made.box.journal())
        raise
    finally:
        made.box.remove()


class Ground:
    """A box on which `pushrod host init` was run; its edge is published on loopback as `port`."""

    def __init__(self, box: Box, directory: Path) -> None:
        self.box = box
        self.directory = directory
        self.port = edge_port()

    @property
    def published(self) -> str:
        """The value for `Box.create`'s `ports`."""
        return f"127.0.0.1:{self.port}:80"

    def create(self, ports: Sequence[str] = ()) -> "Ground":
        """Make the box a host: a copy of the one that `make lab` has prepared from this source, else by `init`.

        The prepared host saves half a minute: it only starts, as after a reboot.
        """
        every = [self.published, *ports]
        volume = images.host_volume(source_digest())
        if images.has_volume(volume):
            self.box.create(images.HOST, seed=volume, ports=every)
            self._copy_source()
            self.add_key()
        else:
            self.box.create(ports=every)
            self.init()
        return self

    def init(self) -> Completed:
        """Run `pushrod host init` over SSH from this machine, and add the box's key as one that may push
        anything."""
        done = self.host_init()
        self.add_key()
        return done

    def host_init(self) -> Completed:
        """Run `pushrod host init` over SSH from this machine."""
        copy = self._copy_source()
        ssh = {"GIT_SSH_COMMAND": shlex.join(self.box.ssh_command()), "PYTHONPATH": str(copy)}
        argv = [sys.executable, "-m", "pushrod", "host", "init", f"root@{self.box.address}"]
        done = processes.run(argv, env={**os.environ, **ssh}, timeout=600)
        assert done.status == 0, done.stdout + done.stderr
        return done

    def _copy_source(self) -> Path:
        """The source as the developer's own installation, for commands run there."""
        copy = self.directory / "source"
        shutil.copytree(SOURCE, copy / "pushrod", ignore=shutil.ignore_patterns("__pycache__"))
        return copy

    def add_key(self) -> None:
        self.box.exec("pushrod", "host", "keys", "add", "-", stdin=self.box.public_key)

    def app(self, name: str, tree: Mapping[str, str | bytes] | None = None) -> "Shop":
        """An app `NAME` at `NAME.localhost`, with a work tree of one commit, not pushed."""
        environment = self.box.git_environment() | {
            "GIT_CONFIG_GLOBAL": "/dev/null",
            "GIT_CONFIG_NOSYSTEM": "1",
            **{f"GIT_{who}_NAME": "someone" for who in ("AUTHOR", "COMMITTER")},
            **{f"GIT_{who}_EMAIL": "someone@localhost" for who in ("AUTHOR", "COMMITTER")},
        }
        desk = Tree(self.directory / name, environment).init()
        desk.commit(files(f"{name}.localhost") if tree is None else tree, "first")
        desk.git("remote", "add", "pushrod", f"pushrod@{self.box.address}:{name}")
        return Shop(self, name, desk)

    def shop_with(self, rows: Sequence[str]) -> "Shop":
        """The app `shop`, live, with PostgreSQL, Valkey and these rows."""
        shop = self.app("shop")
        pushed = shop.push()
        assert pushed.ok, pushed.err
        for row in rows:
            shop.post(row)
        return shop

    def pushrod(self, *argv: str, check: bool = True) -> Completed:
        """Run a verb on the host as root."""
        return self.box.exec("pushrod", *argv, check=check)


class Shop:
    """One app of a host; `edge` is the port at which it answers."""

    edge = 80

    def __init__(self, ground: Ground, name: str, tree: Tree) -> None:
        self.ground = ground
        self.box = ground.box
        self.name = name
        self.tree = tree
        self.domain = f"{name}.localhost"
        self.directory = f"{ROOT}/apps/{name}"
        self.url = f"http://{self.domain}:{ground.port}/"

    # ---- its developer's commands --------------------------------------------------------------------------------

    def push(self) -> Done:
        return self.tree.push()

    def pushing(self) -> Running:
        return self.tree.pushing()

    def push_building(self) -> Done:
        """Push a commit whose dependencies are downloaded in the box, over its own network, however long that
        takes."""
        push = self.pushing()
        push.until("^live: |rejected", otherwise_end=True)
        return push.done()

    def push_version(self, version: str, changes: Mapping[str, str] | None = None) -> Done:
        """Push a good commit, and check that it serves."""
        self.tree.commit({**files(self.domain, version), **(changes or {})}, f"say {version}")
        done = self.push()
        assert done.ok, done.err
        assert self.state()["version"] == version, done.err
        return done

    def at_desk(self, *argv: str, check: bool = True, stdin: str = "") -> Completed:
        """Run a verb of this checkout's pushrod in the app's work tree, as on its developer's machine."""
        copy = self.ground.directory / "source"
        environment = {n: v for n, v in self.tree.env.items() if n != "PUSHROD_ROOT"}
        command = [sys.executable, "-m", "pushrod", *argv]
        done = processes.run(
            command,
            cwd=self.tree.path,
            env=environment | {"PYTHONPATH": str(copy)},
            timeout=120,
            stdin=stdin,
        )
        assert not check or done.status == 0, done.stdout + done.stderr
        return done

    def deploy_there(self, user: str = "pushrod") -> Completed:
        """Run `pushrod deploy` on the server as one of its users, in a clone owned by the account."""
        bundle = self.ground.directory / f"{self.name}.bundle"
        self.tree.git("bundle", "create", str(bundle), "main")
        place = f"/var/tmp/{self.name}"
        self.box.put(f"{place}.bundle", bundle.read_bytes())
        self.box.exec("rm", "-rf", place)
        self.box.exec("git", "clone", "--quiet", "--branch=main", f"{place}.bundle", place, user="pushrod")
        argv = ("env", f"--chdir={place}", "pushrod", "deploy", "--app", self.name)
        return self.box.exec(*argv, user=user, check=False)

    @contextlib.contextmanager
    def asking(self, key: Path | None = None) -> Iterator[None]:
        """Keep a call over SSH open during the block: a program in an instance, which reads."""
        there = f"pushrod@{self.box.address}"
        argv = [*self.box.ssh_command(key), there, f"exec --app {self.name} web -- cat"]
        with processes.beside(argv, env={"PATH": "/usr/bin:/bin"}, stdin="here\n", timeout=60) as first_line:
            assert first_line == "here"
            yield

    def code(self) -> str:
        """Its program in the work tree."""
        return (self.tree.path / "app.py").read_text()

    def ssh(self, *argv: str) -> Completed:
        """Run a verb over SSH."""
        return self.box.ssh(*argv, "--app", self.name, user="pushrod")

    # ---- what clients see ----------------------------------------------------------------------------------------

    def get(self, path: str = "/", timeout: float = 10.0) -> Answer:
        return self.box.get_page(path, self.domain, self.edge, timeout)

    def state(self) -> dict[str, Any]:
        """The identity of the answering instance, through the edge, with results from PostgreSQL and Redis."""
        answer = self.get()
        assert answer.status == 200, answer
        state: dict[str, Any] = json.loads(answer.body)
        assert str(state["release"]) == answer.headers["x-pushrod-release"]
        return state

    def post(self, row: str, timeout: float = 10.0, path: str = "/rows") -> None:
        """Store a row; returns when the app reports that it is committed, and fails otherwise."""
        connection = http.client.HTTPConnection(self.box.address, self.edge, timeout=timeout)
        with contextlib.closing(connection):
            connection.request("POST", path, json.dumps({"id": row}), {"Host": self.domain})
            assert connection.getresponse().status == 201

    def rows(self) -> list[str]:
        """The stored rows, oldest first."""
        rows: list[str] = json.loads(self.get("/rows").body)
        return rows

    def sql(self, statement: str) -> str:
        """PostgreSQL's answer to its superuser."""
        argv = ("psql", "-U", "postgres", "-d", self.name, "-AtX", "-v", "ON_ERROR_STOP=1", "-c", statement)
        return self.box.docker("exec", self.container("postgres"), *argv).strip()

    def serves(self, release: int) -> bool:
        """Whether it answers 200 from that release."""
        state = self.state()
        return (state["app"], state["release"]) == (self.name, release)

    def back(self, release: int, what: str, timeout: float = 90.0) -> float:
        """Wait until it serves; returns how long that took."""
        began = time.monotonic()
        eventually(lambda: self._answers(release), f"{self.name} serves {what}", timeout)
        took = time.monotonic() - began
        print(f"{self.name} {what}: serves after {took:.1f} s")
        return took

    def _answers(self, release: int) -> bool:
        answer = self.get(timeout=3.0)
        return answer.status == 200 and json.loads(answer.body)["release"] == release

    # ---- state on the host ---------------------------------------------------------------------------------------

    @property
    def live(self) -> int:
        """The release in the live pointer."""
        return int(
            self.box.exec("readlink", f"{self.directory}/state/live").stdout.strip().rpartition("/")[2]
        )

    def journal(self) -> list[dict[str, Any]]:
        text = self.box.get(f"{self.directory}/journal").decode()
        return [json.loads(line) for line in text.split("\n")[:-1]]

    @property
    def journal_live(self) -> int:
        """The live release according to the journal."""
        return int([e for e in self.journal() if e["event"] == "live"][-1]["release"])

    def until_live(self, release: int) -> float:
        """Seconds from the start of a release's latest promotion until it was live, from the journal."""
        at = {e["event"]: e["at"] for e in self.journal() if e["release"] == release}
        began, live = (datetime.fromisoformat(at[event]) for event in ("promote", "live"))
        return (live - began).total_seconds()

    def release(self, number: int) -> dict[str, Any]:
        """The content of a sealed release."""
        release: dict[str, Any] = json.loads(
            self.box.get(f"{self.directory}/state/releases/{number}/release.json")
        )
        return release

    def names(self, place: str) -> list[str]:
        """The names in one of its directories."""
        return self.box.exec("ls", f"{self.directory}/{place}").stdout.split()

    def container(self, service: str, release: int = 0) -> str:
        """The container of a store or, with a release, of its first instance of a service."""
        return f"{self.name}-r{release}-{service}-1" if release else f"{self.name}-{service}"

    def inspect(self, service: str, release: int = 0) -> dict[str, Any]:
        record: dict[str, Any] = json.loads(self.box.docker("inspect", self.container(service, release)))[0]
        return record

    def images(self) -> set[str]:
        """The tags of its images."""
        return set(self._listed("image", "ls", "--format={{.Repository}}:{{.Tag}}"))

    def running(self) -> list[str]:
        """The names of its running containers."""
        return self._listed("ps", "--format={{.Names}}")

    def addresses(self) -> dict[str, dict[str, str]]:
        """The address of each of its running containers in each of its networks."""
        return {
            name: {n: at["IPAddress"] for n, at in container["NetworkSettings"]["Networks"].items()}
            for name in self.running()
            for container in json.loads(self.box.docker("inspect", name))
        }

    def stores(self) -> list[str]:
        """The containers of its stores, and when they were started."""
        names = [self.container("postgres"), self.container("redis")]
        return self.box.docker("inspect", "--format={{.Id}} {{.State.StartedAt}}", *names).split("\n")

    def _listed(self, *argv: str) -> list[str]:
        return sorted(self.box.docker(*argv, f"--filter=label=pushrod.app={self.name}").split("\n"))

    def footprint(self) -> dict[str, object]:
        """Everything that a failed push must leave unchanged."""
        done = self.box.exec("sh", "-c", _FOOTPRINT, "sh", self.name, self.directory)
        *parts, live = done.stdout.split("\x1e")
        names = ("containers", "networks", "volumes", "images", "files", "refs")
        lists = {name: sorted(part.split("\n")) for name, part in zip(names, parts, strict=True)}
        return {**lists, "live": int(live.rpartition("/")[2])}
