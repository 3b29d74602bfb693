"""The source keeps its shape: every module has its test, what pages for contributors name exists, no figure grows."""

import ast
import functools
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from tools import structure

CHECKOUT = Path(__file__).resolve().parents[2]
SOURCE = structure.SOURCE
PAGES = {name: (CHECKOUT / name).read_text() for name in ("CONTRIBUTING.md", "docs/recipes.md")}
TABLE = Path("tests/unit/README.md")  # which test covers a module that has none of its own

CEILINGS: dict[str, int] = {}
"""The figures still above their limits, with their current maximum: these may only fall."""


# ---- every module has its test --------------------------------------------------------------------------------


def does_something(path: Path) -> bool:
    """Whether a module contains something to test; a package's may have only a docstring, or names to import."""
    if path.name != "__init__.py":
        return True
    body = structure.parsed(path).body
    return any(isinstance(node, ast.FunctionDef | ast.ClassDef) for node in body)


MODULES = sorted(
    path.relative_to(SOURCE).as_posix()
    for path in SOURCE.rglob("*.py")
    if structure.TEMPLATE not in path.relative_to(SOURCE).parts and does_something(path)
)
ROWS = {
    module: test
    for modules, test in re.findall(
        r"^\| (`[^|]+`) \| `(.+)` \|$", (CHECKOUT / TABLE).read_text(), re.MULTILINE
    )
    for module in re.findall(r"`(.+?)`", modules)
}


def mirror(module: str) -> Path:
    path = Path(module)
    return Path("tests/unit", path.parent, f"test_{path.name}")


def test_every_module_has_a_unit_test_or_a_row_for_another_test() -> None:
    tested = {module for module in MODULES if (CHECKOUT / mirror(module)).is_file()}
    assert len(MODULES) > 300
    assert sorted(tested & set(ROWS)) == [], f"these have a unit test: take their rows out of {TABLE}"
    assert sorted(set(MODULES) - tested - set(ROWS)) == [], (
        f"these have neither a unit test nor a row in {TABLE}"
    )


def test_every_row_names_a_module_and_an_existing_test() -> None:
    assert ROWS
    assert set(ROWS) <= set(MODULES)
    for test in ROWS.values():
        assert re.fullmatch(r"tests/[\w/]+/test_\w+\.py", test), test
        assert (CHECKOUT / test).is_file(), test


# ---- what the page names is there -----------------------------------------------------------------------------

PLACES = sorted(
    {
        (page, word)
        for page, text in PAGES.items()
        for word in re.findall(r"`([^`\n]+)`", text)
        if re.fullmatch(r"[\w./-]+(::\w+)?", word)
        and ("/" in word or re.search(r"\.(py|md|toml|lock|yaml)(::|$)", word))
        and "NAME" not in word
    }
)


def defines(text: str, name: str) -> bool:
    return re.search(rf"^\s*(?:(?:def|class) {name}\b|{name}(?:: .+)? =)", text, re.MULTILINE) is not None


def exists(place: str) -> bool:
    path, _, name = place.partition("::")
    result = next((top / path for top in (CHECKOUT, SOURCE) if (top / path).exists()), None)
    return result is not None and (not name or defines(result.read_text(), name))


def test_every_place_named_for_contributors_exists() -> None:
    assert {page for page, _ in PLACES} == set(PAGES)
    assert [(page, place) for page, place in PLACES if not exists(place)] == []


def test_every_make_command_in_contributing_exists() -> None:
    listed = re.findall(r"^\| `make ([a-z]+)` \|", PAGES["CONTRIBUTING.md"], re.MULTILINE)
    targets = re.findall(r"^([a-z-]+):.*##", (CHECKOUT / "Makefile").read_text(), re.MULTILINE)
    assert listed
    assert set(listed) <= set(targets)


# ---- programs do not import tests ---------------------------------------------------------------------------


@pytest.mark.parametrize("directory", ["bench", "devtools", "src/pushrod", "tools"])
def test_only_tests_import_tests(directory: str) -> None:
    paths = [p for p in (CHECKOUT / directory).rglob("*.py") if structure.TEMPLATE not in p.parts]
    assert paths
    statement = re.compile(r"^\s*(?:from|import) tests\b", re.MULTILINE)
    texts = {p.name: p.read_text() for p in paths}
    assert [name for name, text in texts.items() if "import" in text and statement.search(text)] == []


# ---- an interruption passes ---------------------------------------------------------------------------------

STOPPING = ("BaseException", "Ending", "Expired", "FAILURES", "Interrupted", "KeyboardInterrupt", "Stopped")
END_HERE = {
    "adapters/redis_client.py": "a program of its own, which Ctrl-C ends",
    "cli/db_admin.py": "pgAdmin, which Ctrl-C ends",
    "cli/__init__.py": "the edge of the command line, which prints and exits",
    "releases/pipeline.py": "a certificate after the commit point: the release is live, and the timer obtains it",
}


def stopped_by(nodes: Iterable[ast.AST]) -> int:
    """How many handlers catch an interruption and do not end by raising."""
    return sum(
        (
            isinstance(node, ast.ExceptHandler)
            and (node.type is None or any(re.search(rf"\b{n}\b", ast.unparse(node.type)) for n in STOPPING))
            and not isinstance(node.body[-1], ast.Raise)
        )
        or (
            isinstance(node, ast.Call)
            and "suppress" in getattr(node.func, "attr", getattr(node.func, "id", ""))
            and any(ast.unparse(a).rpartition(".")[2] in STOPPING for a in node.args)
        )
        for node in nodes
    )


def test_only_a_few_handlers_end_an_interruption() -> None:
    """All others clean up and raise it again."""
    paths = [p for p in SOURCE.rglob("*.py") if structure.TEMPLATE not in p.parts]
    result = {p.relative_to(SOURCE).as_posix(): stopped_by(structure.inside(p)) for p in paths}
    at_edge = {"cli/__init__.py": 2}
    assert {path: n for path, n in result.items() if n} == dict.fromkeys(END_HERE, 1) | at_edge


@pytest.mark.parametrize(
    "text",
    [
        "try:\n    f()\nexcept (OSError, errors.Interrupted):\n    pass",
        "try:\n    f()\nexcept:\n    g()",
        "with contextlib.suppress(BaseException):\n    f()",
    ],
)
def test_a_handler_that_swallows_an_interruption_is_seen(text: str) -> None:
    assert stopped_by(ast.walk(ast.parse(text))) == 1


# ---- the figures ----------------------------------------------------------------------------------------------


@functools.cache
def figures() -> dict[str, structure.Figure]:
    return {figure.name: figure for figure in structure.figures()}


def test_no_figure_exceeds_its_limit_or_ceiling() -> None:
    above = [
        f"{figure.value} {name}, at most {most}: {figure.detail}"
        for name, figure in figures().items()
        if figure.value > (most := max(figure.limit, CEILINGS.get(name, 0)))
    ]
    assert not above, "\n".join(above)


def test_only_figures_above_their_limit_have_a_ceiling() -> None:
    assert set(CEILINGS) == {f.name for f in figures().values() if f.value > f.limit}


def test_each_figure_is_measured_from_the_given_source(tmp_path: Path) -> None:
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
    result = {figure.name: (figure.value, figure.detail) for figure in structure.figures(source)}
    assert result == {
        "files at the top": (2, ""),
        "cycles of imports": (1, "pushrod.one -> pushrod.two"),
        "lines of the largest module": (12, "engines/protocols.py"),
        "methods of the largest engine protocol": (2, "pushrod.engines.protocols.Wide"),
        "comparisons with an engine's name": (2, "pushrod.two:3, pushrod.two:3"),
        "looks for a host's settings elsewhere": (1, "pushrod.two:3"),
    }


# ---- words ----------------------------------------------------------------------------------------------------

NAMES = ("found", "mend", "said", "say", "told", "wanted", "whom")
"""Names that do not say what they hold."""

PHRASES = (
    *("nothing but ", "whom ", "could not be had", "cannot be told", "can be told", "of those that "),
    *(
        "in the place of ",
        "such as run",
        "is told",
        "are told",
        "was told",
        "were told",
        "is wanted",
        "are wanted",
        "can be had",
        "to be had",
        "yet to come",
        "tells nothing",
    ),
)
KINDS = (".md", ".py", ".html", ".js", ".css", ".conf", ".service", ".timer", ".path")
HERE = Path(__file__)


@functools.cache
def texts() -> dict[str, str]:
    """The project's own texts; the templates are other projects, and the changelog is history."""
    result = {}
    for top in ("bench", "devtools", "docs", "src/pushrod", "tests", "tools", "README.md", "CONTRIBUTING.md"):
        paths = [CHECKOUT / top] if "." in top else sorted((CHECKOUT / top).rglob("*"))
        for path in paths:
            own = not {"template", "template_spring"} & set(path.parts) and path != HERE
            if own and path.suffix in KINDS and path.is_file():
                result[path.relative_to(CHECKOUT).as_posix()] = path.read_text()
    return result


def vague(tree: Iterable[ast.AST]) -> Iterator[str]:
    """The names of variables, parameters, functions, classes and modules that are among NAMES."""
    for node in tree:
        for field in ("id", "arg", "attr", "name", "asname"):
            name = getattr(node, field, None)
            if isinstance(name, str) and name.strip("_").lower() in NAMES:
                yield name


def may_have(text: str, name: str) -> bool:
    """Whether a word may be a name in this text, rather than in a sentence of it: parsing all files takes long."""
    code = rf"(?:\b(?:as|class|def|for|import) _*{name}_*\b|\b_*{name}_*\b *[=.,:)(\[]|\._*{name}_*\b)"
    return name in text and re.search(code, text) is not None


def test_no_name_is_one_that_does_not_say_what_it_holds() -> None:
    likely = {
        path: text
        for path, text in texts().items()
        if path.endswith(".py") and any(may_have(text.lower(), name) for name in NAMES)
    }
    names = {path: {*vague(ast.walk(ast.parse(text)))} for path, text in likely.items()}
    assert {path: own for path, own in names.items() if own} == {}
    assert [path for path in texts() if Path(path).stem.removeprefix("test_") in NAMES] == []


def test_no_text_has_a_phrase_that_is_read_twice() -> None:
    lower = {path: text.lower() for path, text in texts().items()}
    assert [(path, phrase) for phrase in PHRASES for path, text in lower.items() if phrase in text] == []


@pytest.mark.parametrize(
    "text",
    ["found = 1", "def f(wanted): ...", "import told\n", "class Said: ...", "a._mend()", "for say in x: ..."],
)
def test_a_vague_name_is_seen(text: str) -> None:
    assert [*vague(ast.walk(ast.parse(text)))]
    assert any(may_have(text.lower(), name) for name in NAMES)
