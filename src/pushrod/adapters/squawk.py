"""squawk: the linter for PostgreSQL's migrations (https://squawkhq.com), used if it is installed beside pushrod or on
PATH.
"""

import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec

from pushrod.adapters import sandbox
from pushrod.core.errors import HostError
from pushrod.system import processes

_TIME = 20.0  # seconds
_SETTINGS = Path(__file__).with_name("squawk.toml")  # without one it looks for one above the checkout
_RULES = (
    *("adding-field-with-default", "adding-foreign-key-constraint", "adding-not-nullable-field"),
    *("adding-primary-key-constraint", "adding-required-field", "adding-serial-primary-key-field"),
    *(
        "ban-concurrent-index-creation-in-transaction",
        "ban-drop-column",
        "ban-drop-database",
        "ban-drop-table",
    ),
    *("ban-truncate-cascade", "changing-column-type", "constraint-missing-not-valid"),
    *("disallowed-unique-constraint", "renaming-column", "renaming-table"),
    *("require-concurrent-index-creation", "require-concurrent-index-deletion"),
)
"""The rules about locks and about code that still runs; others are a matter of taste, or met by pushrod itself."""


class Violation(NamedTuple):
    """An unsafe statement: its file, its line (from 1), the rule, and what squawk says."""

    file: str
    line: int
    rule: str
    message: str


class _Report(msgspec.Struct):
    file: str
    line: int
    rule_name: str
    message: str


def program() -> str:
    """Its path; empty if it is not installed."""
    beside = Path(sys.executable).with_name("squawk")
    return str(beside) if beside.exists() else shutil.which("squawk") or ""


def violations(directory: Path, files: Sequence[str]) -> list[Violation]:
    """What it finds in files of a directory, by file and line; nothing if it is not installed, or fails.

    It reads only that directory, with limited memory and time: the files are a pusher's.
    """
    squawk = program()
    if not squawk or not files:
        return []
    try:
        words = [
            squawk,
            f"--config={_SETTINGS}",
            "--no-error-on-unmatched-pattern",
            "--reporter=json",
            *files,
        ]
        argv = sandbox.confined(words, directory, _SETTINGS)
        done = processes.run(argv, cwd=directory, env={"PATH": "/usr/bin:/bin"}, timeout=_TIME)
        reports = msgspec.json.decode(done.stdout or "[]", type=list[_Report])
    except (HostError, msgspec.MsgspecError):  # a note is not worth a push
        return []
    return sorted(
        Violation(r.file.removeprefix("./"), r.line + 1, r.rule_name, r.message)
        for r in reports
        if r.rule_name in _RULES
    )
