"""What a service's Python environment is made from: the locks and requirements of its project, whatever tool wrote
them, and the packages that its Dockerfile installs by name.

Poetry, Pipenv and PDM are not needed: uv installs the project's own requirements with the versions of their locks as
constraints.
"""

import functools
import json
import posixpath
import re
import shlex
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from pushrod.core.errors import ManifestError
from pushrod.core.patterns import lazy

_INCLUDED = lazy(r"^\s*(?:-r|--requirement|-c|--constraint)[ =]*(\S+)", re.MULTILINE)
_LOCAL = lazy(r"^\s*(?:-e|--editable|\.{1,2}(?:/|\[|\s*$)|file:|\S+\s*@\s*file:)", re.MULTILINE)
_LOCAL_IN_LOCK = lazy(r"source = \{ (?:editable|directory) = \"(?!\.\")")
_ITSELF = lazy(r"\./?(?:\[([\w., -]+)\])?")
# Options of pip that take a value, and tools that an image installs only to install others.
_VALUED = frozenset((
    "-r", "--requirement", "-c", "--constraint", "-i", "--index-url", "--extra-index-url", "-f", "--find-links",
    "--target", "-t", "--prefix", "--root", "--trusted-host", "--timeout", "--no-binary", "--only-binary",
    "--cache-dir", "--retries", "--proxy", "--python", "--src",
))  # fmt: skip
_TOOLS = frozenset((
    "pip", "setuptools", "wheel", "poetry", "pipenv", "pdm", "uv", "virtualenv", "build", "pip-tools", "poetry-core",
))  # fmt: skip


class Lock(NamedTuple):
    """What an environment is made from: the kind of lock, its files (absolute), and the directory for uv.

    `requirements` are installed besides the files, with `constraints` on versions, and `extras` of the project.
    `scripts` are the project's own
    programs by name, each with its function (`shop.cli:main`). With `local`, packages of the checkout itself are
    dependencies too.
    """

    kind: str
    files: tuple[Path, ...]
    directory: Path
    local: bool = False
    requirements: tuple[str, ...] = ()
    constraints: tuple[str, ...] = ()
    scripts: tuple[tuple[str, str], ...] = ()
    extras: tuple[str, ...] = ()


def find(places: Sequence[Path], named: Sequence[str], runs: Sequence[str], checkout: Path) -> Lock | None:
    """The lock of a service: uv.lock; else what the Dockerfile installs from; else requirements.txt, then the locks
    of Poetry, Pipenv and PDM, then pyproject.toml. Packages that the Dockerfile names are added.

    `places` are directories where it may be, `named` the requirement files of the Dockerfile, `runs` its RUN lines.
    Raises ManifestError if a file cannot be read.
    """
    words = [word for run in runs for word in pip_words(run)]
    lock = _first(places, named, runs, words, checkout)
    ours = words if lock is None or lock.kind in ("requirements", "uv.lock") else _others(words)
    if lock is None and not ours:
        return None
    lock = lock or Lock("named", (), places[0])
    scripts = next((s for p in places if (s := _scripts(_toml(p / "pyproject.toml", checkout)))), ())
    local = lock.local or any(_is_local(word) for word in ours)
    groups = [m[1] or "" for word in words if (m := _ITSELF.fullmatch(word))]
    extras = tuple(e for group in groups for e in re.findall(r"[\w.-]+", group))
    if lock.kind == "pyproject":
        lock = lock._replace(extras=tuple(dict.fromkeys(extras)))
    return lock._replace(requirements=(*lock.requirements, *ours), scripts=scripts, local=local)


def _first(
    places: Sequence[Path], named: Sequence[str], runs: Sequence[str], words: Sequence[str], checkout: Path
) -> Lock | None:
    for place in places:
        if (place / "uv.lock").is_file() and (place / "pyproject.toml").is_file():
            members = _LOCAL_IN_LOCK.search((place / "uv.lock").read_text(errors="replace"))
            return Lock("uv.lock", (place / "uv.lock", place / "pyproject.toml"), place, bool(members))
    chosen = [path for name in dict.fromkeys(named) if (path := _named(places, name))]
    tools = re.compile(r"\b(poetry|pipenv|pdm)\s+(?:install|sync|export|requirements)\b")
    called = any(tools.search(run) for run in runs)
    itself = any(_ITSELF.fullmatch(word) for word in words)
    for place in places:
        files = tuple(chosen) or tuple(f for f in (place / "requirements.txt",) if f.is_file())
        if files and (chosen or not called):
            local = any(_LOCAL.search(f.read_text(errors="replace")) for f in with_included(files))
            return Lock("requirements", files, files[0].parent if chosen else place, local)
        if words and not called and not itself:
            continue  # the Dockerfile names all of them
        if lock := _of_tools(place, checkout):
            return lock
    return None


def _others(words: Sequence[str]) -> list[str]:
    """The words besides the project itself, whose requirements are known without it."""
    return [word for word in words if not _ITSELF.fullmatch(word)]


def _is_local(word: str) -> bool:
    return bool(re.match(r"(?:\.{1,2}(?:/|\[|$)|/)", word))


def _named(places: Sequence[Path], name: str) -> Path | None:
    """The file of the checkout that a Dockerfile installs from, which may have copied it to another directory."""
    parts = posixpath.normpath(name).strip("/").split("/")
    endings = ["/".join(parts[i:]) for i in range(len(parts)) if parts[i] != ".."]
    endings.append(f"requirements/{endings[-1]}")
    return next((place / e for e in endings for place in places if (place / e).is_file()), None)


def with_included(files: Sequence[Path]) -> list[Path]:
    """Requirement files and those that they include, once each."""
    seen: dict[Path, None] = {}
    waiting = list(files)
    while waiting:
        file = waiting.pop(0)
        if file in seen or not file.is_file():
            continue
        seen[file] = None
        if file.suffix in (".txt", ".in", ".pip"):
            names = _INCLUDED.findall(file.read_text(errors="replace"))
            waiting += [Path(posixpath.normpath(file.parent / name)) for name in names if "://" not in name]
    return list(seen)


# ---- what a Dockerfile installs by name -----------------------------------------------------------------------


def pip_words(run: str) -> Iterator[str]:
    """The packages that a RUN line installs by name with pip: not the tools that install others, and not files of
    the image, such as wheels that another stage made.
    """
    for part in re.split(r"&&|\|\||;|\n", run.replace("\\\n", " ")):
        try:
            words = shlex.split(part)
        except ValueError:
            continue
        while words and (
            re.fullmatch(r"--mount=\S+|[A-Za-z_]\w*=.*", words[0]) or words[0] in ("env", "sudo")
        ):
            words = words[1:]
        match words:
            case [("pip" | "pip3"), "install", *rest] | [("uv"), "pip", "install", *rest]:
                yield from _packages(rest)
            case [program, "-m", "pip", "install", *rest] if posixpath.basename(program).startswith("python"):
                yield from _packages(rest)


def _packages(words: list[str]) -> Iterator[str]:
    waiting = list(words)
    while waiting:
        word = waiting.pop(0)
        if word in _VALUED:
            waiting = waiting[1:]
        elif word in ("-e", "--editable") or word.startswith(("-", "/")) or {"$", "*"} & set(word):
            continue
        elif normal(re.split(r"[\[=<>!~;@ ]", word, maxsplit=1)[0]) not in _TOOLS:
            yield word


def normal(name: str) -> str:
    """A package's name as indexes compare it."""
    return re.sub(r"[-_.]+", "-", name).lower()


# ---- the locks of other tools ---------------------------------------------------------------------------------


def _of_tools(place: Path, checkout: Path) -> Lock | None:
    project = place / "pyproject.toml"
    table = _toml(project, checkout)
    poetry = table.get("tool", {}).get("poetry", {}) if isinstance(table.get("tool"), dict) else {}
    for name in ("poetry.lock", "pdm.lock"):
        if (place / name).is_file() and ("project" in table or poetry):
            constraints = tuple(_constraints(_toml(place / name, checkout)))
            files = (project, place / name)
            return _project(place, files, table, poetry, constraints)
    for name in ("Pipfile.lock", "Pipfile"):
        if (place / name).is_file():
            read = _json if name.endswith("lock") else _toml
            packages = read(place / name, checkout).get(
                "default" if name.endswith("lock") else "packages", {}
            )
            lines = tuple(line for n, v in packages.items() for line in _pipenv(n, v))
            return Lock(name, (place / name,), place, any(_is_local(line) for line in lines), lines)
    return _project(place, (project,), table, poetry, ()) if "project" in table or poetry else None


def _project(
    place: Path,
    files: tuple[Path, ...],
    table: Mapping[str, Any],
    poetry: Mapping[str, Any],
    constraints: tuple[str, ...],
) -> Lock:
    """A project's own requirements: those of [project], else Poetry's."""
    if ("project" in table and "dependencies" in table["project"]) or not poetry:
        return Lock("pyproject", files, place, constraints=constraints)
    locked = {line.partition("==")[0] for line in constraints}
    lines = tuple(_poetry(poetry.get("dependencies", {}), locked))
    return Lock("poetry", files, place, any(" @ file:" in line for line in lines), lines, constraints)


def _constraints(lock: Mapping[str, Any]) -> Iterator[str]:
    """`name==version` for each package of a lock of Poetry or PDM that has one version only."""
    packages = [p for p in lock.get("package", []) if isinstance(p, dict) and "name" in p and "version" in p]
    names = [normal(p["name"]) for p in packages]
    for name, package in zip(names, packages, strict=True):
        elsewhere = package.get("source", {}).get("type") in ("git", "url", "directory", "file")
        if names.count(name) == 1 and not elsewhere and not {"git", "path", "url"} & package.keys():
            yield f"{name}=={package['version']}"


def _poetry(dependencies: Mapping[str, Any], locked: set[str]) -> Iterator[str]:
    for name, given in dependencies.items():
        for one in given if isinstance(given, list) else [given]:
            value = one if isinstance(one, dict) else {"version": str(one)}
            if name == "python" or value.get("optional"):
                continue
            extras = f"[{','.join(value['extras'])}]" if value.get("extras") else ""
            markers = [f"({m})" for m in (value.get("markers"),) if m]
            markers += [f"python_version {c[0]} '{c[1]}'" for c in _comparisons(str(value.get("python", "")))]
            if "git" in value:
                at = value.get("rev") or value.get("tag") or value.get("branch")
                where = f" @ git+{value['git']}" + (f"@{at}" if at else "")
            elif "url" in value:
                where = f" @ {value['url']}"
            elif "path" in value:
                yield str(value["path"]) if _is_local(str(value["path"])) else f"./{value['path']}"
                continue
            else:
                version = str(value.get("version", ""))
                where = (
                    "" if normal(name) in locked else ",".join(f"{a}{b}" for a, b in _comparisons(version))
                )
            yield f"{name}{extras}{where}" + (f" ; {' and '.join(markers)}" if markers else "")


def _comparisons(version: str) -> list[tuple[str, str]]:
    """Poetry's caret and tilde as plain comparisons; nothing for alternatives, which only its lock resolves."""
    comparisons: list[tuple[str, str]] = []
    plain = re.sub(r"([<>=!~^])\s+", r"\1", version.strip())
    for part in re.split(r"[,\s]+", plain) if "|" not in version else ():
        match = re.fullmatch(r"(\^|~=|~|>=|<=|==|!=|<|>|=)?\s*v?([\w.*+-]+)", part)
        if match is None or match[2] == "*":
            continue
        sign, number = match[1] or "==", match[2]
        if sign in ("^", "~"):
            comparisons += [(">=", number), ("<", _next(number, caret=sign == "^"))]
        else:
            comparisons.append(("==" if sign == "=" else sign, number))
    return comparisons


def _next(number: str, *, caret: bool) -> str:
    """The first version that a caret or a tilde excludes."""
    parts = [int(p) for p in re.findall(r"\d+", number)[:3]]
    at = next((i for i, p in enumerate(parts) if p), len(parts) - 1) if caret else min(1, len(parts) - 1)
    return ".".join(map(str, [*parts[:at], parts[at] + 1]))


def _pipenv(name: str, given: Any) -> Iterator[str]:
    value = given if isinstance(given, dict) else {"version": str(given)}
    extras = f"[{','.join(value['extras'])}]" if value.get("extras") else ""
    if "git" in value:
        yield f"{name}{extras} @ git+{value['git']}" + (f"@{value['ref']}" if value.get("ref") else "")
    elif place := str(value.get("path") or value.get("file") or ""):
        local = place if _is_local(place) else f"./{place}"
        yield f"{name}{extras} @ {place}" if "://" in place else local
    else:
        version = (
            str(value.get("version", "")).replace("*", "", 1)
            if value.get("version") == "*"
            else value.get("version", "")
        )
        yield f"{name}{extras}{version}" + (f" ; {value['markers']}" if value.get("markers") else "")


def _scripts(table: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    """The project's own programs."""
    given = dict(table.get("project", {}).get("scripts", {}) or {})
    poetry = table.get("tool", {}).get("poetry", {}).get("scripts", {}) if "tool" in table else {}
    given |= {
        n: v.get("reference") or v.get("callable") if isinstance(v, dict) else v for n, v in poetry.items()
    }
    form = re.compile(r"[\w.]+:[\w.]+")
    return tuple((n, v) for n, v in given.items() if re.fullmatch(r"[\w.-]+", n) and form.fullmatch(str(v)))


def _toml(file: Path, checkout: Path) -> dict[str, Any]:
    if not file.is_file():
        return {}
    try:
        return _parsed(file.read_text(errors="replace"))
    except tomllib.TOMLDecodeError as e:
        where = str(file.relative_to(checkout))
        raise ManifestError(f"not valid TOML: {e}", where=where, hint="fix that line") from e


@functools.lru_cache(maxsize=8)
def _parsed(text: str) -> dict[str, Any]:
    """The content of a TOML file, which nobody may change: a push asks for the same lock several times, and parsing a
    long one takes tens of milliseconds."""
    return tomllib.loads(text)


def _json(file: Path, checkout: Path) -> dict[str, Any]:
    try:
        content = json.loads(file.read_text(errors="replace"))
    except ValueError as e:
        where = str(file.relative_to(checkout))
        raise ManifestError(f"not valid JSON: {e}", where=where, hint="write it again: pipenv lock") from e
    return content if isinstance(content, dict) else {}
