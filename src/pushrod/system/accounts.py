"""The accounts of this machine: who runs a command, and which account its children run as."""

import contextlib
import getpass
import os
import pwd
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from pushrod.core.errors import HostError, StoreError


class Account(NamedTuple):
    """An operating system account that children run as; `reach` names the capability it needs to pass closed
    directories above its files, empty if it needs none."""

    name: str
    uid: int
    gid: int
    reach: str = ""


def user_name() -> str:
    """The user who runs this command; its number if the user has no name, as in many containers."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # KeyError before Python 3.13
        return str(os.geteuid())


def child_account(paths: Sequence[Path]) -> Account | None:
    """The account that supervised children run as; None if pushrod is not root (they run as the current user).

    Under root it is `pushrod` if that account exists, else `nobody`: PostgreSQL refuses to run as root, and nothing
    else needs root. If a directory above one of `paths` is closed to the account (a checkout below a 0700 home),
    the children get the one capability that passes it.
    """
    if os.geteuid() != 0:
        return None
    entry = _account_entry()
    closed = any(not _reachable(p, entry.pw_uid, entry.pw_gid) for p in paths)
    return Account(entry.pw_name, entry.pw_uid, entry.pw_gid, _reach_capability() if closed else "")


def check_data_owner(data: Path, account: Account | None) -> None:
    """Raise StoreError if a store's data does not belong to the account that its server runs as."""
    expected, owner = account.uid if account else os.geteuid(), data.stat().st_uid
    if owner != expected:
        raise StoreError(
            f"the data belongs to user {owner}, and the server would run as user {expected}",
            where=str(data),
            hint=f"run pushrod as before, or change its owner: chown -R {expected} {data}",
        )


def children_group() -> int | None:
    """The group of the account that supervised children run as; None if they run as the current user.

    Raises HostError if there is no such account.
    """
    return None if os.geteuid() != 0 else _account_entry().pw_gid


def _account_entry() -> pwd.struct_passwd:
    for name in ("pushrod", "nobody"):
        with contextlib.suppress(KeyError):
            return pwd.getpwnam(name)
    raise HostError(
        "no account for supervised children: neither `pushrod` nor `nobody` exists",
        hint="create one: useradd --system --no-create-home --shell /usr/sbin/nologin pushrod",
    )


def _reachable(path: Path, uid: int, gid: int) -> bool:
    for directory in (path.resolve(), *path.resolve().parents):
        if not directory.is_dir():
            continue
        st = directory.stat()
        bit = 0o100 if st.st_uid == uid else 0o010 if st.st_gid == gid else 0o001
        if not st.st_mode & bit:
            return False
    return True


def _reach_capability() -> str:
    """The smallest capability in this process's bounding set that passes closed directories; empty if there is
    none."""
    bounding = 0
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("CapBnd:"):
            bounding = int(line.split()[1], 16)
    # Numbers from capabilities(7) and linux/capability.h: CAP_DAC_OVERRIDE is 1, CAP_DAC_READ_SEARCH is 2.
    for name, number in (("dac_read_search", 2), ("dac_override", 1)):
        if bounding >> number & 1:
            return name
    return ""
