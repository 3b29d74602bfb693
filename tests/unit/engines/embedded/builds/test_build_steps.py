"""RUN lines: the project's own programs run, packages of the system are found, refused or noted."""

import os
from pathlib import Path

import pytest

from pushrod.adapters import dockerfile
from pushrod.adapters.dockerfile import Recipe
from pushrod.core.errors import BuildError
from pushrod.core.values import Build, Service
from pushrod.engines.embedded.builds import build_steps
from pushrod.system.accounts import Account, child_account


def recipe(*runs: str) -> Recipe:
    return dockerfile.read("FROM python:3.11\nWORKDIR /code\n" + "".join(f"RUN {run}\n" for run in runs))


@pytest.mark.parametrize(
    ("run", "programs"),
    [
        ("python manage.py collectstatic --noinput", ["python manage.py collectstatic --noinput"]),
        ("SECRET_KEY=x python manage.py collectstatic", ["SECRET_KEY=x python manage.py collectstatic"]),
        ("poetry run python manage.py compress", ["python manage.py compress"]),
        ("pip install -r requirements.txt && python -u scripts/build.py", ["python -u scripts/build.py"]),
        ("apt-get install -y python3 && ./manage.py migrate", ["./manage.py migrate"]),
        ("flask assets build", ["flask assets build"]),
        ("python -m pip install flask", []),
        ("python -c 'print(1)'", []),
        ("echo python manage.py", []),
    ],
)
def test_the_projects_own_programs(run: str, programs: list[str]) -> None:
    assert build_steps.own_programs(recipe(run)) == programs


def test_those_of_other_stages_do_not_count() -> None:
    result = dockerfile.read(
        "FROM node AS assets\nRUN python build.py && apt-get install -y ffmpeg\nFROM python\n"
        "COPY --from=assets /a /a\nRUN python manage.py collectstatic\nRUN apt-get install -y graphviz\n"
    )
    assert build_steps.own_programs(result) == ["python manage.py collectstatic"]
    assert build_steps.packages(result) == ["graphviz"]


def test_packages() -> None:
    result = recipe(
        "apt-get update && apt-get install -y --no-install-recommends gcc libpq-dev ffmpeg=7:4.1 libgl1 \\\n gettext"
        " && rm -rf /var/lib/apt/lists/*",
        "apk add --no-cache musl-dev graphviz",
    )
    assert build_steps.packages(result) == ["ffmpeg", "libgl1", "gettext", "graphviz"]
    build_steps.check("web", result, lambda program: f"/usr/bin/{program}")
    with pytest.raises(BuildError, match="installs ffmpeg, and this machine has no ffmpeg") as error:
        build_steps.check("web", result, lambda program: None if program == "ffmpeg" else program)
    assert "apt-get install ffmpeg" in error.value.hint


def test_the_note_names_what_is_left(tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text("FROM python\nRUN apt-get install -y gcc ffmpeg libgl1\n")
    (note,) = build_steps.notes(Service("web", "entry", build=Build(context=".")), tmp_path)
    assert note.endswith("in case it needs them: libgl1")
    assert not list(build_steps.notes(Service("web", "entry"), tmp_path))


def account() -> Account | None:
    return child_account([]) if os.geteuid() == 0 else None


def run(checkout: Path, *programs: str) -> None:
    variables = {"PATH": "/usr/bin:/bin", "NAME": "value"}
    build_steps.run("web", programs, "app", checkout, variables, account(), print)


def test_what_they_write_is_in_the_checkout(tmp_path: Path) -> None:
    (tmp_path / "app").mkdir()
    (tmp_path / "app" / "old").write_text("old")
    (tmp_path / "outside").write_text("outside")
    (tmp_path / "secret").write_text("secret")
    run(
        tmp_path,
        'mkdir -p static/css && echo "$NAME" > static/css/a.css && echo new > old && id -u > who',
        "ln -s /etc/hostname leak; mkfifo pipe; echo x > ../beside",
    )
    assert (tmp_path / "app" / "static" / "css" / "a.css").read_text() == "value\n"
    assert (tmp_path / "app" / "old").read_text() == "new\n"
    assert (tmp_path / "beside").exists()
    if os.geteuid() == 0:
        assert (tmp_path / "app" / "who").read_text().strip() != "0"
        assert not (tmp_path / "app" / "leak").is_symlink()
        assert (tmp_path / "app" / "old").stat().st_uid == 0


def test_a_program_that_fails(tmp_path: Path) -> None:
    (tmp_path / "app").mkdir()
    with pytest.raises(
        BuildError, match=r"`echo no; exit 3`, a RUN line of its Dockerfile, ended with status 3"
    ) as error:
        run(tmp_path, "echo no; exit 3")
    assert error.value.log == ("no",)
