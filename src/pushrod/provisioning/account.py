"""The account that deploys: `pushrod`, whose home is the root, a member of the group that may use the Docker
engine."""

import contextlib
import grp
import pwd
from pathlib import Path

from pushrod.core.errors import HostError
from pushrod.provisioning.changes import Change, Work
from pushrod.system import processes

NAME = "pushrod"
GROUP = "docker"
SHELL = "/bin/sh"
HOME = Path("/var/lib/pushrod")
"""The root of a host, unless `--root` names another."""


def entry() -> pwd.struct_passwd | None:
    """The account's entry; None if it does not exist."""
    with contextlib.suppress(KeyError):
        return pwd.getpwnam(NAME)
    return None


def owner() -> tuple[int, int]:
    """The account's user and group. Raises KeyError if it does not exist."""
    record = pwd.getpwnam(NAME)
    return record.pw_uid, record.pw_gid


def argv(root: Path, existing: pwd.struct_passwd | None, member: bool) -> list[list[str]]:
    """The commands that create or correct the account; empty if nothing is needed."""
    commands = []
    if existing is None:
        create = ["useradd", "--system", "--user-group", "--home-dir", str(root), "--no-create-home"]
        commands.append([*create, "--shell", SHELL, NAME])
        # No password matches `*`, but unlike `!` it does not lock the account: sshd still accepts its keys
        # (sshd(8)).
        commands.append(["usermod", "--password", "*", NAME])
    elif (existing.pw_dir, existing.pw_shell) != (str(root), SHELL):
        commands.append(["usermod", "--home", str(root), "--shell", SHELL, "--password", "*", NAME])
    if not member:
        commands.append(["usermod", "--append", "--groups", GROUP, NAME])
    return commands


def is_member() -> bool:
    """Whether the account is in the group that may use the Docker engine, which is equivalent to root."""
    with contextlib.suppress(KeyError):
        return NAME in grp.getgrnam(GROUP).gr_mem
    return False


def plan(root: Path) -> list[Work]:
    """Create the account, or correct it."""
    existing, member = entry(), is_member()
    commands = argv(root, existing, member)
    if not commands:
        return [Work(Change(f"account {NAME}", "same"))]
    detail = f"home {root}, in group {GROUP}, no password; SSH keys only"
    return [Work(Change(f"account {NAME}", "changed" if existing else "new", detail), lambda: _run(commands))]


def _run(commands: list[list[str]]) -> None:
    for command in commands:
        done = processes.run(command, timeout=60)
        if done.status != 0:
            raise HostError(
                f"{command[0]} failed: {done.stderr.strip()}", hint=f"run by hand: {' '.join(command)}"
            )
