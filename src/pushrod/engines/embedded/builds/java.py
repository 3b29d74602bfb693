"""Commands of Java programs: which jars they run, and the same commands where the jars were built.

Pure except `placed`, which looks for jars on disk.
"""

import posixpath
from collections.abc import Iterable, Sequence
from pathlib import Path

from pushrod.core.patterns import lazy
from pushrod.engines import jvm

_JAR = lazy(r"(?<=-jar )([\w@%+=:,./-]+\.jar)(?=$|[\s;&|)\"'])")
# The class that starts Spring Boot's layers; its jar has them too.
_LAUNCHER = lazy(r"(?<![\w.])org\.springframework\.boot\.loader\.(?:launch\.)?JarLauncher(?![\w.])")


def jars(argvs: Iterable[Sequence[str]]) -> tuple[str, ...]:
    """The jars that commands run, as they write them, once each."""
    return tuple(dict.fromkeys(jar for argv in argvs for jar in _JAR.findall(" ".join(argv))))


def names(jars: Iterable[str]) -> tuple[str, ...]:
    """Where these jars are expected below the working directory: under their own name, or as a command writes it."""
    written = [name for jar in jars for name in (posixpath.basename(jar), jar)]
    inside = [posixpath.normpath(name) for name in written if not name.startswith("/")]
    return tuple(dict.fromkeys(name for name in inside if not name.startswith("..")))


def placed(argv: Sequence[str], directory: Path) -> tuple[str, ...]:
    """The argv as it runs in `directory`, where the jars are: not at an absolute path of the image, and without the
    layers of Spring Boot unpacked.
    """
    if not jvm.runs(argv):
        return tuple(argv)
    jars = sorted(path.name for path in directory.glob("*.jar"))
    launched = ("-jar", jars[0]) if len(jars) == 1 else ()
    words: list[str] = []
    for before, word in zip(("", *argv), argv, strict=False):
        if before == "-jar":
            words.append(_placed(word, directory))
        elif launched and _LAUNCHER.fullmatch(word):
            words += launched
        else:  # a script, or anything else
            script = _JAR.sub(lambda match: _placed(match[1], directory), word)
            words.append(_LAUNCHER.sub(" ".join(launched), script) if launched else script)
    return tuple(words)


def _placed(jar: str, directory: Path) -> str:
    name = posixpath.basename(jar)
    return name if jar.startswith("/") and not Path(jar).exists() and (directory / name).is_file() else jar
