"""A release's complete files, as they are sealed and as Compose reads them."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pushrod.adapters import compose, compose_loader
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


def compare(result: Rendered, name: str) -> None:
    """Compare the rendered files with the expected ones; PUSHROD_KEEP=1 writes them instead."""
    for kind, text in (
        ("compose", result.release),
        ("stores", result.stores),
        ("attachments", result.attachments),
    ):
        path = HERE / f"{name}.{kind}.{'json' if kind == 'attachments' else 'yaml'}"
        if os.environ.get("PUSHROD_KEEP"):
            path.write_text(text)
        assert text == path.read_text(), path.name


def accepted(tmp_path: Path, text: str) -> dict[str, Any]:
    """A rendered file as resolved by Compose; every env file that it names is empty."""
    text = text.replace("/var/lib/pushrod", str(tmp_path))
    for service in yaml.safe_load(text)["services"].values():
        for path in service.get("env_file", []):
            files.write(Path(path), "")
    (tmp_path / "rendered.yaml").write_text(text)
    argv = [
        *compose_loader.argv_of(),
        "--file",
        str(tmp_path / "rendered.yaml"),
        "--profile",
        "run",
        "config",
    ]
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
def test_rendered_files_match_the_expected_files(tmp_path: Path, name: str) -> None:
    compare(MADE[name](tmp_path), name)


@pytest.mark.slow
@pytest.mark.parametrize("name", MADE)
def test_compose_accepts_the_files_and_publishes_no_port(tmp_path: Path, name: str) -> None:
    (tmp_path / "app").mkdir()
    result = MADE[name](tmp_path / "app")
    for text in (result.release, result.stores):
        for service in accepted(tmp_path, text)["services"].values():
            assert "ports" not in service
            assert service["cap_drop"] == ["ALL"]
            assert service["pull_policy"] == "never"
            assert any(o.startswith("no-new-privileges") for o in service["security_opt"])


@pytest.mark.parametrize("name", MADE)
@pytest.mark.slow
def test_the_files_contain_no_environment_value(tmp_path: Path, name: str) -> None:
    result = MADE[name](tmp_path)
    for text in (result.release, result.stores):
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
def test_each_limit_is_rendered_in_one_place(tmp_path: Path, given: str, limits: dict[str, Any]) -> None:
    result = from_text(tmp_path, f"{WEB}    {given}\n")
    service = result.service("web-1")
    got = {k: v for k, v in service.items() if k in ("mem_limit", "pids_limit")}
    got |= ((service.get("deploy") or {}).get("resources") or {}).get("limits") or {}
    assert got == limits
    accepted(tmp_path, result.release)


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
def test_compose_accepts_limited_values(tmp_path: Path, given: str) -> None:
    accepted(tmp_path, from_text(tmp_path, f"{WEB}    {given}\n").release)


@pytest.mark.slow
def test_a_service_without_a_network_has_none(tmp_path: Path) -> None:
    result = from_text(
        tmp_path, WEB + "  quiet: {build: ., network_mode: none}\n  postgres: {image: 'postgres:16'}\n"
    )
    for name in ("quiet-1", "quiet.run"):
        assert result.service(name)["network_mode"] == "none"
        assert "networks" not in result.service(name)
    accepted(tmp_path, result.release)


@pytest.mark.slow
def test_a_service_is_reachable_by_its_other_names(tmp_path: Path) -> None:
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
    result = from_text(tmp_path, text)
    assert result.service("api-1")["networks"]["default"]["aliases"] == [
        "api",
        "alias",
        "inner",
        "my-api",
        "old",
    ]
    assert result.service("postgres")["networks"]["default"]["aliases"] == ["postgres", "my-db", "dbhost"]
    assert '"my-db"' in result.attachments
    assert all("links" not in result.service(n) for n in ("web-1", "web.run"))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("image", "volume", "out"),
    [
        ("prom/prometheus", "['vv:/prometheus']", True),
        ("acme/database", "[]", True),  # others depend on it
        ("mongo:8", "['vv:/data/db']", False),
        ("postgres:16", "[]", False),
    ],
)
def test_an_unknown_store_reaches_instances_and_the_internet(
    tmp_path: Path, image: str, volume: str, out: bool
) -> None:
    text = (
        f"{WEB}    depends_on: [db]\n  db: {{image: '{image}', volumes: {volume}}}\nvolumes: {{vv: {{}}}}\n"
    )
    result = from_text(tmp_path, text)
    assert ("outside" in result.service("db")["networks"]) == out
    assert result.service("web-1")["networks"]["stores"].get("aliases") == (["web"] if out else None)


@pytest.mark.slow
def test_an_empty_entrypoint_removes_the_images_entrypoint(tmp_path: Path) -> None:
    result = from_text(tmp_path, WEB + "    entrypoint: []\n    command: [a]\n")
    assert result.service("web-1")["entrypoint"] == []
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
def test_a_read_only_service_can_write_to_tmp(tmp_path: Path, given: str, tmpfs: list[str]) -> None:
    volumes = "volumes: {v1: {}}\n"
    service = from_text(tmp_path, f"{WEB}    read_only: true\n    {given}\n{volumes}").service("web-1")
    assert service["read_only"] is True
    assert service.get("tmpfs", []) == tmpfs


@pytest.mark.slow
def test_data_of_a_store_always_has_a_volume_with_a_name(tmp_path: Path) -> None:
    def sources(volumes: str) -> list[str]:
        text = f"{WEB}  postgres: {{image: 'postgres:16', volumes: {volumes}}}\nvolumes: {{pg: {{}}}}\n"
        result = from_text(tmp_path, text)
        declared = rendering.volumes(APP, result.document, STORES | {"web": NGINX}, result.parsed)
        mounts = result.service("postgres")["volumes"]
        assert all(f"shop_{m['source']}" in declared for m in mounts)
        return [f"{m['source']}:{m['target']}" for m in mounts]

    own = "postgres-var-lib-postgresql-data:/var/lib/postgresql/data"
    assert sources("[]") == [own]
    assert sources("['/var/lib/postgresql/data']") == [own]
    assert sources("['/var/lib/postgresql/data/', '/extra']") == [own, "postgres-extra:/extra"]
    assert sources("['pg:/var/lib/postgresql/data/']") == ["pg:/var/lib/postgresql/data"]


@pytest.mark.slow
def test_volumes_from_are_mounted(tmp_path: Path) -> None:
    result = from_text(
        tmp_path,
        f"{WEB}    volumes_from: ['api:ro']\n  api: {{image: x, volumes: ['vv:/v']}}\nvolumes: {{vv: {{}}}}\n",
    )
    mount = result.service("web-1")["volumes"][0]
    assert (mount["source"], mount["target"], mount["read_only"]) == ("vv", "/v", True)
    assert "shop_vv" in result.release


@pytest.mark.slow
def test_reserved_labels_cannot_be_set(tmp_path: Path) -> None:
    text = f"{WEB}    labels: {{pushrod.app: blog, pushrod.probe: 'http://x', mine: '1e3'}}\n"
    text += "  postgres: {image: 'postgres:16', labels: {pushrod.release: '3'}}\n"
    result = from_text(tmp_path, text)
    assert result.service("web-1")["labels"] == {
        "mine": "1e3",
        "pushrod.app": "shop",
        "pushrod.service": "web",
        "pushrod.release": "7",
        "pushrod.instance": "web-1",
        "pushrod.probe": "tcp://10.213.0.2:80",
    }
    assert result.service("postgres")["labels"] == {"pushrod.app": "shop", "pushrod.service": "postgres"}


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
def test_a_service_without_its_own_check_is_probed(tmp_path: Path, check: str, probed: bool) -> None:
    result = from_text(tmp_path, f"{WEB}    healthcheck: {check}\n").service("web-1")
    assert result["labels"].get("pushrod.probe") == ("tcp://10.213.0.2:80" if probed else None)


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
def test_a_health_path_is_probed_with_a_host_name_of_the_app(
    tmp_path: Path, own: str, domains: str, hosts: str
) -> None:
    text = f"x-pushrod: {{domains: {domains}}}\n{WEB}    healthcheck: {{test: [CMD, 'true']}}\n"
    result = from_text(tmp_path, f"{text}    x-pushrod: {{health: {own}}}\n").service("web-1")
    assert result["labels"]["pushrod.probe"] == "http://10.213.0.2:80/up"
    assert result["labels"]["pushrod.probe.hosts"] == hosts


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
def test_a_container_with_a_root_hook_has_the_capabilities_it_needs(
    tmp_path: Path, user: str, hook: str, raised: bool
) -> None:
    text = f"{WEB}    user: '{user}'\n    KIND: [{hook}]\n"
    for kind in ("post_start", "pre_stop"):
        result = from_text(tmp_path, text.replace("KIND", kind)).service("web-1")
        assert result["cap_drop"] == ["ALL"]
        assert ("security_opt" in result) is not raised
        assert result.get("cap_add") == (list(ROOT_CAPABILITIES) if raised or user == "root" else None)


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
def test_restart_policies_are_rendered(tmp_path: Path, given: str, restart: str) -> None:
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
def test_capabilities_are_rendered(tmp_path: Path, given: str, root: bool, kept: list[str] | None) -> None:
    result = from_text(tmp_path, f"{WEB}    {given}\n", web=NGINX._replace(root=root)).service("web-1")
    assert (result["cap_drop"], result.get("cap_add")) == (["ALL"], kept)


@pytest.mark.slow
def test_a_redis_on_another_port_is_checked_on_that_port(tmp_path: Path) -> None:
    result = from_text(tmp_path, f"{WEB}  redis: {{image: 'redis:7', command: redis-server --port 7000}}\n")
    assert "-p 7000 ping" in result.service("redis")["healthcheck"]["test"][1]
    own = from_text(tmp_path, f"{WEB}  redis: {{image: 'redis:7', healthcheck: {{disable: true}}}}\n")
    assert own.service("redis")["healthcheck"] == {"disable": True}


TEXT = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=20)
ODD = ["1e3", "0o17", "0x1F", "yes", "~", "1:30", "$A", "$$", "${B:-c}", "12e45", ".inf", "=", "<<"]
WORDS = st.one_of(TEXT, st.sampled_from(ODD))


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(WORDS, min_size=1, max_size=30))
@pytest.mark.slow
def test_every_text_reaches_compose_unchanged(tmp_path: Path, words: list[str]) -> None:
    (tmp_path / "x.yaml").write_text(
        rendering.dump({"name": "p", "services": {"a": {"image": "i", "command": words}}})
    )
    done = processes.run([*compose_loader.argv_of(), "--file", str(tmp_path / "x.yaml"), "config"], env={})
    assert done.status == 0, done.stderr
    assert compose._parse(done.stdout.replace("$$", "$"))["services"]["a"]["command"] == words


@pytest.mark.slow
def test_stores_resolve_without_dockers_name_server(tmp_path: Path) -> None:
    """By /etc/hosts, at the store's address in the release's network, unless the manifest has the name."""
    result = MADE["seed"](tmp_path)
    rows = {row["aliases"][0]: row["address"] for row in json.loads(result.attachments)}
    hosts = [f"{name}:{address}" for name, address in rows.items()]
    services = yaml.safe_load(result.release)["services"]
    assert hosts
    assert {name: s["extra_hosts"] for name, s in services.items()} == dict.fromkeys(services, hosts)
