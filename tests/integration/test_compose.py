"""The real Compose loader: what it reads, what it refuses, and what it leaves behind (nothing)."""

from pathlib import Path

import pytest

from pushrod import host, manifest
from pushrod.errors import ManifestError
from pushrod.gears import compose

pytestmark = pytest.mark.integration

SECRET = "p$w \"quoted\" 'twice' \\ # ${NOT}"


def project(directory: Path, text: str, name: str = "compose.yaml", **files: str) -> Path:
    (directory / name).write_text(text)
    for path, content in files.items():
        (directory / path).write_text(content)
    return directory


def load(directory: Path, **variables: str) -> compose.Document:
    return compose.load(directory, project="shop", variables=variables)


def names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


def refused(directory: Path, **variables: str) -> ManifestError:
    with pytest.raises(ManifestError) as error:
        load(directory, **variables)
    assert str(directory) not in error.value.what + error.value.where
    return error.value


WHOLE = """\
name: ignored
services:
  nginx: {image: "nginx:latest", ports: ["80:80"], depends_on: [backend]}
  backend:
    build: ./backend
    command: sh -c "exec uvicorn app:app --port $${PORT:-8000}"
    depends_on: [postgres, redis]
    environment: {PASSWORD: "${PASSWORD}", EMPTY: "", INHERITED: , NUMBER: 5, YES: "yes"}
    volumes: [./backend:/app]
    deploy: {replicas: 2}
    stop_grace_period: 90s
    x-pushrod: {release: alembic upgrade head, health: {path: /healthz, deadline: 1m}}
  flower: {image: flower, profiles: [debug]}
  postgres: {image: "postgres:16", volumes: ["data:/var/lib/postgresql/data"]}
  redis: {image: "redis:7"}
volumes: {data: }
x-pushrod: {keep: 3}
"""


def test_the_document_is_resolved_and_relative(tmp_path: Path) -> None:
    backend = load(project(tmp_path, WHOLE), PASSWORD=SECRET)["services"]["backend"]
    assert backend["build"] == {"context": "backend", "dockerfile": "Dockerfile"}
    assert backend["command"] == ["sh", "-c", "exec uvicorn app:app --port ${PORT:-8000}"]
    environment = {"PASSWORD": SECRET, "EMPTY": "", "INHERITED": None, "NUMBER": "5", "YES": "yes"}
    assert backend["environment"] == environment
    assert backend["volumes"][0]["source"] == "backend"
    assert backend["x-pushrod"] == {
        "release": "alembic upgrade head",
        "health": {"path": "/healthz", "deadline": "1m"},
    }


def test_it_becomes_a_manifest(tmp_path: Path) -> None:
    (tmp_path / "backend").mkdir()
    project(tmp_path, WHOLE, **{"backend/Dockerfile": "FROM python:3\n"})
    document = load(tmp_path, PASSWORD=SECRET)
    found = manifest.read(document, bases=compose.bases(document, tmp_path))
    assert {s.name: s.role for s in found.services} == {
        "backend": "entry",
        "nginx": "edge",
        "postgres": "store",
        "redis": "store",
    }
    assert (found.entry.replicas, found.entry.stop_grace, found.entry.release[0], found.keep) == (
        2,
        90,
        "alembic",
        3,
    )
    assert found.entry.health.path == "/healthz"


def test_a_file_nobody_wrote_for_pushrod(tmp_path: Path) -> None:
    text = """\
services:
  nginx:
    image: nginx:latest
    ports: ["80:80"]
    volumes: ["./nginx.conf:/etc/nginx/nginx.conf:ro"]
  backend:
    build: ./backend
    depends_on: [postgres, redis]
  postgres: {image: "postgres:16"}
  redis: {image: "redis:7"}
"""
    found = manifest.read(load(project(tmp_path, text, "docker-compose.yml")))
    assert (found.entry.name, [s.name for s in found.stores]) == ("backend", ["postgres", "redis"])


def test_the_override_file_is_merged_as_compose_does(tmp_path: Path) -> None:
    project(
        tmp_path, "services: {web: {image: a}}", **{"compose.override.yaml": "services: {web: {command: x}}"}
    )
    assert load(tmp_path)["services"]["web"] == {
        "image": "a",
        "command": ["x"],
        "networks": {"default": None},
    }
    only = compose.load(tmp_path, project="shop", variables={}, files=["compose.yaml"])
    assert "command" not in only["services"]["web"] or only["services"]["web"]["command"] is None


ENV_FILE = 'services: {web: {image: a, env_file: [.env], environment: {B: "2", C: "${A}"}}}'


def test_an_env_file_that_is_not_in_git_stands_for_the_variables(tmp_path: Path) -> None:
    project(tmp_path, ENV_FILE)
    assert load(tmp_path, A=SECRET, B="1")["services"]["web"]["environment"] == {
        "A": SECRET,
        "B": "2",
        "C": SECRET,
    }
    assert names(tmp_path) == ["compose.yaml"]


def test_its_stand_in_holds_no_value_and_goes_away_when_the_load_fails(tmp_path: Path) -> None:
    seen: list[tuple[str, int]] = []
    path = tmp_path / ".env"
    with compose._names_in(path, {"A": SECRET, "not a name": "x"}):
        seen.append((path.read_text(), path.stat().st_mode & 0o777))
    assert seen == [("A\n", 0o600)]
    project(tmp_path, ENV_FILE.replace("image: a", "image: a, imagee: b"))
    refused(tmp_path, A=SECRET)
    assert names(tmp_path) == ["compose.yaml"]


def test_several_env_files(tmp_path: Path) -> None:
    (tmp_path / "backend").mkdir()
    project(tmp_path, "services: {web: {image: a, env_file: [.env, backend/.env.production, app.env]}}")
    (tmp_path / "app.env").write_text("FROM_GIT=1\nA=git\n")
    assert load(tmp_path, A="x", Z="y")["services"]["web"]["environment"] == {
        "A": "git",
        "Z": "y",
        "FROM_GIT": "1",
    }
    assert names(tmp_path) == ["app.env", "backend", "compose.yaml"]
    assert names(tmp_path / "backend") == []


def test_an_env_file_in_git_is_compose_s_own(tmp_path: Path) -> None:
    project(tmp_path, ENV_FILE, **{".env": "A=git\n"})
    assert load(tmp_path)["services"]["web"]["environment"] == {"A": "git", "B": "2", "C": "git"}
    assert (tmp_path / ".env").read_text() == "A=git\n"


@pytest.mark.parametrize("name", [".env", "app.env"])
def test_an_env_file_that_nothing_stands_for(tmp_path: Path, name: str) -> None:
    project(tmp_path, f"services: {{web: {{image: a, env_file: {name}}}}}")
    error = refused(tmp_path, **({} if name == ".env" else {"A": "1"}))
    assert f"env file {name} not found" in error.what
    assert "pushrod secret import" in error.hint


def test_no_file_is_made_outside_the_directory(tmp_path: Path) -> None:
    inside, outside = tmp_path / "in", tmp_path / "out"
    inside.mkdir()
    outside.mkdir()
    (inside / "link").symlink_to(outside)
    project(inside, "services: {web: {image: a, env_file: link/.env}}")
    refused(inside, A="1")
    assert names(outside) == []


def test_nothing_of_this_process_reaches_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TAG", "from outside")
    monkeypatch.setenv("COMPOSE_FILE", "/nowhere.yaml")
    warnings: list[str] = []
    project(tmp_path, 'services: {web: {image: "a:${TAG}"}}')
    document = compose.load(tmp_path, project="shop", variables={}, on_warning=warnings.append)
    assert document["services"]["web"]["image"] == "a:"
    assert warnings == ['The "TAG" variable is not set. Defaulting to a blank string.']


@pytest.mark.parametrize(
    ("text", "where", "what"),
    [
        ("services:\n  a: [\n", "compose.yaml:", "did not find expected node content"),
        ("services:\n  a: {image: x, imagee: y}\n", "compose.yaml: services.a", "'imagee' not allowed"),
        ("services:\n  a: {image: 3}\n", "compose.yaml: services.a.image", "must be a string"),
        (
            "services:\n  a: {image: x, depends_on: [b]}\n",
            "compose.yaml: services.a",
            'service "a" depends on undefined service "b"',
        ),
        ("", "compose.yaml", "empty compose file"),
        (
            "services:\n  a: {command: x}\n",
            "compose.yaml: services.a",
            "neither an image nor a build context",
        ),
        (
            "services:\n  a: {image: x}\n  a: {image: y}\n",
            "compose.yaml:3",
            'mapping key "a" already defined',
        ),
        (
            "services:\n  a: {image: 'x:${TAG:?say which}'}\n",
            "compose.yaml: services.a.image",
            "required variable TAG is missing a value: say which",
        ),
    ],
)
def test_refusals(tmp_path: Path, text: str, where: str, what: str) -> None:
    error = refused(project(tmp_path, text))
    assert error.where.startswith(where)
    assert what in error.what
    assert error.hint


def test_a_refusal_holds_no_secret(tmp_path: Path) -> None:
    project(tmp_path, 'services: {web: {image: a, ports: ["${PASSWORD}:x"]}}')
    assert "hunter2hunter2" not in refused(tmp_path, PASSWORD="hunter2hunter2").what


def test_the_loaders_version() -> None:
    assert int(compose.version().removeprefix("v").split(".")[0]) >= 2
    assert host.run([*compose.loader(), "version"]).status == 0
