"""Whole apps as plain compose files: as expected byte for byte, and accepted by Compose itself."""

import os
import re
from pathlib import Path

import pytest
import yaml

from pushrod.adapters import compose_loader
from pushrod.core.errors import ManifestError
from pushrod.engines import plain_compose
from pushrod.engines.exported import Exported
from pushrod.engines.kubernetes.objects import EDGE
from pushrod.system import files, processes
from tests.unit.engines.kubernetes.test_bases import APPS, the_app

HERE = Path(__file__).parent / "files"


@pytest.fixture(scope="module", params=APPS)
def app(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[str, Exported, Path]:
    directory = tmp_path_factory.mktemp(request.param)
    x = the_app(request.param, directory)
    (directory / "public/.hidden").unlink(missing_ok=True)
    return request.param, x, directory


@pytest.mark.slow
def test_the_file_matches_the_expected_one(app: tuple[str, Exported, Path]) -> None:
    """PUSHROD_KEEP=1 writes it instead."""
    name, x, _ = app
    text = plain_compose.files(x, "..", EDGE, values=False)["compose.yaml"]
    place = HERE / f"{name}.compose.yaml"
    if os.environ.get("PUSHROD_KEEP"):
        files.write(place, text)
    assert text == place.read_text()


@pytest.mark.slow
def test_compose_accepts_it_and_only_the_edge_has_ports(
    app: tuple[str, Exported, Path], tmp_path: Path
) -> None:
    _, x, directory = app
    given = plain_compose.files(x, str(directory), EDGE, values=True)
    for path, text in given.items():
        files.write(tmp_path / path, text)
    done = processes.run(
        [*compose_loader.argv_of(), "config"], cwd=tmp_path, env={"PATH": os.environ["PATH"]}
    )
    assert done.status == 0, done.stderr
    assert "variable is not set" not in done.stderr
    services = yaml.safe_load(done.stdout)["services"]
    assert [name for name, s in services.items() if s.get("ports")] == ["edge"]
    assert all(s["cap_drop"] == ["ALL"] for s in services.values())
    waits = {n for s in services.values() for n in s.get("depends_on", {})}
    assert waits <= set(services)
    for service in services.values():
        for volume in service.get("volumes", []):
            if (
                volume["type"] == "bind"
                and "secrets" not in volume["source"]
                and "certificate" not in volume["source"]
            ):
                assert Path(volume["source"]).exists() or "uploads" in volume["source"], volume


@pytest.mark.slow
def test_values_of_secrets_are_in_files_of_secrets_alone(app: tuple[str, Exported, Path]) -> None:
    _, x, _ = app
    given = plain_compose.files(x, "..", EDGE, values=True)
    hidden = re.compile("token-of-the-app|a-long-password|password0of0")
    assert [p for p, text in given.items() if hidden.search(text) and not p.startswith("secrets/")] == []
    assert {p for p in given if p.startswith("secrets/")} == {
        *plain_compose.secrets(x),
        "secrets/.gitignore",
    } | set()
    assert not any(p.startswith("secrets/") for p in plain_compose.files(x, "..", EDGE, values=False))


@pytest.mark.slow
def test_a_directory_with_hidden_files_is_refused(tmp_path: Path) -> None:
    x = the_app("routes", tmp_path)
    with pytest.raises(ManifestError, match="has a hidden file"):
        plain_compose.files(x, "..", EDGE, values=False)
