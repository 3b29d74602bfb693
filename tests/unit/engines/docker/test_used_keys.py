"""Each key that docs/manifest.md calls used has a visible effect on what is rendered.

Every row of `keys` that says `used`, `bounded` or `needs a grant` for Docker has a value here, or is Compose's own.
"""

import copy
from pathlib import Path
from typing import Any

import pytest

from pushrod.adapters import compose
from pushrod.engines.docker import hooking, rendering
from pushrod.engines.docker.sources import Sources
from pushrod.manifest import keys, policy
from pushrod.manifest.grants import CAPABILITIES, WORDS
from pushrod.manifest.policy import Terms
from pushrod.state.apps import App, Root
from pushrod.state.secrets import Secrets
from tests.unit import samples
from tests.unit.engines.docker import rendered

EVERYTHING = (*WORDS, *CAPABILITIES, "/", "volume:data", "volume:others", "volume:theirs")

VALUES: dict[str, Any] = {
    "services.*.cap_add": ["NET_RAW"],
    "services.*.cap_drop": ["CHOWN"],
    "services.*.cgroup": "host",
    "services.*.command": ["other"],
    "services.*.configs": [{"source": "one", "target": "/etc/one"}],
    "services.*.container_name": "known",
    "services.*.cpu_period": 50000,
    "services.*.cpu_quota": 40000,
    "services.*.cpu_shares": 100,
    "services.*.cpus": 0.5,
    "services.*.cpuset": "0",
    "services.*.depends_on": {"other": {"condition": "service_started"}},
    "services.*.device_cgroup_rules": ["c 1:3 mr"],
    "services.*.devices": [{"source": "/dev/fuse", "target": "/dev/fuse", "permissions": "rwm"}],
    "services.*.dns": ["10.0.0.1"],
    "services.*.dns_opt": ["ndots:2"],
    "services.*.dns_search": ["example.com"],
    "services.*.entrypoint": ["init"],
    "services.*.environment": {"A": "b"},
    "services.*.expose": ["9000"],
    "services.*.extra_hosts": ["a=10.0.0.1"],
    "services.*.gpus": [{"count": -1}],
    "services.*.group_add": ["44"],
    "services.*.hostname": "known",
    "services.*.image": "another:2",
    "services.*.init": True,
    "services.*.ipc": "shareable",
    "services.*.labels": {"a": "b"},
    "services.*.links": ["other:known"],
    "services.*.mem_limit": "67108864",
    "services.*.mem_reservation": "67108864",
    "services.*.memswap_limit": str(3 << 30),
    "services.*.network_mode": "none",
    "services.*.oom_score_adj": 500,
    "services.*.pid": "host",
    "services.*.pids_limit": 50,
    "services.*.platform": "linux/amd64",
    "services.*.ports": [{"target": 8000, "published": "8000", "protocol": "tcp"}],
    "services.*.privileged": True,
    "services.*.read_only": True,
    "services.*.restart": "on-failure:2",
    "services.*.runtime": "kata",
    "services.*.scale": 2,
    "services.*.secrets": [{"source": "hush"}],
    "services.*.security_opt": ["seccomp:unconfined"],
    "services.*.shm_size": "1048576",
    "services.*.stdin_open": True,
    "services.*.stop_grace_period": "77s",
    "services.*.stop_signal": "SIGINT",
    "services.*.sysctls": {"net.core.somaxconn": "1024"},
    "services.*.tmpfs": ["/scratch"],
    "services.*.tty": True,
    "services.*.ulimits": {"nofile": {"soft": 1000, "hard": 1000}},
    "services.*.use_api_socket": True,
    "services.*.user": "1234",
    "services.*.userns_mode": "host",
    "services.*.uts": "host",
    "services.*.volumes_from": ["other"],
    "services.*.working_dir": "/srv",
    "services.*.build.args": {"A": "b"},
    "services.*.build.context": "below",
    "services.*.build.dockerfile": "Other",
    "services.*.build.target": "stage",
    "services.*.deploy.replicas": 2,
    "services.*.deploy.resources.limits.cpus": 0.5,
    "services.*.deploy.resources.limits.memory": "67108864",
    "services.*.deploy.resources.limits.pids": 50,
    "services.*.deploy.resources.reservations.devices": [{"capabilities": ["gpu"]}],
    "services.*.deploy.resources.reservations.memory": "67108864",
    "services.*.deploy.restart_policy": {"condition": "none"},
    "services.*.deploy.update_config": {"order": "stop-first"},
    "services.*.healthcheck.disable": True,
    "services.*.healthcheck.interval": "7s",
    "services.*.healthcheck.retries": 9,
    "services.*.healthcheck.start_interval": "3s",
    "services.*.healthcheck.start_period": "99s",
    "services.*.healthcheck.test": ["CMD", "other"],
    "services.*.healthcheck.timeout": "8s",
    "services.*.logging.driver": "local",
    "services.*.logging.options": {"max-size": "1m"},
    "services.*.networks.*.aliases": ["known"],
    **{
        f"services.*.{kind}.{key}": value
        for kind in ("post_start", "pre_stop")
        for key, value in {
            "command": ["other"],
            "environment": {"A": "b"},
            "privileged": True,
            "user": "5",
            "working_dir": "/srv",
        }.items()
    },
    "services.*.volumes.bind.propagation": "rslave",
    "services.*.volumes.bind.recursive": "disabled",
    "services.*.volumes.read_only": True,
    "services.*.volumes.source": "others",
    "services.*.volumes.target": "/elsewhere",
    "services.*.volumes.tmpfs.mode": 448,
    "services.*.volumes.tmpfs.size": 1048576,
    "services.*.volumes.type": "bind",
    "services.*.volumes.volume.nocopy": True,
    "services.*.volumes.volume.subpath": "below",
    "volumes.*.driver": "nfs",
    "volumes.*.driver_opts": {"type": "tmpfs", "device": "tmpfs", "o": "size=1m"},
    "volumes.*.external": True,
    "volumes.*.name": "theirs",
    **{
        f"{kind}.*.{key}": value
        for kind in ("configs", "secrets")
        for key, value in {"content": "other text", "environment": "NAME", "file": "other/file"}.items()
    },
}
"""A value for each row."""

OTHERWISE = {
    "services.*.build.additional_contexts": ({"more": "."}, "`build.additional_contexts` not applied"),
    "services.*.deploy.mode": ("global", "`deploy.mode` not applied"),
}
"""Rows whose value changes nothing that is made, and what is said instead."""

# What a mount or a hook has beside the key that is looked at.
_MOUNTS = {
    "bind": {"type": "bind", "source": "./data", "target": "/data"},
    "tmpfs": {"type": "tmpfs", "target": "/data"},
}
_VOLUME = {"type": "volume", "source": "data", "target": "/data"}


def base(path: str) -> dict[str, Any]:
    """A document that can have the key of a row."""
    web: dict[str, Any] = {
        "image": "x",
        "expose": ["80"],
        "x-pushrod": {"role": "entry"},
        "volumes": [dict(_VOLUME)],
    }
    if ".build." in path:
        web |= {"build": {"context": "."}}
    elif ".healthcheck." in path:
        web |= {"healthcheck": {"test": ["CMD", "check"], "start_period": "1s"}}
    elif ".post_start." in path or ".pre_stop." in path:
        web |= {path.split(".")[2]: [{"command": ["first"]}]}
    elif ".networks." in path:
        web |= {"networks": {"front": {}}}
    elif ".volumes." in path:
        web |= {"volumes": [dict(_MOUNTS.get(path.split(".")[3], _VOLUME))]}
    elif path.startswith(("configs.", "secrets.")):
        kind = path.partition(".")[0]
        web |= {kind: [{"source": "one"}]}
    other = {
        "image": "y",
        "expose": ["81"],
        "volumes": [{"type": "volume", "source": "others", "target": "/o"}],
    }
    return {
        "name": "shop",
        "services": {"web": web, "other": other},
        "volumes": {"data": {}, "others": {}},
        "networks": {"front": {}},
        "configs": {"one": {"content": "text"}},
        "secrets": {"one": {"content": "text"}, "hush": {"content": "text"}},
    }


def with_key(document: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    """The document with a value for the key of a row."""
    result = copy.deepcopy(document)
    place: Any = result
    *above, last = path.split(".")
    names = iter({"services": ["web", "front"], "volumes": ["data"]}.get(above[0], ["one"]))
    for word in above:
        word = next(names) if word == "*" else word
        place = place.setdefault(word, {})
        place = place[0] if isinstance(place, list) else place
    if above[0] in ("configs", "secrets"):
        place.clear()
    place[last] = value
    return result


def made(document: dict[str, Any], directory: Path) -> tuple[object, ...]:
    """Everything rendered from a document: the files for Compose, the manifest's values, its volumes, its hooks."""
    result = rendered.render_document(document, {}, {}, EVERYTHING)
    app = App(Root(directory), "shop")
    Secrets(app).store({"NAME": "value"})
    (directory / "other").mkdir(exist_ok=True)
    (directory / "other" / "file").touch()
    sources = Sources(app, "commit", directory, result.document, set())
    web = result.document["services"]["web"]
    kept = [
        sources.file(kind, reference["source"], reference, "image", store=False)
        for kind in ("configs", "secrets")
        for reference in web.get(kind) or []
    ]
    parts = {s.name: rendered.OWN for s in result.parsed.services}
    volumes = rendering.volumes(app, result.document, parts, result.parsed)
    rows = [hooking._row("c", s.name, s, directory) for s in result.parsed.services]
    given = [(h.environment, h.command) for s in result.parsed.services for _, _, h in hooking._named(s)]
    return (result.release, result.stores, result.parsed, kept, volumes, rows, given)


ROWS = [row for row in keys.rows() if row.docker in ("used", "bounded", "word")]


@pytest.mark.parametrize("row", ROWS, ids=[row.path for row in ROWS])
@pytest.mark.slow
def test_every_used_key_has_an_effect(tmp_path: Path, row: keys.Row) -> None:
    if "resolved by Compose" in row.details or row.details == "Compose's own":
        assert row.path not in VALUES
        return
    document = base(row.path)
    if row.path in OTHERWISE:
        value, words = OTHERWISE[row.path]
        terms = Terms("docker", samples.LIMITS, EVERYTHING)
        _, notes = policy.apply(with_key(document, row.path, value), terms)
        assert any(words in note for note in notes), notes
        return
    before, after = (made(d, tmp_path) for d in (document, with_key(document, row.path, VALUES[row.path])))
    assert before != after


def test_every_value_is_of_a_row() -> None:
    assert {*VALUES, *OTHERWISE} <= {row.path for row in ROWS}


@pytest.mark.slow
@pytest.mark.parametrize("text", ["env_file: one.env", "label_file: one.labels", "profiles: [never]"])
def test_keys_resolved_by_compose_have_an_effect(tmp_path: Path, text: str) -> None:
    (tmp_path / "one.env").write_text("A=b\n")
    (tmp_path / "one.labels").write_text("a=b\n")
    file = "services:\n  web: {image: x, ports: ['80:80']}\n  more: {image: y}\n"
    (tmp_path / "compose.yaml").write_text(file)
    before = compose.load(tmp_path, project="shop", variables={})
    (tmp_path / "compose.yaml").write_text(file.replace("image: y", f"image: y, {text}"))
    assert compose.load(tmp_path, project="shop", variables={}) != before
