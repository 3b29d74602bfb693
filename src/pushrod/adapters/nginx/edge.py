"""The edge: one nginx in front of every app of a root, and how it switches between releases.

Its configuration is a tree of plain files, `trees/<generation>/`, and the link `current` selects the tree in use. A
switch never edits a tree: it renders a new one, has nginx test it, moves the link, sends SIGHUP, and waits for a
worker that answers with the new generation. If none does, the link moves back. nginx keeps running from these files
without pushrod: the wrapper that starts it, `start`, and the program that rotates its logs, `rotation`, are copied
beside them.
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

from pushrod.adapters.nginx import build, own_site, trial, workers
from pushrod.adapters.nginx.generations import Generations
from pushrod.adapters.nginx.own_site import Own
from pushrod.adapters.nginx.reload import Reload
from pushrod.adapters.nginx.sites import Bounds, Listening, OwnSite, check
from pushrod.adapters.nginx.tree import render_tree
from pushrod.adapters.nginx.workers import Mark
from pushrod.core.errors import EdgeError, HostError, StateError
from pushrod.core.patterns import lazy
from pushrod.core.site import DRAIN_BUDGET, Site
from pushrod.core.values import Value
from pushrod.system import damaged_paths, files, locks, network, processes, waits
from pushrod.system.accounts import Account

if TYPE_CHECKING:
    import psutil

_SOCKET_PATH_BYTES = 107
"""The longest path of a unix socket on Linux (unix(7): 108 bytes with the closing zero)."""

_PROGRAMS = ("start.py", "rotation.py")
"""The modules beside this one that run without pushrod, from copies."""

_USUAL = Bounds()
_PLACE = lazy(r'^\s*(?:pid|listen) "(?:unix:)?((?:[^"\\]|\\.)*)";$', re.MULTILINE)
"""Paths that only the nginx of one directory may have: its pid file, and the socket of its mark listener."""


class Switch(Value, frozen=True):
    """The result of a switch: the generation that serves now, and the workers that still finish older requests.

    `workers` are process IDs. `reloaded` is false if the edge already served exactly this.
    """

    generation: str
    workers: tuple[int, ...] = ()
    reloaded: bool = False


def everywhere() -> tuple[str, ...]:
    """The addresses that cover every interface of this machine, including IPv6 if available."""
    return ("0.0.0.0", "::") if network.has_ipv6() else ("0.0.0.0",)


@dataclass(frozen=True)
class Edge:
    """The nginx of a root: its files below `directory`, the socket of its mark listener in `runtime`.

    `program` is the nginx binary. `runtime` may be any directory of its own with a short path. nginx runs as
    `account` if pushrod is root; the account then owns `logs`, `run` and `runtime`, and nothing else. nginx listens
    at `addresses`, and on `port` (0: none) even if no site uses it; `metrics` is the loopback port that serves
    metrics (0: none).
    """

    program: Path
    directory: Path
    runtime: Path
    account: Account | None = None
    addresses: tuple[str, ...] = ("127.0.0.1",)
    port: int = 0
    bounds: Bounds = _USUAL
    metrics: int = 0

    @property
    def current(self) -> Path:
        """The link to the tree in use."""
        return self.directory / "current"

    @property
    def trees(self) -> Path:
        """The directory of the last generations' trees."""
        return self.directory / "trees"

    @property
    def certificates(self) -> Path:
        """The directory of each app's certificates, each with its key in a directory of its own."""
        return self.directory / "certificates"

    @property
    def static(self) -> Path:
        """The directory of each app's files that the edge serves itself."""
        return self.directory / "static"

    @property
    def passwords(self) -> Path:
        """The directory of each app's password files; they belong to nginx's account, mode 0600."""
        return self.directory / "passwords"

    @property
    def challenges(self) -> Path:
        """The directory whose `.well-known/acme-challenge` is served to an ACME server."""
        return self.directory / "acme"

    @property
    def logs(self) -> Path:
        """The directory of `access.log` (one JSON object a line) and `error.log`. Closed to others: nginx's error
        lines contain the query of a request.
        """
        return self.directory / "logs"

    @property
    def socket(self) -> Path:
        """The unix socket of the mark listener."""
        return self.runtime / "mark.sock"

    @property
    def version(self) -> tuple[int, ...]:
        """The version of `program`. Raises HostError if it is not nginx."""
        return build.version(self.version_output)

    @functools.cached_property
    def version_output(self) -> str:
        """The output of `nginx -V`: its version and build options."""
        output = processes.run([self.program, "-V"], timeout=10).stderr
        if not build.version(output):
            raise HostError("this program does not report an nginx version", where=str(self.program))
        return output

    @property
    def counts(self) -> bool:
        """Whether `program` serves figures of its own (stub_status), where metrics are served."""
        return build.known(self.version_output).counts

    def argv(self, python: str = sys.executable) -> tuple[str, ...]:
        """The argv for a supervisor: in the foreground, as `account`; SIGQUIT ends it after the last request."""
        return (
            python,
            "-I",
            "-S",
            str(self._copy("start.py")),
            str(self.socket),
            *self._nginx(self.current),
        )

    def prepare(self) -> None:
        """Create the directories and, if there is no tree yet, one without sites; can be repeated.

        A tree in a copied or moved directory names the files of the old one: its sites are rendered again for this
        directory, and the old directory's nginx, which may be running, is not touched.

        Raises HostError if `runtime` is too long for a unix socket, StateError if such a tree cannot be read.
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
            files.own(self.directory / "lock", self.account)  # the log rotation takes this lock, too
            self._copy_programs()
            self._set_aside_current()
            if not (self.current / "nginx.conf").exists():
                files.point(self.current, f"trees/{self._write_alone(self._last_known())}")
            elif not self._at_home():
                files.point(self.current, f"trees/{self._write_alone(self.sites())}")

    def sites(self) -> dict[str, Site]:
        """The sites of the current tree, by app. Raises StateError if they cannot be read."""
        path = self.current / "sites.json"
        try:
            return msgspec.json.decode(path.read_bytes(), type=dict[str, Site])
        except (OSError, msgspec.DecodeError) as e:
            raise StateError(
                f"the edge's sites cannot be read: {e}",
                where=str(path),
                hint="point `current` to another tree beside it, or remove it and deploy every app again",
            ) from e

    def own_sites(self) -> dict[str, OwnSite]:
        """The sites of the host itself in the current tree."""
        return own_site.read(self.current)

    def is_whole(self) -> bool:
        """Whether the current tree is exactly what its sites render to."""
        try:
            sites = self.sites()
        except StateError:
            return False
        rendered = self._render(self._generation, sites, self.own_sites())
        return self._generations.has(self._generation, rendered)

    def rebuild(self) -> None:
        """Switch to a new tree with the sites of the last readable tree.

        For a damaged tree: a running nginx keeps what it has read until the next switch.
        """
        with self._locked("rebuilding the edge's tree"):
            self._set_aside_current()
            files.point(self.current, f"trees/{self._write_alone(self._last_known())}")

    def _set_aside_current(self) -> None:
        """Set aside a file that is where the link `current` should be."""
        if self.current.exists() and not self.current.is_symlink():
            damaged_paths.set_aside(self.current)

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
        """A worker's answer on the mark listener; None if none answers."""
        return workers.ask(self.socket)

    def answering(self) -> bool:
        """Whether a worker answers."""
        return self.mark() is not None

    def serves(self, site: Site) -> str:
        """The SHA-256 of the certificate shown to a TLS client that asks for this site; empty if there is none."""
        if site.tls is None:
            return ""
        names = [n.replace("*.", "any.", 1) for n in site.tls.names] or ["localhost"]
        return self._shown(site.tls.port, names[0])

    def serves_own(self, site: OwnSite) -> str:
        """The same for a site of the host itself."""
        return self._shown(self._listening.own_port, site.domain) if site.generation else ""

    def _shown(self, port: int, name: str) -> str:
        address = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.addresses[0], self.addresses[0])
        return network.certificate_at(address, port, name)

    def check(self, changes: Mapping[str, Site | None]) -> None:
        """Raise EdgeError if these sites could not be served with the others: a name or a port belongs to another
        app, or nginx refuses them. Changes nothing.
        """
        with self._locked("testing the edge's sites"):
            check(self._with(changes).values(), self._listening)
            before, after = self._generation, self._candidate(changes)
            if after != before:
                self._generations.remove(after)

    def place(self, changes: Mapping[str, Site | None], own: Own = None) -> None:
        """Add `changes` to the tree that nginx starts with. Only while it does not run: nothing is reloaded.

        Raises EdgeError if it runs, or if nginx refuses the configuration.
        """
        with self._locked("placing the edge's sites"):
            if self.running():
                raise EdgeError("nginx is running", where=str(self.directory), hint="switch it instead")
            files.point(self.current, f"trees/{self._candidate(changes, own)}")
            self._generations.remove_old(self._generation)

    def refresh(self, own: Own = None) -> None:
        """Render the served sites again with this version and the current limits, and with these changes to the
        sites of the host itself."""
        if self.running():
            self.switch({}, own)
        else:
            self.place({}, own)

    def switch(self, changes: Mapping[str, Site | None], own: Own = None) -> Switch:
        """Serve these apps' sites (None: no longer) without losing a request; others stay unchanged. `own` are
        changes to the sites of the host itself.

        Takes only changes, so that two concurrent deployments do not undo each other. Sites that are served already
        cost nothing. The instances of the old sites must live on until `drained`.

        Raises EdgeError, and leaves everything as it was, if nginx does not run, refuses the configuration, cannot
        bind a port, or does not answer with it within CONFIRM_BUDGET.
        """
        with self._locked("switching the edge"):
            master, before = self._master(), self._generation
            after = self._candidate(changes, own)
            if after == before and self._serves(before):
                return Switch(before, workers=workers.workers_of(master, leaving=True))
            reload = Reload(master, self.current, self._generations, self._error_log, self.mark)
            before_it = workers.workers_of(master)
            reload.move(before, after, before_it)
            self._generations.remove_old(self._generation)
            return Switch(after, workers=before_it, reloaded=True)

    def drained(self, switch: Switch, budget: float = DRAIN_BUDGET) -> bool:
        """Wait at most `budget` seconds for the end of the workers from before a switch; returns whether they have
        ended.

        Then no request is left on the instances they used. nginx ends them itself after DRAIN_BUDGET.
        """
        return waits.wait_until(lambda: not any(map(workers.title_of, switch.workers)), budget, 0.05)

    def remove_app(self, app: str) -> None:
        """Remove what is left of an app that is no longer served: its cached answers and older trees."""
        files.remove_tree(self.directory / "run" / f"cache-{app}")
        if self.current.is_symlink():
            with self._locked("removing an app's sites"):
                for path in self.trees.glob(f"*/sites/{app}.conf"):
                    if path.parent.parent.name != self._generation:
                        files.remove_tree(path.parent.parent)

    def named(self, app: str) -> str:
        """The text about an app in all trees, which shows which of its files are still in use."""
        return "".join(p.read_text() for p in self.trees.glob(f"*/sites/{app}.conf"))

    def rotation(self, python: str = sys.executable) -> tuple[str, ...]:
        """The argv that rotates large logs, as `account`: once, or with a number of seconds again and again."""
        return (python, "-I", "-S", str(self._copy("rotation.py")), str(self.directory))

    def _copy(self, module: str) -> Path:
        """The path of the copy of a module that runs on its own; not with the supervisor's, which nginx's account may
        not read.
        """
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
        return self._with_own(self.own_sites())

    def _with_own(self, own: Mapping[str, OwnSite]) -> Listening:
        return Listening(
            self.addresses, self.port, self.bounds, metrics=self.metrics, own=tuple(own.values())
        )

    @property
    def _generation(self) -> str:
        return self.current.readlink().name

    def _locked(self, purpose: str) -> contextlib.AbstractContextManager[None]:
        return locks.lock(self.directory / "lock", purpose=purpose, timeout=60.0)

    def _nginx(self, tree: Path, log: str = "") -> tuple[str, ...]:
        config, log = str(tree / "nginx.conf"), log or str(self._error_log)
        return (str(self.program), "-p", f"{self.directory}/", "-c", config, "-e", log)

    def _at_home(self) -> bool:
        """Whether the current tree was rendered for this directory and this socket, whatever path leads there."""
        named = _PLACE.findall((self.current / "nginx.conf").read_text(errors="replace"))
        directories = [Path(re.sub(r"\\(.)", r"\1", path)).parent for path in named]
        expected = [self._pid_file.parent, self.socket.parent]
        return len(directories) == 2 and all(map(_same, directories, expected))

    def _serves(self, generation: str) -> bool:
        mark = self.mark()
        return mark is not None and mark.generation == generation

    def _candidate(self, changes: Mapping[str, Site | None], own: Own = None) -> str:
        """The generation with the changes: the current one if it has them, else a new one that nginx accepts."""
        before, after = self._generation, self._generations.next()
        texts = self._render(after, self._with(changes), own_site.merged(self.own_sites(), own))
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
        """The current sites with these changes."""
        sites = {**self.sites(), **changes}
        return {app: site for app, site in sites.items() if site is not None}

    def _render(
        self, generation: str, sites: Mapping[str, Site], own: Mapping[str, OwnSite]
    ) -> dict[str, str]:
        return render_tree(
            generation,
            sites,
            listening=self._with_own(own),
            directory=self.directory,
            socket=self.socket,
            known=build.known(self.version_output),
        )

    def _write_alone(self, sites: Mapping[str, Site]) -> str:
        """Write a new tree without comparing it to an older one; returns its name."""
        generation = self._generations.next()
        own = next(filter(None, (own_site.read(self.trees / one) for one in self._generations.all())), {})
        files.sync(self._generations.write(generation, self._render(generation, sites, own)))
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
                hint="start the edge, then run the command again; its last messages are in logs/error.log",
            )
        return master

    def _find_master(self) -> "psutil.Process | None":
        return workers.find_master(self._pid_file, self.directory)


def _same(one: Path, other: Path) -> bool:
    try:
        return one.samefile(other)
    except OSError:
        return False
