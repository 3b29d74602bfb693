"""Why a script of the commit does not start: its mode in Git, or its line ends."""

from pathlib import Path

import pytest

from pushrod.core.errors import ReadyError
from pushrod.core.values import Build
from pushrod.engines import scripts
from tests.unit.samples import service

SHELL = "#!/bin/sh\nexec true\n"


def script(checkout: Path, name: str = "entrypoint.sh", text: str = SHELL, mode: int = 0o755) -> None:
    path = checkout / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode())
    path.chmod(mode)


def problems(checkout: Path, *words: str, dockerfile: str = "") -> list[str]:
    if dockerfile:
        (checkout / "Dockerfile").write_text(dockerfile)
    build = Build() if dockerfile else None
    return [f.message for f in scripts.faults([service("web", command=words, build=build)], checkout)]


@pytest.mark.parametrize(
    ("words", "dockerfile"),
    [
        (("./entrypoint.sh",), ""),
        (("/app/entrypoint.sh", "serve"), ""),
        (("sh", "-c", "./entrypoint.sh && serve"), ""),
        ((), 'FROM debian\nCOPY . /srv\nENTRYPOINT ["/srv/entrypoint.sh"]\n'),
        ((), "FROM debian\nCMD ./entrypoint.sh\n"),
        ((), 'FROM debian\nCOPY --chown=1 entrypoint.sh /start\nENTRYPOINT ["/start"]\n'),
        ((), 'FROM debian\nCOPY ["entrypoint.sh", "/usr/local/bin/begin"]\nENTRYPOINT ["begin"]\n'),
        ((), "FROM debian\nWORKDIR /srv\nADD entrypoint.sh run\nCMD exec /srv/run\n"),
    ],
)
def test_a_script_that_is_not_executable_is_named(
    tmp_path: Path, words: tuple[str, ...], dockerfile: str
) -> None:
    script(tmp_path, mode=0o644)
    (problem,) = set(problems(tmp_path, *words, dockerfile=dockerfile))
    assert problem == "entrypoint.sh is not executable in Git: git update-index --chmod=+x entrypoint.sh"
    script(tmp_path)
    assert not problems(tmp_path, *words, dockerfile=dockerfile)


def test_a_word_that_no_file_can_be_called_is_none(tmp_path: Path) -> None:
    assert not problems(
        tmp_path, "sh", "-c", f"echo {'x' * 300}", dockerfile="FROM debian\nCOPY 5\nCOPY [[ x\n"
    )


def test_a_script_passed_to_an_interpreter_need_not_be_executable(tmp_path: Path) -> None:
    script(tmp_path, "bin/start", mode=0o644)
    assert not problems(tmp_path, "bash", "bin/start")
    assert problems(tmp_path, "bin/start")


@pytest.mark.parametrize(
    "words", [("./entrypoint.sh",), ("sh", "entrypoint.sh"), ("/usr/src/app/entrypoint.sh",)]
)
def test_a_script_with_crlf_is_named(tmp_path: Path, words: tuple[str, ...]) -> None:
    script(tmp_path, text=SHELL.replace("\n", "\r\n"))
    (problem,) = problems(tmp_path, *words)
    assert problem.startswith("entrypoint.sh has CRLF line ends")


@pytest.mark.parametrize("line", ["", "RUN dos2unix *.sh", r"RUN sed -i 's/\r$//' *.sh"])
def test_crlf_is_noted_before_a_start_unless_the_dockerfile_changes_it(tmp_path: Path, line: str) -> None:
    script(tmp_path, text="#!/bin/sh\r\nexit\r\n", mode=0o644)
    (tmp_path / "Dockerfile").write_text(f"FROM alpine\nCOPY . /app\n{line}\n")
    named = service("web", build=Build(), entrypoint=("sh", "/app/entrypoint.sh"))
    notes = scripts.notes([named, service("db", command=("/app/entrypoint.sh",))], tmp_path)
    assert [n.partition(" has CRLF")[0] for n in notes] == ["web: entrypoint.sh"] * (not line) + [
        "db: entrypoint.sh"
    ]


def test_files_that_are_no_scripts_of_the_commit_are_ignored(tmp_path: Path) -> None:
    (tmp_path / "notes").write_text("no script\r\n")
    (tmp_path / "away").symlink_to("/bin/sh")
    assert not problems(tmp_path, "notes", "away", "/bin/sh", "../../etc/passwd", "gunicorn")


def test_only_an_error_of_a_program_that_did_not_start_is_explained(tmp_path: Path) -> None:
    script(tmp_path, mode=0o644)
    services = [service("web", command=("./entrypoint.sh",))]
    error = ReadyError("web-1: exec: ./entrypoint.sh: permission denied", hint="push again")
    scripts.explain(error, services, tmp_path)
    assert error.hint == (
        "entrypoint.sh is not executable in Git: git update-index --chmod=+x entrypoint.sh; push again"
    )
    other = ReadyError("web-1 is not healthy after 30 s: HTTP 500", hint="look at it")
    scripts.explain(other, services, tmp_path)
    assert other.hint == "look at it"
