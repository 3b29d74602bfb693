"""A store's data directory: created once and completely, configured at every start."""

import os
import re
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

from pushrod.adapters.postgres.programs import SUPERUSER, Programs, environment
from pushrod.adapters.postgres.scram import checked, verifier
from pushrod.adapters.postgres.settings import AT_START
from pushrod.core.errors import StoreError
from pushrod.system import accounts, files, processes
from pushrod.system.accounts import Account

_BUILTIN_SINCE = (
    17  # the first major version with the `builtin` locale provider (release notes of PostgreSQL 17)
)


def initialise(
    programs: Programs, data: Path, password: str, account: Account | None, user: str = SUPERUSER
) -> None:
    """Create a store's cluster, once: the data directory appears complete, by a rename, or not at all.

    `user` becomes its superuser, with `password`. Existing data is left as it is. Raises StoreError if this
    PostgreSQL or this account cannot serve it, or if initdb fails.
    """
    if (data / "PG_VERSION").exists():
        _check_version(programs, data)
        accounts.check_data_owner(data, account)
        return
    if data.exists() and any(data.iterdir()):
        raise StoreError(
            "is not empty, and is not a PostgreSQL data directory",
            where=str(data),
            hint="nothing in it was touched; move it away, or put the missing data back",
        )
    _remove_leftovers(data)
    work = Path(tempfile.mkdtemp(prefix=f".{data.name}.", dir=data.parent))
    try:
        files.own(work, account)
        _initdb(programs, work, password, account, user)
        (work / "data").rename(data)
        files.sync_directory(data.parent)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _initdb(programs: Programs, work: Path, password: str, account: Account | None, user: str) -> None:
    secret = work / "password"
    files.write(secret, checked(password) + "\n", mode=0o600)
    os.chown(secret, work.stat().st_uid, work.stat().st_gid, follow_symlinks=False)
    argv = initdb_argv(programs, work / "data", secret, user)
    # It must not write after we are gone: the next attempt starts from nothing.
    done = processes.run(
        processes.as_account(argv, account, death_signal="KILL"),
        cwd=Path("/"),
        env=environment(),
        timeout=120,
    )
    if done.status != 0:
        raise StoreError(
            f"initdb ended with status {done.status}",
            where=str(work.parent),
            hint="nothing was left behind; the lines above are initdb's output",
            log=tuple((done.stdout + done.stderr).splitlines()[-20:]),
        )


def set_password(
    programs: Programs, data: Path, password: str, account: Account | None, user: str = SUPERUSER
) -> None:
    """Set another superuser password, if the current one is lost; the server must not run. Raises StoreError on
    failure.
    """
    statement = f"alter role {user} password '{verifier(password)}'"
    argv = [programs.postgres, "--single", "-D", str(data), "postgres"]
    done = processes.run(
        processes.as_account(argv, account, death_signal="INT"),
        cwd=Path("/"),
        env=environment(),
        stdin=f"{statement}\n",
        timeout=120,
    )
    output = done.stdout + done.stderr
    if done.status != 0 or re.search(r"(?:ERROR|FATAL|PANIC): ", output):
        raise StoreError(
            "its superuser's password is lost, and a new one could not be set",
            where=str(data),
            hint="restore the app's secrets from a backup of this machine",
            log=tuple(line for line in output.splitlines() if "SCRAM" not in line)[-20:],
        )


def initdb_argv(programs: Programs, data: Path, password_file: Path, user: str = SUPERUSER) -> list[str]:
    """The argv that creates a cluster: UTF-8, the same text order on every machine, checksums, no trust."""
    locale = ["--locale=C.UTF-8", "--encoding=UTF8"]
    if int(programs.major()) >= _BUILTIN_SINCE:
        locale += ["--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
    access = [f"--username={user}", f"--pwfile={password_file}", "--auth=scram-sha-256"]
    return [programs.initdb, *locale, *access, "--data-checksums", "--no-instructions", f"--pgdata={data}"]


def _remove_leftovers(data: Path) -> None:
    """Remove what an interrupted initialisation left; nothing refers to it."""
    for leftover in data.parent.glob(f".{data.name}.*"):
        shutil.rmtree(leftover, ignore_errors=True)


def _check_version(programs: Programs, data: Path) -> None:
    major = (data / "PG_VERSION").read_text().strip()
    if major != programs.major():
        raise StoreError(
            f"the data is from PostgreSQL {major}, and the PostgreSQL here is {programs.version()}",
            where=str(data),
            hint=f"the data was not touched; `pushrod db upgrade --to {programs.major()} --programs DIRECTORY`, with "
            f"PostgreSQL {major}'s programs",
        )


def configure(
    data: Path,
    port: int,
    address: str = "127.0.0.1",
    user: str = SUPERUSER,
    settings: Mapping[str, str] = {},
) -> bool:
    """Write the server's configuration; returns whether the server must be restarted for it, because others would not
    reach it. Any other change takes effect at its next restart: a newer pushrod must not interrupt an app.

    pushrod owns all of postgresql.conf, so that it is complete. A user's own settings belong in `local.conf` beside
    it, or in ALTER SYSTEM: both take precedence and are never overwritten. Others may read the files because the
    directory is closed to them; the files belong to us so that the server cannot change them.
    """
    main = data / "postgresql.conf"
    expected = {main: configuration(port, address, settings), data / "pg_hba.conf": hba(user)}
    changed = [p for p, text in expected.items() if not files.holds(p, text)]
    reached = main in changed and _listening(_text(main)) == _listening(expected[main])
    if not (data / "local.conf").exists():
        expected[data / "local.conf"] = "# Your own settings; they come after pushrod's.\n"
        changed.append(data / "local.conf")
    for path in changed:
        files.write(path, expected[path], mode=0o644)
    return bool([p for p in changed if p != main or not reached])


def _text(path: Path) -> str:
    """The text of one of our files; empty if it is none."""
    return path.read_text(errors="replace") if path.is_file() and not path.is_symlink() else ""


def _listening(text: str) -> list[str]:
    """The lines that decide where a server is reached."""
    return re.findall(r"^(?:listen_addresses|port|include) .*$", text, re.MULTILINE)


def waiting(data: Path, port: int, address: str, settings: Mapping[str, str]) -> list[str]:
    """The settings of an existing configuration that `configure` would change, and that a server takes only when it
    starts.
    """
    if not (before := _text(data / "postgresql.conf")):
        return []
    after = configuration(port, address, settings).splitlines()
    differing = {line.partition(" = ")[0] for line in {*after} - {*before.splitlines()}}
    return sorted(differing & AT_START)


def configuration(port: int, address: str = "127.0.0.1", settings: Mapping[str, str] = {}) -> str:
    """The text of postgresql.conf. `settings` are those that depend on the server's memory and on the manifest."""
    own = "".join(f"{name} = '{value}'\n" for name, value in settings.items())
    return f"""\
# Written by pushrod, and written again whenever it differs. Your own settings: local.conf, beside this file.
listen_addresses = '{address}'
port = {port}
unix_socket_directories = ''
password_encryption = 'scram-sha-256'

random_page_cost = 1.1
jit = off

fsync = on
synchronous_commit = on
full_page_writes = on
wal_compression = on
min_wal_size = '80MB'
max_wal_size = '512MB'

log_destination = 'stderr'
logging_collector = off
log_line_prefix = '%m [%p] %q%u@%d '
log_timezone = 'UTC'
log_checkpoints = off

timezone = 'UTC'
datestyle = 'iso, mdy'
lc_messages = 'C'
lc_monetary = 'C.UTF-8'
lc_numeric = 'C.UTF-8'
lc_time = 'C.UTF-8'
default_text_search_config = 'pg_catalog.english'

{own}
include = 'local.conf'
"""


def hba(user: str = SUPERUSER) -> str:
    """The text of pg_hba.conf: this machine only, and nobody without a password. Clients of every loopback address
    come from 127.0.0.1.
    """
    return f"""\
# Written by pushrod, and written again whenever it differs.
# TYPE  DATABASE     USER      ADDRESS       METHOD
host    all          all       127.0.0.1/32  scram-sha-256
host    replication  {user}  127.0.0.1/32  scram-sha-256
"""
