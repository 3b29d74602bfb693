"""Which words of a directive nginx reads as regular expressions, and the steps that these take."""

import re
from collections.abc import Sequence

from pushrod.core.errors import ManifestError
from pushrod.ingress import regexes
from pushrod.ingress.snippets.amounts import MOST_STEPS

# Directives with regular expressions, by nginx's documentation of each; also `if` and `location`.
ALWAYS = frozenset(("rewrite",))  # as their first word
MARKED = frozenset((
    "proxy_cookie_domain", "proxy_cookie_flags", "proxy_cookie_path", "proxy_redirect", "valid_referers",
))  # behind a `~`  # fmt: skip
ALL = frozenset(("gzip_disable",))  # each word; `msie6` is an alias


def split_expressions(name: str, arguments: Sequence[str], at: str) -> tuple[list[str], list[str]]:
    """The words of a directive that nginx reads as regular expressions, and the others."""
    if name == "if":
        return _condition(arguments, at)
    if name == "location":
        return _place(arguments, at)
    if name in ALWAYS:
        return list(arguments[:1]), list(arguments[1:])
    if name in ALL:
        return list(arguments), []
    if name in MARKED:
        marked = [a for a in arguments if a.startswith("~")]
        return [a[1:].removeprefix("*") for a in marked], [a for a in arguments if a not in marked]
    return [], list(arguments)


def _condition(arguments: Sequence[str], at: str) -> tuple[list[str], list[str]]:
    """nginx's own syntax: a variable, or a variable, an operator and a word, in brackets."""
    words = list(arguments)
    if words and words[0].startswith("(") and words[-1].endswith(")") and words != ["("]:
        words[0] = words[0][1:]
        words[-1] = words[-1][:-1]
        words = words[not words[0] : len(words) - (not words[-1])]
        if words and re.fullmatch(r"\$[A-Za-z0-9_]+", words[0]):
            if len(words) == 1:
                return [], words
            if len(words) == 3 and words[1] in ("=", "!="):
                return [], [words[0], words[2]]
            if len(words) == 3 and words[1] in ("~", "~*", "!~", "!~*"):
                return [words[2]], [words[0]]
    raise ManifestError(
        "a condition that cannot be parsed with certainty",
        where=at,
        hint="($variable), or ($variable = word) with =, !=, ~, ~*, !~ or !~*; put quotes around the word",
    )


def _place(arguments: Sequence[str], at: str) -> tuple[list[str], list[str]]:
    if len(arguments) == 2 and arguments[0] in ("~", "~*"):
        return [arguments[1]], []
    if len(arguments) == 1 and arguments[0].startswith("~"):
        return [arguments[0][1:].removeprefix("*")], []
    prefix = arguments[-1] if arguments else ""
    if len(arguments) == 2 and arguments[0] in ("=", "^~"):
        prefix = arguments[1]
    elif len(arguments) == 1:
        prefix = prefix.removeprefix("^~").removeprefix("=")
    else:
        prefix = ""
    if not prefix.startswith(("/", "@")):
        raise ManifestError(
            "a `location` that cannot be parsed with certainty", where=at, hint="such as `location /img/ {`"
        )
    return [], []


def steps_of(text: str, at: str, owner: str) -> int:
    try:
        steps = regexes.read(text).steps
    except regexes.UnreadableError as e:
        raise ManifestError(
            f"a regular expression with {e}: its matching time cannot be determined, and all apps wait for it",
            where=at,
            hint=f"use characters, classes, groups and alternatives; repeat single characters; {owner}",
        ) from e
    if steps > MOST_STEPS:
        raise ManifestError(
            f"a regular expression that can take {steps} steps, while all apps wait",
            where=at,
            hint="begin it with ^, and make repeated parts not match what follows them, as in ^/([^/]+)/(.*)$; "
            + owner,
        )
    return steps
