"""What is different on a Docker host: its root is found by itself, root steps down, and a key sees its own apps."""

import os
import pwd
import sys
from pathlib import Path
from typing import NamedTuple

import click

from pushrod.cli import recording
from pushrod.core.errors import HostError
from pushrod.provisioning import account, gate
from pushrod.state.apps import App, Root
from pushrod.system.files import os_error

_AS_ROOT = ("apps allow", "audit")
"""Verbs about a root that need root itself; `host` and what is below it never come here."""


def default_root() -> Path | None:
    """The host's root, for root and for the account itself; None for others, and where there is no host."""
    found = account.entry()
    if found is None or os.geteuid() not in (0, found.pw_uid):
        return None
    root = Root(Path(found.pw_dir))
    return root.path if root.host_settings_path.exists() else None


def stepped_down(root: Root) -> Root:
    """The root, as the account: where root asks, this process becomes the same command run by the account.

    Nothing of an app may belong to root: the next push, which is the account's, could not change it.
    """
    if os.geteuid() != 0 or not root.host_settings_path.exists() or _verb() in _AS_ROOT:
        return root
    found = account.entry()
    if found is None:
        raise HostError(f"there is no account `{account.NAME}`", hint="pushrod host init")
    argv = step_down(found, [sys.executable, "-P", "-m", "pushrod", *sys.argv[1:]])
    environment = {**os.environ, "HOME": found.pw_dir, "USER": found.pw_name, "LOGNAME": found.pw_name}
    environment[recording.BY] = recording.asked_here().by
    sys.stdout.flush()
    try:
        os.execvpe(argv[0], argv, environment)  # noqa: S606
    except OSError as e:
        raise os_error(e, argv[0]) from e


def step_down(found: pwd.struct_passwd, argv: list[str]) -> list[str]:
    """The argv that runs `argv` as the account, with the account's own groups."""
    return ["setpriv", f"--reuid={found.pw_uid}", f"--regid={found.pw_gid}", "--init-groups", "--", *argv]


def _verb() -> str:
    return click.get_current_context().command_path.partition(" ")[2]


class Caller(NamedTuple):
    """Who asks over SSH: the name of their key, the root that the key's line names, and the apps it is for."""

    key: str
    root: Root
    reach: gate.Reach


CALLER = "pushrod.caller"
"""Where the context of a call that came through the gate has its caller."""


PUSHER = "PUSHROD_PUSHER_APPS"
"""By this variable, which no client can set (the gate keeps none of theirs), the hooks of a push know the apps that
the pusher's key is for, divided by commas; none means all."""


def caller() -> Caller | None:
    """Who asks over SSH; None where somebody runs the command line here."""
    context = click.get_current_context(silent=True)
    return context.meta.get(CALLER) if context else None


def permitted(name: str) -> str:
    """The app's name, if who asks may name it: over SSH, a key can be for some apps only."""
    who = caller()
    return who.reach.permitted(name) if who else name


def may_push(name: str) -> bool:
    """Whether who asks may push an app: whoever has no key may push all, and so does a key for all apps."""
    who = caller()
    apps = who.reach.apps if who else [n for n in os.environ.get(PUSHER, "").split(",") if n]
    return not apps or name in apps


def visible(root: Root) -> list[App]:
    """The apps of a root that who asks may see."""
    who = caller()
    return [app for app in root.apps() if not who or not who.reach.apps or app.name in who.reach.apps]
