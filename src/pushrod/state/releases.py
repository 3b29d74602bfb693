"""Sealed releases and the live pointer, kept in a Git repository: every rendered file, one commit for each
change."""

import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import msgspec

from pushrod.adapters import git
from pushrod.core.errors import StateError, StoreError, UnknownNameError
from pushrod.core.values import Placement, Release
from pushrod.state.apps import App
from pushrod.state.journal import Entry, Journal, Story
from pushrod.state.records import read_json
from pushrod.system import files

RELEASE = "release.json"
PLACEMENT = "placement.json"
"""The addresses of a release that is being sealed; they are reserved from the moment they are chosen."""


def restoring(app: App, path: Path) -> str:
    """The hint with the command that restores a file of the state repository."""
    inside = str(path.relative_to(app.state))
    command = shlex.join(["git", "-C", str(app.state), "checkout", "HEAD", "--", inside])
    return f"restore it from its own history: {command}"


class _Sealed(msgspec.Struct):
    """The one field of a sealed release that `live_domains` needs."""

    domains: tuple[str, ...] = ()


class Releases:
    """The releases of one app on disk."""

    def __init__(self, app: App) -> None:
        self.app = app
        self.directory = app.state / "releases"
        self.pointer = app.state / "live"

    def placed(self) -> Iterator[Path]:
        """The files that say where the instances of each release are, including the one that is being sealed.

        That one's placement comes first: it is removed after the release is sealed, so a concurrent reader finds at
        least one.
        """
        for name in (PLACEMENT, RELEASE):
            yield from self.directory.glob(f"*/{name}")

    def numbers(self) -> list[int]:
        """The numbers of the sealed releases, oldest first."""
        if not self.directory.is_dir():
            return []
        directories = (d for d in self.directory.iterdir() if d.name.isdecimal())
        return sorted(int(d.name) for d in directories if (d / "release.json").exists())

    def read(self, number: int) -> Release:
        """One sealed release. Raises UnknownNameError if there is none, StateError if its file is damaged."""
        path = self.directory / str(number) / "release.json"
        if not path.exists():
            known = ", ".join(map(str, self.numbers())) or "none"
            raise UnknownNameError(
                f"{self.app.name} has no release {number}",
                hint=f"releases kept: {known} (`pushrod releases`)",
            )
        return read_json(path, Release, restore=restoring(self.app, path))

    def live(self, story: Story) -> Release | None:
        """The live release by the journal's story; None if there is none. Raises StateError if it is unreadable."""
        return self.read(story.live) if story.live else None

    def live_domains(self) -> tuple[str, ...]:
        """The domains of the release that `live` points to. The rest of its file is not decoded, so that another
        damaged field does not hide them. Raises StateError if they cannot be read.
        """
        try:
            raw = (self.pointer / RELEASE).read_bytes()
            return msgspec.json.decode(raw, type=_Sealed).domains
        except (OSError, msgspec.DecodeError) as e:
            raise StateError("the live release cannot be read", where=str(self.pointer)) from e

    def all(self) -> list[Release]:
        """Every sealed release, oldest first."""
        return [self.read(n) for n in self.numbers()]

    def whole(self) -> tuple[list[Release], list[int]]:
        """The readable sealed releases, oldest first, and the numbers of the damaged ones."""
        readable, damaged = list[Release](), list[int]()
        for number in self.numbers():
            try:
                readable.append(self.read(number))
            except StateError:
                damaged.append(number)
        return readable, damaged

    def seal(self, release: Release, texts: Mapping[str, str] | None = None) -> None:
        """Write a release and its engine's files; from then on it is sealed.

        `release.json` is written last, so a release that can be read is complete.
        """
        directory = self.directory / str(release.number)
        for name, text in (texts or {}).items():
            files.write(directory / name, text)
        encoded = msgspec.json.format(msgspec.json.encode(release), indent=2)
        files.write(directory / RELEASE, encoded + b"\n")
        (directory / PLACEMENT).unlink(missing_ok=True)

    def reserve(self, number: int, placement: Placement) -> None:
        """Record where a release's instances will be, before it is sealed, so that no other release gets those
        places."""
        files.write(
            self.directory / str(number) / PLACEMENT, msgspec.json.format(msgspec.json.encode(placement))
        )

    def remove(self, number: int) -> None:
        """Delete a release; its history stays in the state repository."""
        files.remove_tree(self.directory / str(number))

    def set_aside(self, number: int, place: Path) -> None:
        """Move an unreadable release's directory out of the state."""
        (self.directory / str(number)).rename(place)

    def point(self, number: int) -> None:
        """Make `live` point to a release, or remove it for 0."""
        if number:
            files.point(self.pointer, f"releases/{number}")
        else:
            files.remove_link(self.pointer)

    def pointed(self) -> int:
        """The release that `live` points to (0: none). The journal is authoritative; this follows it."""
        name = self.pointer.readlink().name if self.pointer.is_symlink() else ""
        return int(name) if name.isdecimal() else 0

    def record(self, message: str) -> None:
        """Commit the current state; does nothing if it has not changed."""
        git.commit_all(self.app.state, message)


class Snapshot(NamedTuple):
    """An app's journal and its live release, as they were at one moment."""

    entries: list[Entry]
    story: Story
    release: Release | None

    @classmethod
    def of(cls, app: App) -> "Snapshot":
        """Read both once. Raises StateError if one is unreadable."""
        entries, story = Journal(app.journal).read()
        return cls(entries, story, Releases(app).live(story))


def live(app: App) -> Release | None:
    """The live release of an app according to its journal; None if there is none. StateError if it is unreadable."""
    return Releases(app).live(Journal(app.journal).story())


def up(app: App) -> Release | None:
    """The live release of an app that is up, so that its stores run; None if there is none. Raises like `live`."""
    release = live(app)
    return None if release is None or app.settings.down else release


def running(app: App) -> Release:
    """The live release of an app that is up. Raises StoreError if there is none, or the app is down."""
    release = live(app)
    if release is not None and not app.settings.down:
        return release
    state = "is down" if release else "has no live release"
    hint = "`pushrod restart` starts them" if release else "deploy it first"
    raise StoreError(f"{app.name} {state}, so its stores do not run", hint=hint)
