"""The upgrade of a store that is in progress, on disk: if its command ends halfway, the next one reads it here."""

import contextlib
from typing import Literal

import msgspec

from pushrod.core.upgrades import UpgradePlan
from pushrod.core.values import Maintenance, Value
from pushrod.state.apps import App
from pushrod.state.records import read_json
from pushrod.system import files


class Marker(Value, frozen=True):
    """`state` is `begun` until the app has proved itself on the new data, and everything can be undone; `live` from
    then on. `maintenance` is the app's own, before.
    """

    plan: UpgradePlan
    release: int
    at: str
    state: Literal["begun", "live"] = "begun"
    maintenance: Maintenance | None = None


def pending(app: App) -> bool:
    """Whether an upgrade is in progress, or was interrupted."""
    return (app.directory / "upgrade.json").exists()


def read(app: App) -> Marker | None:
    """The upgrade in progress; None if there is none."""
    path = app.directory / "upgrade.json"
    if not path.exists():
        return None
    return read_json(path, Marker, restore="it says which data the store is on: restore it from a backup")


def write(app: App, marker: Marker) -> None:
    """Replace it."""
    encoded = msgspec.json.format(msgspec.json.encode(marker))
    files.write(app.directory / "upgrade.json", encoded, mode=0o600)


def remove(app: App) -> None:
    """There is none any more."""
    with contextlib.suppress(FileNotFoundError):
        (app.directory / "upgrade.json").unlink()
    files.sync_directory(app.directory)
