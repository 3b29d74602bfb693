"""Where everything is stored: the root directory, its apps, and each app's own files.

A root holds one edge, one supervisor and any number of apps. This module knows their paths, and the two files of
settings: an app's (`app.json`) and a Docker host's (`host.json`).
"""

import hashlib
import os
import posixpath
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from pushrod.core.errors import HostError, UnknownNameError
from pushrod.core.patterns import lazy
from pushrod.core.upgrades import Cluster
from pushrod.core.values import EngineName, Maintenance, Value
from pushrod.state.records import read_json
from pushrod.system import accounts, damaged_paths, files

_FOLDER = r"\.?\w[\w.+@ -]{0,99}"
_FILE = lazy(rf"(?:{_FOLDER}/){{0,9}}\.?\w[\w.+@ -]{{0,99}}\.ya?ml")

NAME = lazy(r"[a-z][a-z0-9-]{0,30}")

# sockaddr_un holds 108 bytes including the final zero (unix(7)); supervisord appends its process id to its socket's
# name.
_SOCKET_DIRECTORY_LIMIT = 72


class Settings(Value, frozen=True):
    """What pushrod remembers about an app between deployments.

    `port` is where the edge serves it. `replicas` are the counts set by `pushrod scale`, which override the
    manifest's. `source` is the work tree of the last `pushrod up`. `down` means the app was stopped. `allowed` is
    what the host's owner permits this app's manifest to ask for (`privileged`, `/srv/media` …). If `maintenance` is
    set, the edge answers instead of the app. `file` is its compose file, if that is not at the top of its
    repository. `clusters` are the stores that were upgraded to another major version than the manifest named.
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
    clusters: dict[str, Cluster] = {}

    def url(self, domains: Sequence[str] = ()) -> str:
        """The app's address: its first name that is not a wildcard, else this machine."""
        name = next((d for d in domains if not d.startswith("*.")), "127.0.0.1")
        return f"http://{name}" if self.port == 80 else f"http://{name}:{self.port}"


class Monitor(Value, frozen=True):
    """A host's Prometheus: its port on loopback, the days and the megabytes of samples it keeps, and the megabytes of
    memory it may use."""

    port: int
    days: int
    disk: int
    memory: int


class HostSettings(Value, frozen=True):
    """What `pushrod host init` decided, in ROOT/host.json; if that file exists, Docker runs the apps.

    `pool` is the block of addresses that releases get their networks from. `limits` are those the owner has changed
    (`core.limits`) for every app; `app_limits` those changed for one app. `metrics` is the port on loopback that
    serves metrics, `web` the one that serves the web page; 0 for none. `monitor` is its Prometheus. With `exporters`
    figures of the machine and of the stores are served on loopback too. `domain` is where the edge serves the page as
    well; `email` is for the authority of its certificate.
    """

    pool: str = "10.213.0.0/16"
    created: str = ""
    limits: dict[str, float] = {}
    app_limits: dict[str, dict[str, float]] = {}
    metrics: int = 0
    web: int = 0
    monitor: Monitor | None = None
    exporters: bool = False
    domain: str = ""
    email: str = ""


def check_name(name: str) -> str:
    """Return the name if it is valid for an app; raises UnknownNameError with the rule otherwise."""
    if not NAME.fullmatch(name):
        raise UnknownNameError(
            f"`{name}` cannot be an app's name",
            hint="a name is 1 to 31 lower-case letters, digits and dashes, and begins with a letter",
        )
    return name


def check_file(path: str) -> str:
    """The normalised path of a compose file in a repository; empty for the default file at the top.

    Raises UnknownNameError if the path is not allowed.
    """
    normalised = posixpath.normpath(path) if path else ""
    if normalised and not _FILE.fullmatch(normalised):
        raise UnknownNameError(
            f"`{path}` cannot be an app's compose file",
            hint="expected a path in the repository that ends with .yaml or .yml, such as deploy/compose.yaml",
        )
    return normalised


def slug(text: str) -> str:
    """An app name derived from a folder's name; may still be invalid, see `check_name`."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:31]


class Root:
    """The root directory: all of pushrod's files on one machine."""

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
        """A directory with a path short enough for Unix sockets: in the root, otherwise in /tmp."""
        inside = self.path / "run"
        if len(os.fsencode(inside)) <= _SOCKET_DIRECTORY_LIMIT:
            return inside
        if self._runtime_note.exists():
            return Path(self._runtime_note.read_text().strip())
        digest = hashlib.sha256(str(self.path).encode()).hexdigest()[:12]
        return Path(f"/tmp/pushrod-{os.geteuid()}-{digest}")  # noqa: S108  closed, and checked for its owner

    @property
    def hosted(self) -> bool:
        """Whether this is the root of a Docker host, which `pushrod host init` has made."""
        return self.host_settings_path.exists()

    @property
    def host_settings(self) -> HostSettings | None:
        """The settings of this Docker host; None on a root of the embedded engine."""
        if not self.hosted:
            return None
        return read_json(self.host_settings_path, HostSettings, restore="run `pushrod host init` again")

    @property
    def own_domain(self) -> str:
        """The domain of this host's own page; empty if it has none."""
        settings = self.host_settings
        return settings.domain if settings else ""

    def create(self) -> None:
        """Make the root's own directories, closed to all accounts except the one the apps run as.

        Raises HostError if that account does not exist, or if the socket directory belongs to another user.
        """
        group = None if self.hosted else accounts.children_group()
        if self.runtime.is_relative_to(self.path):
            damaged_paths.make_way(self.runtime, directory=True)
        for directory in (self.path.resolve(), self.apps_directory):
            files.make_closed(directory, group)
        if files.make_closed(self.runtime, group):
            return
        if self.runtime.is_relative_to(self.path):
            raise HostError(
                "belongs to another user", where=str(self.runtime), hint="choose another place with --root"
            )
        # Any user of this machine could have predicted that name and taken it; this one is unpredictable.
        files.write(self._runtime_note, f"{files.temporary_name('pushrod-')}\n")
        files.make_closed(self.runtime, group)

    def app(self, name: str) -> "App":
        """The app with that name; UnknownNameError, listing the existing apps, if there is none."""
        app = App(self, check_name(name))
        if not app.exists:
            known = ", ".join(a.name for a in self.apps()) or "none yet"
            raise UnknownNameError(
                f"no app `{name}`", where=str(self.path), hint=f"apps here: {known}; `pushrod up` creates one"
            )
        return app

    def apps(self) -> Iterator["App"]:
        """Every app of this root, sorted by name."""
        if self.apps_directory.is_dir():
            for directory in sorted(self.apps_directory.iterdir()):
                if NAME.fullmatch(directory.name) and (app := App(self, directory.name)).exists:
                    yield app


class App:
    """The paths of one app. Creating the value touches no files."""

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
    def exists(self) -> bool:
        """Whether there is such an app; an app that has lost its settings still is one."""
        return self.settings_path.exists() or self.journal.exists()

    @property
    def settings(self) -> Settings:
        """The app's settings as they are on disk now."""
        return read_json(self.settings_path, Settings, restore="`pushrod doctor --repair` recreates them")

    def save(self, settings: Settings) -> None:
        """Replace the app's settings."""
        files.write(self.settings_path, msgspec.json.format(msgspec.json.encode(settings)))

    def checkout(self, number: int) -> Path:
        """The directory with the tree of a release's commit."""
        return self.checkouts / str(number)

    def copies(self, number: int) -> Path:
        """The directory with a release's copies of the parts of its tree that instances mount and may change."""
        return self.directory / "copies" / str(number)
