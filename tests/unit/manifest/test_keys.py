"""The table of keys and the loader's schema."""

import re
from collections.abc import Iterator
from typing import Any

import pytest

from pushrod import manifest
from pushrod.core.errors import ManifestError
from pushrod.manifest import keys, policy
from pushrod.manifest.policy import Terms
from tests.unit import samples
from tests.unit.engines.docker.test_used_keys import VALUES, base, with_key
from tests.unit.manifest.schema import compose_schema


def paths(whole: dict[str, Any], node: dict[str, Any], path: str = "") -> Iterator[str]:
    """The path of every key in a schema; items of a list have their list's path, any name is `*`."""

    def below(name: str) -> str:
        return f"{path}.{name}" if path else name

    if "$ref" in node:
        yield from paths(whole, whole["definitions"][node["$ref"].rpartition("/")[2]], path)
    for kind in ("oneOf", "anyOf", "allOf"):
        for choice in node.get(kind, ()):
            yield from paths(whole, choice, path)
    for name, inner in node.get("properties", {}).items():
        yield below(name)
        yield from paths(whole, inner, below(name))
    for pattern, inner in node.get("patternProperties", {}).items():
        if not pattern.startswith("^x-"):
            yield from paths(whole, inner, below("*"))
    for inner, name in ((node.get("additionalProperties"), below("*")), (node.get("items"), path)):
        if isinstance(inner, dict):
            yield from paths(whole, inner, name)


def is_classified(path: str) -> bool:
    parts = path.split(".")
    return keys.holds_keys(path) or any(".".join(parts[:n]) in keys.TABLE for n in range(1, len(parts) + 1))


def test_every_key_of_the_loaders_schema_is_classified() -> None:
    whole = compose_schema()
    known = set(paths(whole, whole))
    assert {"services.*.annotations", "services.*.deploy.resources.limits.pids", "volumes.*.driver"} <= known
    assert [path for path in sorted(known) if not is_classified(path)] == []
    assert not is_classified("services.*.new_key")
    assert not is_classified("services.*.healthcheck.new_key")
    ours = {
        re.sub(r"^(configs|secrets)", "configs", path)
        for path in keys.TABLE
        if "*" not in path.rpartition(".")[2]
    }
    theirs = {re.sub(r"^(configs|secrets)", "configs", path) for path in known}
    assert ours <= theirs


def embedded(document: dict[str, Any]) -> dict[str, Any]:
    """A document of the Docker engine's test, as the embedded engine can run it: built, and without data."""
    for name, service in document["services"].items():
        service |= {"command": ["serve"], "build": service.get("build", {"context": "."})}
        del service["image"]
        if name == "other":
            del service["volumes"]
    return document


NOTED: dict[str, Any] = {
    "services.*.build.additional_contexts": {"more": "."},
    "services.*.build.extra_hosts": ["a=10.0.0.1"],
    "services.*.build.secrets": [{"source": "hush"}],
    "services.*.build.ssh": ["default"],
    "services.*.deploy.mode": "global",
    "services.*.deploy.resources.reservations.cpus": 0.5,
    "services.*.deploy.resources.reservations.generic_resources": [{"discrete_resource_spec": {"kind": "x"}}],
    "services.*.external_links": ["them"],
    "services.*.logging.driver": "syslog",
    "services.*.mac_address": "02:42:ac:11:65:43",
    "services.*.mem_swappiness": 50,
    "services.*.networks.*.ipv4_address": "10.0.0.1",
    "services.*.networks.*.ipv6_address": "fd00::1",
    "services.*.networks.*.mac_address": "02:42:ac:11:65:43",
    "services.*.oom_kill_disable": True,
    "services.*.restart": "no",
    "services.*.user": "root",
    **{
        f"{kind}.*.{key}": "other"
        for kind in ("configs", "secrets")
        for key in ("driver", "driver_opts", "template_driver")
    },
}
"""Values with a note on the embedded engine, for keys that the Docker engine's test does not have, or as others."""

REFUSED: dict[str, Any] = {
    "services.*.build.dockerfile_inline": "FROM x",
    "services.*.models": ["llm"],
    "services.*.provider": {"type": "x"},
    "services.*.volumes.image": {"subpath": "x"},
    "services.*.volumes.volume.subpath": "below",
    "configs.*.external": True,
    "secrets.*.external": True,
}
VALUED = {**VALUES, **NOTED}
EMBEDDED = [row for row in keys.rows() if row.path in VALUED and row.path not in REFUSED]


@pytest.mark.parametrize("row", EMBEDDED, ids=[row.path for row in EMBEDDED])
def test_what_the_page_says_of_the_embedded_engine_holds(row: keys.Row) -> None:
    given = embedded(base(row.path))
    before = manifest.read(given, engine="embedded")
    after = manifest.read(with_key(given, row.path, VALUED[row.path]), engine="embedded")
    place, *_, last = row.path.split(".")
    word = {"services": row.path.split(".")[2], "volumes": last}.get(row.path.split(".")[0], place)
    if row.embedded == "noted":
        assert any(f"`{word}" in note for note in after.notes), after.notes
    elif row.embedded == "ignored":
        assert after.notes == before.notes
    else:
        assert after != before


def test_each_noted_and_refused_key_of_the_embedded_engine_has_a_value() -> None:
    rows = [*keys.rows()]
    assert {row.path for row in rows if row.embedded == "noted"} <= VALUED.keys()
    assert {row.path for row in rows if row.embedded == "refused"} == REFUSED.keys()


@pytest.mark.parametrize("path", REFUSED)
def test_a_refused_key_of_the_embedded_engine_is_named(path: str) -> None:
    document = with_key(embedded(base(path)), path, REFUSED[path])
    with pytest.raises(ManifestError) as refused:
        policy.apply(document, Terms("embedded", samples.LIMITS))
    assert path.rpartition(".")[2] in refused.value.where
    assert refused.value.hint
