"""How a service is run without a container."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pushrod.core.errors import BuildError, ManifestError
from pushrod.core.values import Build, Service
from pushrod.engines.embedded import commands

DOCKERFILE = """\
FROM python:3.12
ENV A=1 PATH=/opt/bin:$PATH VIRTUAL_ENV=/opt UV_SYSTEM_PYTHON=1 PYTHONPATH=/app HOME=/root
ENTRYPOINT ["/app/entry.sh"]
CMD ["uvicorn", "app:app"]
"""


def web(**fields: Any) -> Service:
    return Service(**{"name": "web", "role": "entry", "build": Build(context="backend"), **fields})


class TestResolve:
    @pytest.mark.parametrize(
        ("fields", "argv"),
        [
            ({}, ("/app/entry.sh", "uvicorn", "app:app")),
            ({"command": ("gunicorn", "app")}, ("/app/entry.sh", "gunicorn", "app")),
            ({"entrypoint": ("other.sh",)}, ("other.sh",)),
            ({"entrypoint": ("other.sh",), "command": ("gunicorn",)}, ("other.sh", "gunicorn")),
        ],
    )
    def test_entrypoint_and_command_combine_as_in_compose(
        self, fields: dict[str, Any], argv: tuple[str, ...]
    ) -> None:
        assert commands.resolve(web(**fields), DOCKERFILE, None).argv == argv

    def test_an_entrypoint_in_shell_form_takes_no_arguments(self) -> None:
        text = "FROM x\nENTRYPOINT exec serve\nCMD more"
        assert commands.resolve(web(command=("other",)), text, None).argv == ("/bin/sh", "-c", "exec serve")

    def test_the_dockerfiles_environment_is_used_except_container_settings(self) -> None:
        assert commands.resolve(web(), DOCKERFILE, None).environment == {"A": "1"}

    def test_the_target_stage_is_used(self) -> None:
        text = 'FROM x AS prod\nCMD ["prod"]\nFROM x\nCMD ["dev"]'
        service = web(build=Build(context=".", target="prod"))
        assert commands.resolve(service, text, None).argv == ("prod",)

    @pytest.mark.parametrize(
        ("name", "argv"),
        [
            ("web", ("gunicorn", "app", "--bind=:$PORT")),
            ("worker", ("/bin/sh", "-c", "QUEUE=high celery -A app worker")),
            ("clock", ("/bin/sh", "-c", "python clock.py && exit 1")),
            ("other", ("gunicorn", "app", "--bind=:$PORT")),
        ],
    )
    def test_a_procfile_gives_the_command(self, name: str, argv: tuple[str, ...]) -> None:
        text = """\
# processes
web: gunicorn app --bind=:$PORT
worker: QUEUE=high celery -A app worker
clock:  python clock.py && exit 1
"""
        assert commands.resolve(web(name=name), "FROM x\n", text).argv == argv
        assert commands.resolve(web(name=name), None, text).argv == argv

    def test_a_missing_command_is_refused(self) -> None:
        with pytest.raises(ManifestError) as refused:
            commands.resolve(web(), "FROM x\n", "worker: x")
        assert refused.value.where == "services.web"
        assert refused.value.what.startswith("no command")

    def test_an_unreadable_dockerfile_is_named_with_its_line(self) -> None:
        with pytest.raises(ManifestError) as refused:
            commands.resolve(web(), "FROM x\nENV a=1 b\n", None)
        assert refused.value.where == "backend/Dockerfile:2"


@pytest.mark.parametrize(
    ("argv", "plain"),
    [
        (["uv", "run", "uvicorn", "a:b"], ("uvicorn", "a:b")),
        (["uv", "run", "--frozen", "--no-dev", "--", "python", "-m", "a"], ("python", "-m", "a")),
        (["poetry", "run", "alembic", "upgrade", "head"], ("alembic", "upgrade", "head")),
        (["uv", "run", "--with", "x", "y"], ("uv", "run", "--with", "x", "y")),
        (["tini", "-g", "--", "python", "a.py"], ("python", "a.py")),
        (["/usr/bin/dumb-init", "uv", "run", "a"], ("a",)),
        (
            ["sh", "-c", "uv run --frozen alembic upgrade head && exec uv run uvicorn a"],
            ("sh", "-c", "alembic upgrade head && exec uvicorn a"),
        ),
        (["python", "-c", "uv run x"], ("python", "-c", "uv run x")),
        ([], ()),
    ],
)
def test_wrapper_programs_are_removed_from_the_command(argv: list[str], plain: tuple[str, ...]) -> None:
    assert commands.unwrapped(argv) == plain


class TestFind:
    @pytest.fixture
    def image(self, tmp_path: Path) -> Path:
        for name in ("image/bin/uvicorn", "image/bin/python", "checkout/entry.sh", "checkout/bin/run"):
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("#!/bin/sh\n")
            path.chmod(0o755)
        return tmp_path

    def find(self, image: Path, *argv: str) -> tuple[str, ...]:
        path = f"{image}/image/bin:/usr/bin:/bin"
        return commands.find("web", argv, path, directory=image / "checkout", workdir="/app")

    def test_programs_are_found_in_the_image_before_the_machine(self, image: Path) -> None:
        assert self.find(image, "python", "-V") == (f"{image}/image/bin/python", "-V")
        assert self.find(image, "uv", "run", "uvicorn", "a") == (f"{image}/image/bin/uvicorn", "a")
        assert self.find(image, "ls")[0].endswith("/ls")

    def test_paths_in_the_container_are_translated(self, image: Path) -> None:
        assert self.find(image, "/opt/venv/bin/uvicorn") == (f"{image}/image/bin/uvicorn",)
        assert self.find(image, "/app/entry.sh", "x") == ("./entry.sh", "x")
        assert self.find(image, "/app/bin/run") == ("./bin/run",)
        assert self.find(image, "/bin/sh", "-c", "x")[0].endswith("/sh")

    def test_paths_in_the_checkout_are_relative(self, image: Path) -> None:
        assert self.find(image, "./entry.sh") == ("./entry.sh",)
        assert self.find(image, "bin/run") == ("./bin/run",)
        assert commands.find("web", ("./later.sh",), "/bin") == ("./later.sh",)

    @pytest.mark.parametrize(
        "program", ["gunicorn", "/usr/local/bin/gunicorn", "./gunicorn", "/app/gunicorn", "/srv/x"]
    )
    def test_a_missing_program_is_refused_with_a_hint(self, image: Path, program: str) -> None:
        with pytest.raises(BuildError) as refused:
            self.find(image, program)
        assert refused.value.what.startswith(f"web: its program `{program}` is neither")
        assert refused.value.where == "services.web.command"
        assert "Docker engine" in refused.value.hint

    def test_a_directory_is_no_program(self, image: Path) -> None:
        (image / "checkout/backend").mkdir()
        with pytest.raises(BuildError):
            self.find(image, "/app/backend")

    def test_a_program_that_the_build_may_install_is_accepted(self, image: Path) -> None:
        def resolved(program: str) -> tuple[str, ...]:
            return commands.find(
                "web", (program,), "/none", directory=image, may_have=lambda n: n == "gunicorn"
            )

        assert resolved("gunicorn") == ("gunicorn",)
        assert resolved("/opt/bin/gunicorn") == ("/opt/bin/gunicorn",)
        for program in ("uvicorn", "./gunicorn", "/srv/gunicorn"):
            with pytest.raises(BuildError):
                resolved(program)


@pytest.mark.parametrize(
    ("argv", "programs"),
    [
        (("gunicorn", "a:b"), ["gunicorn"]),
        (("sh", "-c", "exec gunicorn a:b --bind 0.0.0.0:$PORT"), ["sh", "gunicorn"]),
        (("/bin/sh", "-c", "cd src && python m.py migrate && npm start"), ["/bin/sh", "python", "npm"]),
        (("sh", "-c", "test -f x && npm start"), ["sh"]),
        (("sh", "-c", "npm ci || true"), ["sh"]),
        (("sh", "-c", "npm start; exit 1"), ["sh"]),
        (("sh", "-c", "A=b npm start"), ["sh"]),
        (("sh", "-c", "./run.sh"), ["sh"]),
        (("bash", "-lc", "npm start"), ["bash"]),
        (("sh", "run.sh"), ["sh"]),
    ],
)
def test_the_programs_that_an_argv_runs(argv: tuple[str, ...], programs: list[str]) -> None:
    assert commands.called(argv) == programs


class TestBind:
    @pytest.mark.parametrize(
        ("argv", "bound", "replaced"),
        [
            ("uvicorn a:b --port 8000", "uvicorn a:b --port 20001", 8000),
            (
                "uvicorn a:b --port=8000 --limit-max-requests 8000",
                "uvicorn a:b --port=20001 --limit-max-requests 8000",
                8000,
            ),
            (
                "gunicorn -b 0.0.0.0:8000 --max-requests=8000 a",
                "gunicorn -b 0.0.0.0:20001 --max-requests=8000 a",
                8000,
            ),
            ("gunicorn --bind=:8000 a", "gunicorn --bind=:20001 a", 8000),
            ("gunicorn --bind [::]:8000 a", "gunicorn --bind [::]:20001 a", 8000),
            ("python manage.py runserver 0:8000", "python manage.py runserver 0:20001", 8000),
            ("python manage.py runserver 8000", "python manage.py runserver 20001", 8000),
            ("serve --port $PORT --url=${PORT}", "serve --port 20001 --url=20001", 0),
            ("serve --port ${PORT:-8000}", "serve --port 20001", 0),
            ("serve --name $PORTER", "serve --name $PORTER", 0),
            ("serve --port 8080", "serve --port 20001", 8080),
            ("curl -f http://localhost:8000/up", "curl -f http://localhost:20001/up", 8000),
            (": > /dev/tcp/127.0.0.1/8000", ": > /dev/tcp/127.0.0.1/20001", 8000),
            ("cat </dev/tcp/localhost/8000 || exit 1", "cat </dev/tcp/localhost/20001 || exit 1", 8000),
            ("cat </dev/tcp/elsewhere/8000", "cat </dev/tcp/elsewhere/8000", 0),
            (
                "worker --api http://api:8000/ --data /srv/8000",
                "worker --api http://api:8000/ --data /srv/8000",
                0,
            ),
            ("worker --broker redis://redis:6379/0", "worker --broker redis://redis:6379/0", 0),
            ("serve 80000 18000 8000.5 8000x", "serve 80000 18000 8000.5 8000x", 0),
        ],
    )
    def test_the_port_in_an_argv_is_replaced(self, argv: str, bound: str, replaced: int) -> None:
        resolved = commands.bind(argv.split(), {}, 20001, 8000)
        assert (" ".join(resolved.argv), resolved.replaced) == (bound, replaced)

    @pytest.mark.parametrize(
        ("script", "bound", "replaced"),
        [
            ("exec uvicorn a --port 8000", "exec uvicorn a --port 20001", 8000),
            ("a && exec gunicorn -b '0.0.0.0:8000' x; b", "a && exec gunicorn -b '0.0.0.0:20001' x; b", 8000),
            ('exec uvicorn a --port "${PORT:-8000}"', 'exec uvicorn a --port "${PORT:-8000}"', 0),
            ("exec uvicorn a --port $PORT --limit 8000", "exec uvicorn a --port $PORT --limit 8000", 0),
        ],
    )
    def test_the_port_in_a_shell_script_is_replaced(self, script: str, bound: str, replaced: int) -> None:
        for shell in (("sh", "-c"), ("/bin/bash", "-e", "-lc")):
            resolved = commands.bind((*shell, script), {}, 20001, 8000)
            assert (resolved.argv, resolved.replaced) == ((*shell, bound), replaced)

    def test_without_a_container_port_only_a_port_option_is_replaced(self) -> None:
        assert commands.bind(("serve", "--port", "8080"), {}, 20001, 0).argv[-1] == "20001"
        assert commands.bind(("serve", "8080"), {}, 20001, 0).argv[-1] == "8080"

    def test_port_variables_of_the_environment_are_replaced(self) -> None:
        given_ = {"PORT": "8000", "HTTP_PORT": "8000", "DB_PORT": "5432", "A": "8000"}
        resolved = commands.bind(("serve",), given_, 20001, 8000).environment
        assert resolved == {
            "PORT": "20001",
            "HTTP_PORT": "20001",
            "DB_PORT": "5432",
            "A": "8000",
            "UVICORN_PORT": "20001",
            "FLASK_RUN_PORT": "20001",
        }

    def test_without_a_port_nothing_changes(self) -> None:
        resolved = commands.bind(("serve", "--port", "8000", "$PORT"), {"PORT": "1"}, 0, 8000)
        assert resolved == (("serve", "--port", "8000", "$PORT"), {"PORT": "1"}, 0)

    @given(
        st.lists(st.text(max_size=15) | st.sampled_from(["sh", "-c", "--port", "8000", ":8000"])),
        st.integers(0, 9),
    )
    @pytest.mark.slow
    def test_never_fails_and_keeps_the_number_of_words(self, argv: list[str], port: int) -> None:
        assert len(commands.bind(argv, {}, port and 20001, 8000).argv) == len(argv)
        commands.unwrapped(argv)


def test_wildcard_addresses_become_loopback() -> None:
    argv = ("sh", "-c", "serve --host 0.0.0.0 --bind=0.0.0.0:8000 --net 10.0.0.0.0")
    assert commands.loopback(argv)[2] == "serve --host 127.0.0.1 --bind=127.0.0.1:8000 --net 10.0.0.0.0"
