"""An app's snippets: which files of the commit they are, and their text."""

import errno
import fnmatch
from collections.abc import Collection, Sequence
from pathlib import Path

from pushrod.core.errors import ManifestError
from pushrod.core.site import SNIPPET
from pushrod.ingress.snippets.amounts import Spent
from pushrod.ingress.snippets.directives import ALLOWED, LONGEST, check
from pushrod.system import trees

# Totals for all snippets of an app. They are read again at each switch of any app, and each counted thing may take
# memory, or time, of the one process that serves all apps, for each request.
_MOST_FILES = 20


def read(
    patterns: Sequence[str], checkout: Path, app: str, groups: Collection[str], allowed: Collection[str]
) -> dict[str, str]:
    """The text of each file that matches a pattern, by its path in the repository.

    `groups` are nginx's names for the app's instances. Raises ManifestError if a pattern matches no file, or a file
    contains something that is not allowed.
    """
    known = [name for name in trees.files(checkout) if name.endswith(".conf")]
    names: set[str] = set()
    for pattern in patterns:
        named = [name for name in known if _matches(name.split("/"), _words_of(pattern))]
        if not named:
            raise ManifestError(
                f"no file `{pattern}` in the commit", where="x-pushrod.nginx", hint="its name ends with .conf"
            )
        names.update(named)
    for name in names:
        if not SNIPPET.fullmatch(name):
            raise ManifestError(
                "this file name is not allowed",
                where=name,
                hint="rename it: letters, digits, dots, dashes and underscores",
            )
    if len(names) > _MOST_FILES:
        raise ManifestError(
            f"{len(names)} files, of at most {_MOST_FILES}", where="x-pushrod.nginx", hint="merge them"
        )
    spent, texts = Spent(), {}
    for name in sorted(names):
        texts[name] = _text_of(checkout, name)
        check(texts[name], name, app, groups, free=ALLOWED in allowed, spent=spent)
    return texts


def _words_of(pattern: str) -> list[str]:
    return [word for word in pattern.split("/") if word not in ("", ".")]


def _matches(names: Sequence[str], pattern: Sequence[str]) -> bool:
    """Whether the parts of a path match a pattern's words; `**` matches any number of directories."""

    def onward(at: set[int]) -> set[int]:
        for n, word in enumerate(pattern):
            if n in at and word == "**":
                at.add(n + 1)
        return at

    at = onward({0})  # the number of the pattern's words that the rest may match
    for name in names:
        held = {n for n in at if pattern[n : n + 1] == ["**"]}
        passed = {n + 1 for n in at - held if n < len(pattern) and fnmatch.fnmatchcase(name, pattern[n])}
        at = onward(held | passed)
    return len(pattern) in at


def _text_of(checkout: Path, name: str) -> str:
    try:
        raw = trees.read(checkout, name, LONGEST * 4)  # UTF-8: 4 bytes a character
        return raw.decode(errors="replace").replace("\r\n", "\n").replace("\r", "\n")
    except OSError as e:
        known = {
            errno.EXDEV: "points outside the repository",
            errno.EFBIG: f"longer than {LONGEST} characters",
        }
        why = known.get(e.errno or 0) or (e.strerror or str(e)).lower()
        raise ManifestError(why, where=name, hint="commit the file itself there") from e
