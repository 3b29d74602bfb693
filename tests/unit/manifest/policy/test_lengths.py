"""Names, paths and words at their longest are accepted; longer ones are refused before anything is built."""

from collections.abc import Callable
from typing import Any

import pytest

from pushrod.core.errors import ManifestError
from pushrod.engines.docker import anonymous_volumes
from pushrod.manifest import domains, image_refs
from pushrod.manifest.document import Key
from pushrod.manifest.policy import Terms, apply, lengths
from tests.unit import samples

WORD, PATH, FILE, HOST, NAME = 131071, 4095, 255, 253, 63
PART = f"/{'d' * FILE}"


def web(**keys: object) -> dict[str, Any]:
    return {"name": "shop", "services": {"web": {"image": "python:3.13", **keys}}}


def mount(**keys: object) -> dict[str, Any]:
    return web(volumes=[{"type": "volume", "source": "data", "target": "/data", **keys}])


def declared(kind: str, name: str) -> dict[str, Any]:
    content = {"environment": "A"} if kind in ("configs", "secrets") else {}
    return {**web(), kind: {name: content}}


# For each kind: a document with a text of that length, its limit, and the key that the error names.
KINDS: dict[str, tuple[Callable[[str], dict[str, Any]], int, str]] = {
    "service": (lambda t: {"name": "shop", "services": {t: {"image": "x"}}}, NAME, "services.x"),
    "volume": (lambda t: declared("volumes", t), FILE - len("shop_"), "volumes.x"),
    "network": (lambda t: declared("networks", t), FILE - len("shop_"), "networks.x"),
    "config": (lambda t: declared("configs", t), FILE, "configs.x"),
    "secret": (lambda t: declared("secrets", t), FILE, "secrets.x"),
    "container's name": (lambda t: web(container_name=t), HOST, "services.web.container_name"),
    "host name": (lambda t: web(hostname=t), HOST, "services.web.hostname"),
    "alias": (lambda t: web(networks={"n": {"aliases": ["a", t]}}), HOST, "networks.n.aliases"),
    "link": (lambda t: web(links=[f"db:{t}"]), HOST, "services.web.links"),
    "working directory": (lambda t: web(working_dir=f"/{t}"), FILE, "services.web.working_dir"),
    "target": (lambda t: mount(target=f"/a/{t}/b"), FILE, "volumes[0].target"),
    "source": (lambda t: mount(type="bind", source=f"a/{t}"), FILE, "volumes[0].source"),
    "tmpfs": (lambda t: web(tmpfs=[f"/{t}:size=1m"]), FILE, "services.web.tmpfs"),
    "file of a secret": (lambda t: web(secrets=[{"source": "a", "target": t}]), FILE, "secrets[0].target"),
    "context": (lambda t: web(build={"context": t}), FILE, "services.web.build.context"),
    "Dockerfile": (lambda t: web(build={"context": ".", "dockerfile": t}), FILE, "build.dockerfile"),
    "whole path": (lambda t: web(working_dir=(PART * 16)[: len(t)]), PATH, "services.web.working_dir"),
    "argument": (lambda t: web(command=["sh", "-c", t]), WORD, "services.web.command[2]"),
    "entry point": (lambda t: web(entrypoint=[t]), WORD, "services.web.entrypoint[0]"),
    "variable": (lambda t: web(environment={"A": t}), WORD - 2, "services.web.environment.A"),
    "variable in a list": (lambda t: web(environment=[f"A={t}"]), WORD - 2, "environment[0]"),
    "health check": (lambda t: web(healthcheck={"test": ["CMD", t]}), WORD, "healthcheck.test[1]"),
    "argument of a build": (lambda t: web(build={"context": ".", "args": {"A": t}}), WORD - 2, "build.args.A"),
    "hook": (lambda t: web(post_start=[{"command": [t]}]), WORD, "post_start[0].command"),
    "release command": (lambda t: web(**{"x-pushrod": {"release": [t]}}), WORD, "x-pushrod.release[0]"),
}  # fmt: skip


@pytest.mark.parametrize("engine", ["docker", "embedded"])
@pytest.mark.parametrize("kind", KINDS)
def test_what_is_too_long_is_refused_by_name(kind: str, engine: str) -> None:
    document, most, where = KINDS[kind]
    terms = Terms(engine, samples.LIMITS)  # type: ignore[arg-type]
    apply(document("x" * most), terms)
    with pytest.raises(ManifestError, match=f" bytes, and .* has at most {'[0-9]*'}$") as refused:
        apply(document("x" * (most + 1)), terms)
    assert where in refused.value.where
    assert len(refused.value.what) < 200
    assert refused.value.hint


def test_a_volume_whose_own_name_is_too_long_is_refused() -> None:
    apply({**web(), "volumes": {"x" * FILE: {"name": "shop_short"}}}, Terms("docker", samples.LIMITS))
    with pytest.raises(ManifestError, match="has at most 255"):
        apply({**web(), "volumes": {"short": {"name": "x" * 256}}}, Terms("docker", samples.LIMITS))


def test_bytes_count_and_not_characters() -> None:
    with pytest.raises(ManifestError, match="has 256 bytes"):
        apply(web(working_dir=f"/{'ä' * 128}"), Terms("docker", samples.LIMITS))


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (f"python:{'x' * 129}", "its tag is longer than 128 characters"),
        (f"python:{'x' * 9000}", "its tag is longer than 128 characters"),
        (f"{'x' * 256}:1", "its name is longer than 255 characters"),
        (f"{'x' * 250}:1", "its name is longer than 255 characters"),
        (f"ghcr.io/{'x/' * 300}y", "its name is longer than 255 characters"),
    ],
)
def test_the_part_of_an_image_that_is_too_long_is_named(text: str, why: str) -> None:
    with pytest.raises(ManifestError) as refused:
        image_refs.check(text, "services.web.image")
    assert why in refused.value.what
    assert len(refused.value.what) < 400


@pytest.mark.parametrize(
    ("name", "why"),
    [(f"{'x' * 64}.example", "each part has at most 63"), ("x." * 127 + "xy", "a name has at most 253")],
)
def test_the_part_of_a_domain_that_is_too_long_is_named(name: str, why: str) -> None:
    with pytest.raises(ManifestError) as refused:
        domains.read(Key("x-pushrod.domains", [name]))
    assert why in refused.value.hint


def test_the_volume_of_a_long_path_has_a_short_name_of_its_own() -> None:
    paths = [f"{PART * 3}/{n}" for n in range(2)]
    one, two = (anonymous_volumes.key("db", path) for path in paths)
    assert one != two
    assert len(one) <= 200
    assert anonymous_volumes.key("db", "/var/lib/data") == "db-var-lib-data"


@pytest.mark.parametrize("kind", ["services", "networks", "volumes", "configs", "secrets"])
@pytest.mark.parametrize("name", [".", ".."])
def test_a_name_that_is_a_directory_is_refused(kind: str, name: str) -> None:
    """Compose accepts it, and directories and files of the app are named after it."""
    document = web() if kind == "services" else declared(kind, name)
    document["services"] |= {name: {"image": "postgres:18"}} if kind == "services" else {}
    with pytest.raises(ManifestError, match="cannot be a name") as refused:
        lengths.check(Key("", document))
    assert refused.value.where == f"{kind}.{name}"
