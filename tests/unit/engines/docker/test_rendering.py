"""The files of a release, whole: as they are sealed, and as Compose reads them."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pushrod.adapters import compose
from pushrod.cli import scaffold
from pushrod.engines.docker import rendering
from pushrod.engines.docker.containers import Parts
from pushrod.manifest.grants import ROOT_CAPABILITIES
from pushrod.system import files, processes
from tests.unit.engines.docker.rendered import APP, NGINX, POSTGRES, REDIS, Rendered, render

HERE = Path(__file__).parent / "files"
STORES = {"postgres": POSTGRES, "redis": REDIS, "cache": REDIS, "nginx": NGINX}


def from_text(directory: Path, text: str, **images: Parts) -> Rendered:
    (directory / "compose.yaml").write_text(text)
    return render(directory, STORES | images)


def compare(found: Rendered, name: str) -> None:
    """The rendered files with those that are kept; PUSHROD_KEEP=1 keeps what there is now."""
    for kind, text in (
        ("compose", found.release),
        ("stores", found.stores),
        ("attachments", found.attachments),
    ):
        path = HERE / f"{name}.{kind}.{'json' if kind == 'attachments' else 'yaml'}"
        if os.environ.get("PUSHROD_KEEP"):
            path.write_text(text)
        assert text == path.read_text(), path.name


def accepted(tmp_path: Path, text: str) -> dict[str, Any]:
    """What Compose makes of a rendered file, with every env file that it names there and empty."""
    text = text.replace("/var/lib/pushrod", str(tmp_path))
    for service in yaml.safe_load(text)["services"].values():
        for path in service.get("env_file", []):
            files.write(Path(path), "")
    (tmp_path / "rendered.yaml").write_text(text)
    argv = [*compose.loader(), "--file", str(tmp_path / "rendered.yaml"), "--profile", "run", "config"]
    done = processes.run(argv, env={})
    assert done.status == 0, done.stderr
    return dict(yaml.safe_load(done.stdout))


def the_seed(directory: Path) -> Rendered:
    (directory / "compose.yaml").write_text((HERE / "seed.yaml").read_text())
    return render(directory, STORES)


def the_template(directory: Path) -> Rendered:
    for name, text in scaffold.template_files("shop").items():
        files.write(directory / name, text)
    return render(directory, STORES)


def the_rich(directory: Path) -> Rendered:
    (directory / "compose.yaml").write_text((HERE / "rich.yaml").read_text())
    (directory / "token.txt").write_text("x")
    return render(directory, STORES | {"web": NGINX})


MADE = {"seed": the_seed, "template": the_template, "rich": the_rich}


@pytest.mark.slow
@pytest.mark.parametrize("name", MADE)
def test_whole_files(tmp_path: Path, name: str) -> None:
    compare(MADE[name](tmp_path), name)


@pytest.mark.slow
@pytest.mark.parametrize("name", MADE)
def test_compose_accepts_them_and_publishes_nothing(tmp_path: Path, name: str) -> None:
    (tmp_path / "app").mkdir()
    found = MADE[name](tmp_path / "app")
    for text in (found.release, found.stores):
        for service in accepted(tmp_path, text)["services"].values():
            assert "ports" not in service
            assert service["cap_drop"] == ["ALL"]
            assert service["pull_policy"] == "never"
            assert any(o.startswith("no-new-privileges") for o in service["security_opt"])


@pytest.mark.parametrize("name", MADE)
@pytest.mark.slow
def test_no_value_of_an_environment_is_in_them(tmp_path: Path, name: str) -> None:
    found = MADE[name](tmp_path)
    for text in (found.release, found.stores):
        assert all("environment" not in s for s in rendering.services(text).values())


# ---- one thing each -----------------------------------------------------------------------------------------

WEB = "services:\n  web:\n    image: nginx\n    ports: ['80:80']\n"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("given", "limits"),
    [
        ("", {"mem_limit": 2 << 30, "pids_limit": 1024}),
        ("mem_limit: 64m", {"mem_limit": "67108864", "pids_limit": 1024}),
        ("mem_reservation: 4g", {"mem_limit": 2 << 30, "pids_limit": 1024}),
        ("pids_limit: 9", {"mem_limit": 2 << 30, "pids_limit": 9}),
        ("deploy: {resources: {limits: {cpus: '0.5'}}}", {"memory": str(2 << 30), "pids": 1024, "cpus": 0.5}),
        ("deploy: {resources: {limits: {memory: 64m, pids: 5}}}", {"memory": "67108864", "pids": 5}),
        ("deploy: {resources: {reservations: {memory: 4g}}}", {"memory": str(2 << 30), "pids": 1024}),
        ("cpus: 0.5\n    deploy: {resources: {reservations: {memory: 1m}}}",
         {"memory": str(2 << 30), "pids": 1024, "cpus": 0.5}),
    ],
)  # fmt: skip
def test_limits_are_in_one_place_each(tmp_path: Path, given: str, limits: dict[str, Any]) -> None:
    found = from_text(tmp_path, f"{WEB}    {given}\n")
    service = found.service("web-1")
    got = {k: v for k, v in service.items() if k in ("mem_limit", "pids_limit")}
    got |= ((service.get("deploy") or {}).get("resources") or {}).get("limits") or {}
    assert got == limits
    accepted(tmp_path, found.release)


@pytest.mark.slow
@pytest.mark.parametrize(
    "given",
    [
        "cpus: 64",
        "deploy: {resources: {limits: {cpus: '64', memory: 900g, pids: -1}}}",
        "pids_limit: -1\n    shm_size: 900g\n    mem_limit: 900g\n    tmpfs: [/x]\n    ulimits: {nofile: -1}",
        "healthcheck: {test: [CMD, x], interval: 1ms, start_period: 1s, start_interval: 1ms, timeout: 99h}",
        "sysctls: [net.core.somaxconn=1]\n    labels: [a=b, c]\n    logging: {options: {max-size: 900g}}",
    ],
)
def test_compose_takes_what_was_brought_down(tmp_path: Path, given: str) -> None:
    accepted(tmp_path, from_text(tmp_path, f"{WEB}    {given}\n").release)


@pytest.mark.slow
def test_a_service_without_a_network_has_none(tmp_path: Path) -> None:
    found = from_text(
        tmp_path, WEB + "  quiet: {image: x, network_mode: none}\n  postgres: {image: 'postgres:16'}\n"
    )
    for name in ("quiet-1", "quiet.run"):
        assert found.service(name)["network_mode"] == "none"
        assert "networks" not in found.service(name)
    accepted(tmp_path, found.release)


@pytest.mark.slow
def test_names_by_which_others_reach_a_service(tmp_path: Path) -> None:
    text = """
services:
  web: {image: nginx, ports: ["80:80"], links: [api, "api:old", "postgres:dbhost"]}
  api:
    image: x
    x-pushrod: {role: worker}
    container_name: my-api
    hostname: inner
    networks: {default: {aliases: [alias, api]}}
  postgres: {image: "postgres:16", container_name: my-db}
"""
    found = from_text(tmp_path, text)
    assert found.service("api-1")["networks"]["default"]["aliases"] == [
        "api",
        "alias",
        "inner",
        "my-api",
        "old",
    ]
    assert found.service("postgres")["networks"]["default"]["aliases"] == ["postgres", "my-db", "dbhost"]
    assert '"my-db"' in found.attachments
    assert all("links" not in found.service(n) for n in ("web-1", "web.run"))


@pytest.mark.parametrize(
    ("image", "volume", "out"),
    [
        ("prom/prometheus", "['vv:/prometheus']", True),
        ("acme/database", "[]", True),  # others depend on it
        ("mongo:8", "['vv:/data/db']", False),
        ("postgres:16", "[]", False),
    ],
)
def test_a_store_that_may_be_more_reaches_instances_and_the_world(
    tmp_path: Path, image: str, volume: str, out: bool
) -> None:
    text = (
        f"{WEB}    depends_on: [db]\n  db: {{image: '{image}', volumes: {volume}}}\nvolumes: {{vv: {{}}}}\n"
    )
    found = from_text(tmp_path, text)
    assert ("outside" in found.service("db")["networks"]) == out
    assert found.service("web-1")["networks"]["stores"].get("aliases") == (["web"] if out else None)


@pytest.mark.slow
def test_an_empty_entry_point_takes_the_images_away(tmp_path: Path) -> None:
    found = from_text(tmp_path, WEB + "    entrypoint: []\n    command: [a]\n")
    assert found.service("web-1")["entrypoint"] == []
    assert "entrypoint" not in from_text(tmp_path, WEB).service("web-1")


@pytest.mark.parametrize(
    ("given", "tmpfs"),
    [
        ("", ["/tmp"]),
        ("tmpfs: ['/tmp:size=1m', /run]", ["/tmp:size=1048576", f"/run:size={1 << 30}"]),
        ("tmpfs: /run", [f"/run:size={1 << 30}", "/tmp"]),
        ("volumes: ['v1:/tmp']", []),
    ],
)
@pytest.mark.slow
def test_what_is_read_only_can_write_to_tmp(tmp_path: Path, given: str, tmpfs: list[str]) -> None:
    volumes = "volumes: {v1: {}}\n"
    service = from_text(tmp_path, f"{WEB}    read_only: true\n    {given}\n{volumes}").service("web-1")
    assert service["read_only"] is True
    assert service.get("tmpfs", []) == tmpfs


@pytest.mark.slow
def test_data_of_a_store_always_has_a_volume_with_a_name(tmp_path: Path) -> None:
    def sources(volumes: str) -> list[str]:
        text = f"{WEB}  postgres: {{image: 'postgres:16', volumes: {volumes}}}\nvolumes: {{pg: {{}}}}\n"
        found = from_text(tmp_path, text)
        declared = rendering.volumes(APP, found.document, STORES | {"web": NGINX}, found.wanted)
        mounts = found.service("postgres")["volumes"]
        assert all(f"shop_{m['source']}" in declared for m in mounts)
        return [f"{m['source']}:{m['target']}" for m in mounts]

    own = "postgres-var-lib-postgresql-data:/var/lib/postgresql/data"
    assert sources("[]") == [own]
    assert sources("['/var/lib/postgresql/data']") == [own]
    assert sources("['/var/lib/postgresql/data/', '/extra']") == [own, "postgres-extra:/extra"]
    assert sources("['pg:/var/lib/postgresql/data/']") == ["pg:/var/lib/postgresql/data"]


@pytest.mark.slow
def test_volumes_from_are_mounted(tmp_path: Path) -> None:
    found = from_text(
        tmp_path,
        f"{WEB}    volumes_from: ['api:ro']\n  api: {{image: x, volumes: ['vv:/v']}}\nvolumes: {{vv: {{}}}}\n",
    )
    mount = found.service("web-1")["volumes"][0]
    assert (mount["source"], mount["target"], mount["read_only"]) == ("vv", "/v", True)
    assert "shop_vv" in found.release


@pytest.mark.slow
def test_labels_of_ours_cannot_be_given(tmp_path: Path) -> None:
    text = f"{WEB}    labels: {{pushrod.app: blog, pushrod.probe: 'http://x', mine: '1e3'}}\n"
    text += "  postgres: {image: 'postgres:16', labels: {pushrod.release: '3'}}\n"
    found = from_text(tmp_path, text)
    assert found.service("web-1")["labels"] == {
        "mine": "1e3",
        "pushrod.app": "shop",
        "pushrod.service": "web",
        "pushrod.release": "7",
        "pushrod.instance": "web-1",
        "pushrod.probe": "tcp://10.213.0.2:80",
    }
    assert found.service("postgres")["labels"] == {"pushrod.app": "shop", "pushrod.service": "postgres"}


@pytest.mark.parametrize(
    ("check", "probed"),
    [
        ("{test: [CMD, 'true']}", False),
        ("{test: [NONE]}", True),
        ("{disable: true}", True),
        ("{interval: 5s}", True),
    ],
)
@pytest.mark.slow
def test_what_has_no_check_of_its_own_is_asked(tmp_path: Path, check: str, probed: bool) -> None:
    found = from_text(tmp_path, f"{WEB}    healthcheck: {check}\n").service("web-1")
    assert found["labels"].get("pushrod.probe") == ("tcp://10.213.0.2:80" if probed else None)


@pytest.mark.parametrize(
    ("own", "domains", "hosts"),
    [
        ("/up", "[]", "localhost 10.213.0.2:80"),
        ("/up", "['*.shop.example.com', shop.example.com]", "shop.example.com"),
        ("/up", "['*.shop.example.com']", "any.shop.example.com"),
        ("{path: /up, host: 'admin.example.com:8443'}", "[shop.example.com]", "admin.example.com:8443"),
    ],
)
@pytest.mark.slow
def test_a_path_is_asked_by_a_name_of_the_app_also_where_there_is_a_check(
    tmp_path: Path, own: str, domains: str, hosts: str
) -> None:
    text = f"x-pushrod: {{domains: {domains}}}\n{WEB}    healthcheck: {{test: [CMD, 'true']}}\n"
    found = from_text(tmp_path, f"{text}    x-pushrod: {{health: {own}}}\n").service("web-1")
    assert found["labels"]["pushrod.probe"] == "http://10.213.0.2:80/up"
    assert found["labels"]["pushrod.probe.hosts"] == hosts


@pytest.mark.slow
@pytest.mark.parametrize(
    ("user", "hook", "raised"),
    [
        ("1000", "{command: [x], user: root}", True),
        ("1000", "{command: [x], user: '0:0'}", True),
        ("1000", "{command: [x], user: '33'}", False),
        ("1000", "{command: [x]}", False),
        ("root", "{command: [x], user: root}", False),
    ],
)
def test_a_container_in_which_a_hook_becomes_root(tmp_path: Path, user: str, hook: str, raised: bool) -> None:
    text = f"{WEB}    user: '{user}'\n    KIND: [{hook}]\n"
    for kind in ("post_start", "pre_stop"):
        found = from_text(tmp_path, text.replace("KIND", kind)).service("web-1")
        assert found["cap_drop"] == ["ALL"]
        assert ("security_opt" in found) is not raised
        assert found.get("cap_add") == (list(ROOT_CAPABILITIES) if raised or user == "root" else None)


@pytest.mark.parametrize(
    ("given", "restart"),
    [
        ("", "unless-stopped"),
        ("restart: always", "unless-stopped"),
        ("restart: 'no'", "no"),
        ("restart: on-failure:5", "on-failure:5"),
        ("deploy: {restart_policy: {condition: none}}", "no"),
        ("deploy: {restart_policy: {condition: any}}", "unless-stopped"),
        ("deploy: {restart_policy: {condition: on-failure}}", "on-failure"),
    ],
)
@pytest.mark.slow
def test_restart(tmp_path: Path, given: str, restart: str) -> None:
    assert from_text(tmp_path, f"{WEB}    {given}\n").service("web-1")["restart"] == restart


@pytest.mark.slow
@pytest.mark.parametrize(
    ("given", "root", "kept"),
    [
        ("", True, list(ROOT_CAPABILITIES)),
        ("", False, None),
        ("user: '1000'", True, None),
        ("user: root", False, list(ROOT_CAPABILITIES)),
        ("cap_drop: [ALL]", True, None),
        ("cap_drop: [CAP_CHOWN]", True, [c for c in ROOT_CAPABILITIES if c != "CHOWN"]),
        ("cap_add: [cap_kill]", False, ["KILL"]),
    ],
)
def test_capabilities(tmp_path: Path, given: str, root: bool, kept: list[str] | None) -> None:
    found = from_text(tmp_path, f"{WEB}    {given}\n", web=NGINX._replace(root=root)).service("web-1")
    assert (found["cap_drop"], found.get("cap_add")) == (["ALL"], kept)


@pytest.mark.slow
def test_a_redis_elsewhere_is_checked_there(tmp_path: Path) -> None:
    found = from_text(tmp_path, f"{WEB}  redis: {{image: 'redis:7', command: redis-server --port 7000}}\n")
    assert "-p 7000 ping" in found.service("redis")["healthcheck"]["test"][1]
    own = from_text(tmp_path, f"{WEB}  redis: {{image: 'redis:7', healthcheck: {{disable: true}}}}\n")
    assert own.service("redis")["healthcheck"] == {"disable": True}


TEXT = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=20)
ODD = ["1e3", "0o17", "0x1F", "yes", "~", "1:30", "$A", "$$", "${B:-c}", "12e45", ".inf", "=", "<<"]
WORDS = st.one_of(TEXT, st.sampled_from(ODD))


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(WORDS, min_size=1, max_size=30))
@pytest.mark.slow
def test_every_text_reaches_compose_as_it_is(tmp_path: Path, words: list[str]) -> None:
    (tmp_path / "x.yaml").write_text(
        rendering.dump({"name": "p", "services": {"a": {"image": "i", "command": words}}})
    )
    done = processes.run([*compose.loader(), "--file", str(tmp_path / "x.yaml"), "config"], env={})
    assert done.status == 0, done.stderr
    assert compose._parse(done.stdout.replace("$$", "$"))["services"]["a"]["command"] == words


@pytest.mark.slow
def test_stores_are_found_while_dockers_name_server_is_away(tmp_path: Path) -> None:
    """By /etc/hosts: at the address that the store is given in the release's network, unless the manifest has it."""
    found = MADE["seed"](tmp_path)
    rows = {row["aliases"][0]: row["address"] for row in json.loads(found.attachments)}
    wanted = [f"{name}:{address}" for name, address in rows.items()]
    services = yaml.safe_load(found.release)["services"]
    assert wanted
    assert {name: s["extra_hosts"] for name, s in services.items()} == dict.fromkeys(services, wanted)
