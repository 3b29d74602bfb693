"""Notes on volumes that images declare."""

from pathlib import Path
from typing import Any

import pytest

from pushrod import manifest
from pushrod.adapters import docker
from pushrod.engines.docker import images, volume_notes
from pushrod.state.apps import App, Root

WEB = {"build": {"context": "."}, "ports": [{"target": 80, "published": "80"}]}
BLOG = {"image": "wordpress", "ports": [{"target": 80, "published": "80"}]}
TWICE = (
    "; the old and the new release briefly use {} at the same time; if only one may: "
    "`deploy: {{update_config: {{order: stop-first}}}}`"
)


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> dict[str, dict[str, Any]]:
    """The images of the engine, by name; those built here have files in /public."""
    here: dict[str, dict[str, Any]] = {}
    monkeypatch.setattr(docker, "image", here.get)
    monkeypatch.setattr(images, "filled", lambda _name, paths: frozenset({"/public"} & {*paths}))
    return here


APP = App(Root(Path("/nowhere")), "shop")


def notes_of(service: dict[str, Any], checkout: Path) -> list[str]:
    document = {"services": {"web": service}}
    parsed = manifest.read(document, engine="docker")
    return list(volume_notes.of(APP, document, parsed, checkout, {"web": "x:1"}))


def test_a_pulled_images_volumes_are_noted_once_it_is_here(
    engine: dict[str, dict[str, Any]], tmp_path: Path
) -> None:
    assert notes_of(BLOG, tmp_path) == []
    engine["x:1"] = {
        "Id": "1",
        "Config": {"Volumes": {"/var/www/html": {}, "/public": {}, "/var/cache/x": {}}},
    }
    note = "web: keeps the volumes of its image (/public, /var/www/html) from release to release, as with Compose"
    note += "; backups do not contain them"
    assert notes_of(BLOG, tmp_path) == [note + TWICE.format("them")]
    engine["wordpress"] = {
        **engine.pop("x:1"),
        "RepoTags": ["wordpress:latest"],
    }  # a plan finds it by its own name
    assert notes_of(BLOG, tmp_path) == [note + TWICE.format("them")]
    html = {"type": "volume", "source": "html", "target": "/var/www/html"}
    public = {"type": "tmpfs", "target": "/public"}
    assert notes_of({**BLOG, "volumes": [html, public]}, tmp_path) == []


def test_a_dockerfiles_volumes_are_noted_before_it_is_built(
    engine: dict[str, dict[str, Any]], tmp_path: Path
) -> None:
    (tmp_path / "Dockerfile").write_text('FROM x AS a\nVOLUME /no\nFROM x\nVOLUME ["/data"]\n')
    first = {**WEB, "deploy": {"update_config": {"order": "stop-first"}}}
    note = "web: keeps the volume of its image (/data) from release to release, as with Compose"
    unsaved = "; backups do not contain it"
    assert notes_of(first, tmp_path) == [f"{note}, if its image has no files there{unsaved}"]
    engine["x:1"] = {"Id": "1", "Config": {"Volumes": {"/data": {}}}}
    assert notes_of(WEB, tmp_path) == [note + unsaved + TWICE.format("it")]


def test_files_of_a_built_image_in_a_volume_are_noted(
    engine: dict[str, dict[str, Any]], tmp_path: Path
) -> None:
    engine["x:1"] = {"Id": "1", "Config": {}}
    volumes = [{"type": "volume", "target": "/public"}, {"type": "volume", "target": "/code/node_modules"}]
    assert notes_of({**WEB, "volumes": volumes}, tmp_path) == [
        "web: its image has files in an anonymous volume (/public): each release begins with those, without what was "
        "written there; give it a name to keep that"
    ]
