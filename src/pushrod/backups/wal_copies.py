"""Logs of databases in an app's vault: sent right after they were copied from the server, and read back.

    apps/<app>/vault/wal.json      what the vault has, up to which time; why the last run failed

One snapshot contains all of an app's logs; what earlier ones contain already is not sent again. What is new in it is
read back and compared.
"""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

import msgspec

from pushrod.adapters.restic import Repository
from pushrod.backups import admission, copies, vaulting, wal, wal_receiving
from pushrod.backups.failures import recorded
from pushrod.backups.wal import State, Trouble
from pushrod.core.errors import BusyError, PushrodError, StateError, StoreError
from pushrod.core.times import now, to_the_minute
from pushrod.core.traits import BY_NAME
from pushrod.core.values import Diagnostic, Release, Value
from pushrod.engines.protocols import Engine
from pushrod.state import releases
from pushrod.state.apps import App
from pushrod.state.records import read_json
from pushrod.state.vaults import Vault
from pushrod.system import files
from pushrod.system.streams import Measured, Nothing

_QUICK = 1.0  # seconds that a timer waits for an app whose log another run copies
_PATIENCE = 60.0
_THIN = 200  # snapshots after which older ones are forgotten
_KEPT = 2  # snapshots that stay: the newest serves every time that this machine could restore
_ANSWER = 120.0  # seconds for a vault to take what is new; restic alone would try for a quarter of an hour
_SLOW = 500_000  # bytes each second that a vault takes at least
_READ = 20_000_000  # bytes each second in which restic finds what the vault has already
_PARTIAL = (".new", ".0*")  # what other runs are writing


class Sent(Value, frozen=True):
    """What the vault has: per store, the time up to which everything acknowledged is in it (`at`); the digest of each
    file; how many snapshots there may be. `vault` is its address and the time of its repository, because another may
    take its place. `whole` is false while the newest snapshot lacks a base backup that the vault has; `base_trouble`
    is why one could not be sent."""

    vault: str = ""
    at: dict[str, str] = {}
    files: dict[str, str] = {}
    snapshots: int = 0
    trouble: Trouble | None = None
    whole: bool = True
    base_trouble: Trouble | None = None


def sent(app: App) -> Sent:
    """What an app's vault has of its logs."""
    path = _path(app)
    hint = f"remove {path}; the next run sends all of it"
    return read_json(path, Sent, restore=hint) if path.exists() else Sent()


def fetch(app: App, vault: Vault, host: str) -> list[str]:
    """Fetch the newest copy of a host's logs of an app, if there is one. Returns messages for the user."""
    far = vaulting.repository(app.root, vault)
    snapshots = far.snapshots(_tag(app), host)
    if not snapshots:
        return []
    files.remove_tree(wal.place(app))
    with vaulting.outgoing(app) as work:
        vaulting.fetch(app.root, vault, snapshots[-1].id, 0, work / "log")
        admission.take(work / "log", wal.place(app), admission.OF_LOG)
    unusable = []
    for store in wal.stores(app):
        try:
            wal.state(app, store)
            wal.former(app, store)
        except StateError as e:
            files.remove_tree(wal.place(app, store))
            unusable.append(f"the log of {store} is not used: {e.what}")
    return unusable


def _tag(app: App) -> str:
    return vaulting.LOGS.format(app.name)


def run(app: App, engine: Engine, *, quick: bool = False) -> None:
    """Copy the logs of an app's databases here, then to its vault; see `receive` and `send`."""
    try:
        receive(app, engine, quick=quick)
    finally:  # what was copied of other stores, and before
        send(app, quick=quick)


def receive(app: App, engine: Engine, *, quick: bool = False) -> None:
    """Copy the logs of an app's databases here. Does nothing if the app is down, or keeps no log; with `quick` also
    if another run is at it. Raises the first error, which is also recorded.
    """
    if (release := releases.up(app)) is None:
        return
    with _alone(app, quick) as alone:
        if alone and wal.keeps_log(app, release):
            wal_receiving.receive(app, engine, release)
        elif alone:
            wal_receiving.stop(app, engine, release)
            _path(app).unlink(missing_ok=True)


def send(app: App, *, quick: bool = False) -> None:
    """Copy an app's logs from here to its vault, if it has one; otherwise like `receive`."""
    if (release := releases.up(app)) is None or not wal.stores(app) or not copies.vault_name(app, release):
        return
    with _alone(app, quick) as alone:
        if alone:
            _send(app, release)


@contextlib.contextmanager
def _alone(app: App, quick: bool) -> Iterator[bool]:
    """Hold an app's logs; yields whether they are held: with `quick` it waits only briefly."""
    with contextlib.ExitStack() as held:
        try:
            held.enter_context(wal.lock(app, _QUICK if quick else _PATIENCE))
        except BusyError:
            if not quick:
                raise
            yield False
            return
        yield True


def _send(app: App, release: Release) -> None:
    known = sent(app)

    def failed(error: PushrodError) -> None:
        since = known.trouble.at if known.trouble else now()
        _write(app, msgspec.structs.replace(known, trouble=Trouble(since, error.what, error.where)))

    with contextlib.suppress(BusyError), recorded(failed, str(_path(app))):  # busy: a vault is being pruned
        _write(app, _sent(app, release, known))


def _sent(app: App, release: Release, known: Sent) -> Sent:
    root = app.root
    vault = vaulting.find(root, copies.vault_name(app, release))
    known = _of(known, vault)
    states = _states(app)
    expected = dict(_files(states))
    apart = [name for name in expected if _is_base(name) and name not in known.files]
    contents = {name: digest for name, digest in expected.items() if name not in apart}
    at = {store: state.at for store, state in states.items()}
    if contents == known.files and known.whole:
        return msgspec.structs.replace(known, at=at, trouble=None)
    far = vaulting.repository(root, vault)
    with vaulting.sending(root, _PATIENCE):
        left_out = [*_PARTIAL, *(name.rpartition("/")[2] for name in apart)]
        new = sorted(set(contents.items()) - set(known.files.items()))
        size = sum((wal.place(app) / name).stat().st_size for name, _ in new)
        patience = _ANSWER + size / _SLOW + _former_size(app) / _READ
        snapshot = far.send(wal.place(app), [_tag(app)], leave_out=left_out, timeout=patience).snapshot
        for name, digest in new:
            _read_back(far, snapshot, name, digest)
    count = _thinned(app, far, known.snapshots + 1)
    return Sent(vault=known.vault, at=at, files=contents, snapshots=count, base_trouble=known.base_trouble)


def _of(known: Sent, vault: Vault) -> Sent:
    """What a vault has, if that is the repository that things were sent to; else nothing."""
    repository = f"{vault.url} since {vault.created}"
    return known if known.vault == repository else Sent(vault=repository)


def _former_size(app: App) -> int:
    """The bytes of logs of clusters before, which the vault has under other names."""
    return sum(before.size for store in wal.stores(app) if (before := wal.former(app, store)))


def _thinned(app: App, far: Repository, count: int) -> int:
    """Forget older snapshots when there are many, unless something else is being sent; returns how many there are."""
    if count <= _THIN:
        return count
    try:
        with vaulting.alone(app.root, 0), vaulting.sending(app.root, 0):
            far.forget(_tag(app), os.uname().nodename, _KEPT)
            return _KEPT
    except BusyError:
        return count


def bases_due(app: App) -> bool:
    """Whether a base backup is due, or is not in the vault yet."""
    release = releases.up(app)
    if release is None or not wal.keeps_log(app, release):
        return False
    if not copies.vault_name(app, release):
        return wal.base_due(app) or not wal.stores(app)
    missing = {name for name, _ in _files(_states(app)) if _is_base(name)} - sent(app).files.keys()
    return bool(missing) or wal.base_due(app)


def take_bases(app: App, engine: Engine) -> None:
    """Take the base backups that are due, and send them to the vault, apart from the log, which must not wait."""
    release = releases.up(app)
    if release is None or not bases_due(app):
        return
    if not wal.stores(app):  # the timer copies no log before there is one, or a vault
        run(app, engine)
    if wal.base_due(app):
        wal_receiving.take_bases(app, engine, release)
    if copies.vault_name(app, release):
        send_bases(app, release)


def send_bases(app: App, release: Release) -> None:
    """Send the base backups that the vault does not have, and read them back. A failure is recorded."""

    def failed(error: PushrodError) -> None:
        with wal.lock(app, _PATIENCE):
            known = sent(app)
            since = known.base_trouble.at if known.base_trouble else now()
            trouble = Trouble(since, error.what, error.where)
            _write(app, msgspec.structs.replace(known, base_trouble=trouble))

    with recorded(failed, str(wal.place(app))):
        _send_bases(app, release)


def _send_bases(app: App, release: Release) -> None:
    vault = vaulting.find(app.root, copies.vault_name(app, release))
    bases = {name: digest for name, digest in _files(_states(app)) if _is_base(name)}
    known = _of(sent(app), vault).files
    if missing := sorted(set(bases.items()) - set(known.items())):
        far = vaulting.repository(app.root, vault)
        with vaulting.alone(app.root):
            tag = vaulting.BASES.format(app.name)
            snapshot = far.send(wal.place(app), [tag], leave_out=_PARTIAL).snapshot
            for name, digest in missing:
                _read_back(far, snapshot, name, digest)
        with wal.lock(app, _PATIENCE):
            after = _of(sent(app), vault)
            there = after.files | dict(missing)
            _write(
                app,
                msgspec.structs.replace(after, files=there, whole=False, base_trouble=None),
            )


def _states(app: App) -> dict[str, State]:
    return {store: wal.state(app, store) for store in wal.stores(app)}


def _is_base(name: str) -> bool:
    return name.endswith(".tar")


def _files(states: dict[str, State]) -> Iterator[tuple[str, str]]:
    for store, state in states.items():
        for base in state.bases:
            yield f"{store}/bases/{base.name}.tar", base.sha256
        for name, digest in state.segments.items():
            yield f"{store}/log/{name}", digest


def _read_back(far: Repository, snapshot: str, name: str, digest: str) -> None:
    returned = Measured(Nothing())
    far.read(snapshot, f"/{name}", returned)
    if returned.sha256 != digest:
        raise StoreError(
            "a part of the log differs from the one that was sent",
            where=name,
            hint="the vault returns other files than were sent: check its disk or server",
        )


def examine(app: App, release: Release) -> Iterator[Diagnostic]:
    """Diagnostics if the log, or a base backup, has not reached the vault for some time."""
    if not wal.keeps_log(app, release) or not copies.vault_name(app, release):
        return
    known, again = sent(app), f"`pushrod db archive --app {app.name}` tries again"
    if failed := known.base_trouble:
        when = to_the_minute(failed.at)
        detail = f"no base backup of its databases has reached the vault since {when}: {failed.what}"
        yield Diagnostic(f"app {app.name}", "broken", detail, again)
    running = wal.running(app, release)
    times = [at for store, at in known.at.items() if store in running]
    since = min(times, default=known.trouble.at if known.trouble else "")
    timed = BY_NAME[release.engine].hosted  # elsewhere nobody but its owner runs it
    if since and wal.late(since) and (known.trouble or timed):
        why = known.trouble.what if known.trouble else "is the timer running?"
        detail = f"the log of its databases has not reached the vault since {to_the_minute(since)}: {why}"
        yield Diagnostic(f"app {app.name}", "broken", detail, again)


def _path(app: App) -> Path:
    return copies.directory(app) / "wal.json"


def _write(app: App, changed: Sent) -> None:
    files.make_private(copies.directory(app))
    files.write(_path(app), msgspec.json.format(msgspec.json.encode(changed)), mode=0o600)
