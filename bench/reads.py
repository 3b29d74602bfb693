"""The cost of the template's reads: from its cache, compared with a constant; from PostgreSQL, compared with a bare
handler."""

import contextlib
import subprocess
from collections.abc import Iterator
from pathlib import Path

import psutil

from bench import floor, wrk
from bench.figures import Figure
from bench.stage import BenchError, Stage
from devtools.servers import free_port
from pushrod.system import network, waits

CACHED, CONSTANT = "/api/products/1", "/api/"
UNCACHED = "/api/products?after=0&limit=1"
SECONDS = 3
CONNECTIONS = 16
LEAST_CACHED, LEAST_UNCACHED = 0.9, 0.8  # of the respective reference
NOISE = (
    0.03  # seconds of CPU: what PostgreSQL's own work differs by between two spans, which are counted in 0.01
)


def reads(stage: Stage, times: int) -> list[Figure]:
    """As many requests as possible of each kind, in turn."""
    constant, cached, idle, busy = [], [], [], []
    for _ in range(times):
        constant.append(_rate(f"{stage.url}{CONSTANT}"))
        before = _postgres(stage)
        cached.append(_rate(f"{stage.url}{CACHED}"))
        between = _postgres(stage)
        _rate(f"{stage.url}{CONSTANT}")
        busy.append(between - before)
        idle.append(_postgres(stage) - between)
    bare, uncached = [], []
    with _served(stage, "bare:app", Path(__file__).parent) as plain, _served(stage, "app.main:app") as whole:
        for _ in range(times):
            bare.append(_rate(f"{plain}{UNCACHED}"))
            uncached.append(_rate(f"{whole}{UNCACHED}"))
    first = Figure("a constant through nginx: requests/s", tuple(constant), "1/s")
    second = Figure("a bare asyncpg handler: requests/s", tuple(bare), "1/s")
    quiet = Figure("PostgreSQL's CPU, a constant asked", tuple(idle))
    return [
        first,
        Figure("a cached read through nginx: requests/s", tuple(cached), "1/s", reference=first),
        _ratio("cached read to constant", cached, constant, LEAST_CACHED),
        quiet,
        Figure("PostgreSQL's CPU, cached reads", tuple(busy), target=quiet.median + NOISE, reference=quiet),
        second,
        Figure("an uncached read: requests/s", tuple(uncached), "1/s", reference=second),
        _ratio("uncached read to bare handler", uncached, bare, LEAST_UNCACHED),
    ]


def _ratio(name: str, values: list[float], others: list[float], target: float) -> Figure:
    ratios = tuple(value / other for value, other in zip(values, others, strict=True))
    return Figure(name, ratios, "x", target=target, least=True)


def _postgres(stage: Stage) -> float:
    """Seconds of CPU used by the app's PostgreSQL, including its ended children."""
    processes = stage.status()["processes"]
    [pid] = [p["pid"] for p in processes if p["name"] == "postgres"]
    server = psutil.Process(pid)
    total = 0.0
    for process in (server, *server.children(recursive=True)):
        with contextlib.suppress(psutil.NoSuchProcess):
            took = process.cpu_times()
            total += took.user + took.system
    ended = server.cpu_times()
    return total + ended.children_user + ended.children_system


@contextlib.contextmanager
def _served(stage: Stage, app: str, directory: Path | None = None) -> Iterator[str]:
    """An app served by uvicorn like the backend, beside the live release; yields its address."""
    place = floor.place(stage, ["exec", "backend", "--", "python", "-c", floor.ASK])
    port = free_port()
    argv = [
        *place.entering,
        "uvicorn",
        app,
        "--host",
        "127.0.0.1",
        "--port",
        str(port),
        "--log-level",
        "warning",
        "--no-access-log",
    ]
    argv += [] if directory is None else ["--app-dir", str(directory)]
    child = subprocess.Popen(argv, env=place.environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    try:
        if (
            not waits.wait_until(lambda: child.poll() is not None or network.accepts(port), 30.0)
            or child.poll()
        ):
            raise BenchError(f"{app} does not serve")
        yield f"http://127.0.0.1:{port}"
    finally:
        child.terminate()
        child.wait(timeout=20)


def _rate(url: str) -> float:
    """Requests a second from one client on kept connections; BenchError if one fails."""
    return wrk.run(url, connections=CONNECTIONS, seconds=SECONDS).rate
