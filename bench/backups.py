"""What backups cost, measured in one run: a restore beside a plain pg_restore of the same dump, what a second copy
sends to the vault after 1 % of the rows has changed, and how long an app with 200 writes a second takes to answer
while it is backed up. Prints figures; asserts only that no acknowledged write is missing.

python -m bench.backups [--megabytes N] [--seconds N]
"""

import argparse
import os
import re
import subprocess
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from devtools import apps
from devtools.apps import App, a_machine
from devtools.load import Load, Report
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
_RATE = 200.0
_APP = Path(__file__).with_name("writes.py")
_CHANGED = "update goods set word = md5(word) || word where id > :rows / 100 * 99;"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="bench.backups", description=__doc__)
    parser.add_argument(
        "--megabytes", type=int, default=1000, help="of text in the database; by default 1000"
    )
    parser.add_argument("--seconds", type=float, default=20, help="of load before and after a backup")
    given = parser.parse_args()
    megabytes = given.megabytes
    with a_machine("backups") as machine:
        app = machine.app("shop", {"app.py": _APP.read_text(), "compose.yaml": apps.manifest_with_stores()})
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
        print("\n".join(restored(app)))
        print("\n".join(loaded(app, given.seconds)))


def restored(app: App) -> Iterator[str]:
    """Restore the newest backup, between two plain restores of its dump."""
    backup = newest(app)
    before = plainly(app, backup / "postgres.dump")
    began = time.monotonic()
    argv = [*apps.PUSHROD, "db", "restore", backup.name, "--yes"]
    output = apps.run(argv, app.tree.path, app.machine.env, timeout=3600)
    whole = time.monotonic() - began
    assert output.ok, output.err
    after = plainly(app, backup / "postgres.dump")
    plain = (before + after) / 2
    (step,) = (
        float(t) for t in re.findall(r"^  restore +postgres\.dump.* ([0-9.]+) s$", output.err, re.MULTILINE)
    )
    yield f"pg_restore: {before:.1f} s before, {after:.1f} s after; restored, counted, analysed: {step:.1f} s, "
    yield f"{step / plain:.2f} times; db restore: {whole:.1f} s in all; its steps:"
    yield from (line for line in output.err.splitlines() if line.startswith("  "))


def loaded(app: App, seconds: float) -> Iterator[str]:
    """Write at a constant rate: for some seconds, during a backup with its copy and proof, and for as long again."""
    shell(app, "create table written (id text primary key);", 0)
    calm = partial(time.sleep, seconds)
    writing(app, partial(time.sleep, 2))  # the restore has ended its sessions
    reports = [
        writing(app, during) for during in (calm, partial(copied, app, nice=10), partial(copied, app), calm)
    ]
    there = app_rows(app)
    assert there >= {row for report in reports for row in report.acknowledged}, (
        "an acknowledged write is missing"
    )
    yield f"{_RATE:g} writes/s:"
    outside = max(reports[0].total.p99, reports[3].total.p99)
    for name, report in zip(("before", "backup, nice 10", "backup", "after"), reports, strict=True):
        total = report.total
        yield (
            f"  {name:<16} {report.seconds:5.1f} s, {total.failed} of {total.sent} failed, "
            f"p50 {total.p50 * 1000:.1f} ms, "
            f"p99 {total.p99 * 1000:.1f} ms ({total.p99 / outside:.2f} times), longest gap {total.gap * 1000:.0f} ms"
        )


def writing(app: App, during: Callable[[], object]) -> Report:
    """The report of a load that lasts as long as `during`."""
    url, body = f"{app.url}/", '{"id": "{id}"}'
    with Load(
        url, rate=_RATE, shapes={"post": 1}, post_url=url, post_body=body, seconds=600, timeout=30
    ) as load:
        during()
    return load.report


def app_rows(app: App) -> set[str]:
    """The ids of all writes."""
    argv = [*apps.PUSHROD, "db", "shell"]
    script = "\\pset tuples_only\nselect id from written;\n"
    done = apps.run(argv, app.tree.path, app.machine.env, stdin=script)
    return {line.strip() for line in done.out.splitlines()}


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


def copied(app: App, *, nice: int = 0) -> int:
    """Back up, and return how many bytes the vault did not have yet."""
    argv = ["nice", "-n", str(nice), *apps.PUSHROD, "db", "backup"]
    done = apps.run(argv, app.tree.path, app.machine.env, timeout=3600)
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
    began = time.monotonic()
    subprocess.run([*psql, "create database plain"], env=env, check=True)
    restore = str(Path(programs.psql).with_name("pg_restore"))
    subprocess.run([restore, *where, "-d", "plain", str(dump)], env=env, check=True)
    seconds = time.monotonic() - began
    subprocess.run([*psql, "drop database plain"], env=env, check=True)
    return seconds


if __name__ == "__main__":
    main()
