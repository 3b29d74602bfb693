"""Redis: an app's own Valkey (or Redis, from version 7), reachable only on this machine.

The default user is off, unless the manifest gives a password without a user, or the app has no account for the
store: then it may do what the app's user may. The app's user may do everything with keys, channels and scripts, and
nothing to the server; pushrod's own user may query the server's state and make it write a snapshot. Writes are in
the append-only file and on disk within a second, so a crash of the machine costs at most that second.
"""

import contextlib
import functools
import hashlib
import os
import re
import secrets
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import BinaryIO, TypeAlias
from urllib.parse import quote

from pushrod.adapters import versions
from pushrod.core.errors import StoreError
from pushrod.system import accounts, files, streams, tails, trees, waits
from pushrod.system.accounts import Account
from pushrod.system.streams import Sink, Source

STOP_SIGNAL = "TERM"
"""The server completes its append-only file, then exits."""

APP_USER = "app"
HEALTH_USER = "health"
DEFAULT_USER = "default"
RESTORING_USER = "restoring"

_MAGIC = 9  # bytes that identify a snapshot; its end has as many
_ENDING = 9 + 40  # bytes: that end, and the mark after it
_POLL = 0.02  # seconds between two queries while a server starts
_ESCAPES = {"\\": r"\\", '"': r"\"", "\n": r"\n", "\r": r"\r", "\t": r"\t"}

# What each user may do. `@dangerous` contains some commands that are only dangerous if several apps share a server,
# and that common libraries need: INFO (queues read the version), KEYS, FLUSHDB (a framework's "clear the cache"),
# SORT, ROLE, CLIENT LIST (queues count their workers by it). Still refused: FLUSHALL, CONFIG, DEBUG, SHUTDOWN,
# MONITOR, ACL, MODULE, REPLICAOF, SAVE, MIGRATE, RESTORE, SWAPDB, CLIENT KILL and the rest of `@admin`.
_RULES = {
    APP_USER: "~* &* +@all -@admin -@dangerous +info +keys +flushdb +sort +sort_ro +role +client|list",
    HEALTH_USER: "resetkeys resetchannels -@all +ping +info +acl|load +bgsave +slowlog|get",
}

Reply: TypeAlias = str | int | list["Reply"] | None


@functools.cache
def version(program: Path) -> str:
    """The version as the server's program prints it, `9.1.2`. Raises StoreError if it does not."""
    return versions.of(program, r"\bv=(\S+)", "set it to a redis-server or valkey-server, version 7 or later")


def server_argv(program: Path, directory: Path) -> tuple[str, ...]:
    """The argv of a store's server: in the foreground, logging to standard output."""
    return (str(program), str(_configuration_file(directory)))


def url(user: str, password: str, port: int, db: int = 0, address: str = "127.0.0.1") -> str:
    """A database's address in the form that programs expect: `redis://user:password@127.0.0.1:port/db`."""
    return f"redis://{quote(user, '')}:{quote(password, '')}@{address}:{port}/{db}"


# ---- configuration ------------------------------------------------------------------------------------------


def configure(
    directory: Path,
    port: int,
    passwords: Mapping[str, str],
    account: Account | None,
    address: str = "127.0.0.1",
    cache: int = 0,
) -> bool:
    """Write a store's configuration and users; returns whether the server must be restarted for it, because others
    would not reach it. Any other change takes effect when it starts next. `cache` is as for `configuration`.

    `passwords` is by user, `app` and `health`, and `default` if it is let in (empty: without one). The data goes into
    `data/` below `directory`; only that and the users' file belong to the account, so that the server cannot change
    its own configuration. A user's own settings belong in `local.conf`, which comes last and is never overwritten.
    Raises StoreError if the data belongs to another account.
    """
    data = directory / "data"
    _make_data(data, account)
    local = directory / "local.conf"
    if not local.exists():
        files.write(local, "# Your own settings; they come after pushrod's.\n")
    users, main = _users_file(directory), _configuration_file(directory)
    before = _passwords(_text(users)), _listening(_text(main))
    _replace(users, acl(passwords), 0o600)
    files.own(users, account)
    _replace(main, configuration(port, data, users, local, address, cache), 0o644)
    return before != (_passwords(_text(users)), _listening(_text(main)))


def waiting(directory: Path, port: int, address: str, cache: int) -> list[str]:
    """The directives of an existing configuration that would change; the server reads them when it starts."""
    before = _text(_configuration_file(directory))
    local, users = directory / "local.conf", _users_file(directory)
    after = configuration(port, directory / "data", users, local, address, cache)
    differing = {line.partition(" ")[0] for line in {*after.splitlines()} - {*before.splitlines()}}
    return sorted(differing - {"bind", "port"}) if before else []


def _text(path: Path) -> str:
    """The text of one of our files; empty if it is none."""
    return path.read_text(errors="replace") if path.is_file() and not path.is_symlink() else ""


def _listening(text: str) -> list[str]:
    return re.findall(r"^(?:bind|port|aclfile|dir|include) .*$", text, re.MULTILINE)


def _passwords(text: str) -> list[str]:
    return re.findall(r"^user (\S+) reset (off|on \S+)", text, re.MULTILINE)


def is_kept(directory: Path) -> bool:
    """Whether a store has kept its data so far."""
    return (directory / "data" / "appendonlydir").exists()


def configuration(
    port: int, data: Path, users: Path, local: Path, address: str = "127.0.0.1", cache: int = 0
) -> str:
    """The text of valkey.conf, with directives that Redis 7 and Valkey share. `cache` is the most bytes of a cache,
    0 for a durable store.
    """
    keeping = 'appendonly yes\nappendfsync everysec\nsave ""\n\nmaxmemory-policy noeviction\n'
    if cache:
        keeping = f'appendonly no\nsave ""\n\nmaxmemory {cache}\nmaxmemory-policy allkeys-lru\n'
    return f"""\
# Written by pushrod, and written again whenever it differs. Your own settings: local.conf, beside this file.
bind {address}
port {port}
protected-mode yes
aclfile {quoted(users)}

daemonize no
logfile ""
loglevel notice

dir {quoted(data)}
{keeping}
include {quoted(local)}
"""


def acl(passwords: Mapping[str, str]) -> str:
    """The text of the users' file: passwords only as SHA-256, which is enough for random ones; the default
    user's is in the manifest as it is."""
    lines = ["user default reset off"]
    if DEFAULT_USER in passwords:
        given = passwords[DEFAULT_USER]
        word = f"#{hashlib.sha256(given.encode()).hexdigest()}" if given else "nopass"
        lines = [f"user {DEFAULT_USER} reset on {word} {_RULES[APP_USER]}"]
    for user, rules in _RULES.items():
        digest = hashlib.sha256(passwords[user].encode()).hexdigest()
        lines.append(f"user {user} reset on #{digest} {rules}")
    return "\n".join(lines) + "\n"


@contextlib.contextmanager
def lent(
    directory: Path, passwords: Mapping[str, str], account: Account | None, load: Callable[[], object]
) -> Iterator[str]:
    """A user of a running server that may replace its data, and exists during the block; yields its password. `load`
    makes the server read its users.
    """
    password, users = secrets.token_hex(32), _users_file(directory)
    digest = hashlib.sha256(password.encode()).hexdigest()
    line = f"user {RESTORING_USER} reset on #{digest} -@all +info +replicaof +config|set +bgsave\n"
    try:
        files.write(users, acl(passwords) + line, mode=0o600)
        files.own(users, account)
        load()
        yield password
    finally:
        files.write(users, acl(passwords), mode=0o600)
        files.own(users, account)
        load()


def _replace(path: Path, text: str, mode: int) -> bool:
    if files.holds(path, text):
        return False
    files.write(path, text, mode=mode)
    return True


def _make_data(data: Path, account: Account | None) -> None:
    if not data.exists():
        files.make_private(data)
        files.own(data, account)
    accounts.check_data_owner(data, account)


def _configuration_file(directory: Path) -> Path:
    return directory / "valkey.conf"


def _users_file(directory: Path) -> Path:
    return directory / "users.acl"


def quoted(path: Path) -> str:
    """A path quoted for the configuration file, whatever it contains."""
    return '"' + "".join(_ESCAPES.get(c, c) for c in str(path)) + '"'


# ---- the server ---------------------------------------------------------------------------------------------


def ready(
    port: int, user: str, password: str, deadline: float, log: Path, address: str = "127.0.0.1"
) -> None:
    """Wait until the server has loaded its data and answers PING. Raises StoreError after `deadline` seconds.

    A server that refuses the user fails at once. The error contains the end of `log`.
    """
    end = time.monotonic() + deadline
    while True:
        try:
            command(port, user, password, "PING", address=address)
            return
        except StoreError as e:
            if e.what.startswith(("WRONGPASS", "NOPERM", "NOAUTH")) or time.monotonic() >= end:
                raise StoreError(
                    f"Redis is not ready: {e.what}", where=e.where, hint=e.hint, log=tails.of_file(log)
                ) from e
        time.sleep(_POLL)


def command(
    port: int, user: str, password: str, *words: str, timeout: float = 5.0, address: str = "127.0.0.1"
) -> Reply:
    """Run one command as a user and return its reply. `timeout` is in seconds, for each step.

    Raises StoreError with the server's message if it refuses, or with the system's if it cannot be reached.
    """
    where = f"Redis on port {port}"
    try:
        with socket.create_connection((address, port), timeout=timeout) as s, s.makefile("rb") as replies:
            s.sendall(_request("AUTH", user, password) + _request(*words))
            _reply(replies, where)
            return _reply(replies, where)
    except OSError as e:
        raise StoreError(
            f"does not answer: {(e.strerror or str(e)).lower()}",
            where=where,
            hint="check whether the server runs, and read the end of its log",
        ) from e


# ---- snapshots ----------------------------------------------------------------------------------------------


def snapshot(
    directory: Path,
    port: int,
    user: str,
    password: str,
    sink: Sink,
    deadline: float,
    address: str = "127.0.0.1",
) -> None:
    """Make a store's server write a snapshot, and copy it to `sink`.

    Raises StoreError if the server cannot, or takes longer than `deadline` seconds.
    """

    def state() -> dict[str, str]:
        reply = str(command(port, user, password, "INFO", "persistence", address=address))
        return dict(line.split(":", 1) for line in reply.splitlines() if ":" in line)

    source = directory / "data" / "dump.rdb"
    before = source.stat().st_ino if source.exists() else 0
    command(port, user, password, "BGSAVE", "SCHEDULE", address=address)

    def written() -> bool:
        now = state()
        done = now["rdb_bgsave_in_progress"] == "0" and now["aof_rewrite_in_progress"] == "0"
        failed = done and now["rdb_last_bgsave_status"] != "ok"
        return failed or (done and source.exists() and source.stat().st_ino != before)

    if not waits.wait_until(written, deadline, 0.1) or state()["rdb_last_bgsave_status"] != "ok":
        raise StoreError(
            "the server could not write a snapshot", where=str(source), hint="see the end of its log"
        )
    # The server's account may have put a link there.
    with trees.opened(source.parent, source.name) as descriptor, os.fdopen(os.dup(descriptor), "rb") as data:
        streams.copy(data, sink)


def check_snapshot(source: Source) -> None:
    """Raise StoreError for data that does not begin and end like a snapshot (RDB).

    It ends with the byte 0xFF and a checksum of eight bytes (rdb.c); Valkey has its own magic word from version 9 on.
    """
    ends = _Ends()
    streams.copy(source, ends)
    if not re.match(rb"REDIS\d{4}|VALKEY\d{3}", ends.first) or ends.last[-9:-8] != b"\xff":
        raise StoreError(
            "is not a complete snapshot of a Redis", where="its snapshot", hint="take another backup"
        )


class _Ends:
    """The first and the last bytes of what passes."""

    first = b""
    last = b""

    def write(self, block: bytes) -> None:
        self.first = (self.first + block[:_MAGIC])[:_MAGIC]
        self.last = (self.last + block)[-_MAGIC:]


class Snapshot:
    """Turns a server's data for a replica into a snapshot: removes a mark of 40 characters that may follow it
    (RDB_EOF_MARK_SIZE in server.h).
    """

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self._held = b""

    def write(self, block: bytes) -> None:
        """Pass on everything except what may be the end."""
        self._held += block
        if len(self._held) > _ENDING:
            self._sink.write(self._held[:-_ENDING])
            self._held = self._held[-_ENDING:]

    def end(self) -> None:
        """Pass on the rest."""
        marked = re.fullmatch(rb"\xff.{8}[0-9a-f]{40}", self._held, re.DOTALL)
        self._sink.write(self._held[:-40] if marked else self._held)


def _request(*words: str) -> bytes:
    """A command in RESP: an array of strings, each with its length in bytes."""
    parts = [w.encode() for w in words]
    return b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%s\r\n" % (len(p), p) for p in parts)


def _reply(replies: BinaryIO, where: str) -> Reply:
    """Read one reply of RESP 2. Raises StoreError for an error reply and ConnectionError at the end."""
    line = replies.readline()
    if not line.endswith(b"\r\n"):
        raise ConnectionResetError("the server closed the connection")
    kind, text = line[:1], line[1:-2].decode(errors="replace")
    if kind == b"-":
        raise StoreError(text, where=where, hint=_hint(text))
    if kind == b":":
        return int(text)
    if kind == b"$":
        return None if text == "-1" else _bulk(replies, int(text))
    if kind == b"*":
        return None if text == "-1" else [_reply(replies, where) for _ in range(int(text))]
    return text


def _bulk(replies: BinaryIO, length: int) -> str:
    raw = replies.read(length + 2)
    if len(raw) != length + 2:
        raise ConnectionResetError("the server closed the connection")
    return raw[:length].decode(errors="replace")


def _hint(message: str) -> str:
    if message.startswith("WRONGPASS"):
        return "the store was created with another password: restart it, or restore the app's secrets"
    return ""
