"""A store of an unknown kind keeps its definition as long as the manifest says the same of it."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from pushrod.adapters import compose
from pushrod.engines.docker import definitions, rendering
from tests.unit.engines.docker import rendered

MANIFEST = """\
services:
  web:
    build: .
    ports: ["8080:8080"]
    depends_on: [odd]
  odd:
    image: vendor/odd:1
    command: run --price '$$5'
    volumes: ["odd:/data"]
  redis: {image: "redis:8"}
volumes: {odd: }
"""


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "Dockerfile").write_text("FROM python:3.13-slim\n")
    return tmp_path


def stores(place: Path, text: str = MANIFEST, odd: str = "pushrod/shop/odd:1") -> str:
    """The file of the stores, as a release seals it."""
    (place / "compose.yaml").write_text(text)
    document = compose.load(place, project="shop", variables={})
    parts = {"odd": rendered.OWN._replace(name=odd), "redis": rendered.REDIS}
    result = rendered.render_document(document, parts, compose.bases(document, place))
    return definitions.recorded(result.stores, result.document, result.parsed, repr)


def otherwise(text: str) -> str:
    """The file as a version renders it that writes each service and the network in another way."""
    content: dict[str, Any] = yaml.safe_load(text)
    for service in content["services"].values():
        service |= {"restart": "always", "networks": {"other": {}}, "labels": {"pushrod.more": "1"}}
    content["networks"] = {"other": {"name": "shop"}}
    return "# as rendered by another version\n" + rendering.written(content)


@pytest.mark.slow
def test_another_rendering_of_the_same_manifest_keeps_the_running_definition(place: Path) -> None:
    running = stores(place)
    result = definitions.unchanged(otherwise(running), running)
    services = rendering.services(result)
    assert services["odd"] == rendering.services(running)["odd"]
    assert "$$5" in services["odd"]["command"]
    assert services["redis"]["restart"] == "always"  # its data is in a volume
    assert set(yaml.safe_load(result)["networks"]) == {"other", "default", "outside"}
    assert yaml.safe_load(result)["volumes"]["odd"]["name"] == "shop_odd"
    assert result.startswith("# as rendered by another version\n")
    assert definitions.unchanged(result, result) == result


@pytest.mark.slow
@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("command: run", "command: walk"),
        ("odd:/data", "odd:/elsewhere"),
        ("odd:1", "odd:2"),
        ("image: vendor", "mem_limit: 64m\n    image: vendor"),
        ("image: vendor", "environment: {A: b}\n    image: vendor"),
        ("depends_on: [odd]", "links: ['odd:another']"),
    ],
)
def test_a_change_of_the_manifest_applies(before: str, after: str, place: Path) -> None:
    running = stores(place)
    new = otherwise(stores(place, MANIFEST.replace(before, after)))
    assert definitions.unchanged(new, running) == new


@pytest.mark.slow
def test_another_image_of_the_same_name_applies(place: Path) -> None:
    running, new = stores(place), otherwise(stores(place, odd="pushrod/shop/odd:2"))
    assert definitions.unchanged(new, running) == new


@pytest.mark.slow
@pytest.mark.parametrize("running", ["", "{", "- a list", "services: {odd: {image: x}}"])
def test_without_a_record_of_what_runs_the_new_definition_applies(running: str, place: Path) -> None:
    new = otherwise(stores(place))
    assert definitions.unchanged(new, running) == new


@pytest.mark.slow
def test_a_file_without_such_stores_has_no_record(place: Path) -> None:
    text = stores(place, MANIFEST.replace("    image: vendor/odd:1\n", "    build: .\n"))
    assert "x-kept" not in text
