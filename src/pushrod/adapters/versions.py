"""The version of a store's server, as its program prints it."""

import re
from collections.abc import Mapping
from pathlib import Path

from pushrod.core.errors import StoreError
from pushrod.system import processes


def of(program: str | Path, pattern: str, hint: str, env: Mapping[str, str] | None = None) -> str:
    """What the group of `pattern` matches in the output of `program --version`. Raises StoreError, with `hint`, if it
    fails or prints no version."""
    done = printed(program, env=env)
    match = re.search(pattern, done.stdout)
    if done.status != 0 or not match:
        raise StoreError(
            f"`{program} --version` ended with status {done.status}",
            hint=hint,
            log=tuple(done.stderr.splitlines()),
        )
    return match[1]


def printed(
    program: str | Path, option: str = "--version", env: Mapping[str, str] | None = None
) -> processes.Completed:
    """What a program prints about its version, in any environment; it runs once, until its file changes."""
    key = str(program), option
    try:
        state = Path(program).stat()
    except OSError:
        return processes.run(key, env=env, timeout=10)
    version = (state.st_dev, state.st_ino, state.st_size, state.st_mtime_ns)
    if key not in _PRINTED or _PRINTED[key][0] != version:
        _PRINTED[key] = version, processes.run(key, env=env, timeout=10)
    return _PRINTED[key][1]


_PRINTED: dict[tuple[str, str], tuple[tuple[int, ...], processes.Completed]] = {}
