"""What the owner of a key may ask for over SSH: push to and fetch from an app, and some of the verbs. Pure.

sshd hands over the words that the client sent (SSH_ORIGINAL_COMMAND). They are divided as a shell would, and never
given to one. What they mean is for the command line's own parser alone; what is judged here is the call that came
out of it, each parameter by its kind, and that very call is run. What is not in VERBS is refused, verb or parameter.
"""

import re
import shlex
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from pushrod.adapters import git
from pushrod.core.errors import UnknownNameError
from pushrod.state.apps import check_file, check_name

MOST_WORDS = 1000
"""Words that a call may have; Linux itself takes 2 MiB of them."""

_GIT = {"git-receive-pack": "receive-pack", "git-upload-pack": "upload-pack"}
_REFUSED = "this key may not do that"

# A name of something of the app's: a service, an instance, a variable, a backup. It is no path and no option.
_WORD = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.:+-]{0,127}")
_COUNT = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}=[0-9]{1,3}")
_COMMIT = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?")
_FILTER = re.compile(r"[A-Za-z0-9 @_.:/+-]{1,80}")
_TEXT = re.compile(r"[A-Za-z0-9.:/]{1,64}")


class Reach(NamedTuple):
    """The apps that a key is for; none means all, also ones that are not there yet."""

    apps: tuple[str, ...] = ()

    def permitted(self, app: str) -> str:
        """The app, if a key with this reach may name it; UnknownNameError if not."""
        if self.apps and app not in self.apps:
            raise UnknownNameError(
                f"this key is not for `{app}`", hint=f"it is for {', '.join(sorted(self.apps))}"
            )
        return app


class Git(NamedTuple):
    """A push (`receive-pack`) or a fetch (`upload-pack`) of an app; `makes` says that a push may make the app."""

    service: str
    app: str
    makes: bool = False


# ---- what is asked for --------------------------------------------------------------------------------------------


def divide(command: str) -> list[str]:
    """The words of what a client sent; UnknownNameError where they are no words, or too many."""
    try:
        words = shlex.split(command)
    except ValueError as e:
        raise refused(f"the command cannot be read: {e}") from e
    if len(words) > MOST_WORDS:
        raise refused(f"these are {len(words)} words, and {MOST_WORDS} is the most")
    return words[1:] if words[:1] == ["pushrod"] else words


def told(words: list[str]) -> list[str]:
    """Words as the log of who did what has them: a value that was given to `secret set`, where none belongs, is left
    out."""
    if words[:2] != ["secret", "set"]:
        return words
    kept, names, rest = words[:2], 0, words[2:]
    while rest:
        one = rest.pop(0)
        option, given, _ = one.partition("=")
        if one in ("-", "--"):
            kept.append(one)
        elif option in ("--app", "--root"):
            kept += [one] if given else [one, *rest[:1]]
            del rest[: 0 if given else 1]
        elif one.startswith("-"):  # one that the verb does not have: what is behind it may be the value
            kept.append(f"{option}=…" if given else option)
            names = 1
        else:
            kept.append("…" if names else one.partition("=")[0])
            names += 1
    return kept


def git_call(words: list[str], reach: Reach) -> Git | None:
    """The half of Git that the words ask for; None where they ask for something else.

    Raises UnknownNameError for another repository than that of an app in reach, or for an option of Git's.
    """
    if words[:1] == ["git"] and len(words) > 1 and f"git-{words[1]}" in _GIT:
        words = [f"git-{words[1]}", *words[2:]]
    if words and words[0].startswith("git-lfs-"):  # its client asks before it lets Git push
        raise UnknownNameError(
            "an app's repository takes no files of Git LFS",
            hint="git push --no-verify pushrod HEAD:main pushes without them, and names those that are lacking; "
            "git lfs migrate export puts them into Git",
        )
    if not words or words[0] not in _GIT:
        return None
    service = _GIT[words[0]]
    there = service == "receive-pack" and words[1:2] == [git.THERE]
    names = words[2:] if there else words[1:]
    if len(names) != 1:
        raise refused(f"{words[0]} takes one app")
    name = re.sub(r"^(~/|/)?(.+?)(\.git)?/?$", r"\2", names[0])
    makes = service == "receive-pack" and not reach.apps and not there
    return Git(service, reach.permitted(check_name(name)), makes)


# ---- kinds of parameters ------------------------------------------------------------------------------------------

Kind = Callable[[Any, Reach], str]
"""What a parsed parameter may be: says what is wrong with a value, nothing where it may be that."""


def app(value: Any, reach: Reach) -> str:
    """An app that the key is for; without one it is the only one in reach, or none."""
    if value is not None:
        reach.permitted(check_name(value))
    return ""


def new_app(value: Any, reach: Reach) -> str:
    """A name for an app that may not be there yet; only a key for all apps gets here."""
    return app(value, reach)


def flag(value: Any, _: Reach) -> str:
    """On or off."""
    return "" if isinstance(value, bool) else "it is on or off"


def number(least: int, most: int) -> Kind:
    """A whole number within bounds; none is for the verb's own default."""

    def check(value: Any, _: Reach) -> str:
        fits = value is None or (isinstance(value, int) and least <= value <= most)
        return "" if fits else f"it is a number from {least} to {most}"

    return check


def matching(pattern: re.Pattern[str], what: str, *, empty: bool = False) -> Kind:
    """One text, or several, each of this form; `empty` allows the empty text too, where it is the verb's default."""

    def check(value: Any, _: Reach) -> str:
        texts = value if isinstance(value, tuple) else (value,)
        fits = all(isinstance(t, str) and (pattern.fullmatch(t) or (empty and not t)) for t in texts)
        return "" if fits else what

    return check


def sent(value: Any, _: Reach) -> str:
    """A file: the one that the client sends. None of the host is read for a key."""
    return "" if str(value) == "-" else "a file of the host is not for a key to read; - is what is sent"


def not_given(value: Any, _: Reach) -> str:
    """What is the host's own to say."""
    return "" if value is None else "it is not for a key to choose"


def here(value: Any, _: Reach) -> str:
    """A directory: only the default, which says nothing under the gate."""
    return "" if value == Path() else "a directory of the host is not for a key to name"


def chosen(_value: Any, _: Reach) -> str:
    """One of the verb's own choices, or none: its parser knows no other."""
    return ""


def for_all(name: str) -> Kind:
    """A choice of the verb's own, of which this one takes a key for all apps."""

    def check(value: Any, reach: Reach) -> str:
        return f"{name} is for a key of all apps" if value == name and reach.apps else ""

    return check


def manifest(value: Any, _: Reach) -> str:
    """A compose file, by its path in the app's own repository; no path of the host."""
    try:
        check_file(value)
    except UnknownNameError as e:
        return f"{e.what}: {e.hint}"
    return ""


def settings(value: Any, reach: Reach) -> str:
    """What of an app is said with KEY=VALUE: its compose file alone."""
    pairs = [text.partition("=") for text in value]
    if any((key, found) != ("file", "=") for key, found, _ in pairs):
        return "it is file=PATH, of a path in the repository"
    return next(filter(None, (manifest(path, reach) for _, _, path in pairs)), "")


def program(value: Any, _: Reach) -> str:
    """The words of a program that is run in the app's own container; an option is no program."""
    return "" if value and not value[0].startswith("-") else "a program's name cannot begin with a dash"


dash = matching(re.compile("-"), "- is what is sent; nothing else stands there")
word = matching(_WORD, "it is a name of letters, digits and _.:+-")
perhaps = matching(_WORD, "it is a name of letters, digits and _.:+-", empty=True)
count = matching(_COUNT, "it is SERVICE=N")
commit = matching(_COMMIT, "it is the whole id of a commit, which was sent before")
text = matching(_TEXT, "it is a short text of letters, digits and .:/", empty=True)

audited = matching(_FILTER, "it is a short text of letters, digits, spaces and @_.:/+-", empty=True)

# ---- what a key may run -------------------------------------------------------------------------------------------

_QUICK, _LONG, _DAY = 120, 4 * 3600, 24 * 3600


class Rule(NamedTuple):
    """A verb that a key may run: the kind of each parameter it has, how long it may take (seconds), whether it only
    looks, and whether it takes a key for all apps."""

    parameters: Mapping[str, Kind]
    seconds: int
    looks: bool = False
    whole: bool = False


_ROOT: dict[str, Kind] = {"root": not_given}
_APP: dict[str, Kind] = {"app_name": app, **_ROOT}
_JSON: dict[str, Kind] = {"as_json": flag}
_LOGS: dict[str, Kind] = {
    "service": perhaps,
    "follow": flag,
    "lines": number(0, 1_000_000),
    "release": number(0, 1 << 31),
    "edge": flag,
    "statuses": text,
    "slow": text,
}

VERBS: dict[str, Rule] = {
    "status": Rule(_APP | _JSON, _QUICK, looks=True),
    "releases": Rule(_APP | _JSON, _QUICK, looks=True),
    "logs": Rule(_APP | _JSON | _LOGS, _DAY, looks=True),
    "plan": Rule(_APP | _JSON | {"ref": commit, "file": manifest}, 600, looks=True),
    "rollback": Rule(_APP | {"number": number(0, 1 << 31), "across_migrations": flag}, _LONG),
    "restart": Rule(_APP, _LONG),
    "scale": Rule(_APP | {"counts": count}, _LONG),
    "down": Rule(_APP | {"directory": here}, _LONG),
    "maintenance on": Rule(_APP | {"allow": text, "retry_after": number(1, 31_536_000)}, _LONG),
    "maintenance off": Rule(_APP, _LONG),
    "exec": Rule(_APP | {"service": word, "argv": program}, _DAY),
    "run": Rule(_APP | {"service": perhaps, "argv": program}, _DAY),
    "secret set": Rule(_APP | {"name": word, "given": dash}, _QUICK),
    "secret import": Rule(_APP | {"file": sent}, _QUICK),
    "secret list": Rule(_APP | _JSON, _QUICK, looks=True),
    "secret unset": Rule(_APP | {"names": word}, _QUICK),
    "db backup": Rule(_APP | {"every": flag}, _LONG),
    "db backups": Rule(_APP | _JSON, _QUICK, looks=True),
    "db verify": Rule(_APP | {"when": perhaps}, _LONG),
    "db restore": Rule(_APP | {"when": word, "yes": flag}, _LONG),
    "cert list": Rule(_APP | _JSON, _QUICK, looks=True),
    "cert renew": Rule(_APP | {"every": flag, "force": flag}, _LONG),
    "cert set": Rule(_APP | {"certificate": sent, "key": not_given}, _QUICK),
    "cert unset": Rule(_APP, _QUICK),
    "apps list": Rule(_ROOT | _JSON, _QUICK, looks=True),
    "apps create": Rule(
        _ROOT | {"name": new_app, "port": number(1, 65535), "sha256": flag}, _QUICK, whole=True
    ),
    "apps set": Rule(_ROOT | {"name": app, "settings": settings}, _QUICK),
    "apps destroy": Rule(_ROOT | {"name": app, "yes": flag}, _LONG, whole=True),
    "image load": Rule(_ROOT | {"file": sent}, _LONG, whole=True),
    "audit": Rule(
        _APP
        | _JSON
        | {
            "what": for_all("verify"),
            "by": audited,
            "verb": audited,
            "result": chosen,
            "since": audited,
            "lines": number(0, 1_000_000),
        },
        600,
        looks=True,
    ),
    "doctor": Rule(_APP | _JSON | {"repair": flag}, 600, whole=True),
}
"""Every verb that a key may run, and every parameter of it. None of them is about the host."""

REFUSED = (*("new", "up", "deploy", "prune", "host", "hook", "recover", "gate", "apps allow"),)
"""The verbs that no key may run; what is here or below is refused as what nobody has heard of is."""

PUSH_SECONDS = 4 * 3600
"""How long a push may take: a build may take an hour, the release command another, and so may the wait for the app's
lock."""

FETCH_SECONDS = 3600
"""How long a fetch may take."""

NAMES = tuple(dict.fromkeys(path.split()[0] for path in VERBS))
"""The first words of the verbs, as people are told them."""


def rule(path: str, reach: Reach) -> Rule:
    """The rule for the verb of that path; UnknownNameError where a key may not run it."""
    found = VERBS.get(path)
    if found is None:
        raise refused(f"`{path}` is no verb that a key may run")
    if found.whole and reach.apps:
        raise refused(f"`{path}` is for a key of all apps")
    return found


def is_path(path: str, parameter: str) -> bool:
    """Whether a parameter of a verb would be a path of the host."""
    return VERBS[path].parameters.get(parameter) in (sent, here)


def judge(path: str, parameters: Mapping[str, Any], reach: Reach) -> None:
    """Refuse a parsed call with a parameter that a key may not give; UnknownNameError says which."""
    kinds = rule(path, reach).parameters
    for name, value in parameters.items():
        if name not in kinds:
            raise refused(f"`{path}` takes no {name} from a key")
        if wrong := kinds[name](value, reach):
            label = "--root" if name == "root" else name.removesuffix("_name")
            raise refused(f"{label} of `{path}`: {wrong}")


def refused(why: str) -> UnknownNameError:
    """The error for what is not allowed, with all that is."""
    return UnknownNameError(f"{_REFUSED}: {why}", hint=f"git push and fetch, and: {', '.join(NAMES)}")


def greeting(name: str, apps: Collection[str]) -> str:
    """What a key's owner is told who asks for nothing: who they are, and what they may do."""
    reach = ", ".join(sorted(apps)) or "every app, also a new one"
    return f"{name}: you may push to {reach}, and run {', '.join(NAMES)}"
