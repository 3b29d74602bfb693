"""Files of the commit at their paths in the image."""

from pathlib import Path

import pytest

from pushrod.adapters import dockerfile
from pushrod.core.values import Build, Service
from pushrod.engines.embedded.builds import image_paths

SERVICE = Service("web", "entry", build=Build(context="backend"))
TEXT = """\
FROM python:3.12
WORKDIR /code
COPY requirements.txt /code/
COPY docker/entrypoint.sh /entrypoint.sh
COPY docker/wait.sh docker/start.sh /usr/local/bin/
COPY --chmod=755 gone.sh /gone.sh
COPY . /code
RUN chmod +x /entrypoint.sh run.sh && chmod 0755 /usr/local/bin/start.sh; chmod 600 secret
"""


def checkout(directory: Path) -> Path:
    for name in (
        "requirements.txt",
        "run.sh",
        "secret",
        "docker/entrypoint.sh",
        "docker/wait.sh",
        "docker/start.sh",
    ):
        file = directory / "backend" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("#!/bin/sh\n")
        file.chmod(0o644)
    return directory


def test_what_the_working_directory_shows_is_left_out(tmp_path: Path) -> None:
    recipe = dockerfile.read(TEXT)
    assert image_paths.copied(SERVICE, recipe, "backend", checkout(tmp_path)) == (
        ("backend/docker/entrypoint.sh", "/entrypoint.sh"),
        ("backend/docker/wait.sh", "/usr/local/bin/wait.sh"),
        ("backend/docker/start.sh", "/usr/local/bin/start.sh"),
    )


def test_an_argv_names_the_files_of_the_commit(tmp_path: Path) -> None:
    place = checkout(tmp_path)

    def placed(*argv: str) -> tuple[str, ...]:
        return image_paths.placed(argv, SERVICE, dockerfile.read(TEXT), "backend", place)

    assert placed("/entrypoint.sh", "/code/run.sh") == ("./docker/entrypoint.sh", "/code/run.sh")
    assert placed("sh", "/usr/local/bin/start.sh", "/gone.sh") == ("sh", "./docker/start.sh", "/gone.sh")


def test_only_files_that_a_line_makes_executable(tmp_path: Path) -> None:
    place = checkout(tmp_path)
    (place / "outside").write_text("")
    (place / "outside").chmod(0o600)
    (place / "backend" / "run.sh").unlink()
    (place / "backend" / "run.sh").symlink_to("../outside")
    image_paths.set_modes(SERVICE, dockerfile.read(TEXT), "backend", place)
    modes = {p.name: oct(p.stat().st_mode & 0o777) for p in (place / "backend").rglob("*") if p.is_file()}
    assert modes["entrypoint.sh"] == modes["start.sh"] == "0o755"
    assert modes["wait.sh"] == modes["secret"] == "0o644"
    assert modes["run.sh"] == "0o600"  # a link to another file


def test_directories_that_a_line_makes(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    (tmp_path / "backend" / "there").mkdir(parents=True)
    (tmp_path / "outside").mkdir()
    (tmp_path / "backend" / "link").symlink_to(elsewhere)
    recipe = dockerfile.read(
        "FROM python\nENV HOME_DIR=/code\nWORKDIR /code\n"
        "RUN mkdir -p $HOME_DIR/static /code/media/a there && mkdir /var/run/x ../out link/x $UNKNOWN\n"
    )
    image_paths.make_directories(recipe, "backend", tmp_path)
    result = {str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*")}
    made = {"backend/static", "backend/media", "backend/media/a"}
    assert result == {"backend", "backend/there", "backend/link", "outside"} | made
    assert not list(elsewhere.iterdir())


def test_directories_elsewhere_that_a_line_makes_are_the_checkouts_own(tmp_path: Path) -> None:
    text = (
        "FROM python:3.12 AS tools\nRUN mkdir /tools\nFROM python:3.12\nWORKDIR /code\nENV DATA=/data\n"
        "RUN mkdir -p logs /code/static $DATA/uploads /usr/share/shop /tmp/shop /var/log/shop-of-a-test && true\n"
    )
    made = image_paths.made(dockerfile.read(text), ".", tmp_path, None)
    assert [target for _, target in made] == ["/data/uploads", "/var/log/shop-of-a-test"]
    assert all((tmp_path / path).is_dir() for path, _ in made)
    assert image_paths.made(dockerfile.read(text), ".", tmp_path, None) == made
