"""Env files: our own reader and Compose's return exactly the values that were written."""

import json
import stat
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pushrod.adapters import compose_loader
from pushrod.core.errors import ManifestError
from pushrod.engines.docker import environment
from pushrod.system import processes

TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]))
NAMES = st.from_regex(r"[A-Za-z_][A-Za-z0-9_.-]{0,20}", fullmatch=True)
ODD = [
    "",
    " x ",
    "$HOME ${HOME} $$",
    "\\n \\\\ \\$",
    "'\"`#=",
    "a\nb\r\nc\t\x01\x7f",
    "é😀\u2028\x85",
    "${A:-b}",
    "#",
    "=",
    "\\",
]


@given(st.dictionaries(NAMES, TEXT, max_size=6))
@pytest.mark.slow
def test_rendered_variables_are_parsed_unchanged(variables: dict[str, str]) -> None:
    assert environment.parse(environment.render(variables)) == variables


def loaded(directory: Path, variables: dict[str, str]) -> dict[str, str]:
    """The values as Compose gives them to a container."""
    (directory / "x.env").write_bytes(environment.render(variables).encode())
    (directory / "compose.yaml").write_text("services: {a: {image: i, env_file: [x.env]}}")
    done = processes.run(
        [*compose_loader.argv_of(), "--project-name", "p", "config", "--format", "json"],
        cwd=directory,
        env={},
    )
    assert done.status == 0, done.stderr
    result = json.loads(done.stdout)["services"]["a"].get("environment") or {}
    return {name: str(value).replace("$$", "$") for name, value in result.items()}


@pytest.mark.slow
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(TEXT, min_size=1, max_size=40))
def test_compose_reads_the_same_values(tmp_path: Path, values: list[str]) -> None:
    variables = {f"V{n}": value for n, value in enumerate([*ODD, *values])}
    assert loaded(tmp_path, variables) == variables


def test_compose_accepts_unusual_variable_names(tmp_path: Path) -> None:
    variables = {"A": "1x", "discovery.type": "single-node", "x-y": "z", "_": "u", "É": "v", "1X": "w"}
    assert loaded(tmp_path, variables) == variables


@pytest.mark.parametrize("name", ["B C", "a/b", "a'b", "", "#x", "export x", "a=b", "a:b", "a\nb"])
def test_a_name_that_no_file_can_hold_is_refused(name: str) -> None:
    with pytest.raises(ManifestError, match="cannot be a variable's name"):
        environment.render({name: "x"})


def test_a_value_with_a_nul_is_refused_without_showing_it() -> None:
    with pytest.raises(ManifestError, match="KEY has a NUL") as caught:
        environment.render({"KEY": "geheim\0"})
    assert "geheim" not in str(caught.value)


def test_a_file_is_private_and_is_written_only_where_it_changes(tmp_path: Path) -> None:
    path = tmp_path / "secrets" / "a.env"
    assert environment.write(path, {"A": "1\r\n"})
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert not environment.write(path, {"A": "1\r\n"})
    assert environment.write(path, {"A": "2"})
