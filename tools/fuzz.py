"""`python tools/fuzz.py SECONDS`: the tests of tests/fuzz again and again with other seeds, for so long in all.

Each file of them has an equal share of the time. The first failure ends it with status 1; Hypothesis prints the
smallest input it has found, and the seed with which the run can be repeated.
"""

import os
import secrets
import subprocess
import sys
import time
from pathlib import Path

TESTS = Path(__file__).parents[1] / "tests" / "fuzz"
_ENDS = 60.0  # seconds that a run may take beyond its share, to shrink what it has found


def main(seconds: float) -> int:
    """Run every file for its share; 1 where one has failed."""
    files = sorted(TESTS.glob("test_*.py"))
    for number, path in enumerate(files, 1):
        print(f"fuzz: {path.stem} ({number} of {len(files)}), {seconds / len(files):.0f} s", flush=True)
        runs, ends = 0, time.monotonic() + seconds / len(files)
        while time.monotonic() < ends:
            if not _run(path, ends - time.monotonic()):
                return 1
            runs += 1
        print(f"fuzz: {path.stem}: {runs} runs, nothing found", flush=True)
    return 0


def _run(path: Path, left: float) -> bool:
    """One run with a seed of its own; whether it found nothing. One that the time cuts off has found nothing."""
    seed = secrets.randbits(32)
    argv = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", str(path)]
    try:
        done = subprocess.run(
            [*argv, f"--hypothesis-seed={seed}"],
            env={**os.environ, "PUSHROD_FUZZ": "1"},
            capture_output=True,
            text=True,
            timeout=left + _ENDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return True
    if done.returncode:
        print(done.stdout + done.stderr, f"fuzz: {path.stem} failed with seed {seed}", sep="\n", flush=True)
    return not done.returncode


if __name__ == "__main__":
    sys.exit(main(float(sys.argv[1])))
