"""A server over SFTP, reached with a key of its own and nothing of the user's configuration.

The server's key is accepted when the server is seen first, and kept: later another key is refused.
"""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from pushrod.core.errors import HostError, StoreError
from pushrod.system import processes

_TIMEOUT = 40.0  # seconds
_REFUSED = ("Permission denied", "Too many authentication failures")


class Server(NamedTuple):
    """A server, and a path on it."""

    user: str
    host: str
    port: int
    path: str


def argv(directory: Path, server: Server, *, first: bool = False) -> list[str]:
    """The argv that speaks SFTP with a server. `directory` has the key and the known servers; with `first` the key of
    a server that is not known yet is accepted."""
    options = {
        "IdentityFile": directory / "id_ed25519",
        "IdentitiesOnly": "yes",
        "IdentityAgent": "none",
        "UserKnownHostsFile": directory / "known_hosts",
        "GlobalKnownHostsFile": "/dev/null",
        "StrictHostKeyChecking": "accept-new" if first else "yes",
        "BatchMode": "yes",
        "ConnectTimeout": "15",
        "ServerAliveInterval": "15",
        "ServerAliveCountMax": "4",
    }
    words = [word for name, value in options.items() for word in ("-o", f"{name}={value}")]
    return ["ssh", "-F", "none", *words, "-p", str(server.port), f"{server.user}@{server.host}", "-s", "sftp"]


def prepare(directory: Path, server: Server, note: Callable[[str], None]) -> None:
    """Make the key if there is none, and connect once. Raises StoreError, with what to do, if the server refuses."""
    key, known = directory / "id_ed25519", directory / "known_hosts"
    if not key.exists():
        words = ["-q", "-t", "ed25519", "-N", "", "-C", "pushrod-vault", "-f", str(key)]
        done = processes.run(["ssh-keygen", *words], timeout=_TIMEOUT)
        if done.status != 0:
            raise HostError("ssh-keygen failed", where=str(key), log=tuple(done.stderr.splitlines()[-5:]))
    new = not known.exists()
    done = processes.run(argv(directory, server, first=True), stdin="", timeout=_TIMEOUT)
    if done.status != 0:
        where, lines = f"{server.user}@{server.host} port {server.port}", tuple(done.stderr.splitlines()[-6:])
        if any(word in done.stderr for word in _REFUSED):
            raise StoreError(
                "the server does not let this machine in",
                where=where,
                hint=f"add this key to its ~/.ssh/authorized_keys, then run this again: {public(directory)}",
                log=lines,
            )
        if "Host key verification failed" in done.stderr:
            raise StoreError(
                "the server has another key than when it was set",
                where=where,
                hint=f"if you know why, remove {known}, then run this again",
                log=lines,
            )
        raise StoreError(
            "the server cannot be reached over SFTP",
            where=where,
            hint="check its name, port and sftp",
            log=lines,
        )
    if new:
        shown = processes.run(["ssh-keygen", "-l", "-f", str(known)], timeout=_TIMEOUT).stdout.strip()
        note(f"the server's key, which is expected from now on: {shown}")


def public(directory: Path) -> str:
    """The public key, as a line of authorized_keys; empty if there is none."""
    path = directory / "id_ed25519.pub"
    return path.read_text().strip() if path.exists() else ""
