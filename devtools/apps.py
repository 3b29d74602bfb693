"""A root for a test, with small real apps: work trees, pushes as a person does them, and checks for leftovers.

The app is one file of standard Python, so that building its image takes a third of a second. Everything runs
through the command line and `git push`; from pushrod, only the locations of its files are imported.
"""

import contextlib
import http.client
import io
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import psutil
import yaml

from devtools import servers
from pushrod.system import network, waits

PUSHROD = (sys.executable, "-P", "-m", "pushrod")
TIMEOUT = 90.0  # seconds for any one command; none takes a tenth of that

APP = """\
import http.server, json, os, socket, subprocess, sys, time, urllib.parse

VERSION = "one"


def sql(statement):
    url = urllib.parse.urlsplit(os.environ["DATABASE_URL"])
    variables = {"PGHOST": url.hostname, "PGPORT": str(url.port), "PGUSER": url.username,
                 "PGPASSWORD": url.password, "PGDATABASE": url.path[1:]}
    argv = [os.environ["PSQL"], "-X", "-q", "-At", "-v", "ON_ERROR_STOP=1", "-c", statement]
    done = subprocess.run(argv, env={**os.environ, **variables}, capture_output=True, text=True)
    return (200, done.stdout.strip()) if done.returncode == 0 else (409, done.stderr.strip())


def redis(words):
    url = urllib.parse.urlsplit(os.environ["REDIS_URL"])
    def encoded(*words):
        return f"*{len(words)}\\r\\n".encode() + b"".join(f"${len(w)}\\r\\n{w}\\r\\n".encode() for w in words)
    with socket.create_connection((url.hostname, url.port), 5) as s:
        s.sendall(encoded("AUTH", url.username, url.password) + encoded(*words) + encoded("QUIT"))
        answer = b""
        while part := s.recv(4096):
            answer += part
    return 200, answer.decode().replace("\\r\\n", " ")


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        url = urllib.parse.urlsplit(self.path)
        asked = dict(urllib.parse.parse_qsl(url.query))
        status, body = 200, VERSION
        if url.path == "/environment":
            body = json.dumps(dict(os.environ))
        elif url.path == "/process":
            body = json.dumps({"pid": os.getpid(), "argv": sys.argv})
        elif url.path == "/sql":
            status, body = sql(asked["q"])
        elif url.path == "/redis":
            status, body = redis(asked["q"].split())
        elif url.path == "/print":
            print(asked["q"], flush=True)
        elif url.path == "/slow":
            time.sleep(0.4)
        elif url.path not in ("/", "/healthz"):
            status, body = 404, "no such page"
        raw = body.encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(raw)))
        self.end_headers()
        self.wfile.write(raw)

    def log_message(self, *words):
        pass


class Server(http.server.ThreadingHTTPServer):
    request_queue_size = 128


if __name__ == "__main__":
    Server(("127.0.0.1", int(os.environ["PORT"])), Handler).serve_forever()
"""

WEB: dict[str, Any] = {
    "build": ".",
    "command": "python app.py",
    "ports": ["8000:8000"],
    "stop_grace_period": "5s",
    "x-pushrod": {"health": {"path": "/healthz", "deadline": "15s"}},
}
PSQL = str(servers.postgres_programs()[0] / "psql")


def manifest(services: Mapping[str, object] | None = None, **changes: object) -> str:
    """A compose file: `web` with keys changed (None removes one), and further services."""
    web = {k: v for k, v in {**WEB, **changes}.items() if v is not None}
    return yaml.safe_dump({"services": {"web": web, **(services or {})}}, sort_keys=False)


def manifest_with_stores(**changes: object) -> str:
    """A compose file with PostgreSQL and Redis, and with the path of psql in `web`'s environment."""
    stores = {"postgres": {"image": "postgres:18"}, "redis": {"image": "valkey/valkey:9"}}
    environment = {"PSQL": PSQL, **changes.pop("environment", {})}  # type: ignore[dict-item]
    return manifest(stores, environment=environment, depends_on=["postgres", "redis"], **changes)


FILES = {"app.py": APP, "compose.yaml": manifest()}


class Done(NamedTuple):
    """The result of a command. `err` is without the `remote: ` that Git puts in front of a hook's lines."""

    status: int
    out: str
    err: str

    @property
    def ok(self) -> bool:
        return self.status == 0


class Complaint(NamedTuple):
    """The one error message of a failed command; `where` is empty if `what` says it all."""

    what: str
    where: str
    to_do: str

    def __contains__(self, word: object) -> bool:
        return isinstance(word, str) and word in f"{self.what}\n{self.where}\n{self.to_do}"


class Answer(NamedTuple):
    """An app's answer through the edge; `release` is 0 if the edge did not name it."""

    status: int
    release: int
    body: str


def run(
    argv: list[str] | tuple[str, ...],
    cwd: Path,
    env: Mapping[str, str],
    stdin: str | None = None,
    timeout: float = TIMEOUT,
) -> Done:
    """Run a command to its end, in its own session so that it gets no stray signal."""
    child = subprocess.run(
        argv,
        cwd=cwd,
        env=dict(env),
        input=stdin,
        stdin=subprocess.DEVNULL if stdin is None else None,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
        start_new_session=True,
    )
    return Done(child.returncode, child.stdout, without_remote(child.stderr))


def without_remote(text: str) -> str:
    """A hook's own lines, without Git's prefix."""
    return "\n".join(re.sub(r"^remote: ?", "", line).rstrip() for line in text.splitlines())


def complaint(done: Done) -> Complaint:
    """The message of a failed command; there must be exactly one complete message and no traceback."""
    assert not done.ok, f"it did not fail:\n{done.out}\n{done.err}"
    assert "Traceback" not in done.err + done.out, done.err
    parts = {}
    for label in ("pushrod: ", "  where:  ", "  to do:  "):
        lines = [line.removeprefix(label) for line in done.err.splitlines() if line.startswith(label)]
        assert len(lines) == 1 or (label == "  where:  " and not lines), f"{label!r} in:\n{done.err}"
        parts[label] = "".join(lines)
    return Complaint(*parts.values())


class Tree:
    """A developer's work tree."""

    def __init__(self, path: Path, env: Mapping[str, str]) -> None:
        self.path = path
        self.env = env

    def git(self, *argv: str) -> str:
        done = run(["git", "-C", str(self.path), *argv], self.path, self.env)
        assert done.ok, f"git {' '.join(argv)}: {done.err}"
        return done.out.strip()

    def init(self) -> "Tree":
        self.path.mkdir(parents=True, exist_ok=True)
        self.git("init", "--quiet", "--initial-branch=main")
        return self

    def clone(self, path: Path) -> "Tree":
        """A second work tree with the same history and remote."""
        self.git("clone", "--quiet", str(self.path), str(path))
        other = Tree(path, self.env)
        other.git("remote", "add", "pushrod", self.git("remote", "get-url", "pushrod"))
        return other

    def commit(self, files: Mapping[str, str | bytes], message: str = "change") -> str:
        """Write files and commit them; returns the commit."""
        for name, text in files.items():
            path = self.path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(text if isinstance(text, bytes) else text.encode())
        self.git("add", "--all", "--force")
        self.git("commit", "--quiet", "--allow-empty", "--message", message)
        return self.head()

    def head(self) -> str:
        return self.git("rev-parse", "HEAD")

    def reset(self, commit: str) -> None:
        self.git("reset", "--quiet", "--hard", commit)
        self.git("clean", "-ffdxq")

    def push(self, *argv: str, timeout: float = TIMEOUT) -> Done:
        words = argv or ("pushrod", "HEAD:main")
        return run(["git", "push", "--no-progress", *words], self.path, self.env, timeout=timeout)

    def pushing(self, *argv: str) -> "Running":
        return Running(
            ["git", "push", "--no-progress", *(argv or ("pushrod", "HEAD:main"))], self.path, self.env
        )


class Running:
    """A running command: its stderr line by line, signals to it, and its result."""

    def __init__(self, argv: list[str] | tuple[str, ...], cwd: Path, env: Mapping[str, str]) -> None:
        self.lines: list[str] = []
        self.child = subprocess.Popen(
            argv,
            cwd=cwd,
            env=dict(env),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def until(self, pattern: str, *, otherwise_end: bool = False) -> str:
        """Read until a line matches, and return it; "" if the command ends before that, where `otherwise_end`
        allows it."""
        for line in self.child.stderr or ():
            self.lines.append(without_remote(line))
            if re.search(pattern, self.lines[-1]):
                return self.lines[-1]
        assert otherwise_end, f"no line like {pattern!r} in:\n" + "\n".join(self.lines)
        return ""

    def done(self) -> Done:
        _, rest = self.child.communicate(timeout=TIMEOUT)
        self.lines += without_remote(rest).splitlines()
        return Done(self.child.returncode, "", "\n".join(self.lines))

    def end(self) -> None:
        if self.child.poll() is None:
            self.child.kill()
            self.child.wait()
        if self.child.stderr:
            self.child.stderr.close()


class Machine:
    """A root directory with everything pushrod keeps there, and the commands of its users."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.root = directory / "root"
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("GIT_", "PYTHONDONTWRITE"))}
        self.env = kept | {
            "PUSHROD_ROOT": str(self.root),
            "GIT_CONFIG_GLOBAL": "/dev/null",
            "GIT_CONFIG_NOSYSTEM": "1",
            **{f"GIT_{who}_NAME": "someone" for who in ("AUTHOR", "COMMITTER")},
            **{f"GIT_{who}_EMAIL": "someone@localhost" for who in ("AUTHOR", "COMMITTER")},
            "UV_OFFLINE": "1",
            "UV_CACHE_DIR": str(directory / "uv-cache"),
        }
        self.apps: list[App] = []

    def pushrod(self, *argv: str, cwd: Path | None = None, stdin: str | None = None, **env: str) -> Done:
        return run([*PUSHROD, *argv], cwd or self.directory, {**self.env, **env}, stdin)

    def must(self, *argv: str, cwd: Path | None = None, stdin: str | None = None) -> str:
        done = self.pushrod(*argv, cwd=cwd, stdin=stdin)
        assert done.ok, f"pushrod {' '.join(argv)}: {done.err}"
        return done.out

    def json(self, *argv: str, cwd: Path | None = None) -> Any:
        return json.loads(self.must(*argv, "--json", cwd=cwd))

    def tree(self, name: str, files: Mapping[str, str | bytes] | None = FILES) -> Tree:
        """A repository with one commit, or with none if there are no files."""
        tree = Tree(self.directory / name, self.env).init()
        if files:
            tree.commit(files, "first")
        return tree

    def app(self, name: str, files: Mapping[str, str | bytes] = FILES, *, push: bool = True) -> "App":
        """An app with a new work tree, made by `apps create` and, with `push`, the first push."""
        tree = self.tree(name, files)
        self.must("apps", "create", name, "--port", str(edge_port()), cwd=tree.path)
        app = App(self, name, tree)
        self.apps.append(app)
        if push:
            done = tree.push()
            assert done.ok, done.err
            app.good = tree.head()
        return app

    def processes(self) -> list[psutil.Process]:
        """Every process whose command line or working directory is below this machine's directory."""
        return list(processes_below(self.directory))

    def listening(self) -> set[int]:
        """The TCP ports that processes of this root listen on."""
        ours = {p.pid for p in self.processes()}
        connections = psutil.net_connections("tcp")
        return {
            c.laddr.port for c in connections if c.laddr and c.status == psutil.CONN_LISTEN and c.pid in ours
        }

    def close(self) -> list[str]:
        """Destroy every app; returns what was still running then, after ending it, or could not be destroyed."""
        problems = []
        names = (p.name for p in (self.root / "apps").iterdir()) if (self.root / "apps").is_dir() else ()
        for name in sorted(names):
            done = self.pushrod("apps", "destroy", name, "--yes")
            if not done.ok:
                problems.append(f"apps destroy {name}: {done.err}")
        waits.wait_until(lambda: not self.processes(), timeout=10)
        left = self.processes()
        problems += [f"still there: {' '.join(p.cmdline())} (process {p.pid})" for p in left]
        while left:
            for process in left:
                with contextlib.suppress(psutil.Error):
                    process.kill()
            psutil.wait_procs(left, timeout=5)
            left = self.processes()
        shutil.rmtree(self.directory, ignore_errors=True)
        return problems


@contextlib.contextmanager
def a_machine(purpose: str) -> Iterator[Machine]:
    """A machine below /tmp for a program that is not a test; reports on stderr what could not be removed."""
    directory = Path(tempfile.mkdtemp(prefix=f"pushrod-{purpose}-", dir="/tmp"))
    directory.chmod(0o755)  # the account of children, under root, must be able to pass
    machine = Machine(directory)
    try:
        yield machine
    finally:
        for problem in machine.close():
            print(problem, file=sys.stderr)


class App:
    """One app of a machine. `good` is the last commit known to serve."""

    def __init__(self, machine: Machine, name: str, tree: Tree) -> None:
        self.machine = machine
        self.name = name
        self.tree = tree
        self.good = ""
        self.directory = machine.root / "apps" / name
        self.state = self.directory / "state"
        self.repository = self.directory / "repo.git"

    # ---- commands -------------------------------------------------------------------------------------------

    def pushrod(self, *argv: str, stdin: str | None = None, **env: str) -> Done:
        return self.machine.pushrod(*argv, cwd=self.tree.path, stdin=stdin, **env)

    def must(self, *argv: str, stdin: str | None = None) -> str:
        return self.machine.must(*argv, cwd=self.tree.path, stdin=stdin)

    def json(self, *argv: str) -> Any:
        return self.machine.json(*argv, cwd=self.tree.path)

    def running(self, *argv: str) -> Running:
        return Running((*PUSHROD, *argv), self.tree.path, self.machine.env)

    def push_change(self, files: Mapping[str, str | bytes] | None = None, version: str = "") -> str:
        """Push a good commit; returns what the app answers from then on."""
        self.restore()
        version = version or f"v{random.randrange(10**9)}"
        self.tree.commit({"app.py": changed(version), **(files or {})}, f"say {version}")
        done = self.tree.push()
        assert done.ok, done.err
        self.good = self.tree.head()
        answer = self.get()
        assert (answer.status, answer.body) == (200, version), done.err
        return version

    def restore(self) -> None:
        """Reset the work tree to when it last served; after a failed test, to what serves now."""
        if self.branch() not in ("", self.good):
            self.tree.git("fetch", "--quiet", "pushrod")
            self.good = self.branch()
        self.tree.reset(self.good)

    # ---- observations ---------------------------------------------------------------------------------------

    @property
    def settings(self) -> dict[str, Any]:
        settings: dict[str, Any] = json.loads((self.directory / "app.json").read_text())
        return settings

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.settings['port']}"

    def get(self, path: str = "/") -> Answer:
        """Send a request through the edge, on a new connection."""
        connection = http.client.HTTPConnection("127.0.0.1", self.settings["port"], timeout=15)
        with contextlib.closing(connection):
            connection.request("GET", path, headers={"Connection": "close"})
            answer = connection.getresponse()
            release = answer.headers.get("X-Pushrod-Release", "0")
            return Answer(answer.status, int(release), answer.read().decode())

    def serves(self, release: int, times: int = 3) -> bool:
        """Whether the app answers 200 from that release only."""
        answers = [self.get() for _ in range(times)]
        return all((a.status, a.release) == (200, release) for a in answers)

    @property
    def live(self) -> int:
        """The release the live pointer names; 0 for none."""
        pointer = self.state / "live"
        return int(pointer.readlink().name) if pointer.is_symlink() else 0

    def kept(self) -> list[int]:
        """The sealed releases, oldest first."""
        return sorted(int(p.parent.name) for p in (self.state / "releases").glob("*/release.json"))

    def release(self, number: int) -> dict[str, Any]:
        sealed: dict[str, Any] = json.loads(
            (self.state / "releases" / str(number) / "release.json").read_text()
        )
        return sealed

    def branch(self) -> str:
        argv = ["git", "-C", str(self.repository), "rev-parse", "--verify", "refs/heads/main"]
        done = run(argv, self.tree.path, self.machine.env)
        return done.out.strip()

    def groups(self) -> set[int]:
        """The releases for which the supervisor has instances or files."""
        supervisor = self.machine.root / "supervisor"
        specs = [*supervisor.glob(f"conf.d/{self.name}-r*.conf"), *supervisor.glob(f"specs/{self.name}-r*")]
        return {int(p.stem.rpartition("-r")[2]) for p in specs}

    def journal(self) -> list[dict[str, Any]]:
        """Every complete line of the journal."""
        path = self.directory / "journal"
        text = path.read_text() if path.exists() else ""
        return [json.loads(line) for line in text.split("\n")[:-1]]

    def footprint(self) -> dict[str, object]:
        """Everything that a failed command must leave unchanged."""
        root = self.machine.root
        patterns = [f"apps/{self.name}/{p}" for p in ("*", "checkouts/*", "secrets/*", "secrets/releases/*")]
        patterns += [f"apps/{self.name}/{p}" for p in ("state/*", "state/releases/*", "repo.git/*")]
        patterns += [f"apps/{self.name}/repo.git/objects/*incoming*", "environments/*", "apps/*"]
        patterns += ["edge/static/*/*", "edge/static/*/*/*", "edge/passwords/*/*"]
        patterns += ["supervisor/conf.d/*", "supervisor/specs/*", "supervisor/locks/*", "*"]
        files = {str(p.relative_to(root)) for pattern in patterns for p in root.glob(pattern)}
        return {
            "files": sorted(f for f in files if not f.endswith(".lock")),
            "ports": sorted(self.machine.listening()),
            "settings": self.settings,
            "branch": self.branch(),
            "tags": self.tags(),
            "state": self.state_status(),
        }

    def tags(self) -> dict[str, str]:
        argv = [
            "git",
            "-C",
            str(self.repository),
            "tag",
            "--list",
            "--format=%(refname:short) %(*objectname)",
        ]
        lines = run(argv, self.tree.path, self.machine.env).out.splitlines()
        return dict(line.split() for line in lines)

    def state_status(self) -> str:
        """What is uncommitted in the state repository."""
        return run(["git", "-C", str(self.state), "status", "--porcelain"], self.state, self.machine.env).out

    def settled(self) -> None:
        """Assert that exactly one release is live, and that journal, pointer, branch, edge, supervisor and files
        agree on it."""
        live = self.live
        entries = self.journal()
        assert entries[-1]["event"] in ("done", "failed"), entries[-1]
        assert [e["release"] for e in entries if e["event"] == "live"][-1] == live
        assert self.branch() == self.release(live)["commit"]
        assert self.groups() == {live}
        assert self.serves(live, times=8), f"release {live} is live, but {self.get()}"
        kept = {p.name for p in (self.state / "releases").iterdir()}
        assert len(kept) <= 5, kept
        checkouts = {p.name for p in (self.directory / "checkouts").iterdir()}
        assert checkouts == kept, checkouts ^ kept
        assert {p.stem for p in (self.directory / "secrets" / "releases").iterdir()} == kept
        assert self.state_status() == ""

    def refuses(self, code: int, *words: str, push: bool = True, then: bool = True) -> Complaint:
        """Assert that `git push` and `pushrod deploy` refuse the commit in the work tree, and that nothing changes.

        `code` is the exit status of `deploy`, `words` must be in its message. With `then`, the app must accept a good
        push afterwards.
        """
        before, release = self.footprint(), self.live
        rejection = None
        if push:
            pushed = self.tree.push()
            assert pushed.status == 1, pushed.err
            rejection = complaint(pushed)
            self.untouched(before, release)
        deployed = self.pushrod("deploy")
        message = complaint(deployed)
        assert deployed.status == code, deployed.err
        assert message.where, message
        assert all(word in message for word in words), message
        assert rejection is None or all(word in rejection for word in words), rejection
        self.untouched(before, release)
        if then:
            self.push_change()
        return message

    def untouched(self, before: dict[str, object], release: int) -> None:
        """Assert that the live release still serves, and that nothing is left behind."""
        assert self.serves(release), f"release {release} should serve: {self.get()}"
        assert self.live == release
        after = self.footprint()
        assert after == before, {k: (before[k], after[k]) for k in before if before[k] != after[k]}


def changed(version: str) -> str:
    """The app's file with another text."""
    return APP.replace('VERSION = "one"', f'VERSION = "{version}"')


def edge_port() -> int:
    """A free port that neither pushrod, nor the kernel for a client, nor another test worker is likely to use."""
    while True:
        port = random.randrange(10000, 20000)
        if network.port_is_free(port) and network.port_is_free(port, "0.0.0.0"):
            return port


def processes_below(directory: Path) -> Iterator[psutil.Process]:
    """Running processes whose command line or working directory is below a directory."""
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.pid == os.getpid() or process.status() == psutil.STATUS_ZOMBIE:
                continue
            words = " ".join(process.cmdline())
            if f"{directory}/" in f"{words}/" or Path(process.cwd()).is_relative_to(directory):
                yield process


def command_of(directory: Path, *words: str) -> int:
    """The id of the one process below a directory whose command line has all these words; 0 if there is none."""
    for process in processes_below(directory):
        with contextlib.suppress(psutil.Error):
            if all(word in " ".join(process.cmdline()) for word in words):
                return process.pid
    return 0


def oid(repository: Path, name: str) -> str:
    """The object that a name leads to in a repository; empty for none."""
    argv = ["git", f"--git-dir={repository}", "rev-parse", "--verify", "--quiet", name]
    return subprocess.run(argv, capture_output=True, text=True, check=False).stdout.strip()


def unpack(repository: Path, pack: bytes) -> None:
    """Have each object of a pack be a file of its own in a repository."""
    argv = ["git", f"--git-dir={repository}", "unpack-objects", "-q"]
    subprocess.run(argv, input=pack, capture_output=True, check=True)


def hooks_of(app: App) -> tuple[int, int]:
    """A push's two processes: the one Git waits for, and the one that deploys; 0 for one that does not exist."""
    hooks = []
    for process in processes_below(app.machine.root):
        with contextlib.suppress(psutil.Error):
            words = " ".join(process.cmdline())
            if "-m pushrod" in words and f"hook {app.name} pre-receive" in words:
                hooks.append((process.pid, process.ppid()))
    pids = {pid for pid, _ in hooks}
    deploys = next((pid for pid, parent in hooks if parent in pids), 0)
    waits = next((parent for pid, parent in hooks if pid == deploys), 0)
    if not deploys and hooks and hooks[0][1] in (1, os.getpid()):
        deploys = hooks[0][0]  # the other has ended
    return waits, deploys


def wheel(name: str, files: Mapping[str, str | bytes]) -> bytes:
    """A wheel with these files and without dependencies; its content is compressed."""
    info = f"{name}-1.0.dist-info"
    about = {
        "METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n",
        "WHEEL": "Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        "RECORD": "",
    }
    raw = io.BytesIO()
    with zipfile.ZipFile(raw, "w", zipfile.ZIP_DEFLATED) as archive:
        for path, data in files.items():
            archive.writestr(path, data)
        for path, text in about.items():
            archive.writestr(f"{info}/{path}", text)
    return raw.getvalue()


def eventually(condition: Callable[[], bool], what: str, timeout: float = 20.0) -> None:
    """Check until the condition holds; fails with `what` was waited for.

    An OSError or missing data counts as false: a refused connection, a file that does not exist or is still empty.
    """

    def holds() -> bool:
        try:
            return condition()
        except (OSError, ValueError, IndexError, http.client.HTTPException, psutil.Error):
            return False

    assert waits.wait_until(holds, timeout, 0.05), f"not within {timeout:g} s: {what}"


def signal_of(name: str) -> signal.Signals:
    """`KILL` → SIGKILL."""
    return signal.Signals[f"SIG{name}"]
