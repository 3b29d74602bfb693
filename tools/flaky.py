"""Run what has just failed once more, by itself, and name what passes then: `python -m tools.flaky`.

The tests on servers share this machine's processors with all others. A test that passes alone is flaky, which is a
fault too: at most MOST of them are let pass. The status is 1 where something fails again, or where more are flaky.
"""

import json
import subprocess
import sys
from pathlib import Path

MOST = 8
"""Of some hundred tests on servers; it is to fall to 2 as they are mended."""

RECORD = Path(".pytest_cache/v/cache/lastfailed")


def main() -> int:
    """Run them, and say which is which."""
    before = failed()
    if not before:
        print("flaky: no test is known to have failed: what was wrong is above")
        return 1
    argv = [sys.executable, "-m", "pytest", "--last-failed", "--last-failed-no-failures", "none"]
    status = subprocess.run(argv, check=False).returncode
    flaky = sorted(before - failed())
    print(f"flaky: {len(flaky)} of {len(before)} that failed have passed by themselves")
    for name in flaky:
        print(f"flaky: {name}")
    if len(flaky) > MOST:
        print(f"flaky: more than {MOST}: mend them")
    return int(status != 0 or len(flaky) > MOST)


def failed() -> set[str]:
    """The tests that failed when they last ran."""
    return set(json.loads(RECORD.read_text())) if RECORD.exists() else set()


if __name__ == "__main__":
    sys.exit(main())
