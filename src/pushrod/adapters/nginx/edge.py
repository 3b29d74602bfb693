"""The edge: one nginx that stands in front of every app of a root, and how it moves from release to release.

Its configuration is a tree of plain files, `trees/<generation>/`, and the link `current` says which tree is
in use. A switch never edits a tree: it renders a new one, has nginx itself test it, moves the link, sends
SIGHUP, and believes only a worker that answers with the new generation. If none does, the link goes back.
nginx goes on from these files without pushrod: the step before it, `start`, and what keeps its logs small,
`rotation`, are copied beside them.
"""

import contextlib
import functools
import os
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from pushrod.adapters.nginx import build, trial, workers
from pushrod.adapters.nginx.generations import Generations
from pushrod.adapters.nginx.reload import Reload
from pushrod.adapters.nginx.sites import Bounds, Listening, check
from pushrod.adapters.nginx.tree import render_tree
from pushrod.adapters.nginx.workers import Mark
from pushrod.core.errors import EdgeError, HostError, StateError
from pushrod.core.site import DRAIN_BUDGET, Site
from pushrod.core.values import Value
from pushrod.system import files, locks, network, processes, waits
from pushrod.system.accounts import Account

if TYPE_CHECKING:
    import psutil

_SOCKET_PATH_BYTES = 107
"""The longest path of a unix socket on Linux (unix(7): 108 bytes with the closing zero)."""

_PROGRAMS = ("start.py", "rotation.py")
"""The modules beside this one that run without pushrod, from copies."""

_USUAL = Bounds()
_PLACE = re.compile(r'^\s*(?:pid|listen) "(?:unix:)?((?:[^"\\]|\\.)*)";$', re.MULTILINE)
"""The paths that only the nginx of one directory may have: its pid file, and the socket of its mark listener."""


class Switch(Value, frozen=True):
    """What a switch did: the generation that serves now, and the workers that still finish older requests.

    `workers` are process ids. `reloaded` is false when the edge already served just this.
    """

    generation: str
    workers: tuple[int, ...] = ()
    reloaded: bool = False


def everywhere() -> tuple[str, ...]:
    """The addresses to listen on so that every interface of this machine is reached, by IPv6 too where it has it."""
    return ("0.0.0.0", "::") if network.has_ipv6() else ("0.0.0.0",)


@dataclass(frozen=True)
class Edge:
    """The nginx of a root: its files below `directory`, the socket of its mark listener in `runtime`.

    `program` is the nginx binary. `runtime` may be any directory of its own with a short path. `account` is
    what nginx runs as when pushrod is root; it then owns `logs`, `run` and `runtime`, and nothing else. It listens
    at `addresses`, and on `port` (0: none) also where no site asks for it.
    """

    program: Path
    directory: Path
    runtime: Path
    account: Account | None = None
    addresses: tuple[str, ...] = ("127.0.0.1",)
    port: int = 0
    bounds: Bounds = _USUAL

    @property
    def current(self) -> Path:
        """The link to the tree in use."""
        return self.directory / "current"

    @property
    def trees(self) -> Path:
        """Where the trees of the last generations are."""
        return self.directory / "trees"

    @property
    def certificates(self) -> Path:
        """Where the certificates of each app are, each with its key in a directory of its own."""
        return self.directory / "certificates"

    @property
    def static(self) -> Path:
        """Where the files of each app's releases are that the edge itself answers with."""
        return self.directory / "static"

    @property
    def passwords(self) -> Path:
        """Where the files are of those who may pass an app's closed routes: theirs whom nginx runs as, 0600."""
        return self.directory / "passwords"

    @property
    def challenges(self) -> Path:
        """The directory whose `.well-known/acme-challenge` an ACME server is shown."""
        return self.directory / "acme"

    @property
    def logs(self) -> Path:
        """Where `access.log` (one JSON object a line) and `error.log` are. Closed to others: nginx's own
        error lines show the query of a request."""
        return self.directory / "logs"

    @property
    def socket(self) -> Path:
        """The unix socket of the mark listener."""
        return self.runtime / "mark.sock"

    @property
    def version(self) -> tuple[int, ...]:
        """The version of `program`. Raises HostError when it is not an nginx."""
        return build.version(self.version_output)

    @functools.cached_property
    def version_output(self) -> str:
        """What `nginx -V` prints: its version, and what it was built with."""
        output = processes.run([self.program, "-V"], timeout=10).stderr
        if not build.version(output):
            raise HostError("this program does not say which nginx it is", where=str(self.program))
        return output

    def argv(self, python: str = sys.executable) -> tuple[str, ...]:
        """What a supervisor runs, in the foreground, as `account`; it ends at SIGQUIT when all is served."""
        return (
            python,
            "-I",
            "-S",
            str(self._copy("start.py")),
            str(self.socket),
            *self._nginx(self.current),
        )

    def prepare(self) -> None:
        """Make the directories and, where there is no tree yet, one without sites; can be repeated.

        A tree that came here with a copied or moved directory names the files of the old one: its sites are
        rendered for this one, and the old one's nginx, which may be running, is not touched.

        Raises HostError when `runtime` is too long for a unix socket, StateError when such a tree cannot be read.
        """
        if len(os.fsencode(self.socket)) > _SOCKET_PATH_BYTES:
            raise HostError(
                f"a unix socket's path has at most {_SOCKET_PATH_BYTES} bytes",
                where=str(self.socket),
                hint="choose a directory with a shorter path with --root",
            )
        files.make_closed(self.directory, self.account.gid if self.account else None)
        for path in (self.trees, self.certificates, self.challenges, self.static, self.passwords):
            path.mkdir(parents=True, exist_ok=True)
            path.chmod(0o755)
        for path in (self.logs, self.directory / "run", self.runtime):
            files.own(files.make_private(path), self.account)
        with self._locked("preparing the edge"):
            files.own(self.directory / "lock", self.account)  # what rotates the logs takes it, too
            self._copy_programs()
            self._make_way()
            if not (self.current / "nginx.conf").exists():
                files.point(self.current, f"trees/{self._write_first(self._last_known())}")
            elif not self._at_home():
                files.point(self.current, f"trees/{self._write_first(self.sites())}")

    def sites(self) -> dict[str, Site]:
        """The sites of the current tree, by app. Raises StateError when they cannot be read."""
        path = self.current / "sites.json"
        try:
            return msgspec.json.decode(path.read_bytes(), type=dict[str, Site])
        except (OSError, msgspec.DecodeError) as e:
            raise StateError(
                f"the edge's sites cannot be read: {e}",
                where=str(path),
                hint="point `current` to another tree beside it, or remove it and deploy every app again",
            ) from e

    def is_whole(self) -> bool:
        """Whether the current tree is just what its sites are rendered as."""
        try:
            sites = self.sites()
        except StateError:
            return False
        return self._generations.has(self._generation, self._render(self._generation, sites))

    def begin_anew(self) -> None:
        """Have a new tree be the current one, with the sites of the last tree whose own can be read.

        For a tree that is damaged: an nginx that runs goes on with what it has read, until the next switch.
        """
        with self._locked("beginning the edge's tree anew"):
            self._make_way()
            files.point(self.current, f"trees/{self._write_first(self._last_known())}")

    def _make_way(self) -> None:
        """Set aside what is in the place of the link `current` and is none."""
        if self.current.exists() and not self.current.is_symlink():
            files.set_aside(self.current)

    def _last_known(self) -> dict[str, Site]:
        for generation in self._generations.all():
            with contextlib.suppress(OSError, msgspec.DecodeError):
                raw = (self.trees / generation / "sites.json").read_bytes()
                return msgspec.json.decode(raw, type=dict[str, Site])
        return {}

    def running(self) -> bool:
        """Whether the nginx of this directory runs, by its pid file and the title of that process."""
        return self._find_master() is not None

    def mark(self) -> Mark | None:
        """What a worker says on the mark listener; None when none answers."""
        return workers.ask(self.socket)

    def answering(self) -> bool:
        """Whether a worker answers."""
        return self.mark() is not None

    def serves(self, site: Site) -> str:
        """The SHA-256 of the certificate that a client is shown who asks for this site with TLS; empty for none."""
        if site.tls is None:
            return ""
        names = [n.replace("*.", "any.", 1) for n in site.tls.names] or ["localhost"]
        address = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.addresses[0], self.addresses[0])
        return network.certificate_at(address, site.tls.port, names[0])

    def check(self, changes: Mapping[str, Site | None]) -> None:
        """Raise EdgeError if these sites could not be served beside the others: a name or a port is another app's, or
        nginx refuses what they say. Nothing is changed."""
        with self._locked("trying the edge's sites"):
            check(self._with(changes).values(), self._listening)
            before, after = self._generation, self._candidate(changes)
            if after != before:
                self._generations.remove(after)

    def place(self, changes: Mapping[str, Site | None]) -> None:
        """Make `changes` part of what nginx starts with. Only while it does not run: nothing is reloaded.

        Raises EdgeError when it runs, or when nginx refuses the configuration.
        """
        with self._locked("placing the edge's sites"):
            if self.running():
                raise EdgeError("nginx is running", where=str(self.directory), hint="switch it instead")
            files.point(self.current, f"trees/{self._candidate(changes)}")
            self._generations.prune(self._generation)

    def refresh(self) -> None:
        """Serve what is served as this version renders it, and within the bounds as they are now."""
        if self.running():
            self.switch({})
        else:
            self.place({})

    def switch(self, changes: Mapping[str, Site | None]) -> Switch:
        """Serve these apps' sites (None: no longer), all others as they are, without losing a request.

        Changes only: so two apps that deploy at the same time do not undo each other. What is served already
        costs nothing. The instances of the old sites must live on until `drained`.

        Raises EdgeError, and leaves everything as it was, when nginx does not run, refuses the configuration,
        cannot bind a port, or does not answer with it within CONFIRM_BUDGET.
        """
        with self._locked("switching the edge"):
            master, before = self._master(), self._generation
            after = self._candidate(changes)
            if after == before and self._serves(before):
                return Switch(before, workers=workers.workers_of(master, leaving=True))
            reload = Reload(master, self.current, self._generations, self._error_log, self.mark)
            before_it = workers.workers_of(master)
            reload.move(before, after, before_it)
            self._generations.prune(self._generation)
            return Switch(after, workers=before_it, reloaded=True)

    def drained(self, switch: Switch, budget: float = DRAIN_BUDGET) -> bool:
        """Wait at most `budget` seconds until the workers of before a switch are gone; whether they are.

        Then no request is left on the instances they used. nginx ends them itself after DRAIN_BUDGET.
        """
        return waits.wait_until(lambda: not any(map(workers.title_of, switch.workers)), budget, 0.05)

    def forget(self, app: str) -> None:
        """Remove what is left of an app that is no longer served: what nginx has kept of its answers, older trees."""
        files.remove_tree(self.directory / "run" / f"cache-{app}")
        if self.current.is_symlink():
            with self._locked("removing an app's sites"):
                for path in self.trees.glob(f"*/sites/{app}.conf"):
                    if path.parent.parent.name != self._generation:
                        files.remove_tree(path.parent.parent)

    def named(self, app: str) -> str:
        """All that the trees say of an app, for whoever asks what of its files is still in use."""
        return "".join(p.read_text() for p in self.trees.glob(f"*/sites/{app}.conf"))

    def rotation(self, python: str = sys.executable) -> tuple[str, ...]:
        """What moves the logs aside that have grown, run as `account`: once, or with a number of seconds after it
        every so often."""
        return (python, "-I", "-S", str(self._copy("rotation.py")), str(self.directory))

    def _copy(self, module: str) -> Path:
        """Where the copy of a module is that runs by itself; not beside the supervisor's, which nginx's account may
        not read."""
        return self.directory / f"nginx_{module}"

    def _copy_programs(self) -> None:
        for module in _PROGRAMS:
            copy, source = self._copy(module), Path(__file__).with_name(module).read_text()
            if not copy.exists() or copy.read_text() != source:
                files.write(copy, source)

    @property
    def _error_log(self) -> Path:
        return self.logs / "error.log"

    @property
    def _generations(self) -> Generations:
        return Generations(self.trees)

    @property
    def _listening(self) -> Listening:
        return Listening(self.addresses, self.port, self.bounds)

    @property
    def _generation(self) -> str:
        return self.current.readlink().name

    def _locked(self, purpose: str) -> contextlib.AbstractContextManager[None]:
        return locks.lock(self.directory / "lock", purpose=purpose, timeout=60.0)

    def _nginx(self, tree: Path, log: str = "") -> tuple[str, ...]:
        config, log = str(tree / "nginx.conf"), log or str(self._error_log)
        return (str(self.program), "-p", f"{self.directory}/", "-c", config, "-e", log)

    def _at_home(self) -> bool:
        """Whether the current tree was rendered for this directory and this socket, by whatever path."""
        found = _PLACE.findall((self.current / "nginx.conf").read_text(errors="replace"))
        directories = [Path(re.sub(r"\\(.)", r"\1", path)).parent for path in found]
        expected = [self._pid_file.parent, self.socket.parent]
        return len(directories) == 2 and all(map(_same, directories, expected))

    def _serves(self, generation: str) -> bool:
        mark = self.mark()
        return mark is not None and mark.generation == generation

    def _candidate(self, changes: Mapping[str, Site | None]) -> str:
        """The generation with `changes`: the current one if it has them, else a new one that nginx accepts."""
        before, after = self._generation, self._generations.next()
        texts = self._render(after, self._with(changes))
        if self._generations.has(before, {name: text.replace(after, before) for name, text in texts.items()}):
            return before
        from concurrent.futures import ThreadPoolExecutor

        written = self._generations.write(after, texts, before)
        with self._generations.removed_on_failure(after), ThreadPoolExecutor(1) as beside:
            durable = beside.submit(files.sync, written)  # while nginx reads it
            tree = self.trees / after
            trial.test(tree, self._nginx(tree, log="stderr"), self.directory, self.account)
            durable.result()
        return after

    def _with(self, changes: Mapping[str, Site | None]) -> dict[str, Site]:
        """The sites as they are once these have changed."""
        wanted = {**self.sites(), **changes}
        return {app: site for app, site in wanted.items() if site is not None}

    def _render(self, generation: str, sites: Mapping[str, Site]) -> dict[str, str]:
        return render_tree(
            generation,
            sites,
            listening=self._listening,
            directory=self.directory,
            socket=self.socket,
            known=build.known(self.version_output),
        )

    def _write_first(self, sites: Mapping[str, Site]) -> str:
        """Write a new tree that is held against none before it; its name."""
        generation = self._generations.next()
        files.sync(self._generations.write(generation, self._render(generation, sites)))
        return generation

    @property
    def _pid_file(self) -> Path:
        return self.directory / "run" / "nginx.pid"

    def _master(self) -> "psutil.Process":
        master = self._find_master()
        if master is None:
            raise EdgeError(
                "nginx is not running",
                where=str(self._pid_file),
                hint="start the edge, then run the command again; its last words are in logs/error.log",
            )
        return master

    def _find_master(self) -> "psutil.Process | None":
        return workers.find_master(self._pid_file, self.directory)


def _same(one: Path, other: Path) -> bool:
    try:
        return one.samefile(other)
    except OSError:
        return False
