"""`pushrod host init user@server`: the running pushrod, taken to a server over SSH and run there."""

import os
import shlex
from collections.abc import Callable, Sequence
from pathlib import Path

from pushrod.core.errors import HostError
from pushrod.provisioning import bundle, installer
from pushrod.provisioning.installation import PREFIX
from pushrod.provisioning.packages import APT_OPTIONS
from pushrod.system import processes
from pushrod.system.processes import Completed

_OPTIONS = (
    *("-o", "BatchMode=yes"),  # no prompts: there may be nobody to answer
    *("-o", "ConnectTimeout=15"),
    *("-o", "ServerAliveInterval=15"),
    *("-o", "ServerAliveCountMax=4"),
)
_QUICK = 60.0  # seconds for a short command
_LONG = 3600.0  # seconds for installing and for `host init`, which download packages
_WHOLE = 12 * 3600.0  # seconds for bringing all apps of a host back

OnLine = Callable[[str], None]


class Server:
    """A server reached by SSH, as root or as a user with passwordless sudo."""

    def __init__(self, target: str) -> None:
        if target.startswith("-"):
            raise HostError(f"`{target}` is not a server", hint="name it as ssh does: root@server")
        self.target = target
        self._root: tuple[str, ...] = ()

    def argv(self, *words: str) -> list[str]:
        """The ssh command that runs words there; GIT_SSH_COMMAND can replace ssh, as for a push."""
        program = shlex.split(os.environ.get("GIT_SSH_COMMAND") or "ssh")
        return [*program, *_OPTIONS, self.target, "--", shlex.join(words)]

    def open(self) -> None:
        """Check that it answers, that we can be root there, and that it has Python; HostError for each that
        fails."""
        identity = self._run("id", "-u")
        if identity.status != 0:
            raise unreachable(self.target, identity.stderr)
        if identity.stdout.strip() != "0":
            if self._run("sudo", "-n", "true").status != 0:
                raise HostError(
                    f"no root on {self.target}: you are not root there, and sudo asks for a password",
                    hint="use root@…, or a user with passwordless sudo",
                )
            self._root = ("sudo", "-n")
        if self._run("python3", "-I", "-c", "").status != 0:
            raise HostError(
                f"no python3 on {self.target}", hint="there: apt-get install python3 python3-venv"
            )

    def install(self, prefix: str, on_line: OnLine) -> None:
        """Install the running pushrod in `prefix` there."""
        raw = bundle.render(bundle.files())
        place = self._output_of("mktemp", "-d", "-t", "pushrod-XXXXXX")
        try:
            wheel = f"{place}/{bundle.name()}"
            self._send(wheel, raw)
            with Path(installer.__file__).open("rb") as source:
                argv = self.argv(*self._root, "python3", "-I", "-", prefix, wheel)
                done = processes.run(argv, stdin=source, timeout=_LONG, on_line=on_line)
        finally:
            self._run("rm", "-rf", place)
        if done.status != 0:
            raise HostError(
                f"pushrod could not be installed in {prefix} on {self.target}",
                hint="the lines above say why; fix it, then run this again",
            )

    def run(self, *words: str, on_line: OnLine, stdin: str | None = None, timeout: float = _LONG) -> int:
        """Run words there as root, passing on each line of output as it comes; returns the exit status."""
        argv = self.argv(*self._root, *words)
        return processes.run(argv, stdin=stdin, timeout=timeout, on_line=on_line).status

    def provide(self, program: str, package: str, on_line: OnLine) -> None:
        """Install a package of the distribution there, unless its program is there."""
        if self._run(program, "version").status == 0:
            return
        quiet = ("env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "-q", *APT_OPTIONS)
        for words in (("update",), ("install", "--no-install-recommends", package)):
            if self.run(*quiet, *words, on_line=on_line) != 0:
                raise HostError(
                    f"{package} could not be installed on {self.target}",
                    hint="the lines above say why; fix it, then run this again",
                )

    def can_try(self) -> bool:
        """Whether Python there can create an environment without first installing a package."""
        return self._run("python3", "-I", "-c", "import venv, ensurepip").status == 0

    def temporary(self) -> str:
        """A new directory there, to be removed by `remove_temporary`."""
        return self._output_of(*self._root, "mktemp", "-d", "-t", "pushrod-XXXXXX")

    def remove_temporary(self, place: str) -> None:
        """Remove a directory made by `temporary`."""
        self._run(*self._root, "rm", "-rf", place)

    def has(self, prefix: str) -> bool:
        """Whether `prefix` there contains exactly the running pushrod."""
        digest = self._run(*self._root, "cat", f"{prefix}/{installer.NAME}")
        return digest.status == 0 and digest.stdout.strip() == bundle.digest()

    def _send(self, path: str, raw: bytes) -> None:
        with bundle.spooled(raw) as source:
            done = processes.run(
                self.argv("sh", "-c", f"cat > {shlex.quote(path)}"), stdin=source, timeout=_LONG
            )
        if done.status != 0:
            raise unreachable(self.target, done.stderr)

    def _output_of(self, *words: str) -> str:
        done = self._run(*words)
        if done.status != 0:
            raise unreachable(self.target, done.stderr)
        return done.stdout.strip()

    def _run(self, *words: str) -> Completed:
        return processes.run(self.argv(*words), timeout=_QUICK)


def unreachable(target: str, words: str) -> HostError:
    """The error for a failed ssh connection, from ssh's own message."""
    last = next((line.strip() for line in reversed(words.splitlines()) if line.strip()), "ssh gave no reason")
    if "Permission denied" in words:
        return HostError(
            f"{target} refuses your key",
            hint=f"put it there: ssh-copy-id {target}; or start an agent that has it: ssh-add",
        )
    if "Host key verification failed" in words:
        return HostError(
            f"{target} is not known to this machine, or has another key than before",
            hint=f"ssh {target} once by hand, and compare the fingerprint",
        )
    return HostError(f"{target} cannot be reached: {last}", hint=f"try: ssh {target} true")


def initialise(target: str, options: Sequence[str], *, plan: bool, on_line: OnLine, out: OnLine) -> int:
    """Install pushrod there and run `pushrod host init`; with `plan`, leave nothing behind. Returns the exit
    status.

    `on_line` receives the installer's output, `out` the verb's.
    """
    server = Server(target)
    server.open()
    if not plan:
        server.install(str(PREFIX), on_line)
        return server.run(f"{PREFIX}/bin/pushrod", "host", "init", *options, on_line=out)
    if server.has(str(PREFIX)):
        return server.run(f"{PREFIX}/bin/pushrod", "host", "init", *options, on_line=out)
    if not server.can_try():
        raise HostError(
            f"{target} has no python3-venv, which --plan needs",
            hint="there: apt-get install python3-venv; or omit --plan, which then installs it",
        )
    place = server.temporary()
    try:
        server.install(f"{place}/pushrod", lambda _line: None)
        return server.run(f"{place}/pushrod/bin/pushrod", "host", "init", *options, on_line=out)
    finally:
        server.remove_temporary(place)


def rebuild(target: str, options: Sequence[str], credentials: str, *, on_line: OnLine, out: OnLine) -> int:
    """Make a server a host like `initialise`, and run `pushrod host restore` there, which reads `credentials`.

    Returns the exit status.
    """
    if status := initialise(target, (), plan=False, on_line=on_line, out=out):
        return status
    server = Server(target)
    server.open()
    server.provide("restic", "restic", on_line)
    words = (f"{PREFIX}/bin/pushrod", "host", "restore", *options, "--credentials", "-")
    return server.run(*words, stdin=credentials, on_line=out, timeout=_WHOLE)
