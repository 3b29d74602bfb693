"""restic: an encrypted, deduplicated repository in a directory, on a server over SFTP, or in a bucket of S3.

Its password and the credentials of its server are passed in its environment only. restic 0.14 (Debian 12) or newer.
"""

import contextlib
import os
import re
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec

from pushrod.core.errors import HostError, StoreError
from pushrod.core.times import is_ahead, seconds_since
from pushrod.system import processes
from pushrod.system.streams import Sink

_QUICK = 60.0  # seconds for a question
_LONG = 3 * 3600.0  # seconds for an upload or a download
_NICE = ("nice", "-n", "10")  # apps come first: it compresses and encrypts on all processors
_HINT = "`pushrod host backups list` shows the vault; check its server, then `pushrod db backup`"

_ABSENT = "there is no repository at the vault's place"
_UNSURE = "the vault's server refuses this machine's key, or does not answer"

# What restic prints, and what it means; the first match counts. The last lines of its output go with the error.
_CAUSES: tuple[tuple[str, str, str], ...] = (
    (
        r"wrong password or no key found",
        "the vault has another password",
        "give its password as RESTIC_PASSWORD in a file for `pushrod host backups set --credentials FILE`",
    ),
    (
        r"Access ?Key ?Id|AccessDenied|Access Denied|InvalidAccessKeyId|SignatureDoesNotMatch|403 Forbidden"
        r"|signature we calculated",
        "the vault's server refuses the credentials",
        "correct them: `pushrod host backups set … --credentials FILE`",
    ),
    (
        r"Permission denied \(|Host key verification failed|Too many authentication failures",
        "the vault's server refuses this machine's key, or is not the server it was",
        "`pushrod host backups list` shows the public key: add it to the server's ~/.ssh/authorized_keys",
    ),
    (
        r"no space left on device|disk quota exceeded|QuotaExceeded|file too large",
        "the vault has no room left",
        "free space there, or let the manifest keep fewer backups",
    ),
    (
        r"(?i:connection (?:refused|reset|closed|lost|timed out)|broken pipe|dial tcp|no route to host|no such host"
        r"|could not resolve|i/o timeout|timed out|ssh exited|server misbehaving|network is unreachable)",
        "the vault's server cannot be reached",
        "check the network and the server",
    ),
    (
        r"ciphertext verification failed|invalid data returned|does not match id|decrypting blob|hash mismatch"
        r"|integrity error|unexpected EOF|<data/\S+: EOF|truncated|is damaged|not found in (?:index|repository)"
        r"|load blob|wrong data returned|checking pack|LoadBlob|LoadTree",
        "the vault returns other bytes than were sent: it is damaged",
        "take a new backup into a new vault (`pushrod host backups set`), and check that disk or server",
    ),
    (
        r"SSH_FX_FAILURE",  # SFTP has no word for a full disk
        "the vault's server cannot write: it has no room left, or its disk fails",
        "free space there, or let the manifest keep fewer backups",
    ),
    (
        r"repository is already locked|unable to create lock in backend: repository",
        "another restic works in the vault",
        "wait for it to end; `restic unlock` removes a lock that nobody holds any more",
    ),
    (
        r"permission denied",
        "the vault's files belong to another user",
        "check the owner and mode of its place",
    ),
    (
        r"does not exist|no such file or directory|NoSuchBucket|NoSuchKey",
        _ABSENT,
        "is its disk mounted, its bucket there? `pushrod host backups set` makes a new one",
    ),
    (
        r"unable to start the sftp session",
        _UNSURE,
        "`pushrod host backups list` shows the public key: add it to the server's ~/.ssh/authorized_keys",
    ),
)


class Sent(NamedTuple):
    """A snapshot that was written: its ID, its size, and how much of it the repository did not have yet."""

    snapshot: str
    size: int
    added: int


class Snapshot(msgspec.Struct, frozen=True):
    """A snapshot in a repository."""

    id: str
    time: str
    hostname: str = ""
    tags: tuple[str, ...] = ()


class _Size(msgspec.Struct, frozen=True):
    total_size: int


class _Summary(msgspec.Struct, frozen=True):
    snapshot_id: str
    data_added: int
    total_bytes_processed: int


def find() -> str:
    """The program. Raises HostError if it is not installed."""
    program = shutil.which("restic", path=f"{os.environ.get('PATH', '')}:/usr/bin:/usr/local/bin")
    if program is None:
        raise HostError("restic is not installed", hint="apt-get install restic")
    return program


def cause(output: str, where: str) -> StoreError:
    """The error for restic's output."""
    lines = tuple(line for line in output.splitlines() if line.strip() and not line.startswith("{"))
    for pattern, what, hint in _CAUSES:
        if re.search(pattern, output):
            return StoreError(what, where=where, hint=hint, log=lines[-6:])
    return StoreError("restic failed", where=where, hint=_HINT, log=lines[-12:])


class Repository:
    """One repository. `secret` are the variables with its password and credentials; `ssh` is the argv that restic
    reaches an SFTP server with. `where` is for messages.
    """

    def __init__(
        self, url: str, secret: Mapping[str, str], cache: Path, *, ssh: Sequence[str] = (), where: str = ""
    ) -> None:
        self._where = where or url
        self._ssh = ssh
        self._options = ["-o", f"sftp.command={' '.join(map(_quoted, ssh))}"] if ssh else []
        self._environment = {
            **{n: os.environ[n] for n in ("PATH", "LANG", "SSL_CERT_FILE", "TMPDIR") if n in os.environ},
            "HOME": str(cache.parent),
            "RESTIC_CACHE_DIR": str(cache),
            "RESTIC_REPOSITORY": url,
            **secret,
        }

    def exists(self) -> bool:
        """Whether there is a repository that the password opens. Raises StoreError if that cannot be determined."""
        done = self._run(["cat", "config"], _QUICK)
        if done.status == 0:
            return True
        failed = self._cause(done.stderr + done.stdout)
        if failed.what == _ABSENT:
            return False
        raise failed

    def create(self) -> None:
        """Make the repository."""
        self._must(["init"], _QUICK)

    def send(
        self, directory: Path, tags: Sequence[str], *, leave_out: Sequence[str] = (), timeout: float = _LONG
    ) -> Sent:
        """Copy a directory's contents into a new snapshot with these tags, without files of these names."""
        words = [word for tag in tags for word in ("--tag", tag)]
        words += [word for pattern in leave_out for word in ("--exclude", pattern)]
        done = self._run(["backup", "--json", "--ignore-ctime", *words, "."], timeout, cwd=directory)
        last = next((line for line in reversed(done.stdout.splitlines()) if '"summary"' in line), "")
        if done.status != 0 or not last:
            raise self._cause(done.stderr)
        summary = msgspec.json.decode(last, type=_Summary)
        return Sent(summary.snapshot_id, summary.total_bytes_processed, summary.data_added)

    def size(self, snapshot: str) -> int:
        """The bytes that a snapshot's files take on a disk."""
        done = self._must(["stats", "--json", "--no-lock", "--mode", "restore-size", snapshot], _LONG)
        return msgspec.json.decode(done.stdout, type=_Size).total_size

    def fetch(self, snapshot: str, target: Path) -> None:
        """Copy a snapshot's contents into a directory."""
        self._must(["restore", snapshot, "--target", str(target)], _LONG)

    def read(self, snapshot: str, path: str, sink: Sink) -> None:
        """Write one file of a snapshot to the sink. Raises StoreError if it does not come back."""
        argv = [*_NICE, find(), *self._options, "dump", snapshot, path]
        done = processes.drain(argv, sink, env=self._environment, timeout=_LONG)
        if done.status != 0:
            raise self._cause(done.stderr)

    def snapshots(self, tag: str = "", host: str = "") -> list[Snapshot]:
        """The snapshots with a tag, of a host if one is given, oldest first. Those with a time in the future (the
        clock was set back since) count as the oldest."""
        words = [*(["--tag", tag] if tag else []), *(["--host", host] if host else [])]
        done = self._must(["snapshots", "--json", "--no-lock", *words], _QUICK)
        snapshots = msgspec.json.decode(done.stdout or "[]", type=list[Snapshot] | None) or []
        return sorted(snapshots, key=_order)

    def forget(self, tag: str, host: str, keep: int) -> None:
        """Remove all but the last `keep` snapshots of a host with a tag; what only they need stays until `prune`."""
        self._forget(tag, host, keep)

    def prune(self, tag: str, host: str, keep: int) -> None:
        """Remove all but the last `keep` snapshots of a host with a tag, and the data that only those use."""
        self._forget(tag, host, keep, "--prune")

    def _forget(self, tag: str, host: str, keep: int, *options: str) -> None:
        """Not by `--keep-last`: restic would keep those with a time in the future, and remove new ones at once."""
        self._run(["unlock"], _QUICK)  # locks of processes that are gone: restic refuses to work beside any
        if old := [snapshot.id for snapshot in self.snapshots(tag, host)[:-keep]]:
            self._must(["forget", *options, *old], _LONG)

    def _must(self, argv: Sequence[str], timeout: float) -> processes.Completed:
        done = self._run(argv, timeout)
        if done.status != 0:
            raise self._cause(done.stderr + done.stdout)
        return done

    def _cause(self, output: str) -> StoreError:
        """The error for restic's output. It does not always wait for what ssh prints, so ssh is asked once more."""
        failed = cause(output, self._where)
        if failed.what == _UNSURE and self._ssh:
            with contextlib.suppress(HostError):
                done = processes.run(self._ssh, stdin="", timeout=_QUICK)
                return cause(done.stderr if done.status else output, self._where)
        return failed

    def _run(self, argv: Sequence[str], timeout: float, cwd: Path | None = None) -> processes.Completed:
        program = find()
        try:
            return processes.run(
                [*_NICE, program, *self._options, *argv],
                cwd=cwd,
                env=self._environment,
                timeout=timeout,
                umask=0o077,
            )
        except processes.TimedOutError as e:
            raise StoreError(
                f"the vault did not answer within {timeout:g} s",
                where=self._where,
                hint="check the network and the server; the local backup is there",
            ) from e


def _order(snapshot: Snapshot) -> tuple[bool, float]:
    try:
        return not is_ahead(snapshot.time), -seconds_since(snapshot.time)
    except ValueError:
        return False, 0.0


def _quoted(word: str) -> str:
    """A word of a command line that restic splits again."""
    return f"'{word}'" if re.search(r"[^\w@%+=:,./-]", word) else word
