"""Any compose file that the loader's schema allows, pushed to a real server, changes nothing there outside of the
app's own slice, networks, directory and images, and gives no container more of the kernel than others have.

`tests/fuzz/test_policy.py` generates such files by the thousand and checks what is rendered; here a few of them are
run, and the server is checked (`outside`). `make fuzz` runs more.
"""

import json
import os
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st

from devtools.apps import Done
from tests.attacks import outside
from tests.attacks.town import PROGRAM, Attacker, Town
from tests.fuzz import documents

pytestmark = pytest.mark.lab

FUZZED = os.environ.get("PUSHROD_FUZZ", "")  # for how many seconds
SECONDS = float(FUZZED or 25)
EXAMPLES = 2000 if FUZZED else 4
_BASE: dict[str, Any] = {
    "image": "python:3.13-slim",
    "command": ["python", "-c", PROGRAM],
    "ports": [{"target": 8080, "published": "8080"}],
    "x-pushrod": {"health": {"path": "/", "deadline": "8s"}},
}
# Keys that choose the program, the time to wait for it, and its replacement: their effect is known, and most
# generated values would not start.
_OWN = {
    *_BASE,
    "build",
    "depends_on",
    "entrypoint",
    "extends",
    "healthcheck",
    "provider",
    "stop_grace_period",
    "user",
}


def parts() -> st.SearchStrategy[dict[str, Any]]:
    """One to three keys of a service, and of a volume, config or secret that it uses."""
    keys = [k for k in documents.keys_of_services() if k not in _OWN and not k.startswith("x-")]
    chosen = st.lists(st.sampled_from(keys), min_size=1, max_size=3, unique=True)

    def made(names: list[str]) -> st.SearchStrategy[dict[str, Any]]:
        place = "definitions\0service\0properties"
        return st.fixed_dictionaries({n: documents.values(f"{place}\0{n}", n) for n in names})

    kinds = {
        kind: documents.values(f"definitions\0{kind[:-1]}", kind)
        for kind in ("volumes", "configs", "secrets")
    }
    return st.tuples(
        chosen.flatmap(made),
        st.sampled_from((None, None, *kinds)).flatmap(
            lambda kind: (
                st.just({}) if kind is None else kinds[kind].map(lambda value: {kind: {"one": value}})
            )
        ),
    ).map(_whole)


def _whole(parts: tuple[dict[str, Any], dict[str, Any]]) -> dict[str, Any]:
    service, declared = parts
    web = {**service, **_BASE}
    for kind in declared:
        used = {"type": "volume", "source": "one", "target": "/one"} if kind == "volumes" else "one"
        given = web.get(kind)
        web[kind] = [*(given if isinstance(given, list) else []), used]
    top = {"domains": ["attacker.localhost"], "keep": 1}
    return {"x-pushrod": top, "services": {"web": web}, **declared}


def volume(**options: str) -> dict[str, Any]:
    """A document with a volume with these options, which the generator might miss."""
    return _whole(({}, {"volumes": {"one": {"driver_opts": options}}}))


REACHING: tuple[dict[str, Any], ...] = (
    {"cap_add": ["SYS_ADMIN"]},
    {"security_opt": ["seccomp=unconfined"]},
    {"devices": ["/dev/kmsg:/dev/kmsg"]},
    {"volumes": [{"type": "bind", "source": "/etc", "target": "/one"}]},
    {"pid": "host"},
    {"cgroup_parent": "pushrod-app-victim.slice", "oom_score_adj": -1000},
    {"annotations": {"org.systemd.property.Wants": "x"}, "logging": {"driver": "syslog"}},
    {"labels": {"pushrod.app": "victim"}, "sysctls": {"net.ipv4.ip_forward": "1"}, "shm_size": "900g"},
)
"""Keys with which a container would reach further; a few random documents need not have any. The last three run."""


def seen(town: Town) -> Any:
    """What exists outside of the attacker's app, and what is wrong inside."""
    program = Path(outside.__file__).read_text()
    return json.loads(town.box.exec("python3", "-", "attacker", stdin=program).stdout)


def differences(before: dict[str, str], after: dict[str, str]) -> list[str]:
    """What was added, removed or changed."""
    changed = sorted(n for n in {*before, *after} if before.get(n) != after.get(n))
    return [f"{n}: {before.get(n, 'not there')} -> {after.get(n, 'not there')}" for n in changed]


def pushed(attacker: Attacker, document: dict[str, Any]) -> Done:
    """The result of pushing it; JSON is also YAML, and leaves no room for misinterpretation."""
    attacker.reset()
    return attacker.pushes({"compose.yaml": json.dumps(document)})


def test_any_compose_file_changes_nothing_outside_its_app(town: Town, attacker: Attacker) -> None:
    first = pushed(attacker, _whole(({}, {})))
    assert first.ok, first.err
    before = seen(town)
    assert before["inside"] == []
    tried = {"ran": 0, "refused": 0}

    def attempt(document: dict[str, Any]) -> None:
        done = pushed(attacker, document)
        tried["ran" if done.ok else "refused"] += 1
        assert "Traceback" not in done.err, document
        after = seen(town)
        assert after["inside"] == [], document
        assert differences(before["outside"], after["outside"]) == [], document

    @settings(
        max_examples=EXAMPLES, deadline=None, database=None, suppress_health_check=[*HealthCheck],
        phases=[Phase.explicit, Phase.generate],
    )  # fmt: skip
    @given(parts())
    @example(volume(type="proc", device="proc", o="rw"))
    @example(volume(type="sysfs", device="sysfs", o="ro"))
    @example(volume(type="cgroup2", device="none", o="nosuid,rw"))
    def holds(document: dict[str, Any]) -> None:
        if time.monotonic() < ends:  # else the remaining examples are skipped
            attempt(document)

    try:
        for service in REACHING:
            attempt(_whole((service, {})))
        ends = time.monotonic() + SECONDS
        holds()
    finally:
        print(tried)
        town.recover()
    if not FUZZED:
        assert tried["ran"] >= 3, "too few of them run for the test to see anything"
        assert tried["refused"] >= 3
