"""What backups cost, measured in one run: a restore beside a plain pg_restore of the same dump, and what a second
copy sends to the vault after 1 % of the rows has changed. Prints figures; asserts nothing.

python -m bench.backups [--megabytes N]
"""

import argparse
import os
import subprocess
import time
from pathlib import Path

from devtools import apps
from devtools.apps import App, a_machine
from pushrod.adapters import postgres
from pushrod.adapters.binaries import Parts
from pushrod.engines.embedded.ports import store_records
from pushrod.state.apps import App as Place
from pushrod.state.apps import Root
from pushrod.state.secrets import Secrets

_ROW = 110  # bytes of a row's text, about
_MADE = """
create table goods as select n as id, repeat(md5(n::text || 'a'), 2) || md5(n::text) as word
from generate_series(1, :rows) n;
alter table goods add primary key (id);
"""
_CHANGED = "update goods set word = md5(word) || word where id > :rows / 100 * 99;"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="bench.backups", description=__doc__)
    parser.add_argument(
        "--megabytes", type=int, default=1000, help="of text in the database; by default 1000"
    )
    megabytes = parser.parse_args().megabytes
    with a_machine("backups") as machine:
        app = machine.app("shop", {"app.py": apps.APP, "compose.yaml": apps.manifest_with_stores()})
        machine.must("host", "backups", "set", str(machine.directory / "far"))
        rows = megabytes * 1_000_000 // _ROW
        shell(app, _MADE, rows)
        first = copied(app)
        shell(app, _CHANGED, rows)
        second = copied(app)
        print(f"{rows} rows; the dump has {size(app) / 1e6:.0f} MB")
        print(
            f"first copy: {first / 1e6:.1f} MB sent; after 1 % changed: {second / 1e6:.1f} MB, {second / first:.1%}"
        )
        dump = newest(app) / "postgres.dump"
        plain = plainly(app, dump)
        began = time.monotonic()
        output = app.pushrod("db", "restore", newest(app).name, "--yes")
        whole = time.monotonic() - began
        assert output.ok, output.err
        print(
            f"pg_restore: {plain:.1f} s; db restore: {whole:.1f} s in all, {whole / plain:.2f} times; its steps:"
        )
        print("\n".join(line for line in output.err.splitlines() if line.startswith("  ")))


def shell(app: App, statement: str, rows: int) -> None:
    """Run statements that know `rows`, as the role that migrates."""
    argv = [*apps.PUSHROD, "db", "shell"]
    subprocess.run(
        argv,
        input=f"\\set rows {rows}\n{statement}",
        cwd=app.tree.path,
        env=app.machine.env,
        text=True,
        check=True,
        stdout=subprocess.DEVNULL,
    )


def copied(app: App) -> int:
    """Back up, and return how many bytes the vault did not have yet."""
    done = apps.run([*apps.PUSHROD, "db", "backup"], app.tree.path, app.machine.env, timeout=1800)
    assert done.ok, done.err
    return int(app.json("db", "backups")[0]["copy"]["sent"])


def newest(app: App) -> Path:
    """The directory of the newest backup."""
    return app.directory / "backups" / str(app.json("db", "backups")[0]["name"])


def size(app: App) -> int:
    """Bytes of the newest dump."""
    return (newest(app) / "postgres.dump").stat().st_size


def plainly(app: App, dump: Path) -> float:
    """Seconds of a pg_restore into a new database of the same server."""
    place = Place(Root(app.machine.root), app.name)
    record = next(r for r in store_records(place) if r.kind == "postgres")
    programs = postgres.Programs(Parts().postgres)
    env = {**os.environ, "PGPASSWORD": Secrets(place).password(f"{record.name}/superuser")}
    where = ["-h", record.address, "-p", str(record.port), "-U", "postgres"]
    psql = [programs.psql, *where, "-d", "postgres", "-q", "-c"]
    subprocess.run([*psql, "create database plain"], env=env, check=True)
    began = time.monotonic()
    restore = str(Path(programs.psql).with_name("pg_restore"))
    subprocess.run([restore, *where, "-d", "plain", str(dump)], env=env, check=True)
    seconds = time.monotonic() - began
    subprocess.run([*psql, "drop database plain"], env=env, check=True)
    return seconds


if __name__ == "__main__":
    main()
