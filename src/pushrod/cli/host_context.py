"""What differs on a Docker host: its root is the default, root becomes the account, and a key sees only its
apps."""

import os
import pwd
import sys
from pathlib import Path
from typing import NamedTuple

import click

from pushrod.cli import recording
from pushrod.core.errors import HostError
from pushrod.engines import registry
from pushrod.provisioning import account, verbs
from pushrod.provisioning.kinds import Reach
from pushrod.state.apps import App, Root
from pushrod.system.files import os_error


def default_root() -> Path | None:
    """The host's root, for root and the account; None for other users, and if this machine is not a host."""
    entry = account.entry()
    if entry is None or os.geteuid() not in (0, entry.pw_uid):
        return None
    root = Root(Path(entry.pw_dir))
    return root.path if registry.traits(root).hosted else None


def given_root(root: str | None) -> str | None:
    """The root that the command line or PUSHROD_ROOT names."""
    return root or click.get_current_context().find_root().obj


def host_root(root: str | None) -> Root:
    """The host's root: --root or PUSHROD_ROOT, else the account's home."""
    entry = account.entry()
    return Root(Path(given_root(root) or (entry.pw_dir if entry else account.HOME)))


def as_root(root: str | None, arguments: str, app: str = "") -> Root:
    """The host's root, for a command that only root may call, and that is recorded. Raises HostError for others."""
    where = host_root(root)
    if os.geteuid() != 0:
        raise HostError("only root may change this", hint=f"sudo pushrod host {arguments}")
    recording.begun(where, app)
    return where


def stepped_down(root: Root) -> Root:
    """The root, as the account: if root runs the command, this process is replaced by the same command run as the
    account.

    No file of an app may belong to root: the next push, which runs as the account, could not change it.
    """
    if os.geteuid() != 0 or not registry.traits(root).hosted or verbs.find(_verb()).stays_root:
        return root
    entry = account.entry()
    if entry is None:
        raise HostError(f"there is no account `{account.NAME}`", hint="pushrod host init")
    argv = step_down(entry, [sys.executable, "-P", "-m", "pushrod", *sys.argv[1:]])
    environment = {**os.environ, "HOME": entry.pw_dir, "USER": entry.pw_name, "LOGNAME": entry.pw_name}
    environment[recording.BY] = recording.local_caller().by
    sys.stdout.flush()
    try:
        os.execvpe(argv[0], argv, environment)  # noqa: S606
    except OSError as e:
        raise os_error(e, argv[0]) from e


def step_down(entry: pwd.struct_passwd, argv: list[str]) -> list[str]:
    """The argv that runs `argv` as the account, with the account's own groups."""
    return ["setpriv", f"--reuid={entry.pw_uid}", f"--regid={entry.pw_gid}", "--init-groups", "--", *argv]


def _verb() -> str:
    return click.get_current_context().command_path.partition(" ")[2]


class Caller(NamedTuple):
    """A caller over SSH: the name of its key, the root in the key's line, and the apps it may access."""

    key: str
    root: Root
    reach: Reach


CALLER = "pushrod.caller"
"""The key of the caller in the context of a call through the gate."""


PUSHER = "PUSHROD_PUSHER_APPS"
"""The variable with the apps of the pusher's key, separated by commas, for the hooks of a push; empty means all. No
client can set it, because the gate drops all of their variables."""


def caller() -> Caller | None:
    """The caller over SSH; None if the command line runs locally."""
    context = click.get_current_context(silent=True)
    return context.meta.get(CALLER) if context else None


def permitted(name: str) -> str:
    """Return the app's name if the caller may name it: over SSH, a key can be limited to some apps."""
    who = caller()
    return who.reach.permitted(name) if who else name


def may_push(name: str) -> bool:
    """Whether the caller may push to an app; a local caller and a key for all apps always may."""
    who = caller()
    apps = who.reach.apps if who else [n for n in os.environ.get(PUSHER, "").split(",") if n]
    return not apps or name in apps


def visible(root: Root) -> list[App]:
    """The apps of a root that the caller may see."""
    who = caller()
    return [app for app in root.apps() if not who or not who.reach.apps or app.name in who.reach.apps]
