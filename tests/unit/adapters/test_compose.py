"""The Compose adapter without its loader: the choice of file and loader, the reading of its messages and YAML."""

from pathlib import Path

import pytest

from pushrod.adapters import compose, manifests
from pushrod.core.errors import ManifestError


@pytest.mark.parametrize(
    ("names", "result"),
    [
        (["docker-compose.yaml", "docker-compose.yml", "compose.yml", "compose.yaml"], "compose.yaml"),
        (["docker-compose.yaml", "docker-compose.yml", "compose.yml"], "compose.yml"),
        (["docker-compose.yaml", "docker-compose.yml"], "docker-compose.yml"),
        (["docker-compose.yaml"], "docker-compose.yaml"),
    ],
)
def test_files_are_found_in_composes_order(tmp_path: Path, names: list[str], result: str) -> None:
    for name in names:
        (tmp_path / name).write_text("")
    assert manifests.compose_files(tmp_path)[0] == result


def test_a_missing_compose_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ManifestError) as refused:
        compose.load(tmp_path, project="shop", variables={})
    assert refused.value.what == "no compose file"
    assert "compose.yaml" in refused.value.where
    assert "pushrod new" in refused.value.hint


def test_dollar_signs_and_scalars_are_preserved() -> None:
    text = """\
services:
  web:
    command: [sh, -c, 'echo $${PORT:-8000} $$$$']
    environment: {A: null, B: "true", C: '8000'}
    scale: 3
    privileged: true
    deploy: {resources: {limits: {cpus: 0.5}}}
    x-pushrod: {a: =, b: 2020-01-01T00:00:00Z, c: 0o7, d: yes, e: 1_000, f: "on", g: 12:30, h: <<}
"""
    web = compose._parse(text.replace("$$", "$"))["services"]["web"]
    assert web["command"][2] == "echo ${PORT:-8000} $$"
    assert web["environment"] == {"A": None, "B": "true", "C": "8000"}
    assert (web["scale"], web["privileged"], web["deploy"]["resources"]["limits"]["cpus"]) == (3, True, 0.5)
    assert list(web["x-pushrod"].values()) == [
        "=",
        "2020-01-01T00:00:00Z",
        "0o7",
        "yes",
        "1_000",
        "on",
        "12:30",
        "<<",
    ]


DIRECTORY = Path("/checkouts/7")


@pytest.mark.parametrize(
    ("stderr", "where", "what"),
    [
        (
            "failed to parse /checkouts/7/compose.yaml: yaml: line 2: did not find expected node content",
            "compose.yaml:2",
            "did not find expected node content",
        ),
        (
            "validating /checkouts/7/docker-compose.yml: services.a additional properties 'imagee' not allowed",
            "docker-compose.yml: services.a",
            "services.a additional properties 'imagee' not allowed",
        ),
        (
            'service "a" depends on undefined service "b": invalid compose project',
            "compose.yaml: services.a",
            'service "a" depends on undefined service "b"',
        ),
        (
            'time="2026-01-01T00:00:00Z" level=warning msg="The \\"X\\" variable is not set. Defaulting to a blank '
            'string."\nerror while interpolating services.a.image: required variable TAG is missing a value: need',
            "compose.yaml: services.a.image",
            "error while interpolating services.a.image: required variable TAG is missing a value: need",
        ),
        ("", "compose.yaml", "Compose cannot read it, and gives no reason"),
    ],
)
def test_the_loaders_messages_become_errors(stderr: str, where: str, what: str) -> None:
    error = compose._error(compose._clean(stderr, DIRECTORY, {}), "compose.yaml")
    assert (error.where, error.what) == (where, what)
    assert error.hint


def test_a_missing_variable_has_a_hint() -> None:
    assert compose._hint("required variable TAG is missing a value") == "set it: pushrod secret set TAG"
    unset = 'time="x" level=warning msg="The \\"PORT\\" variable is not set. Defaulting to a blank string."\n'
    error = compose._error(compose._clean(f"{unset}invalid proto:", DIRECTORY, {}), "compose.yaml")
    assert "not set? PORT: pushrod secret set" in error.hint


def test_messages_hold_no_secret() -> None:
    text = "invalid containerPort: hunter2hunter2 in /checkouts/7/compose.yaml"
    assert compose._clean(text, DIRECTORY, {"PW": "hunter2hunter2", "SHORT": "in"}) == [
        "invalid containerPort: $PW in compose.yaml"
    ]


def test_paths_below_the_directory_are_relative() -> None:
    document = {
        "build": {"context": "/checkouts/7/backend", "additional_contexts": {"x": "/checkouts/7/y"}},
        "volumes": [
            {"source": "/checkouts/7"},
            {"source": "/checkouts/70"},
            {"source": "/srv"},
            {"source": "data"},
        ],
        "command": ["/checkouts/7/x"],
    }
    assert compose._relative(document, DIRECTORY) == {
        "build": {"context": "backend", "additional_contexts": {"x": "y"}},
        "volumes": [{"source": "."}, {"source": "../70"}, {"source": "/srv"}, {"source": "data"}],
        "command": ["/checkouts/7/x"],
    }


def test_base_images_are_read_from_dockerfiles(tmp_path: Path) -> None:
    (tmp_path / "web").mkdir()
    (tmp_path / "web" / "Dockerfile").write_text("ARG V=1\nFROM node AS build\nFROM nginx:$V\n")
    (tmp_path / "Dockerfile.app").write_text("FROM python:3.12 AS prod\nFROM prod AS dev\nFROM scratch\n")
    document = {
        "services": {
            "web": {"build": {"context": "web", "dockerfile": "Dockerfile", "args": {"V": "1.27"}}},
            "app": {"build": {"context": ".", "dockerfile": "Dockerfile.app", "target": "dev"}},
            "bare": {"build": {"context": "nowhere"}},
            "db": {"image": "postgres"},
        }
    }
    assert compose.bases(document, tmp_path) == {"web": "nginx:1.27", "app": "python:3.12"}
    assert compose.bases({}, tmp_path) == {}
    assert compose.exposed(document, tmp_path) == {}
    (tmp_path / "web" / "Dockerfile").write_text("FROM nginx:1.27\nEXPOSE 8080\n")
    assert compose.exposed(document, tmp_path) == {"web": 8080}


def test_no_dockerfile_outside_the_directory_is_read(tmp_path: Path) -> None:
    inside = tmp_path / "in"
    inside.mkdir()
    (tmp_path / "Dockerfile").write_text("FROM nginx\n")
    (inside / "link").symlink_to("../Dockerfile")
    for name in ("../Dockerfile", str(tmp_path / "Dockerfile"), "link"):
        document = {"services": {"web": {"build": {"context": ".", "dockerfile": name}}}}
        assert compose.bases(document, inside) == {}


@pytest.mark.parametrize(
    ("text", "result"),
    [
        ("name: shop\nservices: {}\n", ("shop", "app")),
        ("services: {}\nname:  'my_shop'  # mine\n", ("my_shop", "app")),
        ("name: app\n", ("app",)),
        ("name: ${NAME:-shop}\n", ("app",)),
        ("services:\n  web:\n    name: shop\n", ("app",)),
    ],
)
def test_the_project_name_is_the_one_of_compose(tmp_path: Path, text: str, result: tuple[str, ...]) -> None:
    (tmp_path / "compose.yaml").write_text(text)
    assert compose.projects(tmp_path, "app") == result


def test_env_files_that_are_referenced_but_missing_are_detected(tmp_path: Path) -> None:
    (tmp_path / "compose.yaml").write_text("services:\n  web:\n    # env_file: .env\n    image: a\n")
    assert not compose.wants_env_file(tmp_path)
    (tmp_path / "compose.yaml").write_text("services: {web: {image: a, env_file: [.env]}}\n")
    assert compose.wants_env_file(tmp_path)
    (tmp_path / ".env").touch()
    assert not compose.wants_env_file(tmp_path)
