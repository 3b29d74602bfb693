"""Commands of the lab: run to their end; failures become one error."""

import os
from collections.abc import Sequence

from pushrod.system import processes

LONGEST = 1800.0  # seconds for one command; the longest, the base, takes 20 from a near mirror


class LabError(Exception):
    """The lab cannot be prepared on this machine; the message says what to do."""


def docker(*argv: str) -> str:
    """The output of a command of the Docker client."""
    return run(["docker", *argv])


def run(argv: Sequence[str], longest: float = LONGEST) -> str:
    """The output of a command of `longest` seconds at most; LabError with the end of its output if it failed."""
    env = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    done = processes.run(argv, env=env, timeout=longest)
    if done.status:
        last = "\n".join((done.stdout + done.stderr).splitlines()[-20:])
        raise LabError(f"`{' '.join(argv)}` ended with status {done.status}:\n{last}")
    return done.stdout


def report(line: str) -> None:
    """Print a line of progress."""
    print(f"lab: {line}", flush=True)
