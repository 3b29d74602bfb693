"""The variables that sshd takes from a client for the account: the language of messages only.

They reach the session before pushrod starts. With others, such as LD_PRELOAD or PYTHONPATH, a client could make the
shell, or Python, load a file that it has pushed, so the gate would be too late. sshd's default is no more than these,
but an owner may have set `AcceptEnv` to accept more from everybody.
"""

import os
import tempfile
from pathlib import Path

from pushrod.adapters import systemd
from pushrod.core.errors import HostError, PushrodError
from pushrod.provisioning import account, changes
from pushrod.provisioning.changes import Work
from pushrod.system import processes

SETTINGS = Path("/etc/ssh/sshd_config.d/10-pushrod.conf")
"""Debian's and Ubuntu's sshd_config includes this directory."""

ACCEPTED = ("LANG", "LC_*")
_HARMLESS = (*ACCEPTED, "COLORTERM", "NO_COLOR", "GIT_PROTOCOL")
_TEXT = f"""\
# Written by `pushrod host init`. A variable of a client must not change what runs for the account.
Match User {account.NAME}
    AcceptEnv {" ".join(ACCEPTED)}
"""
_SSHD = "/usr/sbin/sshd"
_UNIT = "ssh.service"
_TIMEOUT = 30.0  # seconds
HINT = (
    f"have /etc/ssh/sshd_config include {SETTINGS.parent}/*.conf, and set AcceptEnv in no other Match block"
)


def plan() -> list[Work]:
    """The file with these settings, if this machine has an sshd that may read one."""
    if not SETTINGS.parent.is_dir():
        return []
    written = changes.file(SETTINGS, _TEXT.encode())

    def carry_out() -> None:
        written.carry_out()
        try:
            systemd.call("try-reload-or-restart", _UNIT)
        except PushrodError as e:
            SETTINGS.unlink()
            raise HostError(
                f"sshd cannot be reloaded: {e.what}", where=str(SETTINGS), hint=f"run {_SSHD} -t to see why"
            ) from e

    return [Work(written.change, carry_out)]


def accepts(config: Path | None = None) -> tuple[str, ...]:
    """The patterns of further variables that sshd takes from a client for the account, by its own reading of its
    configuration. Raises HostError if that cannot be read.

    sshd wants a host key even for this, and the account cannot read the machine's.
    """
    with tempfile.TemporaryDirectory() as directory:
        key = Path(directory) / "key"
        made = processes.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], timeout=_TIMEOUT)
        argv: list[str | Path] = [
            _SSHD,
            "-T",
            "-h",
            key,
            "-C",
            f"user={account.NAME},host=localhost,addr=127.0.0.1",
        ]
        argv += ["-f", config] if config else []
        done = processes.run(argv, timeout=_TIMEOUT) if made.status == 0 else made
    if done.status != 0:
        raise HostError(f"sshd's settings cannot be read: {(done.stderr or done.stdout).strip()}", hint=HINT)
    words = [line.split() for line in done.stdout.splitlines()]
    patterns = [w[1] for w in words if len(w) > 1 and w[0] == "acceptenv"]
    return tuple(pattern for pattern in patterns if pattern not in _HARMLESS)


def is_there() -> bool:
    """Whether this machine has an sshd."""
    return os.access(_SSHD, os.X_OK)
