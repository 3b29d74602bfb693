"""The record of copies in vaults, of each app and of the host's own files, and whether the next one is due or late.

apps/shop/vault/ledger.json      the last copies, each read back from the vault; the last failure
vault/ledger.json                the same of the host's own files
"""

from collections.abc import Iterator
from pathlib import Path

import msgspec

from pushrod.core.errors import PushrodError
from pushrod.core.times import is_ahead, now, seconds_since, to_the_minute
from pushrod.core.values import NO_VAULT, USUAL_VAULT, Diagnostic, Release, Value
from pushrod.state.apps import App, Root
from pushrod.state.records import read_json
from pushrod.state.vaults import Vaults
from pushrod.system import files

_KEPT = 100  # records
_SLACK = 600.0  # seconds by which a timer may run early
_DAY = 86400.0


class Copy(Value, frozen=True):
    """One copy in a vault, of an app or (empty) the host's own files: every file of it was read back from there at
    `read`. At `proved` the databases of the stores `restored` were restored from what was read, with all their rows;
    empty if not yet.
    `backup` is the stores' backup in it. `sent` is how many bytes the vault did not have yet, of `size`."""

    app: str
    vault: str
    snapshot: str
    at: str
    backup: str
    size: int
    sent: int
    read: str
    proved: str = ""
    restored: tuple[str, ...] = ()


class Failure(Value, frozen=True):
    """Why the last copy failed: since when there has been no successful one, and the error."""

    at: str
    what: str
    where: str = ""


class Ledger(Value, frozen=True):
    """Copies, newest first, and the failure since the newest."""

    copies: tuple[Copy, ...] = ()
    failure: Failure | None = None


def directory(whose: App | Root) -> Path:
    """Where the record of copies is, and copies on their way."""
    return (whose.directory if isinstance(whose, App) else whose.path) / "vault"


def ledger(whose: App | Root) -> Ledger:
    """The record of an app's copies, or of those of the host's own files."""
    path = directory(whose) / "ledger.json"
    hint = "remove that file; the next backup is copied anew"
    return read_json(path, Ledger, restore=hint) if path.exists() else Ledger()


def succeeded(whose: App | Root, copy: Copy) -> None:
    """Record a copy that was read back, or that it was proved."""
    others = [c for c in ledger(whose).copies if c.snapshot != copy.snapshot]
    _write(whose, Ledger((copy, *others[: _KEPT - 1])))


def failed(whose: App | Root, error: PushrodError) -> None:
    """Record that copying or proving failed."""
    known = ledger(whose)
    since = known.failure.at if known.failure else now()
    _write(whose, msgspec.structs.replace(known, failure=Failure(since, error.what, error.where)))


def of(known: Ledger, backup: str) -> Copy | None:
    """The newest copy that contains a backup; None if there is none."""
    return next((c for c in known.copies if c.backup == backup), None)


def vault_name(app: App, release: Release) -> str:
    """The name of the vault of a release's backups; empty if there is none."""
    name = release.backups.to
    if name == NO_VAULT:
        return ""
    return name or (USUAL_VAULT if USUAL_VAULT in Vaults(app.root).names() else "")


def period(release: Release, periods: dict[str, float]) -> float | None:
    """Seconds between two copies; None if there are none. An app without a store that is backed up is copied daily:
    its repository and secrets are worth it."""
    return periods.get(release.backups.every) or (None if release.stores else _DAY)


def due(app: App, release: Release, periods: dict[str, float], newest: str) -> bool:
    """Whether the next copy is due: the last one failed or was not proved, there is a newer backup (`newest`) than
    the last copy's, or that is older than the period or than the vault."""
    length = period(release, periods)
    name = vault_name(app, release)
    if not name or length is None:
        return False
    known = ledger(app)
    if not known.copies or known.failure or known.copies[0].vault != name:
        return True
    last = known.copies[0]
    return last.backup < newest or past(last.at, length) or _is_older(app.root, name, last)


def past(at: str, length: float) -> bool:
    """Whether a period since a time is over, or the time is in the future because the clock was set back."""
    return is_ahead(at) or seconds_since(at) >= length - _SLACK


def late(at: str, length: float) -> bool:
    """Whether two periods since a time are over, or the time is in the future."""
    return is_ahead(at) or seconds_since(at) > 2 * length


def proved(app: App) -> str:
    """When the last copy was proved; empty if none was."""
    return next((c.proved for c in ledger(app).copies if c.proved), "")


def examine(app: App, release: Release, periods: dict[str, float]) -> Iterator[Diagnostic]:
    """A diagnostic if the last copy of an app with this live release failed, or is late."""
    if not vault_name(app, release):
        return
    length, known = period(release, periods), ledger(app)
    if length is None:
        return
    what, remedy = f"app {app.name}", f"`pushrod db backup --app {app.name}` tries again"
    if known.failure:
        detail = f"no proven copy in a vault since {to_the_minute(known.failure.at)}: {known.failure.what}"
        yield Diagnostic(what, "broken", detail, remedy)
        return
    last = proved(app)
    if last and late(last, length):
        every = release.backups.every if release.stores else "day"
        detail = f"the last proven backup is from {to_the_minute(last)}; one is due every {every}"
        yield Diagnostic(what, "broken", detail, remedy)
    elif not last:
        yield Diagnostic(what, "warning", "no backup has been copied to a vault and proved yet", remedy)


def host_due(root: Root) -> bool:
    """Whether the next copy of the host's own files is due: daily, to the usual vault."""
    if USUAL_VAULT not in Vaults(root).names():
        return False
    known = ledger(root)
    last = known.copies[0] if known.copies else None
    return (
        last is None or known.failure is not None or past(last.at, _DAY) or _is_older(root, USUAL_VAULT, last)
    )


def examine_host(root: Root) -> Iterator[Diagnostic]:
    """A diagnostic if the last copy of the host's own files failed."""
    if USUAL_VAULT in Vaults(root).names() and (failure := ledger(root).failure):
        detail = f"its own files have no copy in a vault since {to_the_minute(failure.at)}: {failure.what}"
        yield Diagnostic("vault", "broken", detail, "`pushrod db backup --all` tries again")


def _is_older(root: Root, name: str, last: Copy) -> bool:
    """Whether a copy was made before its vault was set: another place had its name then."""
    vault = Vaults(root).find(name)
    return vault is not None and last.at < vault.created


def _write(whose: App | Root, changed: Ledger) -> None:
    files.make_private(directory(whose))
    files.write(
        directory(whose) / "ledger.json", msgspec.json.format(msgspec.json.encode(changed)), mode=0o600
    )
