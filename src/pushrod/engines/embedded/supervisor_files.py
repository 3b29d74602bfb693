"""The supervisor's files: pure rendering, one function for each file.

DIRECTORY/start                     a shell script that starts the daemon; needs no pushrod
DIRECTORY/programs/                 copies of our own small programs, which the other files refer to
DIRECTORY/supervisord.conf          the daemon
DIRECTORY/conf.d/<group>.conf       one group with its programs: names and our own paths
DIRECTORY/specs/<group>/<name>.json everything about a process, including passwords in its environment (0600)
DIRECTORY/locks/<group>.<name>      held by the process and its children: see `exec_wrapper`
"""

import configparser
import contextlib
import hashlib
import json
import math
import os
import re
import shlex
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec

from pushrod.core.errors import HostError
from pushrod.core.processes import Process
from pushrod.system import processes
from pushrod.system.accounts import Account

KEEPER_GROUP = "pushrod-keeper"

PROGRAMS = {
    "daemon.py": "supervisord_main.py",
    "keeper.py": "supervisord_watchdog.py",
    "namespace.py": "namespace.py",
    "launch.py": "exec_wrapper.py",
    "listener.py": "listener.py",
    "wakeup.py": "supervisord_plugin.py",
}
"""The modules beside this one that run on their own, with their names below ROOT. They use only the standard library
(`daemon.py` and `wakeup.py` also `supervisor`), so their copies keep working when pushrod is removed.
"""


class Place(NamedTuple):
    """The paths of one supervisor's files, and the account its processes run as."""

    directory: Path
    socket: Path
    account: Account | None

    @property
    def conf(self) -> Path:
        """The daemon's configuration."""
        return self.directory / "supervisord.conf"

    @property
    def start(self) -> Path:
        """The shell script that starts the daemon."""
        return self.directory / "start"

    def program(self, name: str) -> Path:
        """The copy of one of PROGRAMS."""
        return self.directory / "programs" / name

    @property
    def log(self) -> Path:
        """The daemon's own log."""
        return self.directory / "supervisord.log"

    @property
    def lock(self) -> Path:
        """Held while the daemon is started or stopped."""
        return self.directory / "lock"

    def group_conf(self, group: str) -> Path:
        """The configuration of a group."""
        return self.directory / "conf.d" / f"{group}.conf"

    def specs(self, group: str) -> Path:
        """The directory of a group's specs."""
        return self.directory / "specs" / group

    def spec(self, group: str, name: str) -> Path:
        """The spec that `exec_wrapper` reads for a process."""
        return self.specs(group) / f"{name}.json"

    def process_lock(self, group: str, name: str) -> Path:
        """The lock that a process and its children hold."""
        return self.directory / "locks" / f"{group}.{name}"


def render_start(place: Place, python: str) -> str:
    """The text of `start`. A copied or moved one refuses to start anything: its paths are absolute.

    pushrod and the keeper start the daemon by it too, so it is not a script that only emergencies test.
    """
    lines = [
        "#!/bin/sh",
        "# Starts the supervisor of this directory and its processes. Needs no pushrod. Rendered by pushrod.",
        f"directory={shlex.quote(str(place.directory))}",
        'if ! [ "$0" -ef "$directory/start" ]; then',
        """    echo "$0 was copied or moved from $directory: run 'pushrod up' with the new --root" >&2""",
        "    exit 1",
        "fi",
        "cd /",
        f'exec {shlex.quote(python)} -P "$directory/programs/daemon.py" -c "$directory/supervisord.conf" "$@"',
    ]
    return "\n".join(lines) + "\n"


def render_daemon(place: Place, *, descriptors: int, root: bool) -> str:
    """The text of supervisord.conf. `descriptors` is the number of open files that it must be allowed."""
    lines = [
        "[supervisord]",
        f"logfile={_value(place.log)}",
        "logfile_maxbytes=5MB",
        "logfile_backups=3",
        f"pidfile={_value(place.directory / 'supervisord.pid')}",
        "directory=/",
        f"childlogdir={_value(place.directory)}",
        "nocleanup=true",
        "umask=022",
        f"minfds={descriptors}",
        "minprocs=1",
        *(
            ["user=0"] if root else []
        ),  # explicit, or supervisord warns at every start; `exec_wrapper` changes the account
        "",
        "[unix_http_server]",
        f"file={_value(place.socket)}",
        "chmod=0700",
        "",
        "[rpcinterface:supervisor]",
        "supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface",
        "",
        "[rpcinterface:wakeup]",
        "supervisor.rpcinterface_factory=wakeup:install",
        "",
        "[supervisorctl]",
        f"serverurl=unix://{_value(place.socket)}",
        "",
        "[include]",
        "files=conf.d/*.conf",
    ]
    return "\n".join(lines) + "\n"


def render_group(place: Place, group: str, processes: Sequence[Process], python: str) -> str:
    """The text of conf.d/<group>.conf. It changes whenever a spec does, so that supervisord notices the change.

    A group starts and stops among the others according to its lowest priority.
    """
    head = [
        f"[group:{group}]",
        f"programs={','.join(_program(p) for p in processes)}",
        f"priority={min(p.priority for p in processes)}",
    ]
    parts = ["\n".join(head), *(_render_program(place, p, python) for p in processes)]
    return "\n\n".join(parts) + "\n"


def _render_program(place: Place, process: Process, python: str) -> str:
    digest = hashlib.sha256(specification(place, process).encode()).hexdigest()
    spec = place.spec(process.group, process.name)
    command = shlex.join([python, "-I", "-S", str(place.program("launch.py")), str(spec)])
    stop_as_group = "true" if process.stop_group else "false"
    lines = [
        f"[program:{_program(process)}]",
        f"process_name={process.name}",
        f"command={_value(command)}",
        f'environment=PUSHROD_SPEC="{digest}"',
        f"priority={process.priority}",
        "autostart=true",
        "autorestart=true",
        "startsecs=1",
        "startretries=1000000000",
        f"stopsignal={process.stop_signal}",
        f"stopwaitsecs={math.ceil(process.stop_grace)}",
        f"stopasgroup={stop_as_group}",
        "killasgroup=true",
        "redirect_stderr=true",
        f"stdout_logfile={_value(_value(process.log))}",  # expanded twice (4.3)
        "stdout_logfile_maxbytes=5MB",
        "stdout_logfile_backups=3",
    ]
    return "\n".join(lines)


def specs_named(conf: str) -> list[Path]:
    """The specs that a group's configuration names; none for a file that pushrod did not write."""
    specs = []
    for command in re.findall(r"^command=(.*)$", conf, re.MULTILINE):
        with contextlib.suppress(ValueError):  # an open quote
            argv = shlex.split(command.replace("%%", "%"))
            if [Path(a).name for a in argv[-2:-1]] == ["launch.py"]:
                specs.append(Path(argv[-1]))
    return specs


def is_group(conf: Path) -> bool:
    """Whether supervisord can parse a file as configuration: one bad file makes it refuse all."""
    parser = configparser.RawConfigParser(strict=False)
    try:
        parser.read_string(conf.read_text())
        groups = [parser[name] for name in parser.sections() if name.startswith("group:")]
        programs = {name for name in parser.sections() if name.startswith("program:")}
        programs |= {f"program:{name}" for group in groups for name in group["programs"].split(",")}
        return bool(programs) and all(parser[name]["command"] for name in programs)
    except (OSError, ValueError, KeyError, configparser.Error):
        return False


def specification(place: Place, process: Process) -> str:
    """The JSON that `exec_wrapper` reads: everything about a process that may be secret, or that an ini file could
    garble.
    """
    keep = process.group == KEEPER_GROUP
    account = None if keep else place.account
    argv = processes.as_account(process.argv, account, death_signal=process.death_signal)
    spec = {
        "program": process.argv[0],
        "argv": [_setpriv(), *argv[1:]] if argv[0] == "setpriv" else argv,
        "cwd": process.cwd,
        "environment": process.environment,
        "lock": str(place.process_lock(process.group, process.name)),
        "wait_for": list(process.wait_for),
        "death_signal": process.death_signal,
        "stop_grace": process.stop_grace,
        "stdin": keep,
    }
    if process.room:
        spec["room"] = msgspec.to_builtins(process.room)
    return json.dumps(spec, indent=2, sort_keys=True) + "\n"


def _setpriv() -> str:
    path = shutil.which("setpriv", path=f"{os.environ.get('PATH', '')}:{os.defpath}")
    if not path:
        raise HostError("setpriv is missing", hint="install util-linux 2.33 or newer")
    return path


def _program(process: Process) -> str:
    return f"{process.group}.{process.name}"  # no name contains a dot: unique


def _value(text: str | Path) -> str:
    """A value of an ini file as supervisord reads it. It expands `%`, and takes ` ;` and ` #` for a comment."""
    value = str(text)
    if re.search(r"[\n\r*?\[]| [;#]|^\s|\s$", value):
        raise HostError(
            "supervisord cannot use this path: it has a line break, `*`, `?`, `[`, or `;` or `#` after a space",
            where=value,
            hint="choose another directory with --root",
        )
    return value.replace("%", "%%")
