"""Figures of the source's structure, as a table or JSON: `python -m tools.structure [--json]`.

It parses the source without importing it. The status is 1 if a figure exceeds its limit.
"""

import ast
import functools
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

SOURCE = Path(__file__).resolve().parents[1] / "src" / "pushrod"
_KNOW_HOSTS = ("pushrod.engines", "pushrod.provisioning", "pushrod.state")  # all others ask for a trait
TEMPLATE = "template"  # `pushrod new` copies it: a separate project

Graph = dict[str, set[str]]


class Figure(NamedTuple):
    """One figure, its limit, and details."""

    name: str
    value: int
    limit: int
    detail: str = ""


def figures(source: Path = SOURCE) -> list[Figure]:
    """All figures of a source tree."""
    paths = list(_files(source))
    trees = {_module(source, path): parsed(path) for path in paths}
    nodes = {_module(source, path): inside(path) for path in paths}
    lengths = {str(p.relative_to(source)): len(p.read_text().splitlines()) for p in paths}
    largest = max(lengths, key=lambda name: lengths[name])
    loops = cycles(imports(nodes))
    protocols = {
        f"{module}.{node.name}": sum(isinstance(n, ast.FunctionDef) for n in node.body)
        for module, tree in trees.items()
        if module.startswith(("pushrod.engines", "pushrod.ingress"))
        for node in tree.body
        if isinstance(node, ast.ClassDef) and any(ast.unparse(b) == "Protocol" for b in node.bases)
    }
    widest = max(protocols, key=lambda name: protocols[name])
    compared = [
        f"{module}:{line}"
        for module, own in nodes.items()
        if not module.startswith("pushrod.engines")
        for line in _compared(own)
    ]
    settings = [
        f"{module}:{node.lineno}"
        for module, own in nodes.items()
        if not module.startswith(_KNOW_HOSTS)
        for node in own
        if isinstance(node, ast.Attribute) and node.attr in ("host_settings", "host_settings_path")
    ]
    return [
        Figure("files at the top", len(list(source.glob("*.py"))), 4),
        Figure("cycles of imports", len(loops), 0, "; ".join(" -> ".join(loop) for loop in loops)),
        Figure("lines of the largest module", lengths[largest], 450, largest),
        Figure("methods of the largest engine protocol", protocols[widest], 10, widest),
        Figure("comparisons with an engine's name", len(compared), 0, ", ".join(compared)),
        Figure("looks for a host's settings elsewhere", len(settings), 0, ", ".join(settings)),
    ]


@functools.cache
def parsed(path: Path) -> ast.Module:
    """The syntax tree of a file; each file is parsed once."""
    return ast.parse(path.read_text())


@functools.cache
def inside(path: Path) -> list[ast.AST]:
    """All nodes of a file's syntax tree."""
    return list(ast.walk(parsed(path)))


def imports(nodes: dict[str, list[ast.AST]]) -> Graph:
    """Which module imports which, including imports within functions."""
    graph: Graph = {module: set() for module in nodes}
    for module, own in nodes.items():
        for node in own:
            if isinstance(node, ast.Import):
                named = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.module:
                named = [f"{node.module}.{alias.name}" for alias in node.names]
                named = [name if name in nodes else node.module for name in named]
            else:
                continue
            graph[module] |= {name for name in named if name in nodes and name != module}
    return graph


def cycles(graph: Graph) -> list[list[str]]:
    """Each group of modules that reach one another, sorted by name (Tarjan's strongly connected components)."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    groups: list[list[str]] = []

    def visit(module: str) -> None:
        index[module] = low[module] = len(index)
        stack.append(module)
        for other in graph[module]:
            if other not in index:
                visit(other)
                low[module] = min(low[module], low[other])
            elif other in stack:
                low[module] = min(low[module], index[other])
        if low[module] == index[module]:
            group = stack[stack.index(module) :]
            del stack[stack.index(module) :]
            if len(group) > 1:
                groups.append(sorted(group))

    for module in sorted(graph):
        if module not in index:
            visit(module)
    return groups


def _files(source: Path) -> Iterator[Path]:
    for path in sorted(source.rglob("*.py")):
        if TEMPLATE not in path.relative_to(source).parts:
            yield path


def _module(source: Path, path: Path) -> str:
    name = ".".join(path.relative_to(source.parent).with_suffix("").parts)
    return name.removesuffix(".__init__")


def _compared(nodes: list[ast.AST]) -> Iterator[int]:
    """The lines that compare the name of something called engine with a text."""
    for node in nodes:
        if isinstance(node, ast.Compare):
            sides = (node.left, *node.comparators)
            text = any(isinstance(side, ast.Constant) and isinstance(side.value, str) for side in sides)
            if text and any(re.search(r"\bengine(\.name)?$", ast.unparse(side)) for side in sides):
                yield node.lineno


def main() -> int:
    """Print the figures."""
    results = figures()
    if "--json" in sys.argv[1:]:
        print(json.dumps([f._asdict() for f in results], indent=2))
    else:
        for f in results:
            print(f"{f.name:<42}{f.value:>6}  (at most {f.limit})  {f.detail}".rstrip())
    return int(any(f.value > f.limit for f in results))


if __name__ == "__main__":
    sys.exit(main())
