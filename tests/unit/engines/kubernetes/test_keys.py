"""Each key has a treatment on Kubernetes, and docs/cluster.md's word for it is true of what is rendered."""

import copy
from pathlib import Path
from typing import Any

import pytest

from pushrod.core.errors import ManifestError
from pushrod.engines.kubernetes import bases, keys
from pushrod.engines.kubernetes.objects import Cluster
from pushrod.manifest import keys as compose_keys
from pushrod.manifest.grants import CAPABILITIES, WORDS
from tests.unit.engines import exports
from tests.unit.engines.docker import test_used_keys

EVERYTHING = (*WORDS, *CAPABILITIES, "/", "volume:data", "volume:others", "volume:theirs")
DOCKER = {
    row.path.removeprefix("services.*."): row
    for row in compose_keys.rows()
    if row.docker in ("used", "bounded", "word")
}
ROWS = {**keys.SERVICE, **keys.OTHERS}
ASKING: dict[str, Any] = {
    "build.context": ".",
    "build.dockerfile": "Other",
    "cpu_quota": 40000,
    "security_opt": ["seccomp:unconfined"],
    "user": "1234",
}
"""Values for keys whose value for Docker cannot be used on Kubernetes, or has no effect there alone."""

BASE: dict[str, Any] = {
    "name": "shop",
    "services": {
        "web": {
            "image": "registry.example.com/web:1",
            "ports": [{"target": 8080, "published": "8080", "protocol": "tcp"}],
            "volumes": [{"type": "volume", "source": "data", "target": "/data", "bind": {}}],
        },
        "other": {"image": "registry.example.com/other:1", "expose": ["9"], "x-pushrod": {"role": "worker"}},
        "db": {"image": "postgres:17"},
    },
    "volumes": {"data": {}},
    "x-pushrod": {},
}


def rendered(document: dict[str, Any], tmp_path: Path) -> tuple[str, tuple[str, ...]]:
    """The objects of a document as one text, and the notes."""
    for name, text in (
        ("Other", "FROM x\nUSER app\nEXPOSE 7000\n"),
        ("Dockerfile", "FROM x\n"),
        ("file.txt", "x"),
    ):
        (tmp_path / name).write_text(text)
    x = exports.of_document(copy.deepcopy(document), tmp_path, {}, *EVERYTHING)
    whole = bases.render(x, Cluster("shop"))
    return str((whole.steps, whole.secrets)), whole.notes


def test_each_key_that_docker_uses_has_a_row() -> None:
    assert {path for path in DOCKER if path not in ROWS} == set()
    assert {path for path in ROWS if path not in DOCKER} == set()


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("cgroup", "host"),
        ("devices", [{"source": "/dev/fuse", "target": "/dev/fuse", "permissions": "rwm"}]),
        ("gpus", [{"count": -1}]),
        ("ipc", "host"),
        ("network_mode", "host"),
        ("pid", "host"),
        ("privileged", True),
        ("runtime", "kata"),
        ("security_opt", ["seccomp:unconfined"]),
        ("use_api_socket", True),
        ("user", "postgres"),
        ("userns_mode", "host"),
        ("uts", "host"),
        ("volumes", [{"type": "bind", "source": "/srv/media", "target": "/media"}]),
        ("extra_hosts", ["host.docker.internal=host-gateway"]),
        ("group_add", ["video"]),
        ("post_start", [{"command": ["a"], "user": "5"}]),
        ("pre_stop", [{"command": ["a"], "working_dir": "/srv"}]),
        ("deploy", {"resources": {"reservations": {"devices": [{"capabilities": ["gpu"]}]}}}),
    ],
)
def test_a_key_that_is_refused_is_named(key: str, value: Any, tmp_path: Path) -> None:
    document = copy.deepcopy(BASE)
    document["services"]["web"][key] = value
    with pytest.raises(ManifestError) as refused:
        rendered(document, tmp_path)
    assert "cannot be exported to Kubernetes" in refused.value.what
    assert key in refused.value.where


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("cpuset", "0"),
        ("pids_limit", 50),
        ("restart", "no"),
        ("stop_signal", "SIGINT"),
        ("sysctls", {"net.core.somaxconn": "1024"}),
        ("ulimits", {"nofile": {"soft": 1000, "hard": 1000}}),
    ],
)
def test_a_key_that_is_not_used_is_noted(key: str, value: Any, tmp_path: Path) -> None:
    document = copy.deepcopy(BASE)
    document["services"]["web"][key] = value
    _, notes = rendered(document, tmp_path)
    assert f"web: `{key}` not applied" in notes
    assert keys.SERVICE[key].fate == "noted"


USED = [
    path
    for path, row in keys.SERVICE.items()
    if row.fate == "used" and f"services.*.{path}" in test_used_keys.VALUES
]
WITHOUT_EFFECT_ALONE = {
    "build.args", "build.context", "build.dockerfile", "build.target", "deploy.mode", "extends", "label_file",
    "cpu_period",  # with `cpu_quota`
    "healthcheck.disable", "healthcheck.interval", "healthcheck.retries", "healthcheck.start_period",
    "healthcheck.timeout",  # with a test
    "configs", "secrets", "volumes_from", "links", "volumes.read_only", "volumes.source", "volumes.target",
    "volumes.tmpfs.size", "volumes.type", "volumes.volume.subpath", "network_mode", "profiles", "env_file",
    "hostname", "networks.*.aliases", "container_name", "read_only",
    "deploy.resources.reservations.memory", "deploy.resources.limits.cpus", "deploy.resources.limits.memory",
}  # fmt: skip
"""Keys with a test of their own below or in the expected files, because one value alone shows nothing."""


@pytest.mark.parametrize("path", [p for p in USED if p not in WITHOUT_EFFECT_ALONE])
def test_a_key_that_is_used_has_an_effect(path: str, tmp_path: Path) -> None:
    document = copy.deepcopy(BASE)
    value = ASKING.get(path, test_used_keys.VALUES[f"services.*.{path}"])
    place = document["services"]["web"]
    *above, last = path.split(".")
    if above and above[0] in ("post_start", "pre_stop"):
        place[above[0]] = [{"command": value}]
    else:
        for name in above:
            place = place.setdefault(name, {})
        place[last] = value
    before, _ = rendered(BASE, tmp_path)
    after, _ = rendered(document, tmp_path)
    assert after != before


@pytest.mark.parametrize(
    ("changes", "shown"),
    [
        ({"container_name": "known"}, "add shop-r7-web web known"),
        ({"hostname": "known"}, "add shop-r7-web web known"),
        ({"networks": {"default": {"aliases": ["known"]}}}, "add shop-r7-web web known"),
        ({"links": ["other:known"]}, "add shop-r7-other other known"),
        ({"read_only": True}, "'readOnlyRootFilesystem': True"),
        ({"network_mode": "none", "ports": None, "x-pushrod": {"role": "worker"}}, "shop-r7-web-alone"),
        ({"healthcheck": {"test": ["CMD", "x"], "interval": "7s"}}, "'periodSeconds': 7"),
        ({"healthcheck": {"test": ["CMD", "x"], "retries": 9}}, "'failureThreshold': 9"),
        ({"healthcheck": {"test": ["CMD", "x"], "timeout": "8s"}}, "'timeoutSeconds': 8"),
        (
            {"healthcheck": {"test": ["CMD", "x"], "start_period": "99s", "interval": "1s"}},
            "'failureThreshold': 102",
        ),
        ({"cpu_quota": 40000, "cpu_period": 50000}, "'cpu': '800m'"),
        ({"deploy": {"resources": {"limits": {"cpus": 0.5}}}}, "'cpu': '500m'"),
        ({"deploy": {"resources": {"limits": {"memory": "67108864"}}}}, "'memory': '67108864'"),
        ({"deploy": {"resources": {"reservations": {"memory": "67108864"}}}}, "'memory': '67108864'"),
        ({"volumes_from": ["other"]}, "'claimName': 'shop-data'"),
        (
            {"volumes": [{"type": "volume", "source": "data", "target": "/x", "volume": {"subpath": "a/b"}}]},
            "'subPath': 'a/b'",
        ),
        (
            {"volumes": [{"type": "volume", "source": "data", "target": "/x", "read_only": True}]},
            "'readOnly': True",
        ),
        ({"volumes": [{"type": "tmpfs", "target": "/x", "tmpfs": {"size": "4096"}}]}, "'sizeLimit': '4096'"),
        ({"volumes": [{"type": "bind", "source": "./file.txt", "target": "/x"}]}, "'subPath': 'file-0'"),
        (
            {"volumes": [{"type": "bind", "source": "./uploads", "target": "/x"}]},
            "'claimName': 'shop-data-uploads'",
        ),
    ],
)
def test_keys_whose_effect_is_elsewhere(changes: dict[str, Any], shown: str, tmp_path: Path) -> None:
    document = copy.deepcopy(BASE)
    if "volumes_from" in changes:
        document["services"]["other"]["volumes"] = document["services"]["web"].pop("volumes")
    web = document["services"]["web"]
    web.update(changes)
    document["services"]["web"] = {k: v for k, v in web.items() if v is not None}
    if changes.get("network_mode"):
        document["services"]["other"]["x-pushrod"] = {"role": "entry"}
    text, _ = rendered(document, tmp_path)
    assert shown in text


def test_sticky_services_in_several_instances_are_refused(tmp_path: Path) -> None:
    document = copy.deepcopy(BASE)
    document["services"]["web"] |= {"x-pushrod": {"sticky": True}, "scale": 2}
    with pytest.raises(ManifestError, match="`sticky` cannot be exported"):
        rendered(document, tmp_path)


def test_a_store_whose_data_would_be_lost_is_refused(tmp_path: Path) -> None:
    document = copy.deepcopy(BASE)
    document["services"]["queue"] = {"image": "example/queue:1", "x-pushrod": {"role": "store"}}
    with pytest.raises(ManifestError, match="its data would be lost with its pod"):
        rendered(document, tmp_path)


def test_files_that_are_too_large_are_refused(tmp_path: Path) -> None:
    (tmp_path / "large").write_bytes(b"x" * (1 << 20))
    document = copy.deepcopy(BASE)
    document["services"]["web"]["volumes"] = [{"type": "bind", "source": "./large", "target": "/x"}]
    with pytest.raises(ManifestError, match="a ConfigMap holds 900 KiB"):
        rendered(document, tmp_path)


def test_a_name_that_no_variable_can_have_is_refused(tmp_path: Path) -> None:
    document = copy.deepcopy(BASE)
    document["services"]["web"]["environment"] = {"a[0]": "x"}
    with pytest.raises(ManifestError, match="cannot be a variable's name on Kubernetes"):
        rendered(document, tmp_path)


@pytest.mark.parametrize("name", ["shop", "edge"])
def test_two_objects_with_one_name_are_refused(name: str, tmp_path: Path) -> None:
    document = copy.deepcopy(BASE)
    role = "store" if name == "shop" else "worker"
    volumes = [{"type": "volume", "source": "data", "target": "/data"}]
    document["services"][name] = {"image": "example/x:1", "x-pushrod": {"role": role}, "volumes": volumes}
    with pytest.raises(ManifestError, match="two objects would have the name"):
        rendered(document, tmp_path)


def test_two_services_may_mount_one_file(tmp_path: Path) -> None:
    document = copy.deepcopy(BASE)
    for name in ("web", "other"):
        document["services"][name]["volumes"] = [{"type": "bind", "source": "./file.txt", "target": "/x"}]
        document["services"][name]["configs"] = [{"source": "one", "target": "/y"}]
    document["configs"] = {"one": {"file": "./file.txt"}}
    text, _ = rendered(document, tmp_path)
    assert text.count("'kind': 'ConfigMap', 'metadata': {'name': 'shop-r7-config-one'") == 1


def test_volumes_without_a_name_are_noted(tmp_path: Path) -> None:
    document = copy.deepcopy(BASE)
    web = document["services"]["web"]
    web["volumes"] = [{"type": "volume", "target": path} for path in ("/uploads", "/code/node_modules")]
    _, notes = rendered(document, tmp_path)
    note = "web: anonymous volumes (/uploads) are empty in each new pod: name those that keep data"
    assert note in notes
