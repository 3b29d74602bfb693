"""The account that deploys: `pushrod`, whose home is the root, in the group that may talk to the Docker engine."""

import contextlib
import grp
import pwd
from pathlib import Path

from pushrod.core.errors import HostError
from pushrod.provisioning.work import Change, Work
from pushrod.system import processes

NAME = "pushrod"
GROUP = "docker"
SHELL = "/bin/sh"
HOME = Path("/var/lib/pushrod")
"""Where the root of a host is, unless `--root` says otherwise."""


def entry() -> pwd.struct_passwd | None:
    """The account as the system knows it; None while it is not there."""
    with contextlib.suppress(KeyError):
        return pwd.getpwnam(NAME)
    return None


def owner() -> tuple[int, int]:
    """The account's user and group. Raises KeyError while it is not there."""
    found = pwd.getpwnam(NAME)
    return found.pw_uid, found.pw_gid


def argv(root: Path, found: pwd.struct_passwd | None, member: bool) -> list[list[str]]:
    """The commands that make the account what it should be: none where it is."""
    commands = []
    if found is None:
        create = ["useradd", "--system", "--user-group", "--home-dir", str(root), "--no-create-home"]
        commands.append([*create, "--shell", SHELL, NAME])
        # No password fits `*`, but unlike `!` it does not lock the account: sshd lets its keys in (sshd(8)).
        commands.append(["usermod", "--password", "*", NAME])
    elif (found.pw_dir, found.pw_shell) != (str(root), SHELL):
        commands.append(["usermod", "--home", str(root), "--shell", SHELL, "--password", "*", NAME])
    if not member:
        commands.append(["usermod", "--append", "--groups", GROUP, NAME])
    return commands


def is_member() -> bool:
    """Whether the account is in the group that may talk to the Docker engine, which is as much as being root."""
    with contextlib.suppress(KeyError):
        return NAME in grp.getgrnam(GROUP).gr_mem
    return False


def plan(root: Path) -> list[Work]:
    """Make the account, or bring it up to what it should be."""
    found, member = entry(), is_member()
    commands = argv(root, found, member)
    if not commands:
        return [Work(Change(f"account {NAME}", "same"))]
    detail = f"home {root}, in group {GROUP}, no password; SSH keys only"
    return [Work(Change(f"account {NAME}", "changed" if found else "new", detail), lambda: _run(commands))]


def _run(commands: list[list[str]]) -> None:
    for command in commands:
        done = processes.run(command, timeout=60)
        if done.status != 0:
            raise HostError(
                f"{command[0]} failed: {done.stderr.strip()}", hint=f"run by hand: {' '.join(command)}"
            )
