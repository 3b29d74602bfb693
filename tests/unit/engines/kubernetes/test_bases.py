"""Whole apps as Kubernetes objects: as expected byte for byte, and valid for the oldest and newest known schemas."""

import functools
import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
import referencing

from pushrod.cli import scaffold
from pushrod.engines.exported import Exported
from pushrod.engines.kubernetes import bases
from pushrod.engines.kubernetes.bases import Bases
from pushrod.engines.kubernetes.objects import Cluster, Object
from pushrod.system import files
from tests.unit.engines import exports

HERE = Path(__file__).parent / "files"
SEED = Path(__file__).parents[1] / "docker" / "files" / "seed.yaml"
EXAMPLES = Path(__file__).parents[4] / "docs" / "examples"
SCHEMAS = Path(str(kubernetes_validate.__file__)).parent / "kubernetes-json-schema"
VERSIONS = ((1, 25), (1, 37))


def the_app(name: str, directory: Path) -> Exported:
    if name == "template":
        for path, text in scaffold.template_files("shop").items():
            files.write(directory / path, text)
    else:
        place = {"seed": SEED, "any-file": EXAMPLES / "any-file.yaml"}.get(name, HERE / f"{name}.yaml")
        (directory / "compose.yaml").write_text(place.read_text())
        for path in ("nginx.conf", "settings.ini", "public/index.html", "public/.hidden", "public/img/x.png"):
            files.write(directory / path, b"\x89PNG\xff" if path.endswith("png") else path)
        for path in ("backend/Dockerfile", "Dockerfile", "docker/nginx.conf", "token.txt"):
            files.write(directory / path, "FROM scratch\n")
    return exports.read(directory)


APPS = ("seed", "template", "routes", "settings", "any-file")


@pytest.fixture(scope="module", params=APPS)
def app(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Exported]:
    return request.param, the_app(request.param, tmp_path_factory.mktemp(request.param))


def every(whole: Bases) -> list[Object]:
    return [*whole.secrets, *(one for given in whole.steps.values() for one in given)]


@functools.cache
def definitions(version: tuple[int, int]) -> Any:
    place = SCHEMAS / f"v{version[0]}.{version[1]}.0-local-strict"
    text = json.loads((place / "_definitions.json").read_text())
    return place, referencing.Resource.from_contents(text) @ referencing.Registry()


@functools.cache
def validator(version: tuple[int, int], kind: str, api: str) -> jsonschema.Draft202012Validator:
    """What `kubernetes_validate.validate` uses, which reads all definitions anew for each object."""
    place, registry = definitions(version)
    group, _, number = api.rpartition("/")
    name = f"{group.partition('.')[0]}-{number}" if group else number
    schema = json.loads((place / f"{kind.lower()}-{name}.json").read_text())
    return jsonschema.Draft202012Validator(
        schema, registry=referencing.Resource.from_contents(schema) @ registry
    )


def problems(version: tuple[int, int], item: Object) -> Iterator[str]:
    for error in validator(version, item["kind"], item["apiVersion"]).iter_errors(item):
        yield f"{item['kind']} {item['metadata']['name']}: {error.json_path}: {error.message[:300]}"


def shown(path: str, content: str) -> str:
    """A file without what other tests compare: nginx's configuration, files of the commit, the stores' scripts."""
    if re.search(r"/(?:configmap-.*-edge(?:-[0-9]+)?|secret-.*-scripts)\.yaml$", path):
        content = content.partition("\ndata:")[0].partition("\nstringData:")[0] + "\n"
    return re.sub(r"trees/[0-9a-f]{10}", "trees/GENERATION", content)


@pytest.mark.slow
def test_files_match_the_expected_ones(app: tuple[str, Exported]) -> None:
    """PUSHROD_KEEP=1 writes them instead."""
    name, x = app
    given = bases.files(x, bases.render(x, Cluster("shop")), values=True)
    text = "".join(f"# ---- {path}\n{shown(path, content)}" for path, content in given.items())
    place = HERE / f"{name}.expected.yaml"
    if os.environ.get("PUSHROD_KEEP"):
        place.write_text(text)
    assert text == place.read_text()


@pytest.mark.slow
@pytest.mark.parametrize("version", VERSIONS)
def test_objects_are_valid(app: tuple[str, Exported], version: tuple[int, int]) -> None:
    whole = bases.render(app[1], Cluster("shop", version))
    assert [p for item in every(whole) for p in problems(version, item)] == []


@pytest.mark.slow
def test_the_schemas_find_a_wrong_object() -> None:
    item = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "x"}, "spec": {"prots": []}}
    assert [*problems((1, 37), item)]


@pytest.mark.slow
def test_no_value_of_a_secret_is_outside_of_secrets(app: tuple[str, Exported]) -> None:
    x = app[1]
    given = bases.files(x, bases.render(x, Cluster("shop")), values=True)
    hidden = [*exports.SECRETS.values(), "password0of0"]
    wrong = [
        p for p, text in given.items() if any(v in text for v in hidden) and not p.startswith("secrets/")
    ]
    assert wrong == []
    assert any(v in text for text in given.values() for v in hidden) or app[0] == "any-file"
    assert not any(
        p.startswith("secrets/") for p in bases.files(x, bases.render(x, Cluster("shop")), values=False)
    )


@pytest.mark.slow
def test_pods_refer_only_to_objects_that_exist_and_secrets_that_are_named(app: tuple[str, Exported]) -> None:
    whole = bases.render(app[1], Cluster("shop"))
    known = {(o["kind"], o["metadata"]["name"]) for o in every(whole)}
    for item in every(whole):
        for kind, name in referred(item):
            assert (kind, name) in known or (kind == "Secret" and name in whole.needed), (kind, name)
    assert {name for kind, name in known if kind == "Secret"} <= set(whole.needed)


def referred(place: Any) -> Iterator[tuple[str, str]]:
    """The kinds and names of the objects that pods refer to."""
    if isinstance(place, list):
        for item in place:
            yield from referred(item)
    elif isinstance(place, dict):
        for key, value in place.items():
            match key:
                case "configMapRef":
                    yield "ConfigMap", value["name"]
                case "secretRef":
                    yield "Secret", value["name"]
                case "configMap" if "name" in value:
                    yield "ConfigMap", value["name"]
                case "secret" if "secretName" in value:
                    yield "Secret", value["secretName"]
                case "claimName":
                    yield "PersistentVolumeClaim", value
                case _:
                    yield from referred(value)


@pytest.mark.slow
def test_no_two_objects_have_one_name_and_each_selector_finds_its_pods(app: tuple[str, Exported]) -> None:
    items = every(bases.render(app[1], Cluster("shop")))
    named = [(o["kind"], o["metadata"]["name"]) for o in items]
    assert len(named) == len(set(named))
    pods = [o["spec"]["template"]["metadata"]["labels"] for o in items if "template" in o.get("spec", {})]
    for item in items:
        spec = item.get("spec", {})
        match item["kind"]:
            case "Service":
                selector = spec["selector"]
            case "Deployment" | "StatefulSet" | "PodDisruptionBudget":
                selector = spec["selector"]["matchLabels"]
            case "NetworkPolicy":
                selector = spec["podSelector"]["matchLabels"]
            case _:
                continue
        assert any(selector.items() <= labels.items() for labels in pods), item


@pytest.mark.slow
def test_two_releases_share_only_what_outlives_both(tmp_path: Path) -> None:
    x = the_app("routes", tmp_path)
    shared = {
        (o["kind"], o["metadata"]["name"])
        for o in every(bases.render(x, Cluster("shop")))
        if (o["kind"], o["metadata"]["name"])
        in {
            (p["kind"], p["metadata"]["name"])
            for p in every(bases.render(x._replace(release="r8"), Cluster("shop")))
        }
    }
    kinds = {kind for kind, _ in shared}
    assert not kinds & {"Deployment", "Job", "PodDisruptionBudget"}
    assert ("Service", "shop") in shared  # whose selector is the switch
    assert ("StatefulSet", "shop-db") in shared
