"""What the owner of a key may ask for over SSH: push to and fetch from an app, and some of the verbs. Pure.

sshd hands over the words that the client sent (SSH_ORIGINAL_COMMAND). They are split as a shell would, and never
given to one.
"""

import re
import shlex
from collections.abc import Collection
from typing import NamedTuple

from pushrod.apps import check_name
from pushrod.errors import UnknownNameError
from pushrod.gears import git

APPS = "PUSHROD_KEY_APPS"
"""The variable that tells the verbs which apps a key is for, divided by commas; unset for all of them."""

VERBS = (
    *("status", "releases", "logs", "plan", "rollback", "restart", "scale", "down"),
    *("maintenance", "exec", "run", "secret", "db", "cert", "apps", "image", "doctor"),
)
"""The verbs that a key may run: about an app that is there. None of them is about the host."""

_WHOLE = {"doctor", "apps create", "apps destroy", "image load"}
"""What only a key for all apps may run: it looks at every app, makes and removes them, or replaces what they are
made from."""

_SUBVERBS = {
    "apps": {"list", "create", "destroy"},
    "image": {"load"},
    "db": {"backup", "backups", "verify", "restore"},
    "cert": {"list", "renew", "set", "unset"},
    "secret": {"set", "import", "list", "unset"},
    "maintenance": {"on", "off"},
}
_SENT = {"secret import", "image load"}
"""What reads a file, which must be the one that the client sends."""

_GIT = {"git-receive-pack": "receive-pack", "git-upload-pack": "upload-pack"}
_REFUSED = "this key may not do that"


class Git(NamedTuple):
    """A push (`receive-pack`) or a fetch (`upload-pack`) of an app; `makes` says that a push may make the app."""

    service: str
    app: str
    makes: bool = False


class Verb(NamedTuple):
    """A verb of pushrod with its arguments."""

    argv: tuple[str, ...]


def read(command: str, apps: Collection[str]) -> Git | Verb | None:
    """What a client asks for; None where it asks for nothing. `apps` are those of the key; none means all.

    Raises UnknownNameError for everything that is not allowed.
    """
    try:
        words = shlex.split(command)
    except ValueError as e:
        raise refused(f"the command cannot be read: {e}") from e
    if not words:
        return None
    if words[0] in _GIT:
        return _git(words, apps)
    if words[0] == "git" and len(words) > 1 and f"git-{words[1]}" in _GIT:
        return _git([f"git-{words[1]}", *words[2:]], apps)
    return _verb(words[1:] if words[0] == "pushrod" else words, apps)


def _git(words: list[str], apps: Collection[str]) -> Git:
    service = _GIT[words[0]]
    makes = service == "receive-pack" and not apps and words[1:2] != [git.THERE]
    names = words[1:] if words[1:2] != [git.THERE] else words[2:]
    if len(names) != 1:
        raise refused(f"{words[0]} takes one app")
    name = re.sub(r"^(~/|/)?(.+?)(\.git)?/?$", r"\2", names[0])
    return Git(service, permitted(check_name(name), apps), makes)


def permitted(app: str, apps: Collection[str]) -> str:
    """The app, if a key with these apps may name it."""
    if apps and app not in apps:
        raise UnknownNameError(f"this key is not for `{app}`", hint=f"it is for {', '.join(sorted(apps))}")
    return app


def _verb(words: list[str], apps: Collection[str]) -> Verb:
    verb = words[0] if words else ""
    if verb not in VERBS:
        raise refused(f"`{verb}` is no verb that a key may run")
    own = words[: words.index("--")] if "--" in words else words
    if any(word.startswith("--root") for word in own):
        raise refused("--root is not for a key to choose")
    if verb in _SUBVERBS:
        if len(words) < 2 or words[1] not in _SUBVERBS[verb]:
            raise refused(f"`{' '.join(words[:2])}` is no verb that a key may run")
        verb = f"{verb} {words[1]}"
    if verb in _WHOLE and apps:
        raise refused(f"`{verb}` is for a key of all apps")
    if verb in _SENT and words[2:3] != ["-"]:
        raise refused(f"a file of the host is not for a key to read: `{verb} -` reads what is sent")
    if verb == "cert set" and (words[2:4] != ["--certificate", "-"] or words[4::2] not in ([], ["--app"])):
        raise refused(
            f"a file of the host is not for a key to read: `{verb} --certificate -` reads what is sent"
        )
    if verb == "down" and any("/" in word for word in words):
        raise refused("a directory of the host is not for a key to name")
    return Verb(tuple(words))


def refused(why: str) -> UnknownNameError:
    """The error for what is not allowed, with all that is."""
    return UnknownNameError(f"{_REFUSED}: {why}", hint=f"git push and fetch, and: {', '.join(VERBS)}")


def greeting(name: str, apps: Collection[str]) -> str:
    """What a key's owner is told who asks for nothing: who they are, and what they may do."""
    reach = ", ".join(sorted(apps)) or "every app, also a new one"
    return f"{name}: you may push to {reach}, and run {', '.join(VERBS)}"
