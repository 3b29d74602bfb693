"""The systemd unit that starts a root without Docker at boot: the system's for root, the user's own for others."""

import hashlib
import os
from pathlib import Path
from typing import NamedTuple

from pushrod.adapters.systemd.manager import failed
from pushrod.adapters.systemd.units import DIRECTORY, check_paths
from pushrod.adapters.templates import fill, read
from pushrod.core.errors import HostError
from pushrod.system import damaged_paths, files, processes
from pushrod.system.accounts import user_name

_FILES = Path(__file__).with_name("files") / "boot"
_HEAD = "# Written by `pushrod service install`. To change it, add a drop-in: systemctl edit NAME\n\n"
_RUNS = Path("/run/systemd/system")  # exists if systemd is process 1 (sd_booted(3))
_TIMEOUT = 150.0  # seconds; a stop before a start may take TimeoutStopSec


class BootUnit(NamedTuple):
    """The unit of one root. `home` is the home directory of the user who runs pushrod, `user` is their ID, 0 for
    root.
    """

    root: Path
    home: Path
    user: int

    @classmethod
    def of(cls, root: Path) -> "BootUnit":
        """The unit of a root for the user who runs this command."""
        return cls(root, Path.home(), os.geteuid())

    @property
    def name(self) -> str:
        """The unit's name: one for each root, because a machine may have several."""
        return f"pushrod-root-{hashlib.sha256(os.fsencode(self.root)).hexdigest()[:8]}.service"

    @property
    def path(self) -> Path:
        """The unit's file (systemd.unit(5), the administrator's and the user's directory)."""
        own = Path(os.environ.get("XDG_CONFIG_HOME") or self.home / ".config") / "systemd" / "user"
        return (own if self.user else DIRECTORY) / self.name

    @property
    def timed(self) -> tuple[str, str]:
        """The names of the units that write metrics: a service, and the timer that starts it."""
        stem = self.name.removesuffix(".service")
        return f"{stem}-metrics.service", f"{stem}-metrics.timer"

    @property
    def installed(self) -> bool:
        """Whether the unit exists."""
        return self.path.is_file()

    def text(self) -> str:
        """The unit's text. Raises HostError for a path that would need quoting in it."""
        check_paths(self.root, self.home)
        template = _FILES / ("user.service" if self.user else "system.service")
        return _HEAD + fill(read(template), root=str(self.root), home=str(self.home))

    def timed_texts(self, program: Path) -> dict[Path, str]:
        """The texts of those units by their paths; `program` is the pushrod that writes the metrics."""
        check_paths(self.root, self.home, program)
        values = {"root": str(self.root), "home": str(self.home), "pushrod": str(program)}
        return {
            self.path.with_name(name): _HEAD + fill(read(_FILES / f"metrics{Path(name).suffix}"), **values)
            for name in self.timed
        }

    def install(self, metrics: Path | None = None) -> None:
        """Write the unit and have systemd start it at boot; running processes are not affected. With `metrics`, a
        pushrod, systemd also has it write metrics now and regularly; without, no longer.

        Raises HostError, and leaves nothing behind, if systemd does not run or does not accept the unit.
        """
        if not _RUNS.is_dir():
            raise HostError(
                "systemd does not run on this machine",
                hint="start ROOT/supervisor/start at boot by other means",
            )
        if self.user:
            _linger()
        text = self.text()
        damaged_paths.make_way(self.path)
        files.write(self.path, text, mode=0o644)
        try:
            self._call("daemon-reload")
            self._call("enable", self.name)
        except HostError:
            files.remove(self.path)
            raise
        self._stop_timer()
        if metrics:
            for path, content in self.timed_texts(metrics).items():
                files.write(path, content, mode=0o644)
            self._call("daemon-reload")
            self._call("enable", "--now", self.timed[1])

    def _stop_timer(self) -> None:
        paths = [self.path.with_name(name) for name in self.timed]
        if any(path.exists() for path in paths):
            self._call("disable", "--now", self.timed[1])
            for path in paths:
                files.remove(path)
            self._call("daemon-reload")

    def remove(self) -> None:
        """Stop starting it at boot; running processes keep running."""
        self._stop_timer()
        if not self.installed:
            return
        self._call("disable", self.name)
        files.remove(self.path)
        self._call("daemon-reload")

    def start(self) -> None:
        """Start the unit now. Raises HostError with the end of its log if systemd cannot."""
        self._call("start", self.name)

    def enabled(self) -> bool:
        """Whether systemd starts it at boot."""
        return self._systemctl("is-enabled", "--quiet", self.name).status == 0

    def _call(self, *argv: str) -> None:
        done = self._systemctl(*argv)
        if done.status != 0:
            option = ["--user"] if self.user else []
            raise failed([*option, *argv], done, unit=self.name, where=str(self.path))

    def _systemctl(self, *argv: str) -> processes.Completed:
        # A command run by sudo, su or cron has no session; systemd's user manager is at this path (pam_systemd(8)).
        manager = {"XDG_RUNTIME_DIR": f"/run/user/{self.user}"} if self.user else {}
        option = ["--user"] if self.user else []
        return processes.run(["systemctl", *option, *argv], env={**os.environ, **manager}, timeout=_TIMEOUT)


def _linger() -> None:
    """Make the user's manager start at boot instead of at the first login (loginctl(1), enable-linger)."""
    name = user_name()
    shown = processes.run(["loginctl", "show-user", name, "--property=Linger", "--value"])
    if shown.stdout.strip() == "yes":
        return
    done = processes.run(["loginctl", "--no-ask-password", "enable-linger"])
    if done.status != 0:
        raise HostError(
            f"systemd starts services of {name} only at login: {done.stderr.strip()}",
            hint=f"as root: loginctl enable-linger {name}; then try again",
        )
