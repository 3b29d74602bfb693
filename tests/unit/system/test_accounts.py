"""Accounts, tested with the real system."""

import os
from collections.abc import Callable
from pathlib import Path

from pushrod.system import accounts


def as_nobody(condition: Callable[[], bool]) -> bool:
    """Evaluate a condition in a process that has dropped root."""
    pid = os.fork()
    if pid == 0:
        status = 2
        try:
            os.setgroups([])
            os.setgid(65534)
            os.setuid(65534)
            status = 0 if condition() else 1
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def test_children_keep_the_user_if_it_is_not_root(tmp_path: Path) -> None:
    def condition() -> bool:
        return accounts.child_account([tmp_path]) is None

    assert as_nobody(condition) if os.geteuid() == 0 else condition()
