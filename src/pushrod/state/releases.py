"""Sealed releases and the live pointer, kept in a Git repository: every rendered file, one commit a change."""

import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path

import msgspec

from pushrod.adapters import git
from pushrod.core.errors import StateError, UnknownNameError
from pushrod.core.values import Placement, Release
from pushrod.state.apps import App, read_json
from pushrod.system import files

RELEASE = "release.json"
PLACEMENT = "placement.json"
"""Where the addresses are of a release that is being sealed: they are its own from when they are chosen on."""


def restoring(app: App, path: Path) -> str:
    """How to get a file of the state repository back, with the command to do it."""
    inside = str(path.relative_to(app.state))
    command = shlex.join(["git", "-C", str(app.state), "checkout", "HEAD", "--", inside])
    return f"restore it from its own history: {command}"


class Releases:
    """The releases of one app, as they are on disk."""

    def __init__(self, app: App) -> None:
        self.app = app
        self.directory = app.state / "releases"
        self.pointer = app.state / "live"

    def placed(self) -> Iterator[Path]:
        """The files that say where the instances of each release are, the one that is being sealed among them.

        That one's first: it goes once the release is sealed, so whoever looks meanwhile finds one or the other.
        """
        for name in (PLACEMENT, RELEASE):
            yield from self.directory.glob(f"*/{name}")

    def numbers(self) -> list[int]:
        """The sealed releases, oldest first."""
        if not self.directory.is_dir():
            return []
        found = (d for d in self.directory.iterdir() if d.name.isdecimal())
        return sorted(int(d.name) for d in found if (d / "release.json").exists())

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

    def all(self) -> list[Release]:
        """Every sealed release, oldest first."""
        return [self.read(n) for n in self.numbers()]

    def whole(self) -> tuple[list[Release], list[int]]:
        """Every sealed release that can be read, oldest first, and the numbers of those that are damaged."""
        found, damaged = list[Release](), list[int]()
        for number in self.numbers():
            try:
                found.append(self.read(number))
            except StateError:
                damaged.append(number)
        return found, damaged

    def seal(self, release: Release, texts: Mapping[str, str] | None = None) -> None:
        """Write a release down, with its engine's files beside it; from then on it is sealed.

        `release.json` comes last, so that a release that can be read is whole.
        """
        directory = self.directory / str(release.number)
        for name, text in (texts or {}).items():
            files.write(directory / name, text)
        encoded = msgspec.json.format(msgspec.json.encode(release), indent=2)
        files.write(directory / RELEASE, encoded + b"\n")
        (directory / PLACEMENT).unlink(missing_ok=True)

    def reserve(self, number: int, placement: Placement) -> None:
        """Write down where a release's instances will be, before it is sealed: nobody else is given those places."""
        files.write(
            self.directory / str(number) / PLACEMENT, msgspec.json.format(msgspec.json.encode(placement))
        )

    def remove(self, number: int) -> None:
        """Forget a release; its history stays in the state repository."""
        files.remove_tree(self.directory / str(number))

    def set_aside(self, number: int, place: Path) -> None:
        """Move a release's directory, which cannot be read, out of the state."""
        (self.directory / str(number)).rename(place)

    def point(self, number: int) -> None:
        """Make `live` point to a release, or to nothing for 0."""
        if number:
            files.point(self.pointer, f"releases/{number}")
        else:
            self.pointer.unlink(missing_ok=True)

    def pointed(self) -> int:
        """The release that `live` points to (0: none). The journal decides; this is what follows it."""
        return int(self.pointer.readlink().name) if self.pointer.is_symlink() else 0

    def record(self, message: str) -> None:
        """Commit the state as it is now; nothing where nothing has changed."""
        git.commit_all(self.app.state, message)
