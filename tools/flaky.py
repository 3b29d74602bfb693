"""Reruns the tests that have just failed, and names those that now pass: `python -m tools.flaky`.

The tests on servers share this machine's processors, so a test may fail only because it was slow. A test that passes
in the rerun is flaky; at most MOST flaky tests are accepted. The status is 1 if a test fails again, or if more are
flaky.
"""

import json
import subprocess
import sys
from pathlib import Path

MOST = 2
"""Out of several hundred tests on servers."""

RECORD = Path(".pytest_cache/v/cache/lastfailed")


def main() -> int:
    """Rerun the failed tests, and report which are flaky."""
    before = failed()
    if not before:
        print("flaky: no failed tests are recorded; the output above shows the problem")
        return 1
    argv = [sys.executable, "-m", "pytest", "--last-failed", "--last-failed-no-failures", "none"]
    status = subprocess.run(argv, check=False).returncode
    flaky = sorted(before - failed())
    print(f"flaky: {len(flaky)} of {len(before)} failed tests passed in the rerun")
    for name in flaky:
        print(f"flaky: {name}")
    if len(flaky) > MOST:
        print(f"flaky: more than {MOST}: fix them")
    return int(status != 0 or len(flaky) > MOST)


def failed() -> set[str]:
    """The tests that failed in the last run."""
    return set(json.loads(RECORD.read_text())) if RECORD.exists() else set()


if __name__ == "__main__":
    sys.exit(main())
