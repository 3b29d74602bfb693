"""SQL files that a compose file mounts into a PostgreSQL's /docker-entrypoint-initdb.d.

The image runs them once, when it creates its data. Here they run once in an empty database, in the order of their
names, as the role that migrates and in one transaction, so that a file which fails leaves nothing.
"""

import posixpath
from collections.abc import Sequence
from pathlib import Path

from pushrod.core import lines
from pushrod.core.errors import StoreError
from pushrod.core.values import Service
from pushrod.manifest.mounts import FIRST_SCRIPTS
from pushrod.stores.kinds import Server
from pushrod.system import files, processes

_RECORD = "first-scripts"
_TIMEOUT = 600.0
_LOG_LINES = 10
_COUNT = (
    "select count(*) from pg_class where relnamespace not in "
    "(select oid from pg_namespace where nspname ~ '^pg_' or nspname = 'information_schema')"
)


def of(store: Service, checkout: Path) -> list[Path]:
    """The SQL files of the commit that are mounted there, in their order."""
    scripts = dict[str, Path]()
    for volume in store.volumes:
        inside, place = posixpath.relpath(volume.target, FIRST_SCRIPTS), checkout / volume.source
        if not volume.bind or not place.resolve().is_relative_to(checkout.resolve()):
            continue
        if inside == "." and place.is_dir():
            scripts |= {path.name: path for path in place.iterdir()}
        elif "/" not in inside:
            scripts[inside] = place
    return [scripts[name] for name in sorted(scripts) if name.endswith(".sql") and scripts[name].is_file()]


def run(server: Server, scripts: Sequence[Path], directory: Path, checkout: Path) -> str:
    """Run them unless that was done, or the database has content; returns what was done. `directory` is the store's.

    Raises StoreError with psql's last lines if one fails.
    """
    record, database = directory / _RECORD, server.administration()
    if not scripts or database is None or record.exists():
        return ""
    shell = database.shell(read_only=False, terminal=False)
    quiet = ("--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1")
    ran = ""
    counting = (*shell.argv, *quiet, "--no-align", "--tuples-only", f"--command={_COUNT}")
    if processes.run(counting, env=shell.environment, cwd=Path("/"), timeout=_TIMEOUT).stdout.strip() == "0":
        named = [f"--file={path}" for path in scripts]
        argv = (*shell.argv, *quiet, "--single-transaction", *named)
        done = processes.run(argv, env=shell.environment, cwd=Path("/"), timeout=_TIMEOUT)
        if done.status:
            last = lines.split(done.stderr.replace(f"{checkout}/", ""))[-_LOG_LINES:]
            raise StoreError(
                f"an SQL file of {FIRST_SCRIPTS} fails, and nothing of it was done",
                where=" ".join(str(path.relative_to(checkout)) for path in scripts),
                hint="psql's last lines are above; the files run as the app's migrating role, not as superuser, and "
                "in one transaction",
                log=tuple(last),
            )
        ran = f"{len(scripts)} SQL file{'s' if len(scripts) > 1 else ''} run in the new database"
    files.write(record, "\n".join(str(path.relative_to(checkout)) for path in scripts))
    return ran
