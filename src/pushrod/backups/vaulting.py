"""Copies of an app in a vault: sent, read back in full, compared with what was sent.

A copy counts once every byte of it came back. What came back is left for the caller, who restores the databases from
it.
"""

import contextlib
import os
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import NamedTuple

import msgspec

from pushrod.adapters import restic, sftp
from pushrod.backups import copies, staging
from pushrod.backups.copies import Copy
from pushrod.backups.failures import recorded
from pushrod.backups.staging import Contents
from pushrod.core.errors import PushrodError, StoreError, UnknownNameError
from pushrod.core.times import now
from pushrod.core.values import USUAL_VAULT, Value
from pushrod.state.apps import App, Root
from pushrod.state.vaults import Vault, Vaults, check, new_password
from pushrod.system import files, locks

_PATIENCE = 3600.0  # seconds to wait for another app's copy
LOGS, BASES = "wal:{}", "wal-base:{}"
"""The tags of snapshots with an app's logs, and of snapshots made for a base backup while the log went on."""

_BACKUP = "backup:"  # begins the tag with the name of the stores' backup
_KEPT = 14  # copies of the host's own files
SPARE = 256 << 20
"""Bytes of its disk that reading back leaves to databases and logs."""


class Returned(NamedTuple):
    """A copy, and the directory with what came back of it."""

    copy: Copy
    place: Path


def repository(root: Root, vault: Vault) -> restic.Repository:
    """A vault's repository."""
    directory = Vaults(root).directory(vault.name)
    secret = {**vault.variables, "RESTIC_PASSWORD": vault.password}
    server = vault.server
    return restic.Repository(
        f"sftp:{server.user}@{server.host}:{server.path}" if server else vault.url,
        secret,
        directory / "cache",
        ssh=sftp.argv(directory, server) if server else (),
        where=f"vault {vault.name} ({vault.url})",
    )


def find(root: Root, name: str) -> Vault:
    """A vault; UnknownNameError if its owner has not set it."""
    vault = Vaults(root).find(name)
    if vault is None:
        raise UnknownNameError(
            f"no vault `{name}`",
            where="x-pushrod.backups.to",
            hint=f"the machine's owner sets it: `pushrod host backups set … --name {name}`",
        )
    return vault


@contextlib.contextmanager
def outgoing(whose: App | Root) -> Iterator[Path]:
    """The directory for a copy on its way, for one command at a time; removed at the end. It is beside the files,
    because hard links do not reach across mounts.

    Others may use a vault meanwhile: a copy is also proved in the app's own stores, which may take any time.
    """
    work = copies.directory(whose) / "work"
    lock = files.make_private(work.parent) / "lock"
    with locks.lock(lock, purpose="copying to a vault", timeout=_PATIENCE):
        try:
            files.remove_tree(work)
            yield files.make_private(work)
        finally:
            files.remove_tree(work)


def send(root: Root, vault: Vault, contents: Contents, work: Path) -> Returned:
    """Send what was collected in `work/sent` to a vault, and read it back into `work/returned`. Raises StoreError
    unless every byte came back."""
    far = repository(root, vault)
    tags = [_tag(contents.app), *([f"{_BACKUP}{contents.backup}"] if contents.backup else [])]
    with alone(root):
        sent = far.send(work / "sent", tags)
        fetch(root, vault, sent.snapshot, sent.size, work / "returned")
    staging.compare(work / "returned", contents)
    copy = Copy(
        app=contents.app,
        vault=vault.name,
        snapshot=sent.snapshot,
        at=contents.at,
        backup=contents.backup,
        size=sent.size,
        sent=sent.added,
        read=now(),
    )
    return Returned(copy, work / "returned")


def fetch(root: Root, vault: Vault, snapshot: str, size: int, target: Path) -> None:
    """Copy a snapshot's contents into a directory, if the disk has room for them; a `size` of 0 is not known."""
    files.make_private(target)
    far, free = repository(root, vault), files.free_space(target)
    size = size or far.size(snapshot)
    if free - size < SPARE:
        raise StoreError(
            f"the copy cannot be read back: it needs {size // 10**6} MB, and {free // 10**6} MB are free",
            where=str(target),
            hint="free some space on that disk, then `pushrod db backup`",
        )
    far.fetch(snapshot, target)


def copied(root: Root, vault: Vault, app: str, when: str = "") -> tuple[str, str]:
    """The newest of this machine's snapshots with the backup of an app whose name begins with `when` (empty: with its
    newest), and that name. Raises UnknownNameError unless exactly one backup matches.
    """
    names = dict[str, str]()
    for snapshot in repository(root, vault).snapshots(_tag(app), os.uname().nodename):
        for tag in (t for t in snapshot.tags if t.startswith(_BACKUP)):
            name = tag.removeprefix(_BACKUP)
            names.pop(name, None)  # the newest comes last
            names[name] = snapshot.id
    matching = [name for name in names if name.startswith(when)]
    if not matching or (when and len(matching) > 1):
        raise UnknownNameError(
            f"{len(matching) or 'no'} backups in the vault begin with `{when}`"
            if when
            else "no backup in the vault",
            where=f"vault {vault.name} ({vault.url})",
            hint=f"it has: {', '.join(sorted(names)) or 'none'}",
        )
    return names[matching[-1]], matching[-1]


def prune(root: Root, vault: Vault, app: str, keep: int) -> None:
    """Remove this machine's copies of an app, or of the host's own files, beyond the last `keep`."""
    with alone(root), sending(root):
        far, host = repository(root, vault), os.uname().nodename
        for tag in (LOGS, BASES) if app else ():
            far.forget(tag.format(app), host, 2)
        far.prune(_tag(app), host, keep)


def alone(root: Root, timeout: float = _PATIENCE) -> contextlib.AbstractContextManager[None]:
    """Held by whatever sends large copies to a vault, and while a vault is pruned."""
    return locks.lock(Vaults(root).lock, purpose="copying to a vault", timeout=timeout)


def sending(root: Root, timeout: float = _PATIENCE) -> contextlib.AbstractContextManager[None]:
    """Held while a log is sent, which does not wait for large copies, and while a vault is pruned: restic refuses
    the two at a time."""
    lock = Vaults(root).lock.with_name("sending")
    return locks.lock(lock, purpose="sending a log to a vault", timeout=timeout)


def _tag(app: str) -> str:
    return f"app:{app}" if app else "host"


def copy_host(root: Root) -> Copy:
    """Copy the host's own files to the usual vault, and read them back. A failure is recorded."""
    with recorded(partial(copies.failed, root), str(root.path)), outgoing(root) as work:
        vault = find(root, USUAL_VAULT)
        contents = staging.collect_host(root, work / "sent")
        copy, _ = send(root, vault, contents, work)
        copies.succeeded(root, copy)
        prune(root, vault, "", _KEPT)
        return copy


class State(Value, frozen=True):
    """A vault as `host backups list` shows it. `key` is the public key for its server, if that needs one."""

    name: str
    place: str
    state: str
    key: str = ""


def state(root: Root, vault: Vault) -> State:
    """What a vault is, and whether it answers now."""
    directory = Vaults(root).directory(vault.name)
    try:
        there = repository(root, vault).exists()
        condition = "answers" if there else "there is no repository at its place"
    except PushrodError as e:
        condition = e.what
    return State(vault.name, vault.url, condition, sftp.public(directory) if vault.server else "")


def reopen(root: Root, name: str, url: str, given: Mapping[str, str], note: Callable[[str], None]) -> Vault:
    """Set a vault that must be there already. Raises StoreError if it is not."""
    vault, _ = establish(root, name, url, given, note, create=False)
    return vault


def establish(
    root: Root,
    name: str,
    url: str,
    given: Mapping[str, str],
    note: Callable[[str], None],
    *,
    create: bool = True,
) -> tuple[Vault, bool]:
    """Set a vault, and make its repository if there is none; returns whether it was made, with a new password.
    `created` stays as long as the repository does.

    `given` are credentials of its server, and the password of a repository that is already there. Raises StoreError
    if the place refuses; a vault that was set before stays as it was then.
    """
    kind = check(root, url)
    restic.find()
    vaults = Vaults(root)
    before = vaults.find(name)
    if before and before.url != url:
        raise UnknownNameError(
            f"vault `{name}` is {before.url}",
            hint=f"`pushrod host backups unset {name}` first, or choose another name with --name",
        )
    variables = {n: v for n, v in given.items() if n != "RESTIC_PASSWORD"} or (
        before.variables if before else {}
    )
    password = given.get("RESTIC_PASSWORD") or (before.password if before else new_password())
    vault = Vault(name=name, url=url, password=password, created=now(), variables=variables)
    vaults.save(vault)
    try:
        if vault.server:
            sftp.prepare(vaults.directory(name), vault.server, note)
        far = repository(root, vault)
        there = far.exists()
        if not there and not create:
            raise StoreError(
                "there is no repository at that place",
                where=url,
                hint="check the address, and mount its disk",
            )
        if not there:
            far.create()
        elif before:
            vault = msgspec.structs.replace(vault, created=before.created)
            vaults.save(vault)
    except BaseException:
        if before:
            vaults.save(before)
        elif not vault.server:  # with a server, its key is kept: its owner has to let it in first
            vaults.remove(name)
        else:
            vaults.remove_record(name)
        raise
    if kind == "directory" and Path(url).stat().st_dev == root.path.stat().st_dev:
        note(
            f"{url} is on the same disk as the data: it protects against mistakes, not against losing the disk"
        )
    return vault, not there
