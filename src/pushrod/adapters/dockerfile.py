"""What a Dockerfile determines about how its image runs: command, environment, directories. Pure; builds nothing.

`dockerfile-parse` finds the instructions (continuation lines, comments, the escape directive). Their meaning across
stages is implemented here, because the library only reads the last stage: a stage that begins `FROM` another inherits
its environment, command and files.
"""

import contextlib
import io
import json
import posixpath
import re
import shlex
from collections.abc import Iterable, Mapping
from functools import lru_cache
from itertools import takewhile
from typing import NamedTuple

from msgspec.structs import replace

from pushrod.adapters.expansion import Budget, check, defaulted
from pushrod.core.errors import ManifestError
from pushrod.core.patterns import lazy
from pushrod.core.values import Value

_HEREDOC = lazy(r"<<-?\s*([\"']?)([A-Za-z_]\w*)\1")
_REQUIREMENTS = lazy(r"(?:-r|--requirements?)[ =]*([\w./-]+\.(?:txt|in|pip))")


class Copy(NamedTuple):
    """One COPY or ADD from the build context: its sources there, its destination in the image (absolute)."""

    sources: tuple[str, ...]
    destination: str


class Recipe(Value, frozen=True):
    """One stage, with everything it inherits. `base` is its base image, `port` the first port it exposes (0: none),
    `user` the account it starts as (empty: that of the base image), `data` the directories that it keeps (VOLUME).

    `requirements` are the requirement files that its RUN lines install from, by their paths in the build context if
    COPY shows them, else as written there, and `runs` those lines; the last ones, as many as `borrowed`, are those of
    stages that it copies from. `made` are the copies of what another stage may make of the context, by the paths that
    it would have there.
    """

    base: str = ""
    command: tuple[str, ...] = ()
    entrypoint: tuple[str, ...] = ()
    environment: dict[str, str] = {}
    workdir: str = "/"
    port: int = 0
    user: str = ""
    data: tuple[str, ...] = ()
    copies: tuple[Copy, ...] = ()
    made: tuple[Copy, ...] = ()
    requirements: tuple[str, ...] = ()
    runs: tuple[str, ...] = ()
    borrowed: int = 0
    shell: tuple[str, ...] = ("/bin/sh", "-c")


def read(
    text: str, *, target: str = "", arguments: Mapping[str, str] | None = None, where: str = "Dockerfile"
) -> Recipe:
    """The recipe of a stage (`target`, a name or a number; empty: the last).

    `arguments` are build arguments; others have the defaults of their ARG lines. Raises ManifestError, with `where`,
    for an instruction that cannot be read or a stage that does not exist.
    """
    stages = _stages(_instructions(text), dict(arguments or {}), where)
    if target.lower() not in stages:
        what = f"no stage `{target}`" if target else "no FROM line"
        raise ManifestError(
            f"{what} in the Dockerfile", where=where, hint="check the Dockerfile and build.target"
        )
    return stages[target.lower()]


def runs(text: str) -> list[str]:
    """The command of each RUN line, of all stages."""
    return [instruction.value for instruction in _instructions(text) if instruction.name == "RUN"]


def copied(text: str) -> list[str]:
    """The paths of the build context that COPY and ADD lines name, of all stages."""
    words = [
        list(_json_words(i.value) or i.value.split())
        for i in _instructions(text)
        if i.name in ("COPY", "ADD")
    ]
    return [
        path
        for line in words
        if not any(word.startswith("--from") for word in line)
        for path in [word for word in line if not word.startswith("--")][:-1]
    ]


class Named(NamedTuple):
    """An image that a Dockerfile names, and the line that names it."""

    reference: str
    line: int


def images(text: str, *, arguments: Mapping[str, str] | None = None) -> list[Named]:
    """The images that a Dockerfile names: its frontend, and those in FROM, `COPY --from` and `RUN --mount=from=`.

    Names with a variable that only the builder knows are left out, and so are unreadable instructions, which the
    builder refuses.
    """
    named = [f for f in frontends(text) if f.reference != _JSON]
    variables = dict(arguments or {})
    stages = {"scratch"}
    count, inside, budget = 0, False, Budget()
    for line, name, value in _instructions(text):
        words = value.split()
        if name == "ARG" and not inside:
            argument, _, default = value.partition("=")
            variables.setdefault(argument.strip(), budget.expand(default.strip().strip("\"'"), variables))
        elif name == "FROM":
            inside = True
            words = [w for w in words if w[:2] != "--"]
            named += (
                [Named(budget.expand(words[0], variables), line)]
                if words and words[0].lower() not in stages
                else []
            )
            stages |= {str(count), *(w.lower() for w in words[2:3])}
            count += 1
        elif name in ("COPY", "RUN"):
            flags = takewhile(lambda word: word.startswith("--"), words)
            sources = [m[1] for m in (_FROM_FLAG.search(budget.expand(f, variables)) for f in flags) if m]
            named += [Named(source, line) for source in sources if source.lower() not in stages]
    return [n for n in named if n.reference and "$" not in n.reference and n.reference.lower() not in stages]


_FROM_FLAG = lazy(r"^--(?:from=|mount=(?:[^\s]*,)?from=)[\"']?([^\s,\"']+)")
_JSON = "{"
_COMMENT = lazy(r"\s*(?:#|//)\s*(?:syntax\s*=\s*(\S+))?", re.IGNORECASE)


def frontends(text: str) -> list[Named]:
    """The images that a Dockerfile may have as its frontend. Finds at least those that BuildKit finds.

    BuildKit looks for the directive in the comments at the top, those of other languages too, and in JSON
    (frontend/dockerfile/parser/directives.go). Text that begins like JSON counts as a frontend of that name.
    """
    named_images: list[Named] = []
    for number, line in enumerate(text.removeprefix("\ufeff").split("\n"), start=1):
        comment = _COMMENT.match(line)
        if comment is None and line.strip():
            return named_images + ([Named(_JSON, number)] if line.lstrip().startswith(_JSON) else [])
        if comment is not None and comment[1]:
            named_images.append(Named(comment[1], number))
    return named_images


class _Instruction(NamedTuple):
    line: int
    name: str
    value: str


def _instructions(text: str) -> list[_Instruction]:
    check(text, 0)
    from dockerfile_parse import DockerfileParser  # not needed by commands that only inspect a host

    parser = DockerfileParser(fileobj=io.BytesIO(_without_heredocs(text).encode()))
    instructions = [
        _Instruction(parsed["startline"] + 1, parsed["instruction"], parsed["value"])
        for parsed in parser.structure
        if parsed["instruction"] != "COMMENT"
    ]
    check(text, len(instructions))
    return instructions


@lru_cache(maxsize=8)
def copies(text: str) -> list[tuple[str, str]]:
    """The sources of the context that a Dockerfile copies into its image, each with its absolute destination.

    Those with a variable are left out.
    """
    lines, place = [], "/"
    for _, name, value in _instructions(text):
        if name == "FROM":
            place = "/"
        elif name == "WORKDIR":
            place = posixpath.join(place, value.strip().strip("\"'"))
        words = value.split() if name in ("COPY", "ADD") else []
        flags = [*takewhile(lambda word: word.startswith("--"), words)]
        words = words[len(flags) :]
        with contextlib.suppress(ValueError, RecursionError):  # the form of a JSON list
            given = json.loads(" ".join(words))
            words = [str(word) for word in given] if isinstance(given, list) else words
        if len(words) < 2 or "$" in value or any(flag.startswith("--from") for flag in flags):
            continue
        *sources, target = words
        into = target.endswith(("/", "/.")) or len(sources) > 1 or target == "."
        for source in sources:
            inner = posixpath.join(target, posixpath.basename(source.rstrip("/"))) if into else target
            for path in (inner, target) if into else (inner,):  # of a directory its contents are copied
                lines.append(
                    (
                        posixpath.normpath(source.lstrip("/")),
                        posixpath.normpath(posixpath.join(place, path)),
                    )
                )
    return lines


def _without_heredocs(text: str) -> str:
    """The text with the lines of here-documents made empty: the library takes them for instructions."""
    kept: list[str] = []
    awaited = ""
    for line in text.replace("\r\n", "\n").split("\n"):
        if awaited:
            awaited = "" if line.strip("\t") == awaited else awaited
            kept.append("")
            continue
        if re.match(r"\s*(RUN|COPY|ADD)\s", line, re.IGNORECASE) and (heredoc := _HEREDOC.search(line)):
            awaited = heredoc[2]
        kept.append(line)
    return "\n".join(kept)


def _stages(instructions: Iterable[_Instruction], arguments: dict[str, str], where: str) -> dict[str, Recipe]:
    """Every stage by its number and its name, and the last one also by the empty name."""
    stages: dict[str, Recipe] = {}
    defaults: dict[str, str] = {}  # ARG lines before the first FROM: only FROM lines and bare ARGs see them
    stage: _Stage | None = None
    count, budget, shells = 0, Budget(), Budget()
    for instruction in instructions:
        try:
            if instruction.name == "FROM":
                words = [
                    w for w in budget.expand(instruction.value, defaults | arguments).split() if w[:2] != "--"
                ]
                start = stages.get(words[0].lower()) or Recipe(base=words[0])
                stage = _Stage(
                    start,
                    ("", str(count), *(w.lower() for w in words[2:3])),
                    defaults,
                    arguments,
                    stages,
                    budget,
                    shells,
                )
                count += 1
            elif stage is not None:
                stage.apply(instruction)
            elif instruction.name == "ARG":
                name, _, value = instruction.value.partition("=")
                defaults[name.strip()] = budget.expand(value.strip().strip("\"'"), defaults | arguments)
        except ManifestError as e:
            e.where = f"{where}:{instruction.line}"
            raise
        except (ValueError, IndexError) as e:
            raise ManifestError(
                f"{instruction.name} cannot be read: {e}",
                where=f"{where}:{instruction.line}",
                hint="`docker build` refuses that line too; fix it",
            ) from e
        if stage is not None:
            stages.update(dict.fromkeys(stage.names, stage.recipe))
    return stages


class _Stage:
    """A stage while it is read."""

    def __init__(
        self,
        start: Recipe,
        names: tuple[str, ...],
        defaults: Mapping[str, str],
        arguments: Mapping[str, str],
        others: Mapping[str, Recipe],
        budget: Budget,
        shells: Budget,
    ) -> None:
        self.recipe = start
        self.names = names
        self._defaults = defaults
        self._arguments = arguments
        self._others = others
        self._values: dict[str, str] = {}
        self._has_command = False
        self._budget, self._shells = budget, shells

    def apply(self, instruction: _Instruction) -> None:
        method = getattr(self, f"_{instruction.name.lower()}", None)
        if instruction.name in _APPLIED and method:
            method(instruction.value)

    def _variables(self) -> dict[str, str]:
        return self._values | self.recipe.environment

    def _arg(self, value: str) -> None:
        for word in shlex.split(value):
            name, _, default = word.partition("=")
            inherited = self._arguments.get(name, self._defaults.get(name, "") if not default else "")
            self._values[name] = inherited or self._budget.expand(default, self._variables())

    def _env(self, value: str) -> None:
        from dockerfile_parse.util import get_key_val_dictionary

        self._budget.expand(value, self._variables())
        plain = defaulted(value, self._variables())
        variables = get_key_val_dictionary(
            plain, env_replace=True, args=self._values, envs=self.recipe.environment
        )
        self.recipe = replace(self.recipe, environment=self.recipe.environment | variables)

    def _label(self, value: str) -> None:
        self._budget.expand(value, self._variables())

    def _workdir(self, value: str) -> None:
        path = self._budget.expand(value.strip().strip("\"'"), self._variables())
        self.recipe = replace(self.recipe, workdir=self._inside(path).rstrip("/") or "/")

    def _expose(self, value: str) -> None:
        for word in self._budget.expand(value, self._variables()).split():
            port, _, protocol = word.partition("/")
            if not self.recipe.port and protocol in ("", "tcp") and re.fullmatch(r"[0-9]{1,5}", port):
                self.recipe = replace(self.recipe, port=int(port))

    def _user(self, value: str) -> None:
        self.recipe = replace(self.recipe, user=self._budget.expand(value.strip(), self._variables()))

    def _volume(self, value: str) -> None:
        paths = _json_words(value) or self._budget.expand(value, self._variables()).split()
        self.recipe = replace(self.recipe, data=tuple(dict.fromkeys((*self.recipe.data, *paths))))

    def _shell(self, value: str) -> None:
        self.recipe = replace(self.recipe, shell=_json_words(value) or self.recipe.shell)

    def _cmd(self, value: str) -> None:
        self._has_command = True
        self.recipe = replace(self.recipe, command=self._argv(value))

    def _entrypoint(self, value: str) -> None:
        """A new entrypoint drops the command from the base (Dockerfile reference, "CMD")."""
        command = self.recipe.command if self._has_command else ()
        self.recipe = replace(self.recipe, entrypoint=self._argv(value), command=command)

    def _copy(self, value: str) -> None:
        words = list(_json_words(value) or shlex.split(self._budget.expand(value, self._variables())))
        flags = [w for w in words if w.startswith("--")]
        paths = [w for w in words if not w.startswith("--")]
        sources = [f.removeprefix("--from=").lower() for f in flags if f.startswith("--from=")]
        for other in (self._others[name] for name in sources if name in self._others):
            # each once, or their number would double with each stage that copies twice from the one before
            requirements = dict.fromkeys((*self.recipe.requirements, *other.requirements))
            known = {*self.recipe.runs}
            runs = tuple(run for run in dict.fromkeys(other.runs) if run not in known)
            self.recipe = replace(
                self.recipe,
                requirements=tuple(requirements),
                runs=(*self.recipe.runs, *runs),
                borrowed=self.recipe.borrowed + len(runs),
            )
        if len(paths) < 2:
            return
        if sources:
            self._copy_made(self._others.get(sources[0]), paths)
            return
        copy = Copy(tuple(paths[:-1]), self._inside(paths[-1]))
        self.recipe = replace(self.recipe, copies=(*self.recipe.copies, copy))

    def _copy_made(self, stage: Recipe | None, paths: list[str]) -> None:
        """What another stage made below its copy of the whole context, by its path there."""
        whole = stage and any(
            "." in c.sources and c.destination.rstrip("/") == stage.workdir for c in stage.copies
        )
        if stage is None or not whole:
            return
        inside = [
            posixpath.relpath(posixpath.join(stage.workdir, path), stage.workdir) for path in paths[:-1]
        ]
        sources = tuple(path for path in inside if not path.startswith(".."))
        self.recipe = replace(self.recipe, made=(*self.recipe.made, Copy(sources, self._inside(paths[-1]))))

    _add = _copy

    def _run(self, value: str) -> None:
        own = self.recipe.runs[: len(self.recipe.runs) - self.recipe.borrowed]
        text = value
        with contextlib.suppress(ManifestError):  # the shell expands it, which may
            text = self._shells.expand(value, self._variables())
        requirements = tuple(self._source(name) for name in _REQUIREMENTS.findall(text))
        self.recipe = replace(
            self.recipe,
            requirements=(*self.recipe.requirements, *requirements),
            runs=(*own, value, *self.recipe.runs[len(own) :]),
        )

    def _source(self, name: str) -> str:
        """The file of the build context that a RUN line names; the name itself if no COPY shows it."""
        target = self._inside(name)
        for copy in reversed(self.recipe.copies):
            for source in copy.sources:
                base = posixpath.basename(source)
                single = copy.destination.rstrip("/") or "/"
                if base and target in (copy.destination, posixpath.join(single, base)):
                    return source
        return name

    def _argv(self, value: str) -> tuple[str, ...]:
        words = _json_words(value)
        if words is not None:
            return words
        return (*self.recipe.shell, value.strip()) if value.strip() else ()

    def _inside(self, path: str) -> str:
        joined = posixpath.normpath(posixpath.join(self.recipe.workdir, path))
        return joined + "/" if path.endswith("/") and joined != "/" else joined


_APPLIED = frozenset(
    (
        "ARG",
        "ENV",
        "LABEL",
        "WORKDIR",
        "EXPOSE",
        "USER",
        "VOLUME",
        "SHELL",
        "CMD",
        "ENTRYPOINT",
        "COPY",
        "ADD",
        "RUN",
    )
)


def _json_words(value: str) -> tuple[str, ...] | None:
    """The words of an instruction in JSON form; None if it is in shell form."""
    try:
        words = json.loads(value)
    except (ValueError, RecursionError):
        return None
    if not isinstance(words, list) or not all(isinstance(w, str) for w in words):
        return None
    return tuple(words)
