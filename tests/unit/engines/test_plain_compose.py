"""Whole apps as plain compose files: as expected byte for byte, and accepted by Compose itself."""

import os
import re
from pathlib import Path

import pytest
import yaml

from pushrod.adapters import compose_loader
from pushrod.core.errors import ManifestError, UnknownNameError
from pushrod.engines import plain_compose
from pushrod.engines.exported import Exported
from pushrod.engines.kubernetes.objects import EDGE
from pushrod.system import files, processes
from tests.unit.engines import exports
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


def exported(directory: Path, text: str) -> Exported:
    (directory / "compose.yaml").write_text(text)
    (directory / "Dockerfile").write_text("FROM scratch\n")
    return exports.read(directory)


def test_no_text_of_a_manifest_leads_out_of_the_commit(tmp_path: Path) -> None:
    """What stands for the commit's directory while the file is rendered is not to be guessed."""
    mark = "@source@"
    x = exported(
        tmp_path,
        "services:\n  web:\n    build: .\n    ports: ['80:80']\n"
        f"    command: [echo, '{mark}', '@port@80']\n    volumes: ['./{mark}/{mark}/.ssh:/keys']\n",
    )
    service = yaml.safe_load(plain_compose.files(x, "..", EDGE, values=False)["compose.yaml"])["services"][
        "web"
    ]
    assert service["volumes"][0]["source"] == f"${{SOURCE:-..}}/{mark}/{mark}/.ssh"
    assert service["command"] == ["echo", mark, "@port@80"]


def test_arguments_of_a_build_with_a_secret_come_from_the_environment(tmp_path: Path) -> None:
    x = exported(
        tmp_path,
        "services:\n  web:\n    ports: ['80:80']\n"
        "    build: {context: ., args: {TOKEN: 'x${API_TOKEN}', KIND: plain, NONE: }}\n",
    )
    given = plain_compose.files(x, "..", EDGE, values=False)
    arguments = yaml.safe_load(given["compose.yaml"])["services"]["web"]["build"]["args"]
    assert (arguments["TOKEN"], arguments["KIND"]) == (None, "plain")
    assert not any("token-of-the-app" in text for text in given.values())
    assert plain_compose.needed(x)["the environment, for the build of web"] == ("TOKEN",)


@pytest.mark.parametrize("kind", ["post_start", "pre_stop"])
def test_a_hook_with_a_secret_is_refused(tmp_path: Path, kind: str) -> None:
    hook = f"{kind}: [{{command: [a], environment: {{A: '${{API_TOKEN}}'}}}}]"
    x = exported(tmp_path, f"services:\n  web:\n    build: .\n    ports: ['80:80']\n    {hook}\n")
    with pytest.raises(ManifestError, match="value of a secret") as refused:
        plain_compose.files(x, "..", EDGE, values=False)
    assert refused.value.where == f"services.web.{kind}.environment"


def test_the_export_of_another_machine_finds_the_commits_files_here() -> None:
    text = "a: '${SOURCE:-..}/web'\nb: '$${SOURCE:-no}'\n"
    moved = plain_compose.moved({"compose.yaml": text, "edge/x": "y"}, "../../my work")
    assert moved == {
        "compose.yaml": "a: '${SOURCE:-../../my work}/web'\nb: '$${SOURCE:-no}'\n",
        "edge/x": "y",
    }
    older = plain_compose.moved({"compose.yaml": "a: ${SOURCE}\n", ".env": "SOURCE=..\n"}, "../x")
    assert older == {"compose.yaml": "a: ${SOURCE}\n", ".env": "SOURCE=../x\n"}
    with pytest.raises(UnknownNameError, match="cannot read this path"):
        plain_compose.moved({"compose.yaml": text}, "../it's")
