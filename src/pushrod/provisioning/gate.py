"""What a key may ask for over SSH: push to and fetch from an app, and some verbs. Pure.

sshd passes on the command line that the client sent (SSH_ORIGINAL_COMMAND). It is split as a shell would, but never
passed to a shell. The command line's own parser parses it; this module checks the resulting call, each parameter by
its kind, and that call is run. A verb or parameter that `verbs` does not allow for keys is refused.
"""

import re
import shlex
from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

from pushrod.adapters import git
from pushrod.core.errors import UnknownNameError
from pushrod.provisioning import verbs
from pushrod.provisioning.kinds import Reach, here, sent
from pushrod.provisioning.verbs import Rule
from pushrod.state.apps import check_name

MOST_WORDS = 1000
"""Words of one call; Linux itself allows 2 MiB of them."""

_GIT = {"git-receive-pack": "receive-pack", "git-upload-pack": "upload-pack"}
_REFUSED = "this key may not do that"


class Git(NamedTuple):
    """A push (`receive-pack`) to or fetch (`upload-pack`) from an app; `makes` means that a push may create the
    app."""

    service: str
    app: str
    makes: bool = False


# ---- the request ----------------------------------------------------------------------------------------------


def divide(command: str) -> list[str]:
    """Split what a client sent into words; raises UnknownNameError if it cannot be split or has too many."""
    try:
        words = shlex.split(command)
    except ValueError as e:
        raise refused(f"the command cannot be parsed: {e}") from e
    if len(words) > MOST_WORDS:
        raise refused(f"{len(words)} words; the limit is {MOST_WORDS}")
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
            "an app's repository accepts no Git LFS files",
            hint="git push --no-verify pushrod HEAD:main pushes without them, and names the missing ones; "
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


VERBS: dict[str, Rule] = {path: verb.key for path, verb in verbs.VERBS.items() if verb.key is not None}
"""Every verb that a key may run, with all of its allowed parameters. None of them concerns the host."""

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
        raise refused(f"`{path}` is not a verb that a key may run")
    if verb.all_apps and reach.apps:
        raise refused(f"`{path}` needs a key for all apps")
    return verb


def is_path(path: str, parameter: str) -> bool:
    """Whether a parameter of a verb would be a path of the host."""
    return VERBS[path].parameters.get(parameter) in (sent, here)


def judge(path: str, parameters: Mapping[str, Any], reach: Reach) -> None:
    """Refuse a parsed call with a parameter that a key may not give; the UnknownNameError names it."""
    kinds = rule(path, reach).parameters
    for name, value in parameters.items():
        if name not in kinds:
            raise refused(f"`{path}` accepts no {name} from a key")
        if wrong := kinds[name](value, reach):
            label = "--root" if name == "root" else name.removesuffix("_name")
            raise refused(f"{label} of `{path}`: {wrong}")


def refused(why: str) -> UnknownNameError:
    """The error for a call that is not allowed; its hint lists the allowed ones."""
    return UnknownNameError(f"{_REFUSED}: {why}", hint=f"git push and fetch, and: {', '.join(NAMES)}")


def greeting(name: str, apps: Collection[str]) -> str:
    """The message for a session without a command: the key's name, and what it may do."""
    reach = ", ".join(sorted(apps)) or "every app, also a new one"
    return f"{name}: you may push to {reach}, and run {', '.join(NAMES)}"
