"""Kinds of parameters that a key may give over SSH, each with its check. Pure."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from pushrod.core.errors import UnknownNameError
from pushrod.core.patterns import lazy
from pushrod.state.apps import check_file, check_name

# A name within the app: a service, an instance, a variable, a backup. Neither a path nor an option.
_WORD = lazy(r"[A-Za-z0-9_][A-Za-z0-9_.:+-]{0,127}")
_VARIABLE = lazy(r"[\w.\[\]][\w.\[\]-]{0,127}")
_COUNT = lazy(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}=[0-9]{1,3}")
_COMMIT = lazy(r"[0-9a-f]{40}(?:[0-9a-f]{24})?")
_NAMED = lazy(r"[A-Za-z0-9][A-Za-z0-9._:/@-]{0,299}")
_IMAGE = lazy(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}=[A-Za-z0-9][A-Za-z0-9._:/@-]{0,299}")
_FILTER = lazy(r"[A-Za-z0-9 @_.:/+-]{1,80}")
_TEXT = lazy(r"[A-Za-z0-9.:/]{1,64}")


class Reach(NamedTuple):
    """The apps that a key may access; empty means all, including future ones."""

    apps: tuple[str, ...] = ()

    def permitted(self, app: str) -> str:
        """Return the app if a key with this reach may name it; raises UnknownNameError otherwise."""
        if self.apps and app not in self.apps:
            raise UnknownNameError(
                f"this key is not for `{app}`", hint=f"it is for {', '.join(sorted(self.apps))}"
            )
        return app


Kind = Callable[[Any, Reach], str]
"""A check of a parsed parameter: returns what is wrong with a value, or an empty text."""


def app(value: Any, reach: Reach) -> str:
    """An app in the key's reach; if it is absent, the only app in reach is meant, or none."""
    if value is not None:
        reach.permitted(check_name(value))
    return ""


def new_app(value: Any, reach: Reach) -> str:
    """The name of an app that may not exist yet; only keys for all apps get here."""
    return app(value, reach)


def flag(value: Any, _: Reach) -> str:
    """A boolean."""
    return "" if isinstance(value, bool) else "it is on or off"


def number(least: int, most: int) -> Kind:
    """A whole number within bounds; None stands for the verb's own default."""

    def check(value: Any, _: Reach) -> str:
        fits = value is None or (isinstance(value, int) and least <= value <= most)
        return "" if fits else f"it is a number from {least} to {most}"

    return check


def matching(pattern: re.Pattern[str], what: str, *, empty: bool = False) -> Kind:
    """One or several texts of this form; `empty` also allows the empty text, if it is the verb's default."""

    def check(value: Any, _: Reach) -> str:
        texts = value if isinstance(value, tuple) else (value,)
        fits = all(isinstance(t, str) and (pattern.fullmatch(t) or (empty and not t)) for t in texts)
        return "" if fits else what

    return check


def sent(value: Any, _: Reach) -> str:
    """A file sent by the client. No file of the host is read for a key."""
    return "" if str(value) == "-" else "a key cannot read files of the host; use - for standard input"


def not_given(value: Any, _: Reach) -> str:
    """A parameter that only the host may set."""
    return "" if value is None else "a key cannot set it"


def here(value: Any, _: Reach) -> str:
    """A directory: only the default, which has no effect under the gate."""
    return "" if value == Path() else "a key cannot name a directory of the host"


def usual(path: Path) -> Kind:
    """A directory: only the default, which is not written to under the gate."""

    def check(value: Any, _: Reach) -> str:
        return "" if value == path else "a key cannot name a directory of the host"

    return check


def chosen(_value: Any, _: Reach) -> str:
    """One of the verb's own choices, or none: its parser accepts no other."""
    return ""


def for_all(name: str) -> Kind:
    """One of the verb's own choices; the choice `name` requires a key for all apps."""

    def check(value: Any, reach: Reach) -> str:
        return f"{name} needs a key for all apps" if value == name and reach.apps else ""

    return check


def manifest(value: Any, _: Reach) -> str:
    """A compose file, by its path in the app's own repository; never a path of the host."""
    try:
        check_file(value)
    except UnknownNameError as e:
        return f"{e.what}: {e.hint}"
    return ""


def settings(value: Any, reach: Reach) -> str:
    """The settings of an app given as KEY=VALUE: only its compose file."""
    pairs = [text.partition("=") for text in value]
    if any((key, equals) != ("file", "=") for key, equals, _ in pairs):
        return "it is file=PATH, with a path in the repository"
    return next(filter(None, (manifest(path, reach) for _, _, path in pairs)), "")


def program(value: Any, _: Reach) -> str:
    """The argv of a program that runs in the app's own container; it must not begin with an option."""
    return "" if value and not value[0].startswith("-") else "a program's name cannot begin with a dash"


dash = matching(lazy("-"), "only - (standard input) is allowed")
word = matching(_WORD, "it is a name of letters, digits and _.:+-")
perhaps = matching(_WORD, "it is a name of letters, digits and _.:+-", empty=True)
variable = matching(_VARIABLE, "it is a name of letters, digits and _.-[]")
count = matching(_COUNT, "it is SERVICE=N")
commit = matching(_COMMIT, "it is the full ID of a commit that was sent before")
perhaps_commit = matching(_COMMIT, "it is the full ID of a commit that was sent before", empty=True)
named = matching(_NAMED, "it is a name of letters, digits and _.:/@-", empty=True)
image = matching(_IMAGE, "it is SERVICE=REFERENCE")
text = matching(_TEXT, "it is a short text of letters, digits and .:/", empty=True)

audited = matching(_FILTER, "it is a short text of letters, digits, spaces and @_.:/+-", empty=True)
