"""The version of a store's server, as its program prints it."""

import re
from collections.abc import Mapping
from pathlib import Path

from pushrod.core.errors import StoreError
from pushrod.system import processes


def of(program: str | Path, pattern: str, hint: str, env: Mapping[str, str] | None = None) -> str:
    """What the group of `pattern` matches in the output of `program --version`. Raises StoreError, with `hint`, if it
    fails or prints no version."""
    done = processes.run([program, "--version"], env=env, timeout=10)
    match = re.search(pattern, done.stdout)
    if done.status != 0 or not match:
        raise StoreError(
            f"`{program} --version` ended with status {done.status}",
            hint=hint,
            log=tuple(done.stderr.splitlines()),
        )
    return match[1]
