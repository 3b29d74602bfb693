"""wrk: as many requests as a client on kept connections can make."""

import re
import subprocess
from collections.abc import Sequence
from typing import NamedTuple

from bench.stage import BenchError

_UNITS = {"us": 1e-6, "ms": 1e-3, "s": 1.0}


class Measured(NamedTuple):
    """Requests per second, and the 99th percentile of their times in seconds."""

    rate: float
    p99: float


def run(url: str, *, connections: int, seconds: int, headers: Sequence[str] = ()) -> Measured:
    """One client in one thread; BenchError if a request fails."""
    argv = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--latency"]
    argv += [word for header in headers for word in ("-H", header)]
    done = subprocess.run([*argv, url], capture_output=True, text=True, timeout=60, check=False)
    rate = re.search(r"Requests/sec:\s+([\d.]+)", done.stdout)
    p99 = re.search(r"99%\s+([\d.]+)(us|ms|s)\b", done.stdout)
    failed = "Non-2xx" in done.stdout or "Socket errors" in done.stdout
    if done.returncode or not rate or not p99 or failed:
        raise BenchError(f"`{' '.join([*argv, url])}` has failed:\n{done.stdout}{done.stderr}")
    return Measured(float(rate[1]), float(p99[1]) * _UNITS[p99[2]])
