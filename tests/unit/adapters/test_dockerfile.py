"""What Dockerfiles say about how their images run."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pushrod.adapters import dockerfile
from pushrod.adapters.dockerfile import Copy, Recipe
from pushrod.core.errors import ManifestError


def test_one_stage_is_read() -> None:
    text = """\
# syntax=docker/dockerfile:1
FROM python:3.12-slim
ENV PYTHONUNBUFFERED=1 GREETING="two words"
ENV LEGACY one two
WORKDIR /srv
WORKDIR app
COPY requirements.txt ./
RUN pip install --no-cache-dir -r requirements.txt
COPY --chown=1000:1000 . .
EXPOSE 8000/tcp 9000
CMD ["uvicorn", "app.main:app"]
"""
    assert dockerfile.read(text) == Recipe(
        base="python:3.12-slim",
        command=("uvicorn", "app.main:app"),
        environment={"PYTHONUNBUFFERED": "1", "GREETING": "two words", "LEGACY": "one two"},
        workdir="/srv/app",
        port=8000,
        copies=(Copy(("requirements.txt",), "/srv/app/"), Copy((".",), "/srv/app")),
        requirements=("requirements.txt",),
        runs=("pip install --no-cache-dir -r requirements.txt",),
    )


STAGES = """\
ARG PYTHON=3.12
FROM python:${PYTHON}-slim AS base
ENV A=1
WORKDIR /app
CMD ["base"]

FROM base AS build
ENV B=$A-build
RUN pip install -r build.txt

FROM base AS Prod
ARG SUFFIX=x
ENV C=${A}-${SUFFIX} D=${NONE:-default} E=${A:+set}
COPY --from=build /install /usr/local
ENTRYPOINT ["/app/entry.sh"]
"""


def test_the_last_stage_inherits_from_earlier_stages() -> None:
    result = dockerfile.read(STAGES)
    assert result.base == "python:3.12-slim"
    assert result.environment == {"A": "1", "C": "1-x", "D": "default", "E": "set"}
    assert (result.workdir, result.entrypoint, result.copies) == ("/app", ("/app/entry.sh",), ())


def test_a_new_entrypoint_drops_the_command_of_the_base() -> None:
    assert dockerfile.read(STAGES).command == ()
    assert dockerfile.read('FROM x\nCMD ["a"]\nENTRYPOINT ["b"]').command == ("a",)


@pytest.mark.parametrize("target", ["build", "BUILD", "1"])
def test_the_target_stage_is_read(target: str) -> None:
    result = dockerfile.read(STAGES, target=target)
    assert result.environment == {"A": "1", "B": "1-build"}
    assert result.requirements == ("build.txt",)
    assert result.command == ("base",)


def test_build_arguments_are_substituted() -> None:
    result = dockerfile.read(STAGES, arguments={"PYTHON": "3.14", "SUFFIX": "y"})
    assert (result.base, result.environment["C"]) == ("python:3.14-slim", "1-y")


def test_shell_form_uses_the_configured_shell() -> None:
    assert dockerfile.read("FROM x\nCMD uvicorn a:b --port $PORT").command == (
        "/bin/sh",
        "-c",
        "uvicorn a:b --port $PORT",
    )
    text = 'FROM x\nSHELL ["/bin/bash", "-ec"]\nCMD exec \\\n  run'
    assert dockerfile.read(text).command == ("/bin/bash", "-ec", "exec   run")


def test_here_documents_are_not_instructions() -> None:
    text = "FROM x\nRUN <<EOF\nCMD no\nEOF\nCOPY <<-'E' /x\nCMD neither\n\tE\nCMD yes"
    assert dockerfile.read(text).command[-1] == "yes"


def test_json_copies_are_read() -> None:
    text = 'FROM x\nWORKDIR /a\nCOPY ["one two", "b", "dst/"]\nADD c /'
    assert dockerfile.read(text).copies == (Copy(("one two", "b"), "/a/dst/"), Copy(("c",), "/"))


def test_requirement_files_are_found() -> None:
    text = "FROM x\nRUN pip install -r a.txt --requirement=reqs/b.txt && uv pip sync -r/tmp/c.txt"
    assert dockerfile.read(text).requirements == ("a.txt", "reqs/b.txt", "/tmp/c.txt")


@pytest.mark.parametrize(
    ("text", "target", "where", "what"),
    [
        ("FROM x\n\nENV a=1 b", "", "backend/Dockerfile:3", "ENV cannot be read"),
        ("CMD x", "", "backend/Dockerfile", "no FROM line"),
        ("FROM x AS a", "b", "backend/Dockerfile", "no stage `b`"),
    ],
)
def test_invalid_dockerfiles_are_refused(text: str, target: str, where: str, what: str) -> None:
    with pytest.raises(ManifestError) as refused:
        dockerfile.read(text, target=target, where="backend/Dockerfile")
    assert refused.value.where == where
    assert refused.value.what.startswith(what)


_LINES = st.lists(
    st.tuples(
        st.sampled_from(
            [
                "FROM",
                "ENV",
                "ARG",
                "CMD",
                "ENTRYPOINT",
                "COPY",
                "ADD",
                "WORKDIR",
                "EXPOSE",
                "SHELL",
                "RUN",
                "#",
                "",
            ]
        ),
        st.text(max_size=20)
        | st.sampled_from(
            ["a", "a=1", "$A", "${A:-1}", '["a"]', "a AS b", "--from=b a c", "'", "a \\", "<<EOF"]
        ),
    )
)


@given(_LINES)
@example([("FROM", "a"), ("COPY", '["a", ""]')])
@example([("FROM", "")])
@pytest.mark.slow
def test_any_text_gives_a_recipe_or_a_manifest_error(lines: list[tuple[str, str]]) -> None:
    try:
        dockerfile.read("\n".join(f"{name} {value}" for name, value in lines))
    except ManifestError as error:
        assert error.where.startswith("Dockerfile")


def test_the_lines_of_a_stage_that_it_copies_from_count() -> None:
    recipe = dockerfile.read(
        "FROM python:3.12 AS build\nRUN pip install -r requirements/prod.txt\nFROM python:3.12-slim\n"
        "COPY --from=build /venv /venv\nRUN chmod +x a.sh\n"
    )
    assert recipe.requirements == ("requirements/prod.txt",)
    assert recipe.runs == ("chmod +x a.sh", "pip install -r requirements/prod.txt")
    assert recipe.borrowed == 1


def test_requirements_are_named_by_their_path_in_the_context() -> None:
    recipe = dockerfile.read(
        "FROM python\nWORKDIR /app\nCOPY requirements/prod.txt .\nCOPY a/dev.txt /tmp/x.txt\n"
        "RUN pip install -r prod.txt -r /tmp/x.txt -r other.txt\n"
    )
    assert recipe.requirements == ("requirements/prod.txt", "a/dev.txt", "other.txt")


def test_requirements_may_be_named_by_a_build_argument() -> None:
    recipe = dockerfile.read("FROM python\nARG FOR=local\nRUN pip wheel -r ${FOR}.txt\n")
    assert recipe.requirements == ("local.txt",)
