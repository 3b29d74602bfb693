"""Where everything is: the root directory, the apps in it, and each app's own files.

A root holds one edge, one supervisor and any number of apps. Nothing here reads or changes what is inside
those places except an app's settings (`app.json`).
"""

import datetime
import hashlib
import os
import posixpath
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TypeVar

import msgspec

from pushrod.core.errors import HostError, StateError, UnknownNameError
from pushrod.core.values import EngineName, Maintenance, Value
from pushrod.system import accounts, files

_FOLDER = r"\.?\w[\w.+@ -]{0,99}"
_FILE = re.compile(rf"(?:{_FOLDER}/){{0,9}}\.?\w[\w.+@ -]{{0,99}}\.ya?ml")

NAME = re.compile(r"[a-z][a-z0-9-]{0,30}")

# sockaddr_un holds 108 bytes with the closing zero (unix(7)); supervisord adds its process id to its own name.
_SOCKET_DIRECTORY_LIMIT = 72


class Settings(Value, frozen=True):
    """What pushrod remembers of an app between deployments.

    `port` is where the edge serves it. `replicas` are the counts set by `pushrod scale`, which go before the
    manifest's. `source` is the work tree that `pushrod up` was last called for. `down` says it was stopped.
    `allowed` is what the host's owner lets this app's manifest ask for (`privileged`, `/srv/media` …).
    `maintenance` says that the edge answers in its place. `file` is its compose file, where that is not at the top of
    its repository.
    """

    name: str
    port: int
    engine: EngineName
    created: str
    replicas: dict[str, int] = {}
    source: str = ""
    down: bool = False
    allowed: tuple[str, ...] = ()
    maintenance: Maintenance | None = None
    file: str = ""

    def url(self, domains: Sequence[str] = ()) -> str:
        """Where the app answers: at the first of its names that is one, else on this machine."""
        name = next((d for d in domains if not d.startswith("*.")), "127.0.0.1")
        return f"http://{name}" if self.port == 80 else f"http://{name}:{self.port}"


class HostSettings(Value, frozen=True):
    """What `pushrod host init` decided, in ROOT/host.json; where that file is, Docker runs the apps.

    `pool` is the block of addresses that releases are given parts of. `limits` are those that the owner has changed
    (`core.limits`), for every app; `app_limits` those of one app.
    """

    pool: str = "10.213.0.0/16"
    created: str = ""
    limits: dict[str, float] = {}
    app_limits: dict[str, dict[str, float]] = {}


def check_name(name: str) -> str:
    """Return the name if an app may be called that; UnknownNameError says what is allowed."""
    if not NAME.fullmatch(name):
        raise UnknownNameError(
            f"`{name}` cannot be an app's name",
            hint="a name is 1 to 31 lower-case letters, digits and dashes, and begins with a letter",
        )
    return name


def check_file(path: str) -> str:
    """The path of a compose file in a repository, in its shortest form; empty for the one at the top, by its usual
    name. UnknownNameError says what is allowed."""
    found = posixpath.normpath(path) if path else ""
    if found and not _FILE.fullmatch(found):
        raise UnknownNameError(
            f"`{path}` cannot be an app's compose file",
            hint="give its path in the repository, which ends with .yaml or .yml, such as deploy/compose.yaml",
        )
    return found


def slug(text: str) -> str:
    """The app name that a folder's name suggests; may still be invalid, see `check_name`."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:31]


def now() -> str:
    """The time as records carry it: UTC, ISO 8601, to the millisecond."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds")


T = TypeVar("T")


def read_json(path: Path, kind: type[T], *, restore: str) -> T:
    """Decode one of pushrod's own state files strictly.

    Raises StateError if it is not what it should be, after keeping a copy beside it; `restore` is what the
    user can do about it.
    """
    try:
        raw = path.read_bytes()
    except FileNotFoundError as e:
        raise StateError("the file is gone", where=str(path), hint=restore) from e
    try:
        return msgspec.json.decode(raw, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError) as e:
        copy = path.with_name(f"{path.name}.corrupt")
        files.write(copy, raw, mode=0o600)
        raise StateError(
            f"cannot be read: {e}", where=str(path), hint=f"a copy is kept as {copy.name}; {restore}"
        ) from e


class Root:
    """The directory that holds one machine's pushrod."""

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()
        self.edge = self.path / "edge"
        self.supervisor = self.path / "supervisor"
        self.environments = self.path / "environments"
        self.apps_directory = self.path / "apps"
        self.ports_lock = self.path / "ports.lock"
        self.claims_lock = self.path / "claims.lock"
        self.programs = self.path / "programs"
        self.host_settings_path = self.path / "host.json"
        self._runtime_note = self.path / "runtime"

    @property
    def runtime(self) -> Path:
        """A directory whose name is short enough for unix sockets: in the root, or else in /tmp."""
        inside = self.path / "run"
        if len(os.fsencode(inside)) <= _SOCKET_DIRECTORY_LIMIT:
            return inside
        if self._runtime_note.exists():
            return Path(self._runtime_note.read_text().strip())
        digest = hashlib.sha256(str(self.path).encode()).hexdigest()[:12]
        return Path(f"/tmp/pushrod-{os.geteuid()}-{digest}")  # noqa: S108  closed, and checked for its owner

    @property
    def host_settings(self) -> HostSettings | None:
        """What was decided for this Docker host; None on a root of the embedded engine."""
        if not self.host_settings_path.exists():
            return None
        return read_json(self.host_settings_path, HostSettings, restore="run `pushrod host init` again")

    def create(self) -> None:
        """Make the root's own directories, closed to all but whoever the apps run as.

        Raises HostError where there is no account for those, or the directory of the sockets is somebody else's.
        """
        group = None if self.host_settings_path.exists() else accounts.children_group()
        for directory in (self.path.resolve(), self.apps_directory):
            files.make_closed(directory, group)
        if files.make_closed(self.runtime, group):
            return
        if self.runtime.is_relative_to(self.path):
            raise HostError(
                "belongs to another user", where=str(self.runtime), hint="choose another place with --root"
            )
        # Anybody on this machine could know that name before us. Nobody knows this one.
        files.write(self._runtime_note, f"{files.temporary_name('pushrod-')}\n")
        files.make_closed(self.runtime, group)

    def app(self, name: str) -> "App":
        """The app of that name; UnknownNameError lists what there is."""
        app = App(self, check_name(name))
        if not app.settings_path.exists():
            known = ", ".join(a.name for a in self.apps()) or "none yet"
            raise UnknownNameError(
                f"no app `{name}`", where=str(self.path), hint=f"apps here: {known}; `pushrod up` makes one"
            )
        return app

    def apps(self) -> Iterator["App"]:
        """Every app of this root, by name."""
        if self.apps_directory.is_dir():
            for directory in sorted(self.apps_directory.iterdir()):
                if (directory / "app.json").exists():
                    yield App(self, directory.name)


class App:
    """One app's places. Creating the value touches nothing."""

    def __init__(self, root: Root, name: str) -> None:
        self.root = root
        self.name = name
        self.directory = root.apps_directory / name
        self.settings_path = self.directory / "app.json"
        self.repository = self.directory / "repo.git"
        self.state = self.directory / "state"
        self.checkouts = self.directory / "checkouts"
        self.secrets = self.directory / "secrets"
        self.stores = self.directory / "stores"
        self.logs = self.directory / "logs"
        self.home = self.directory / "home"
        self.backups = self.directory / "backups"
        self.journal = self.directory / "journal"
        self.lock = self.directory / "lock"

    @property
    def settings(self) -> Settings:
        """The app's settings as they are on disk now."""
        return read_json(
            self.settings_path, Settings, restore="mend it by hand, or destroy the app and make it again"
        )

    def save(self, settings: Settings) -> None:
        """Replace the app's settings."""
        files.write(self.settings_path, msgspec.json.format(msgspec.json.encode(settings)))

    def checkout(self, number: int) -> Path:
        """Where the tree of a release's commit is."""
        return self.checkouts / str(number)

    def copies(self, number: int) -> Path:
        """Where copies are of what instances of a release mount of its tree, which they may have changed."""
        return self.directory / "copies" / str(number)
