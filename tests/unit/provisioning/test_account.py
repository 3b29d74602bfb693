"""The account: the commands that create or correct it."""

import pwd
from pathlib import Path

from pushrod.provisioning import account

ROOT = Path("/var/lib/pushrod")


def entry(home: str, shell: str) -> pwd.struct_passwd:
    return pwd.struct_passwd(("pushrod", "x", 990, 990, "", home, shell))


def test_a_new_account_has_no_password_and_is_not_locked() -> None:
    made, unlocked, joined = account.argv(ROOT, None, False)
    assert made[0] == "useradd"
    assert made[made.index("--home-dir") :][:2] == ["--home-dir", "/var/lib/pushrod"]
    assert unlocked == ["usermod", "--password", "*", "pushrod"]
    assert joined == ["usermod", "--append", "--groups", "docker", "pushrod"]


def test_an_existing_account_is_adapted() -> None:
    (command,) = account.argv(ROOT, entry("/nonexistent", "/usr/sbin/nologin"), True)
    assert command[:5] == ["usermod", "--home", "/var/lib/pushrod", "--shell", "/bin/sh"]


def test_a_correct_account_is_unchanged() -> None:
    assert account.argv(ROOT, entry("/var/lib/pushrod", "/bin/sh"), True) == []
