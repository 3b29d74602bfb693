"""Dependencies that only another language's installer or an image build provides: reported before a start."""

import json
from pathlib import Path

import pytest

from pushrod.core.errors import BuildError
from pushrod.engines.embedded.builds import languages

NODE = json.dumps({"dependencies": {"express": "4"}})


@pytest.fixture
def code(tmp_path: Path) -> Path:
    (tmp_path / "src").mkdir()
    for name in ("app.py", "server.js", "src/main.py", "index.php"):
        (tmp_path / name).write_text("")
    return tmp_path


@pytest.mark.parametrize(
    ("argv", "placed"),
    [
        ("python /code/app.py --port 8000", "python app.py --port 8000"),
        ("/opt/venv/bin/python3.13 -u /code/src/main.py", "/opt/venv/bin/python3.13 -u src/main.py"),
        ("node /code/server.js", "node server.js"),
        ("python app.py", "python app.py"),
        ("python /srv/app.py", "python /srv/app.py"),
        ("python -m app /code/app.py", "python -m app /code/app.py"),
        ("serve /code/app.py", "serve /code/app.py"),
    ],
)
def test_container_paths_are_mapped_to_the_commit(code: Path, argv: str, placed: str) -> None:
    assert " ".join(languages.placed(argv.split(), code, "/code")) == placed


@pytest.mark.parametrize(
    "argv",
    [
        "python main.py",
        "java -jar target/app.jar",
        "node dist/main.js",
        "php public/index.php",
        "python /app/app.py",
        "sh start.sh",
        "/bin/bash ./src/gone.sh",
    ],
)
def test_a_file_that_only_a_build_creates_is_refused(code: Path, argv: str) -> None:
    with pytest.raises(BuildError, match="which is not in the commit") as refused:
        languages.check("web", argv.split(), code)
    assert argv.split()[-1] in refused.value.what
    assert "Docker engine" in refused.value.hint


@pytest.mark.parametrize(
    "argv",
    [
        "python app.py",
        "python -m gone.py",
        "python -c gone.py",
        "serve gone.py",
        "sh -e gone.sh",
        "sh seen.sh",
    ],
)
def test_existing_and_optional_files_are_accepted(code: Path, argv: str) -> None:
    languages.check("web", argv.split(), code, lambda path: path == "seen.sh")


class TestDependencies:
    @pytest.mark.parametrize(
        "argv",
        [("node", "server.js"), ("npm", "start"), ("/bin/sh", "-c", "npm run migrate && exec npm start")],
    )
    def test_node_dependencies_are_refused_unless_committed(self, code: Path, argv: tuple[str, ...]) -> None:
        (code / "package.json").write_text(NODE)
        with pytest.raises(BuildError, match=r"in package\.json, without a lock"):
            languages.check("web", argv, code)
        (code / "node_modules").mkdir()
        languages.check("web", argv, code)

    def test_php_dependencies_are_refused(self, code: Path) -> None:
        (code / "composer.json").write_text(json.dumps({"require": {"php": "^8.2", "slim/slim": "4"}}))
        with pytest.raises(BuildError, match=r"composer\.json"):
            languages.check("web", ("php", "-S", "0.0.0.0:80"), code)

    @pytest.mark.parametrize(
        "text", ["{}", '{"dependencies": {}}', '{"devDependencies": {"x": "1"}}', "[1]", "no", ""]
    )
    def test_a_package_without_dependencies_is_accepted(self, code: Path, text: str) -> None:
        (code / "package.json").write_text(text)
        languages.check("web", ("node", "server.js"), code)

    def test_a_python_program_next_to_node_dependencies_is_accepted(self, code: Path) -> None:
        (code / "package.json").write_text(NODE)
        languages.check("web", ("python", "app.py"), code)
