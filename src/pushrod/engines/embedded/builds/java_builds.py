"""Java programs of the commit: which one a service runs, and building it with this machine's JDK and Maven or Gradle.

A build is an environment: `run` in it is the directory that the service starts in, with the jar under the name that
the command uses; `bin` has the `java` of the JDK that built it. It is built from a copy of the sources, and once for
each state of them.
"""

import contextlib
import os
import posixpath
import re
import shlex
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from pushrod.adapters import dockerfile
from pushrod.adapters.dockerfile import Copy, Recipe
from pushrod.core import lines
from pushrod.core.errors import BuildError, HostError
from pushrod.core.patterns import lazy
from pushrod.core.values import Build
from pushrod.engines import jvm
from pushrod.engines.embedded.builds import java, jdk
from pushrod.engines.embedded.builds.environments import OF_HOOKS, Digest
from pushrod.engines.embedded.commands import PATH
from pushrod.system import files, processes

_LONGEST = 1800.0  # seconds for one run of Maven or Gradle; the first one downloads the dependencies
_LOG_LINES = 30
_MAVEN, _GRADLE = ("pom.xml",), ("build.gradle", "build.gradle.kts", "settings.gradle", "settings.gradle.kts")
_WRAPPERS = {"Maven": ("mvnw", "mvn", "maven"), "Gradle": ("gradlew", "gradle", "gradle")}
_BATCH = {
    "Maven": ("--batch-mode", "--no-transfer-progress", "-Dstyle.color=never"),
    "Gradle": ("--no-daemon", "--console=plain"),
}
_USUAL = {"Maven": ("package", "-Dmaven.test.skip"), "Gradle": ("assemble",)}
_FINAL = lazy(r"package|install|verify|deploy|[\w:]*(?:assemble|build|bootJar|jar|shadowJar|installDist)")
_CALL = lazy(r"(?:^|[\s;&|])(?:\./|sh )?(?:mvnw?|gradlew?)((?:\s+[^\s;&|<>\\]+)+)")
_RELEASE = lazy(
    r"<(?:java\.version|maven\.compiler\.(?:release|target)|release)>\s*(?:1\.)?(\d+)\s*</"
    r"|JavaLanguageVersion\.of\((\d+)\)"
)
_OFFLINE = frozenset(("-o", "--offline", "--quiet", "-q", "-B", *_BATCH["Maven"], *_BATCH["Gradle"]))
_FILE = frozenset(
    ("-f", "--file", "-p", "--project-dir")
)  # with the path in the image; we run beside the file
_COLOUR = lazy(r"\x1b\[[0-9;]*m")
# What a wrapper or its JVM says if the tool itself, or the wrapper's own jar, cannot be fetched.
_WRAPPER_FAILS = lazy(
    r"(?:Gradle|Maven)WrapperMain|wrapper\.jar|(?s:Downloading https?://\S+\.zip.*Exception)"
    r"|Exception in thread \"main\" java\.(?:net|io)\.|[Ff]ailed to (?:fetch|download|unzip|untar)"
    r"|distributionUrl|validate Maven distribution|Verification of Gradle distribution failed"
)
_NO_PROGRAM = (126, 127)
# What says nothing about a build, or why it fails: progress, and where Maven's own manual is.
_QUIET = lazy(
    r"\[INFO\]|\s*$|Downloading|Downloaded|> Task"
    r"|\[ERROR\] (?:$|-> \[Help|\[Help|To see the full|Re-run Maven|For more information about)"
)
_EXTRACTS, _ARCHIVES = "-Djarmode=", "-XX:ArchiveClassesAtExit="
_START = 120.0  # seconds for one start of the application, to record its classes


class Jar(NamedTuple):
    """A jar to build: with which tool and words, from the project in which directory of the checkout, and the names
    under which commands run it. `copies` are the files of the context that the image has beside it; `extracts` and
    `archive` are how it starts faster.
    """

    tool: str
    context: str
    words: tuple[str, ...]
    project: str
    names: tuple[str, ...]
    copies: tuple[Copy, ...] = ()
    workdir: str = "/"
    extracts: bool = False
    archive: tuple[str, ...] = ()

    def identity(self, service: str, checkout: Path) -> str:
        """A digest of the JDK, the build's words, and every file that goes into it."""
        return identity(service, self, checkout)

    def check(self, service: str, checkout: Path) -> None:
        """Raise BuildError, naming the service, if this machine lacks what its build needs."""
        check(service, self, checkout)

    def without_install(self, argv: tuple[str, ...]) -> tuple[str, ...]:
        """The argv: it installs nothing."""
        return argv

    def make(self, service: str, checkout: Path, place: Path, on_line: Callable[[str], None]) -> None:
        """Build it at `place`. Raises BuildError."""
        make(service, self, checkout, place, on_line)


def find(
    source: Build, text: str, recipe: Recipe, argvs: Sequence[Sequence[str]], checkout: Path
) -> Jar | None:
    """The build of the jar that these commands run, by the Dockerfile's text and recipe; None if they run no Java, or
    if the jar is in the commit.
    """
    if not any(map(jvm.runs, argvs)):
        return None
    context = source.context
    project = _project(text, source, checkout)
    if project is None:
        return None
    jars = java.jars(argvs)
    directory = checkout / project
    if jars and all((checkout / context / jar).is_file() or (directory / jar).is_file() for jar in jars):
        return None
    commands = dockerfile.runs(text) if text else []
    tool = "Maven" if any((directory / name).is_file() for name in _MAVEN) else "Gradle"
    return Jar(
        tool=tool,
        context=context,
        words=_words(tool, commands),
        project=project,
        names=java.names(jars),
        copies=recipe.copies,
        workdir=recipe.workdir,
        extracts=any(_EXTRACTS in command for command in commands),
        archive=next((argv for command in commands if (argv := _archiving(command))), ()),
    )


def identity(service: str, build: Jar, checkout: Path) -> str:
    """A digest of the JDK, the build's words, and every file that goes into it. Raises BuildError without a JDK."""
    kit = _kit(service, build, checkout)
    digest = Digest("java", "1", kit.version, str(kit.home), repr(build), os.uname().machine)
    for top in (checkout / build.project, *(place for place, _ in _beside(build, checkout))):
        for path in sorted(p for p in (top, *top.rglob("*")) if p.is_file() or p.is_symlink()):
            content = str(path.readlink()).encode() if path.is_symlink() else path.read_bytes()
            digest.add(os.path.relpath(path, checkout), str(os.access(path, os.X_OK)), content)
    return digest.text()


def check(service: str, build: Jar, checkout: Path) -> None:
    """Raise BuildError, naming the service, if this machine lacks what the build needs."""
    _kit(service, build, checkout)
    _program(service, build, checkout / build.project)


def make(service: str, build: Jar, checkout: Path, place: Path, on_line: Callable[[str], None]) -> None:
    """Build it at `place`. Raises BuildError."""
    kit = _kit(service, build, checkout)
    (place / "bin").mkdir(parents=True)
    (place / "bin" / "java").symlink_to(kit.home / "bin" / "java")
    sources, run = place / "sources", place / "run"
    shutil.copytree(checkout / build.project, sources, symlinks=True)
    on_line(
        f"{service}: building {posixpath.join(build.project, '')} with {build.tool} and JDK {kit.version}"
    )
    argv = [*_program(service, build, sources), *_BATCH[build.tool], *build.words]
    _run(service, build, argv, sources, kit, on_line)
    run.mkdir()
    for source, inside in _beside(build, checkout):
        _copy(source, run / inside)
    _place(build, _built(service, build, sources), run, kit)
    files.remove_tree(sources)
    if build.archive:
        _archive(build.archive, run, kit)


# ---- the commit -----------------------------------------------------------------------------------------------


def _project(text: str, source: Build, checkout: Path) -> str | None:
    """The directory of the project in the checkout: one that the Dockerfile copies from, else the context, the
    Dockerfile's own, or the only one below the context.
    """
    context, copied = source.context, dockerfile.copied(text) if text else []
    named = [posixpath.normpath(posixpath.join(context, path.lstrip("/"))) for path in copied]
    named = [path if (checkout / path).is_dir() else posixpath.dirname(path) or "." for path in named]
    own = posixpath.normpath(posixpath.join(context, posixpath.dirname(source.dockerfile)))
    below = sorted({p.parent for name in (*_MAVEN, *_GRADLE) for p in (checkout / context).glob(f"*/{name}")})
    only = [os.path.relpath(below[0], checkout)] if len(below) == 1 else []
    by_depth = sorted(named, key=lambda path: path.count("/") + (path != "."))
    for path in (*by_depth, context, own, *only):
        inside = posixpath.normpath(path)
        if not inside.startswith("..") and any(
            (checkout / inside / name).is_file() for name in (*_MAVEN, *_GRADLE)
        ):
            return inside
    return None


def _words(tool: str, commands: Sequence[str]) -> tuple[str, ...]:
    """The goals and options of the Dockerfile's own call, without those that only make sense in an image build."""
    for command in reversed(commands):
        for call in reversed(_CALL.findall(command)):
            words = call.split()
            if not any(_FINAL.fullmatch(word) for word in words):
                continue
            kept = [w for n, w in enumerate(words) if w not in _OFFLINE | _FILE and words[n - 1] not in _FILE]
            return tuple(word.strip("\"'") for word in kept)
    return _USUAL[tool]


def _archiving(command: str) -> tuple[str, ...]:
    """The argv in a RUN line that records the classes of one start."""
    for part in re.split(r"&&|;|\|", command):
        if _ARCHIVES in part and part.split()[0] == "java" and not re.search(r"[`$<]", part):
            return tuple(word for word in shlex.split(part.partition(">")[0]))
    return ()


def _beside(build: Jar, checkout: Path) -> Iterator[tuple[Path, str]]:
    """What the image copies from the commit into its working directory, and where it is there."""
    for copy in build.copies:
        for source in copy.sources:
            path = checkout / posixpath.normpath(posixpath.join(build.context, source.lstrip("/")))
            name = "" if path.is_dir() or not copy.destination.endswith("/") else path.name
            inside = posixpath.relpath(posixpath.join(copy.destination, name), build.workdir)
            if (
                not inside.startswith("..")
                and path.exists()
                and path.resolve().is_relative_to(checkout.resolve())
            ):
                yield path, inside


# ---- the tools ------------------------------------------------------------------------------------------------


def _kit(service: str, build: Jar, checkout: Path) -> jdk.Kit:
    asked = _asked(checkout / build.project)
    kit = jdk.suitable(asked)
    if kit is None:
        versions = ", ".join(k.version for k in jdk.kits())
        raise BuildError(
            f"{service} is built with {build.tool}, and this machine has no JDK"
            + (f" {asked} or newer (found: {versions})" if versions else ""),
            where=posixpath.join(build.project, _file(checkout / build.project)),
            hint=f"install one (Debian: openjdk-{asked or 17}-jdk-headless), commit the jar, or deploy to a host "
            "with Docker",
        )
    return kit


def _asked(project: Path) -> int:
    """The version of Java that a project compiles for; 0 if it does not say."""
    releases = _RELEASE.findall((project / _file(project)).read_text(errors="replace"))
    return max((int(a or b) for a, b in releases), default=0)


def _file(project: Path) -> str:
    return next(name for name in (*_MAVEN, *_GRADLE) if (project / name).is_file())


def _program(service: str, build: Jar, project: Path) -> list[str]:
    """The wrapper of the project, else the machine's own program. Raises BuildError if there is neither."""
    wrapper, program, package = _WRAPPERS[build.tool]
    if (project / wrapper).is_file():
        return ["/bin/sh", wrapper]
    path = shutil.which(program, path=PATH)
    if path is None:
        raise BuildError(
            f"{service} is built with {build.tool}, and there is neither `{wrapper}` in the commit nor `{program}` "
            "on this machine",
            where=posixpath.join(build.project, wrapper),
            hint=f"commit the wrapper, install it here (Debian: {package}), or deploy to a host with Docker",
        )
    return [path]


def _run(
    service: str, build: Jar, argv: Sequence[str], cwd: Path, kit: jdk.Kit, on_line: Callable[[str], None]
) -> None:
    def committed(line: str) -> str:
        """A line with the paths of the commit instead of those of the copy that is built."""
        return line.replace(f"{cwd}/", posixpath.normpath(posixpath.join(build.project, "x"))[:-1])

    def print_line(line: str) -> None:
        if not _QUIET.match(_COLOUR.sub("", line)):
            on_line(committed(line))

    env = {name: value for name, value in os.environ.items() if name not in OF_HOOKS}
    env |= {"JAVA_HOME": str(kit.home), "PATH": f"{kit.home}/bin{os.pathsep}{PATH}"}
    # It dies with us, so that it does not write into the next build.
    guarded = processes.as_account(argv, None, death_signal="KILL")
    result = processes.run(guarded, cwd=cwd, env=env, timeout=_LONGEST, on_line=print_line, umask=0o022)
    if not result.status:
        return
    printed = [line for line in lines.split(result.stdout) if not _QUIET.match(_COLOUR.sub("", line))]
    wrapper, log = _WRAPPERS[build.tool][0], tuple(map(committed, printed[-_LOG_LINES:]))
    if wrapper in argv and (_WRAPPER_FAILS.search(result.stdout) or result.status in _NO_PROGRAM):
        raise BuildError(
            f"{service}: `{wrapper}`, the project's own wrapper, cannot start {build.tool}",
            where=posixpath.join(build.project, wrapper),
            hint=f"its last lines are above: it downloads {build.tool} from the distributionUrl in "
            f"{build.tool.lower()}-wrapper.properties, with the wrapper's jar of the commit; or install {build.tool} "
            f"here and take `{wrapper}` out of the commit",
            log=log,
        )
    raise BuildError(
        f"{service}: {build.tool} cannot build it",
        where=posixpath.join(build.project, _file(cwd)),
        hint=f"the last lines above are {build.tool}'s output; fix that, commit and push again",
        log=log,
    )


# ---- the jar --------------------------------------------------------------------------------------------------


def _built(service: str, build: Jar, sources: Path) -> Path:
    """The jar to run: among the candidates the one that the command names, else the only one."""
    places = "target" if build.tool == "Maven" else "build/libs"
    jars = [
        path
        for pattern in (
            f"{places}/*.jar",
            f"*/{places}/*.jar",
            f"*/*/{places}/*.jar",
            "target/quarkus-app/*.jar",
        )
        for path in sorted(sources.glob(pattern))
        if _runs(path)
    ]
    named = {posixpath.basename(name) for name in build.names}
    chosen = [path for path in jars if path.name in named] or jars
    if len(chosen) != 1:
        several = ", ".join(os.path.relpath(path, sources) for path in chosen)
        raise BuildError(
            f"{service}: its build makes "
            + (f"several jars that can be run: {several}" if chosen else "no jar that `java -jar` can run"),
            where=posixpath.join(build.project, _file(sources)),
            hint="name the one in the command, as the build names it: `java -jar NAME.jar`"
            if chosen
            else "package it as one, for example with spring-boot-maven-plugin",
        )
    return chosen[0]


def _runs(jar: Path) -> bool:
    """Whether a jar names a class to start."""
    import zipfile

    try:
        with zipfile.ZipFile(jar) as archive, archive.open("META-INF/MANIFEST.MF") as manifest:
            return b"Main-Class:" in manifest.read(1 << 16)
    except (OSError, KeyError, zipfile.BadZipFile):
        return False


def _place(build: Jar, jar: Path, run: Path, kit: jdk.Kit) -> None:
    """Put the jar, and what it needs beside it, into the directory it runs in, under each of its names."""
    first, *others = build.names or (jar.name,)
    target = run / first
    target.parent.mkdir(parents=True, exist_ok=True)
    if jar.parent.name == "quarkus-app":
        shutil.copytree(jar.parent, target.parent, dirs_exist_ok=True)
    elif build.extracts and (unpacked := _extracted(jar, kit)):
        shutil.copytree(unpacked, target.parent, dirs_exist_ok=True)
        jar = target.parent / jar.name
    else:
        shutil.copy2(jar, target.parent / jar.name)
    source = target.parent / jar.name
    for name in (first, *others):
        path = run / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists() and path.parent == source.parent:
            path.hardlink_to(source)
        elif not path.exists():
            path.symlink_to(os.path.relpath(source, path.parent))


def _extracted(jar: Path, kit: jdk.Kit) -> Path | None:
    """A jar of Spring Boot with its libraries beside it, which starts faster; None if it has no such mode."""
    target = jar.with_suffix(".extracted")
    tools = [str(kit.home / "bin" / "java"), "-Djarmode=tools", "-jar", str(jar)]
    done = processes.run([*tools, "extract", "--destination", str(target)], timeout=_START, umask=0o022)
    return target if done.status == 0 and (target / jar.name).is_file() else None


def _archive(argv: Sequence[str], run: Path, kit: jdk.Kit) -> None:
    """Record the classes of one start as the Dockerfile does; without the record Java only starts slower."""
    words = [str(kit.home / "bin" / argv[0]), *argv[1:]]
    guarded = processes.as_account(java.placed(words, run), None, death_signal="KILL")
    with contextlib.suppress(HostError):
        processes.run(guarded, cwd=run, env={"PATH": PATH, "LANG": "C.UTF-8"}, timeout=_START, umask=0o022)


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir():
        shutil.copytree(source, target, symlinks=True, dirs_exist_ok=True)
    else:
        shutil.copy2(source, target)
