"""The inputs of an environment, in the forms found in public repositories."""

import json
import tomllib
from pathlib import Path

import pytest

from pushrod.core.errors import ManifestError
from pushrod.engines.embedded.builds import python_locks
from pushrod.engines.embedded.builds.python_locks import Lock, pip_words

POETRY = """\
[tool.poetry]
name = "shop"
[tool.poetry.dependencies]
python = "^3.9"
Flask = "^2.1"
uvicorn = {version = "~0.17.6", extras = ["standard"]}
tomli = {version = "*", python = "<3.11"}
tool = {git = "https://example.org/tool.git", tag = "v1"}
exact = "1.2.3"
fuzzy = "^1 || ^2"
mine = {path = "libs/mine"}
maybe = {version = "1", optional = true}
[tool.poetry.group.dev.dependencies]
pytest = "*"
[tool.poetry.scripts]
shop = "shop.cli:main"
"""
LOCKED = """\
[[package]]
name = "flask"
version = "2.3.2"
[[package]]
name = "tool"
version = "1.0"
[package.source]
type = "git"
[[package]]
name = "numpy"
version = "1"
[[package]]
name = "numpy"
version = "2"
"""


def lock(
    directory: Path, runs: tuple[str, ...] = (), named: tuple[str, ...] = (), **files: str
) -> Lock | None:
    for name, text in files.items():
        (directory / name.replace("__", ".")).write_text(text)
    return python_locks.find([directory], named, runs, directory)


def test_poetry_with_its_lock(tmp_path: Path) -> None:
    result = lock(tmp_path, pyproject__toml=POETRY, poetry__lock=LOCKED)
    assert result
    assert result.kind == "poetry"
    assert result.constraints == ("flask==2.3.2",)
    assert result.requirements == (
        "Flask",
        "uvicorn[standard]>=0.17.6,<0.18",
        "tomli ; python_version < '3.11'",
        "tool @ git+https://example.org/tool.git@v1",
        "exact==1.2.3",
        "fuzzy",
        "./libs/mine",
    )
    assert result.scripts == (("shop", "shop.cli:main"),)


def test_a_lock_is_parsed_again_only_if_it_has_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parsed: list[str] = []
    loads = tomllib.loads
    monkeypatch.setattr(tomllib, "loads", lambda text: parsed.append(text) or loads(text))
    python_locks._parsed.cache_clear()
    first = lock(tmp_path, pyproject__toml=POETRY, poetry__lock=LOCKED)
    assert first == python_locks.find([tmp_path], (), (), tmp_path)
    assert sorted(parsed) == sorted((POETRY, LOCKED))
    changed = lock(tmp_path, poetry__lock=LOCKED.replace("2.3.2", "2.3.3"))
    assert changed and changed.constraints == ("flask==2.3.3",)
    assert len(parsed) == 3


@pytest.mark.parametrize(
    ("version", "comparisons"),
    [
        ("^1.2.3", ">=1.2.3 <2"),
        ("^0.2.3", ">=0.2.3 <0.3"),
        ("^0.0.3", ">=0.0.3 <0.0.4"),
        ("~1", ">=1 <2"),
        ("~1.2.3", ">=1.2.3 <1.3"),
        (">=1,<2", ">=1 <2"),
        (">= 1.0, < 2", ">=1.0 <2"),
        ("1.2.*", "==1.2.*"),
        ("*", ""),
        ("", ""),
    ],
)
def test_versions_of_poetry(version: str, comparisons: str) -> None:
    assert " ".join(a + b for a, b in python_locks._comparisons(version)) == comparisons


def test_pipenv(tmp_path: Path) -> None:
    packages = {
        "flask": {"version": "==2.3.2", "markers": "python_version >= '3.8'", "hashes": ["sha256:0"]},
        "uvicorn": {"version": "==0.1", "extras": ["standard"]},
        "tool": {"git": "https://example.org/t.git", "ref": "abc"},
    }
    result = lock(tmp_path, Pipfile__lock=json.dumps({"default": packages, "develop": {"pytest": {}}}))
    assert result
    assert result.requirements == (
        "flask==2.3.2 ; python_version >= '3.8'",
        "uvicorn[standard]==0.1",
        "tool @ git+https://example.org/t.git@abc",
    )
    result = lock(tmp_path / ".", Pipfile='[packages]\nflask = "*"\ndjango = ">=4"\n')
    assert result


def test_a_pipfile_without_a_lock(tmp_path: Path) -> None:
    result = lock(
        tmp_path, Pipfile='[packages]\nflask = "*"\ndjango = {version = ">=4", extras = ["bcrypt"]}\n'
    )
    assert result
    assert result.requirements == ("flask", "django[bcrypt]>=4")


def test_pdm(tmp_path: Path) -> None:
    project = (
        '[project]\nname = "a"\nversion = "1"\ndependencies = ["flask"]\n[project.scripts]\nrun = "a.b:c"\n'
    )
    result = lock(tmp_path, pyproject__toml=project, pdm__lock=LOCKED)
    assert result
    assert (result.kind, result.constraints) == ("pyproject", ("flask==2.3.2",))
    assert result.scripts == (("run", "a.b:c"),)


@pytest.mark.parametrize(
    ("run", "words"),
    [
        (
            "pip install flask gunicorn==20.1 'uvicorn[standard]>=0.1'",
            ["flask", "gunicorn==20.1", "uvicorn[standard]>=0.1"],
        ),
        ("pip install --no-cache-dir -U pip setuptools && pip install -r requirements.txt", []),
        ("python -m pip install -i https://example.org/simple redis", ["redis"]),
        ("--mount=type=cache,target=/root/.cache pip3 install celery", ["celery"]),
        ("apt-get update && pip install psycopg2-binary; echo pip install x", ["psycopg2-binary"]),
        ("uv pip install --system fastapi", ["fastapi"]),
        ("pip install -e . && pip install ./lib", [".", "./lib"]),
        ("pip install poetry==1.8 && poetry install --no-dev", []),
        ('pip install "$PACKAGE"', []),
        ("pip freeze", []),
        ("pip install --no-cache /wheels/* ./*.whl", []),
        ("pip install 'unclosed", []),
    ],
)
def test_packages_that_a_dockerfile_names(run: str, words: list[str]) -> None:
    assert list(pip_words(run)) == words


def test_packages_that_a_dockerfile_names_are_added(tmp_path: Path) -> None:
    assert lock(tmp_path) is None
    result = lock(tmp_path, ("pip install flask",))
    assert result == Lock("named", (), tmp_path, requirements=("flask",))
    result = lock(tmp_path, ("pip install gunicorn",), requirements__txt="flask\n")
    assert result
    assert (result.kind, result.requirements) == ("requirements", ("gunicorn",))


def test_the_project_itself(tmp_path: Path) -> None:
    """Its requirements, not a build of it: its modules are on the path anyway."""
    project = '[project]\nname = "a"\nversion = "1"\n[project.scripts]\nshop = "a:main"\n'
    result = lock(tmp_path, ("pip install .",), pyproject__toml=project)
    assert result
    assert (result.kind, result.requirements, result.scripts, result.local) == (
        "pyproject",
        (),
        (("shop", "a:main"),),
        False,
    )


def test_a_project_that_only_setup_py_describes(tmp_path: Path) -> None:
    result = lock(tmp_path, ("pip install .",), setup__py="")
    assert result == Lock("named", (), tmp_path, local=True, requirements=(".",))


def test_the_tool_that_the_dockerfile_calls_decides(tmp_path: Path) -> None:
    (tmp_path / "requirements.txt").write_text("old\n")
    result = lock(tmp_path, ("pip install poetry", "poetry install"), pyproject__toml=POETRY)
    assert result
    assert result.kind == "poetry"
    result = lock(tmp_path, ("pip install -r requirements.txt",), ("requirements.txt",))
    assert result
    assert result.kind == "requirements"


@pytest.mark.parametrize("name", ["Pipfile__lock", "Pipfile", "pyproject__toml"])
def test_a_damaged_file(tmp_path: Path, name: str) -> None:
    with pytest.raises(ManifestError, match="not valid") as error:
        lock(tmp_path, (), (), **{name: "[x"})
    assert error.value.where == name.replace("__", ".")


def test_requirement_files_of_a_directory_that_is_copied(tmp_path: Path) -> None:
    (tmp_path / "requirements").mkdir()
    result = lock(
        tmp_path, ("pip install -r local.txt",), ("local.txt",), **{"requirements/local.txt": "flask\n"}
    )
    assert result
    assert result.files == (tmp_path / "requirements" / "local.txt",)


def test_files_of_pipenv_are_installed_from_where_they_are(tmp_path: Path) -> None:
    packages = {
        "one": {"file": "./wheels/one-1.0-py3-none-any.whl"},
        "two": {"path": "packages/two", "editable": True},
        "three": {"file": "https://example.com/three-1.0-py3-none-any.whl"},
    }
    result = lock(tmp_path, Pipfile__lock=json.dumps({"default": packages}))
    assert result
    assert result.local
    assert result.requirements == (
        "./wheels/one-1.0-py3-none-any.whl",
        "./packages/two",
        "three @ https://example.com/three-1.0-py3-none-any.whl",
    )
