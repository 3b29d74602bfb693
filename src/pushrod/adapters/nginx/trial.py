"""Test a tree: nginx reads it, within limits, before anything moves."""

import re
import signal
from collections.abc import Sequence
from pathlib import Path

from pushrod.core.errors import EdgeError
from pushrod.core.patterns import lazy
from pushrod.system import processes
from pushrod.system.accounts import Account

TEST_SECONDS, TEST_MEMORY = 10, 512 << 20
"""Processor seconds and bytes of its own memory that nginx may take to read a tree: each reload takes as much,
whichever app's change it is for.
"""

_EMERGENCY = lazy(r"\[emerg\] (?:\d+#\d+: )?(.+)")


def test(tree: Path, argv: Sequence[str], directory: Path, account: Account | None) -> None:
    """Let nginx (`argv`) read a tree, as the account it runs as, because it creates logs and temporary directories.

    Raises EdgeError if nginx refuses it, or takes too much.
    """
    limits = (f"--cpu={TEST_SECONDS}", f"--data={TEST_MEMORY}")
    tested = ["prlimit", *limits, "--", *argv, "-t"]
    done = processes.run(processes.as_account(tested, account), cwd=directory, timeout=3 * TEST_SECONDS)
    if done.status in (-signal.SIGXCPU, -signal.SIGKILL):
        raise EdgeError(
            f"reading the new configuration takes nginx more than {TEST_SECONDS} s, and each reload would",
            hint="use fewer routes, addresses, names or custom nginx lines; the edge stays as it was",
        )
    if done.status != 0:
        raise _refused(tree, tuple(done.stderr.splitlines()))


def _refused(tree: Path, lines: tuple[str, ...]) -> EdgeError:
    """nginx's error about a tree, with the line that it refers to, because the tree is removed.

    A snippet is named as it is in the repository.
    """
    message = next((m[1] for m in map(_EMERGENCY.search, lines) if m), "no reason given")
    where, hint = str(tree), "the edge stays as it was"
    match = re.search(r"^(.+) in (.+):(\d+)$", message)
    if match and Path(match[2]).is_relative_to(tree):
        path, number = Path(match[2]), int(match[3])
        name = path.relative_to(tree)
        if re.fullmatch(r"sites/[^/]+\.d", "/".join(name.parts[:2])):
            name, hint = Path(*name.parts[2:]), f"fix that line; {hint}"
        shown = path.read_text().split("\n")[number - 1].strip()
        message, where = match[1], f"{name}:{number}: {shown}"
    return EdgeError(
        f"nginx refuses the new configuration: {message}",
        where=where,
        hint=hint,
        log=tuple(line.replace(f"{tree}/", "") for line in lines),
    )
