"""Runs the tests that just failed once more, alone, and names those that then pass: `python -m tools.flaky`.

The tests on servers share this machine's processors. A test that passes alone is flaky, which is a fault too: at
most MOST of them are accepted. The status is 1 if a test fails again, or if more are flaky.
"""

import json
import subprocess
import sys
from pathlib import Path

MOST = 2
"""Of several hundred tests on servers."""

RECORD = Path(".pytest_cache/v/cache/lastfailed")


def main() -> int:
    """Run them, and report which are flaky."""
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
    """The tests that failed in the last run."""
    return set(json.loads(RECORD.read_text())) if RECORD.exists() else set()


if __name__ == "__main__":
    sys.exit(main())
