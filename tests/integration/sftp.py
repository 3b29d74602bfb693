"""A real SFTP server on this machine: OpenSSH's sshd on loopback, with keys and settings of its own."""

import contextlib
import getpass
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

from devtools.apps import eventually
from devtools.servers import free_port
from pushrod.system import network

MISSING = "needs sshd: apt-get install openssh-server"
_SSHD = Path("/usr/sbin/sshd")
THERE = _SSHD.exists()
USER = getpass.getuser()

_SETTINGS = """\
ListenAddress 127.0.0.1:{port}
HostKey {directory}/host
AuthorizedKeysFile {directory}/authorized_keys
AuthenticationMethods publickey
PermitRootLogin yes
StrictModes no
UsePAM no
PidFile none
Subsystem sftp internal-sftp
"""


class Sshd:
    """One server; the public keys of `let_in` may log in."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.port = free_port()
        (directory / "sshd_config").write_text(_SETTINGS.format(port=self.port, directory=directory))
        self.let_in()
        self.make_key()
        self._process: subprocess.Popen[bytes] | None = None

    def let_in(self, *keys: str) -> None:
        """Let the owners of these public keys in, and nobody else."""
        (self.directory / "authorized_keys").write_text("".join(f"{key}\n" for key in keys))

    def make_key(self) -> None:
        """Give it a new key of its own, which it uses from its next start on."""
        key = self.directory / "host"
        key.unlink(missing_ok=True)
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True)

    def start(self) -> None:
        """Start it."""
        argv = [str(_SSHD), "-D", "-e", "-f", str(self.directory / "sshd_config")]
        if os.geteuid() == 0:  # it asks for /run/sshd then, which is not this machine's
            script = 'mount -t tmpfs none /run && mkdir -m 755 /run/sshd && exec "$@"'
            argv = ["unshare", "--mount", "sh", "-c", script, "sh", *argv]
        with (self.directory / "log").open("ab") as log:
            self._process = subprocess.Popen(argv, stdout=log, stderr=log, start_new_session=True)
        eventually(lambda: network.accepts(self.port), "sshd answers", 20)

    def stop(self) -> None:
        """End it, and its connections."""
        if self._process is not None:
            os.killpg(self._process.pid, signal.SIGTERM)
            self._process.wait(20)
            self._process = None


@contextlib.contextmanager
def sftp(directory: Path) -> Iterator[Sshd]:
    """Runs until the block ends."""
    directory.mkdir()
    server = Sshd(directory)
    server.start()
    try:
        yield server
    finally:
        server.stop()
