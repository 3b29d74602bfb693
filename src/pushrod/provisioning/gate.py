"""What a key may ask for over SSH: push to and fetch from an app, and some verbs. Pure.

sshd passes on the command line that the client sent (SSH_ORIGINAL_COMMAND). It is split as a shell would, but never
given to a shell. The command line's own parser interprets it; what is judged here is the resulting call, each
parameter by its kind, and that very call is run. A verb or parameter that is not in VERBS is refused.
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
"""Words of one call; Linux itself allows 2 MiB of them."""

_GIT = {"git-receive-pack": "receive-pack", "git-upload-pack": "upload-pack"}
_REFUSED = "this key may not do that"

# A name within the app: a service, an instance, a variable, a backup. Neither a path nor an option.
_WORD = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.:+-]{0,127}")
_COUNT = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}=[0-9]{1,3}")
_COMMIT = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?")
_FILTER = re.compile(r"[A-Za-z0-9 @_.:/+-]{1,80}")
_TEXT = re.compile(r"[A-Za-z0-9.:/]{1,64}")


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


class Git(NamedTuple):
    """A push (`receive-pack`) to or fetch (`upload-pack`) from an app; `makes` means that a push may create the
    app."""

    service: str
    app: str
    makes: bool = False


# ---- the request
# --------------------------------------------------------------------------------------------------


def divide(command: str) -> list[str]:
    """Split what a client sent into words; raises UnknownNameError if it cannot be split or has too many."""
    try:
        words = shlex.split(command)
    except ValueError as e:
        raise refused(f"the command cannot be read: {e}") from e
    if len(words) > MOST_WORDS:
        raise refused(f"these are {len(words)} words, and {MOST_WORDS} is the most")
    return words[1:] if words[:1] == ["pushrod"] else words


def without_values(words: list[str]) -> list[str]:
    """The words for the audit log, without a value that was wrongly given to `secret set`."""
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
        elif one.startswith("-"):  # an option the verb does not have: what follows may be the value
            kept.append(f"{option}=…" if given else option)
            names = 1
        else:
            kept.append("…" if names else one.partition("=")[0])
            names += 1
    return kept


def git_call(words: list[str], reach: Reach) -> Git | None:
    """The Git service that the words ask for; None if they ask for something else.

    Raises UnknownNameError for a repository that is not an app in reach, or for an option of Git's.
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
    return "" if str(value) == "-" else "a file of the host is not for a key to read; - is what is sent"


def not_given(value: Any, _: Reach) -> str:
    """A parameter that only the host may set."""
    return "" if value is None else "it is not for a key to choose"


def here(value: Any, _: Reach) -> str:
    """A directory: only the default, which has no effect under the gate."""
    return "" if value == Path() else "a directory of the host is not for a key to name"


def chosen(_value: Any, _: Reach) -> str:
    """One of the verb's own choices, or none: its parser accepts no other."""
    return ""


def for_all(name: str) -> Kind:
    """One of the verb's own choices, of which `name` requires a key for all apps."""

    def check(value: Any, reach: Reach) -> str:
        return f"{name} is for a key of all apps" if value == name and reach.apps else ""

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
        return "it is file=PATH, of a path in the repository"
    return next(filter(None, (manifest(path, reach) for _, _, path in pairs)), "")


def program(value: Any, _: Reach) -> str:
    """The argv of a program that runs in the app's own container; it must not begin with an option."""
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
    """A verb that a key may run: the kind of each parameter, the time limit in seconds, whether it is read-only
    (`looks`), and whether it needs a key for all apps (`whole`)."""

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
"""Every verb that a key may run, with all of its allowed parameters. None of them concerns the host."""

REFUSED = (*("new", "up", "deploy", "prune", "host", "hook", "recover", "gate", "apps allow"),)
"""The verbs that no key may run; these and everything below them are refused like unknown verbs."""

PUSH_SECONDS = 4 * 3600
"""Time limit of a push: a build may take an hour, the release command another, and so may waiting for the app's
lock."""

FETCH_SECONDS = 3600
"""Time limit of a fetch."""

NAMES = tuple(dict.fromkeys(path.split()[0] for path in VERBS))
"""The first words of the verbs, for messages."""


def rule(path: str, reach: Reach) -> Rule:
    """The rule for a verb; UnknownNameError if a key may not run it."""
    verb = VERBS.get(path)
    if verb is None:
        raise refused(f"`{path}` is no verb that a key may run")
    if verb.whole and reach.apps:
        raise refused(f"`{path}` is for a key of all apps")
    return verb


def is_path(path: str, parameter: str) -> bool:
    """Whether a parameter of a verb would be a path of the host."""
    return VERBS[path].parameters.get(parameter) in (sent, here)


def judge(path: str, parameters: Mapping[str, Any], reach: Reach) -> None:
    """Refuse a parsed call with a parameter that a key may not give; the UnknownNameError names it."""
    kinds = rule(path, reach).parameters
    for name, value in parameters.items():
        if name not in kinds:
            raise refused(f"`{path}` takes no {name} from a key")
        if wrong := kinds[name](value, reach):
            label = "--root" if name == "root" else name.removesuffix("_name")
            raise refused(f"{label} of `{path}`: {wrong}")


def refused(why: str) -> UnknownNameError:
    """The error for what is not allowed; its hint lists what is."""
    return UnknownNameError(f"{_REFUSED}: {why}", hint=f"git push and fetch, and: {', '.join(NAMES)}")


def greeting(name: str, apps: Collection[str]) -> str:
    """The message for a key that asks for nothing: its name, and what it may do."""
    reach = ", ".join(sorted(apps)) or "every app, also a new one"
    return f"{name}: you may push to {reach}, and run {', '.join(NAMES)}"
