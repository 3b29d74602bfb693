"""db shell, size, top, export, import, rotate: tools of an administrator for an app's database."""

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO, NoReturn

import click
import msgspec

from pushrod.backups import catalogue
from pushrod.cli import recording, remote
from pushrod.cli.context import chosen, find_app, pipeline, with_app, with_json, with_store
from pushrod.cli.output import Steps, echo_lines, print_json, print_table
from pushrod.cli.terminal import ask, at_terminal, attach, echo, is_terminal
from pushrod.core.amounts import age, size_of
from pushrod.core.errors import HostError, contained
from pushrod.core.values import Release
from pushrod.engines import registry
from pushrod.state import releases
from pushrod.state.apps import App
from pushrod.state.releases import Releases
from pushrod.stores.administration import Administration, Size, Statement
from pushrod.stores.backup_drivers import Archive
from pushrod.system import files, processes, signals, streams

_LONG = 6 * 3600.0  # seconds for a database that is copied over SSH
_DAY = 86400.0
_WHICH = "PostgreSQL in which pushrod gives the app roles"
_WIDTH = 100  # characters of a statement in a table


class Growth(msgspec.Struct, frozen=True):
    """How a database's dumps have grown: bytes a day between the oldest and the newest backup, `days` apart."""

    bytes_per_day: int
    days: float


@click.command("shell", cls=remote.TerminalVerb)
@click.option("--read-only", is_flag=True, help="As the role that may only read.")
@with_store
@with_app
def shell_command(read_only: bool, store: str, app_name: str | None, root: str | None) -> None:
    """Open psql on the app's database.

    It has the role that migrates, or with --read-only the one that may only read. Without a terminal it runs the
    statements of standard input.
    """
    attach(database(*_running(root, app_name), store).shell(read_only=read_only, terminal=at_terminal()))


@click.command("size", cls=remote.Verb)
@click.option(
    "--lines", type=click.IntRange(1, 1000), default=20, help="How many tables to show; by default 20."
)
@with_store
@with_app
@with_json
def size_command(lines: int, store: str, app_name: str | None, root: str | None, as_json: bool) -> None:
    """Show the size of the app's database: tables, indexes, write-ahead log, and its growth."""
    app, release = _running(root, app_name)
    name = store_of(app, release, store)
    with contained():
        size = database(app, release, name).size(lines)
    growth = _growth(app, name)
    if as_json:
        print_json({**msgspec.to_builtins(size), "growth": msgspec.to_builtins(growth) if growth else None})
        return
    for line in _sizes(size, growth):
        echo(line)
    if size.tables:
        rows = [
            (t.name, size_of(t.data), size_of(t.indexes), str(t.rows) if t.rows >= 0 else "?")
            for t in size.tables
        ]
        print_table(("TABLE", "DATA", "INDEXES", "ROWS (ESTIMATE)"), rows)


def _sizes(size: Size, growth: Growth | None) -> Iterator[str]:
    grown = ""
    if growth:
        grown = (
            f"; its dumps grow by {size_of(growth.bytes_per_day)} a day, measured over {growth.days:.1f} days"
        )
    yield f"database {size.database}: {size_of(size.bytes)}{grown}"
    written = ""
    if size.seconds > 0:
        rate = (
            f", {size_of(int(size.written / size.seconds * _DAY))} a day" if size.seconds > _DAY / 24 else ""
        )
        written = f"; {size_of(size.written)} written in {age(size.seconds)}{rate}"
    yield f"write-ahead log: {size_of(size.wal)} on disk{written}"


def _growth(app: App, store: str) -> Growth | None:
    """From the sizes of the backups on this machine; None if they span less than an hour."""
    taken = [(b.age, f.bytes) for b in catalogue.listed(app) for f in b.files if f.store == store]
    if not taken:
        return None
    (newest, last), (oldest, first) = min(taken), max(taken)
    days = (oldest - newest) / _DAY
    return Growth(int((last - first) / days), round(days, 2)) if days * 24 >= 1 else None


@click.command("top", cls=remote.Verb)
@click.option("--lines", type=click.IntRange(1, 1000), default=10, help="How many to show; by default 10.")
@with_store
@with_app
@with_json
def top_command(lines: int, store: str, app_name: str | None, root: str | None, as_json: bool) -> None:
    """Show the statements that have taken the most time, without their constants."""
    with contained():
        statements = database(*_running(root, app_name), store).statements(lines)
    if as_json:
        print_json(statements)
    elif not statements:
        echo("none so far")
    else:
        print_table(
            ("TOTAL", "CALLS", "MEAN", "MAX", "ROWS", "ROLE", "STATEMENT"), list(map(_row, statements))
        )


def _row(statement: Statement) -> tuple[str, ...]:
    times = (
        f"{ms / 1000:.2f} s" if ms >= 1000 else f"{ms:.1f} ms" for ms in (statement.total, statement.mean)
    )
    total, mean = times
    longest = f"{statement.longest:.1f} ms"
    text = statement.text if len(statement.text) <= _WIDTH else f"{statement.text[:_WIDTH]}…"
    return total, str(statement.calls), mean, longest, str(statement.rows), statement.role, text


@click.command("export")
@click.argument("file", type=click.Path(path_type=Path, allow_dash=True))
@with_store
@with_app
def export_command(file: Path, store: str, app_name: str | None, root: str | None) -> None:
    """Write a dump of a store's data to FILE, or to standard output (`-`).

    The app keeps serving. FILE appears once it is complete.
    """
    there = remote.find(root, app_name)
    if str(file) == "-" and is_terminal(sys.stdout):
        raise HostError("a dump is binary, and standard output is a terminal", hint="give a file's name")
    if there:
        words = ["db", "export", "-", "--app", there.app, *_named(store)]
        with _written(file) as out:
            done = processes.drain(there.argv(*words), out, env=os.environ, timeout=_LONG)
            if done.status:
                _passed_on(done)
    else:
        app, release = _running(root, app_name)
        archive = _archive(app, release, store)
        with signals.interruptible(), _written(file) as out:
            archive.save(out)
    if str(file) != "-":
        echo(f"{file}: {size_of(file.stat().st_size)}")


@click.command("import")
@click.argument("file", type=click.Path(path_type=Path, allow_dash=True))
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
@with_store
@with_app
def import_command(file: Path, yes: bool, store: str, app_name: str | None, root: str | None) -> None:
    """Replace the app's database by a dump, from FILE or from standard input (`-`).

    The dump has the custom format of pg_dump. It is restored beside the database first; the two are swapped only if
    all of it could be restored. The previous data is kept. Instances lose their connections and reconnect.
    """
    there = remote.find(root, app_name)
    if str(file) == "-" and not yes:
        raise click.UsageError("standard input is the dump, so it cannot confirm: add --yes")
    with _read(file) as dump:
        if there:
            _confirm(there.app, yes)
            words = ["db", "import", "-", "--yes", "--app", there.app, *_named(store)]
            _passed_on(processes.run(there.argv(*words), stdin=dump, env=os.environ, timeout=_LONG))
        app = find_app(root, app_name)
        _confirm(app.name, yes)
        with signals.interruptible():
            echo(_load(app, store, dump))


def _load(app: App, store: str, dump: streams.Source) -> str:
    with pipeline(app).locked("importing a dump"):
        release = releases.running(app)
        there = database(app, release, store)
        imported = there.load(dump, ddl=release.migrates_itself)
    rows = sum(imported.rows.values())
    recording.add(f"{len(imported.rows)} tables, {rows} rows")
    return (
        f"database {there.database}: {len(imported.rows)} tables, {rows} rows; database {imported.kept} keeps the "
        "previous data until the next import"
    )


def _confirm(app: str, yes: bool) -> None:
    if not yes:
        echo(f"This replaces the database of {app}. The current one is kept beside it.")
        if ask("Type the app's name to confirm") != app:
            raise click.Abort


@click.command("rotate", cls=remote.Verb)
@with_app
def rotate_command(app_name: str | None, root: str | None) -> None:
    """Give the app's PostgreSQL new passwords, without a failed request.

    A new release of the same commit has them; when the old instances have ended, the old passwords are invalid.
    """
    from pushrod.releases.rotation import Rotation

    app = find_app(root, app_name)
    with signals.interruptible():
        stores = Rotation(app, registry.of(app.root), pipeline(app), Steps()).run()
    echo(f"{', '.join(stores)}: new passwords, in release {Releases(app).pointed()}")


# ---- the store --------------------------------------------------------------------------------------------------


def _running(root: str | None, app_name: str | None) -> tuple[App, Release]:
    app = find_app(root, app_name)
    return app, releases.running(app)


def _administrations(app: App, release: Release) -> dict[str, Administration]:
    servers = registry.of(app.root).stores.servers(app, release.stores)
    databases = {name: server.administration() for name, server in servers.items()}
    return {name: one for name, one in databases.items() if one is not None}


def store_of(app: App, release: Release, store: str) -> str:
    """The database of that name that has these tools, or the only one."""
    return chosen(list(_administrations(app, release)), store, _WHICH, release.stores)


def database(app: App, release: Release, store: str) -> Administration:
    """The tools for the database of that name, or for the only one."""
    databases = _administrations(app, release)
    return databases[chosen(list(databases), store, _WHICH, release.stores)]


def _archive(app: App, release: Release, store: str) -> Archive:
    stores = registry.of(app.root).stores
    archives = {a.store: a for a in stores.archives(app, release, ddl=release.migrates_itself)}
    databases = [name for name in archives if name in _administrations(app, release)]
    return archives[
        chosen(list(archives) if store else databases or list(archives), store, "store that can be read")
    ]


def _named(store: str) -> list[str]:
    return ["--store", store] if store else []


# ---- files ------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def _written(file: Path) -> Iterator[IO[bytes]]:
    """A file that appears complete, for its owner only, or not at all; or standard output."""
    if str(file) == "-":
        yield sys.stdout.buffer
        return
    part = file.with_name(f".{file.name}.{os.getpid()}.part")
    try:
        with part.open("xb") as out:
            os.fchmod(out.fileno(), 0o600)
            yield out
            out.flush()
            os.fsync(out.fileno())
        part.replace(file)
    except OSError as e:
        raise files.os_error(e, str(file)) from e
    finally:
        part.unlink(missing_ok=True)


@contextlib.contextmanager
def _read(file: Path) -> Iterator[IO[bytes]]:
    if str(file) == "-":
        yield sys.stdin.buffer
        return
    try:
        source = file.open("rb")
    except OSError as e:
        raise files.os_error(e, str(file)) from e
    with source:
        yield source


def _passed_on(done: processes.Completed) -> NoReturn:
    """Print what the command on the other machine printed, and exit with its status."""
    echo_lines(done.stdout)
    echo_lines(done.stderr, err=True)
    sys.exit(done.status)
