"""`python tools/fuzz.py SECONDS`: runs the generated tests repeatedly with new seeds, for SECONDS in all.

These are `tests/fuzz` and, if the lab can run, the test that pushes generated files to a server in a box. Each file
gets an equal share of the time; making the box takes a minute more. The first failure ends it with status 1, and so
does a run that hangs, or an example that takes longer than the deadline in `tests/fuzz/conftest.py`. Hypothesis
prints the smallest input it has found, and the seed to reproduce the run.
"""

import os
import secrets
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
from devtools.lab import images

TESTS = Path(__file__).parents[1] / "tests"
ON_SERVERS = TESTS / "attacks" / "test_generated.py"
_ENDS = 60.0  # seconds that a run may take beyond its share, to shrink a failing input
_BOX = 600.0  # further seconds, to make a box and to remove it


def main(seconds: float) -> int:
    """Run every file for its share of the time; 1 if one failed."""
    files = sorted((TESTS / "fuzz").glob("test_*.py"))
    if problem := images.box_problem():
        print(f"fuzz: {ON_SERVERS.stem} is left out: {problem}", flush=True)
    else:
        files.append(ON_SERVERS)
    for number, path in enumerate(files, 1):
        print(f"fuzz: {path.stem} ({number} of {len(files)}), {seconds / len(files):.0f} s", flush=True)
        runs, ends = 0, time.monotonic() + seconds / len(files)
        while (left := ends - time.monotonic()) > 0:
            if not _run(path, left):
                return 1
            runs += 1
        print(f"fuzz: {path.stem}: {runs} runs, no failure", flush=True)
    return 0


def _run(path: Path, left: float) -> bool:
    """Run once with a new seed; returns whether it passed. The tests end by themselves when their time is over, so a
    run that has to be cut off has failed: something in it hangs."""
    seed = secrets.randbits(32)
    argv = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", str(path)]
    limit = left + _ENDS + (_BOX if path == ON_SERVERS else 0.0)
    try:
        done = subprocess.run(
            [*argv, f"--hypothesis-seed={seed}"],
            env={**os.environ, "PUSHROD_FUZZ": f"{left:.3f}"},
            capture_output=True,
            text=True,
            timeout=limit,
            check=False,
        )
    except subprocess.TimeoutExpired as e:
        print((e.stdout or b"").decode(errors="replace"), flush=True)
        print(f"fuzz: {path.stem} has not ended after {limit:.0f} s, with seed {seed}", flush=True)
        return False
    if done.returncode:
        print(done.stdout + done.stderr, f"fuzz: {path.stem} failed with seed {seed}", sep="\n", flush=True)
    return not done.returncode


if __name__ == "__main__":
    sys.exit(main(float(sys.argv[1])))
