"""The demo: a new repository, pushed, used, changed, broken and rolled back, on this machine.

`up [python|spring]` leaves the stack running and prints `live: URL` last; `down` stops it and removes everything it
made. All state is in `.demo/` of this checkout.
"""

import contextlib
import http.client
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

CHECKOUT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(CHECKOUT))

from devtools import java  # noqa: E402  found through the line above
from devtools.load import Load, Report  # noqa: E402

DEMO = CHECKOUT / ".demo"
ROOT = DEMO / "root"
SHOP = DEMO / "shop"
PUSHROD = CHECKOUT / ".venv" / "bin" / "pushrod"
LONGEST = 600.0  # seconds of load, if the push never ends


class Backend(NamedTuple):
    """Of a stack's backend: the file with its greeting, that line, and the beginning of a line to break."""

    file: str
    greeting: str
    breakable: str
    broken: str


BACKENDS = {
    "python": Backend(
        "backend/app/main.py",
        'MESSAGE = "{}"',
        "from fastapi import ",
        "import a_module_that_is_not_there",
    ),
    "spring": Backend(
        "backend/src/main/java/com/example/shop/ShopApplication.java",
        '    public static final String MESSAGE = "{}";',
        "import org.springframework.boot.SpringApplication;",
        "import com.example.a_class_that_is_not_there;",
    ),
}

_started = time.monotonic()


class DemoError(Exception):
    """A step did not have the result that the demo promises."""


def main() -> None:
    """Run `up` or `down`; exit 1 with one line if the demo fails."""
    try:
        {"up": up, "down": down}[sys.argv[1]](*sys.argv[2:])
    except DemoError as e:
        print(f"demo: {e}", file=sys.stderr)
        sys.exit(1)


def up(stack: str = "python") -> None:
    """Run the whole demo."""
    if stack not in BACKENDS:
        raise DemoError(f"no stack `{stack}`; there are {', '.join(BACKENDS)}")
    if stack == "spring" and java.lacking():
        raise DemoError(java.lacking())
    backend = BACKENDS[stack]
    down()
    DEMO.mkdir(exist_ok=True)

    heading("A repository to start from")
    chosen = [] if stack == "python" else ["--stack", stack]
    pushrod("new", "shop", *chosen, "--directory", str(SHOP), where=DEMO)
    show(["git", "log", "--oneline"])

    heading("An app for it, and the first push")
    pushrod("apps", "create", "shop")
    push()
    url = json.loads(output([str(PUSHROD), "status", "--json"]))[0]["url"]

    heading("Through nginx to PostgreSQL, and then from the cache")
    read_twice(url)

    heading("A change, pushed under constant load")
    line = backend.greeting.format("Hello again.")
    change(backend.file, line.partition('"')[0], f"{line}\n")
    commit("Say hello again")
    with Load(f"{url}/api/products/2", rate=100, seconds=LONGEST) as load:
        push()
    check_load(load.report)
    get(url, "/api/")

    heading("A broken commit")
    change(backend.file, backend.breakable, f"{backend.broken}\n")
    commit("Break it")
    push(rejected=True)
    get(url, "/api/")
    show(["git", "reset", "--quiet", "--hard", "HEAD~1"])

    heading("Back to the previous release")
    pushrod("rollback")
    get(url, "/api/")
    pushrod("releases")

    heading("The app keeps running in the background; `make demo-down` stops and removes it")
    print(f"live: {url}")


def down() -> None:
    """Stop what an earlier run left, and remove it."""
    if ROOT.exists():
        for app in json.loads(output([str(PUSHROD), "apps", "list", "--json"], where=CHECKOUT)):
            show(["pushrod", "apps", "destroy", app["app"], "--yes"], where=CHECKOUT)
    shutil.rmtree(DEMO, ignore_errors=True)


def read_twice(url: str) -> None:
    """Show that the first read comes from PostgreSQL, the second from the cache."""
    first, second = get(url, "/api/products/1"), get(url, "/api/products/1")
    if (first, second) != ("miss", "hit"):
        raise DemoError(f"expected a miss and then a hit of the cache, got {first} and {second}")


def get(url: str, path: str) -> str:
    """Send a request, show the answer, and return its X-Cache header; DemoError unless it is 200."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=10)
    with contextlib.closing(connection):
        connection.request("GET", path)
        answer = connection.getresponse()
        body = answer.read().decode().strip()
    cache = answer.headers.get("X-Cache", "")
    release = answer.headers.get("X-Pushrod-Release", "")
    print(
        f"  GET {path} → {answer.status}, release {release}{f', cache {cache}' if cache else ''}: {body[:90]}"
    )
    if answer.status != 200:
        raise DemoError(f"GET {path} answered {answer.status}")
    return cache


def check_load(report: Report) -> None:
    """Print the load's result; DemoError if a request failed."""
    total = report.total
    print(f"  meanwhile: {total.sent} requests at 100/s, {total.failed} failed")
    if total.failed or not total.sent:
        raise DemoError(f"{total.failed} of {total.sent} requests failed during the push")


def push(*, rejected: bool = False) -> None:
    """Run `git push`, which must be accepted, or rejected."""
    status = show(["git", "push", "pushrod", "HEAD:main"], check=False)
    if (status != 0) != rejected:
        raise DemoError(f"the push should have been {'rejected' if rejected else 'accepted'}")


def change(file: str, beginning: str, line: str) -> None:
    """Replace the first line of a file that begins with `beginning`."""
    path = SHOP / file
    lines = path.read_text().splitlines(keepends=True)
    at = next(i for i, text in enumerate(lines) if text.startswith(beginning))
    print(f"  {file}: {line.strip()}")
    path.write_text("".join([*lines[:at], line, *lines[at + 1 :]]))


def commit(message: str) -> None:
    """Commit every change."""
    identity = ["-c", "user.name=demo", "-c", "user.email=demo@localhost"]
    subprocess.run(["git", "-C", SHOP, *identity, "commit", "--quiet", "--all", "-m", message], check=True)


def heading(text: str) -> None:
    """Print a heading with the time since the start."""
    print(f"\n── {text}  ({time.monotonic() - _started:.1f} s)", flush=True)


def pushrod(*argv: str, where: Path | None = None) -> None:
    """Run pushrod and show it; DemoError if it fails."""
    show(["pushrod", *argv], where=where)


def show(argv: list[str], *, where: Path | None = None, check: bool = True) -> int:
    """Run a command as if it had been typed, and return its status."""
    print(f"$ {' '.join(argv)}", flush=True)
    status = subprocess.run(argv, cwd=where or SHOP, env=environment(), check=False).returncode
    if check and status != 0:
        raise DemoError(f"`{' '.join(argv)}` ended with status {status}")
    return status


def output(argv: list[str], where: Path | None = None) -> str:
    """Run a command and return its output."""
    return subprocess.run(
        argv, cwd=where or SHOP, env=environment(), check=True, capture_output=True, text=True
    ).stdout


def environment() -> dict[str, str]:
    """Our environment, with the demo's root and the checkout's pushrod first on PATH."""
    path = f"{PUSHROD.parent}{os.pathsep}{os.environ['PATH']}"
    return {**os.environ, "PUSHROD_ROOT": str(ROOT), "PATH": path}


if __name__ == "__main__":
    main()
