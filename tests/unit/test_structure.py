"""The source keeps its shape: every module has its test, what CONTRIBUTING.md names is there, and no figure grows."""

import ast
import functools
import re
from pathlib import Path

import pytest

from tools import structure

CHECKOUT = Path(__file__).resolve().parents[2]
SOURCE = structure.SOURCE
PAGE = (CHECKOUT / "CONTRIBUTING.md").read_text()

CEILINGS: dict[str, int] = {}
"""The figures still above their limits, with their current maximum: these may only fall."""


# ---- every module has its test --------------------------------------------------------------------------------


def does_something(path: Path) -> bool:
    """Whether a module contains something to test; a package's may have only a docstring, or names to import."""
    if path.name != "__init__.py":
        return True
    body = ast.parse(path.read_text()).body
    return any(isinstance(node, ast.FunctionDef | ast.ClassDef) for node in body)


MODULES = sorted(
    path.relative_to(SOURCE).as_posix()
    for path in SOURCE.rglob("*.py")
    if structure.TEMPLATE not in path.relative_to(SOURCE).parts and does_something(path)
)
ROWS = {
    module: test
    for modules, test in re.findall(
        r"^\| (`[^|]+`) \| `(.+)` \|$",
        PAGE.partition("\n## Modules without a unit test of their own\n")[2],
        re.MULTILINE,
    )
    for module in re.findall(r"`(.+?)`", modules)
}


@pytest.mark.parametrize("module", MODULES)
def test_every_module_has_a_unit_test_or_a_row_that_names_another(module: str) -> None:
    path = Path(module)
    mirror = Path("tests/unit", path.parent, f"test_{path.name}")
    if (CHECKOUT / mirror).is_file():
        assert module not in ROWS, f"{mirror} is there: take the row of {module} out of CONTRIBUTING.md"
    else:
        assert module in ROWS, f"{module} has neither {mirror} nor a row in CONTRIBUTING.md"


def test_every_row_is_of_a_module_and_names_a_test() -> None:
    assert ROWS
    assert set(ROWS) <= set(MODULES)
    for test in ROWS.values():
        assert re.fullmatch(r"tests/[\w/]+/test_\w+\.py", test), test
        assert (CHECKOUT / test).is_file(), test


# ---- what the page names is there -----------------------------------------------------------------------------

PLACES = sorted(
    {
        word
        for word in re.findall(r"`([^`\n]+)`", PAGE)
        if re.fullmatch(r"[\w./-]+(::\w+)?", word)
        and ("/" in word or re.search(r"\.(py|md|toml|lock|yaml)(::|$)", word))
        and "NAME" not in word
    }
)


def defines(text: str, name: str) -> bool:
    return re.search(rf"^\s*(?:(?:def|class) {name}\b|{name}(?:: .+)? =)", text, re.MULTILINE) is not None


@pytest.mark.parametrize("place", PLACES)
def test_every_place_that_the_page_names_is_there(place: str) -> None:
    path, _, name = place.partition("::")
    found = next((top / path for top in (CHECKOUT, SOURCE) if (top / path).exists()), None)
    assert found, f"CONTRIBUTING.md names {path}"
    assert not name or defines(found.read_text(), name), f"CONTRIBUTING.md names {place}"


def test_the_commands_that_the_page_lists_are_the_makefiles() -> None:
    listed = re.findall(r"^\| `make ([a-z]+)` \|", PAGE, re.MULTILINE)
    targets = re.findall(r"^([a-z-]+):.*##", (CHECKOUT / "Makefile").read_text(), re.MULTILINE)
    assert listed
    assert set(listed) <= set(targets)


# ---- programs do not import tests ---------------------------------------------------------------------------


@pytest.mark.parametrize("directory", ["bench", "devtools", "src/pushrod", "tools"])
def test_only_tests_import_tests(directory: str) -> None:
    paths = [p for p in (CHECKOUT / directory).rglob("*.py") if structure.TEMPLATE not in p.parts]
    assert paths
    importing = [
        p.name for p in paths if re.search(r"^\s*(?:from|import) tests\b", p.read_text(), re.MULTILINE)
    ]
    assert not importing


# ---- the figures ----------------------------------------------------------------------------------------------


@functools.cache
def figures() -> dict[str, structure.Figure]:
    return {figure.name: figure for figure in structure.figures()}


def test_no_figure_is_above_its_limit_or_what_it_was() -> None:
    above = [
        f"{figure.value} {name}, at most {most}: {figure.detail}"
        for name, figure in figures().items()
        if figure.value > (most := max(figure.limit, CEILINGS.get(name, 0)))
    ]
    assert not above, "\n".join(above)


def test_a_figure_that_has_come_to_its_limit_has_no_ceiling_any_more() -> None:
    assert set(CEILINGS) == {f.name for f in figures().values() if f.value > f.limit}


def test_the_figures_are_those_of_the_source_that_is_read(tmp_path: Path) -> None:
    """A tree with one of each fault, so that each figure is seen to rise."""
    source = tmp_path / "pushrod"
    (source / "engines").mkdir(parents=True)
    (source / "one.py").write_text("from pushrod import two\n")
    (source / "two.py").write_text(
        "def late(engine, root):\n    from pushrod import one\n"
        "    return engine.name == 'a' or 'b' != engine or root.host_settings\n"
    )
    (source / "engines" / "protocols.py").write_text(
        "class Wide(Protocol):\n    def a(self): ...\n    def b(self): ...\n" + "\n" * 9
    )
    found = {figure.name: (figure.value, figure.detail) for figure in structure.figures(source)}
    assert found == {
        "files at the top": (2, ""),
        "cycles of imports": (1, "pushrod.one -> pushrod.two"),
        "lines of the largest module": (12, "engines/protocols.py"),
        "methods of the largest engine protocol": (2, "pushrod.engines.protocols.Wide"),
        "comparisons with an engine's name": (2, "pushrod.two:3, pushrod.two:3"),
        "looks for a host's settings elsewhere": (1, "pushrod.two:3"),
    }
