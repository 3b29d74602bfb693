"""The server's program, configuration and users."""

import contextlib
import functools
import hashlib
import re
import secrets
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from urllib.parse import quote

from pushrod.adapters import versions
from pushrod.system import accounts, files
from pushrod.system.accounts import Account

STOP_SIGNAL = "TERM"
"""The server completes its append-only file, then exits."""

APP_USER = "app"
HEALTH_USER = "health"
DEFAULT_USER = "default"
RESTORING_USER = "restoring"
WATCHING_USER = "pushrod_monitor"
"""The user of an exporter of figures, who sees no key and no command of the app."""

WATCHING = "resetkeys resetchannels -@all +ping +info"

_ESCAPES = {"\\": r"\\", '"': r"\"", "\n": r"\n", "\r": r"\r", "\t": r"\t"}

# What each user may do. `@dangerous` contains some commands that are only dangerous if several apps share a server,
# and that common libraries need: INFO (queues read the version), KEYS, FLUSHDB (a framework's "clear the cache"),
# SORT, ROLE, CLIENT LIST (queues count their workers by it). Still refused: FLUSHALL, CONFIG, DEBUG, SHUTDOWN,
# MONITOR, ACL, MODULE, REPLICAOF, SAVE, MIGRATE, RESTORE, SWAPDB, CLIENT KILL and the rest of `@admin`.
_RULES = {
    APP_USER: "~* &* +@all -@admin -@dangerous +info +keys +flushdb +sort +sort_ro +role +client|list",
    HEALTH_USER: "resetkeys resetchannels -@all +ping +info +acl|load +bgsave +slowlog|get",
}


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
