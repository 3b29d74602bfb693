"""db archive, db wal: the logs of an app's databases, for recovery to a point in time."""

import contextlib
import itertools
import time
from functools import partial

import click

from pushrod.backups import wal, wal_copies
from pushrod.backups.wal import State
from pushrod.backups.wal_copies import Sent
from pushrod.cli import remote
from pushrod.cli.context import find_app, find_root, with_app, with_json
from pushrod.cli.host_context import visible
from pushrod.cli.output import conclude, print_error, print_json, print_table
from pushrod.cli.terminal import echo
from pushrod.core.errors import PushrodError, contained
from pushrod.core.times import to_the_second
from pushrod.core.values import Value
from pushrod.engines import registry
from pushrod.engines.protocols import Engine
from pushrod.state.apps import App
from pushrod.system import files, signals

_TURN = 300.0  # seconds for the log of one app when those of all are copied


class Log(Value, frozen=True):
    """The log of a store: times from `since` to `until` can be restored; `copied` is what the vault's copy serves.
    `problem` is why the last run failed."""

    store: str
    since: str
    until: str
    size: int
    bases: int
    gaps: int
    copied: str = ""
    problem: str = ""


@click.command("archive", cls=remote.Verb)
@click.option("--all", "every", is_flag=True, help="Every app that keeps a log, like the timer.")
@click.option(
    "--again", type=click.IntRange(10, 3600), help="Repeat after this many seconds, until interrupted."
)
@with_app
def archive_command(every: bool, again: int | None, app_name: str | None, root: str | None) -> None:
    """Copy the logs of the app's databases, on this machine and to its vault."""
    with signals.interruptible():
        while True:
            try:
                _run(visible(find_root(root)) if every else [find_app(root, app_name)], every)
            except PushrodError as e:
                if not again:
                    raise
                print_error(e)
            if not again:
                return
            time.sleep(again)


def _run(apps: list[App], every: bool) -> None:
    """Copy the logs of apps; by hand, base backups are taken too, which the hourly timer does otherwise."""
    engine, failed = registry.of(apps[0].root) if apps else None, list[PushrodError]()
    if engine is None:
        return
    # Every log is copied here first: a vault that does not answer must not delay that.
    apps = sorted(apps, key=wal.in_trouble) if every else apps
    steps = [partial(_receive, app, engine, every) for app in apps]
    steps += [partial(wal_copies.send, app, quick=every) for app in apps]
    steps += [] if every else [partial(wal_copies.take_bases, app, engine) for app in apps]
    for app, step in zip(itertools.cycle(apps), steps, strict=False):
        try:
            with contained():
                step()
        except PushrodError as e:
            if not every:
                raise
            failed.append(e.of(app.name))
        except OSError as e:
            failed.append(files.os_error(e, str(app.directory)).of(app.name))
    conclude(failed)


def _receive(app: App, engine: Engine, every: bool) -> None:
    """Copy the log of an app here; among all, within its own time: its image decides how fast it answers."""
    with signals.deadline(_TURN, f"app {app.name}: its log") if every else contextlib.nullcontext():
        wal_copies.receive(app, engine, quick=every)


@click.command("wal", cls=remote.Verb)
@with_app
@with_json
def wal_command(app_name: str | None, root: str | None, as_json: bool) -> None:
    """List the times that the app's databases can be restored to."""
    app = find_app(root, app_name)
    logs = [_log(store, wal.state(app, store), wal_copies.sent(app)) for store in wal.stores(app)]
    if as_json:
        print_json(logs)
    elif not logs:
        echo("no log is kept; a vault, or `x-pushrod: {backups: {wal: true}}`, turns it on")
    else:
        rows = [
            (log.store, _shown(log.since), _shown(log.until), _shown(log.copied), f"{log.size // 10**6} MB")
            for log in logs
        ]
        print_table(("STORE", "FROM", "TO", "IN THE VAULT TO", "SIZE"), rows)
        for log in logs:
            if log.gaps:
                echo(f"{log.store}: {log.gaps} gaps, which no time can be restored from")
            if log.problem:
                echo(f"{log.store}: the last run failed: {log.problem}")
            if (before := wal.former(app, log.store)) and before.bases:
                since, until = _shown(before.bases[0].at), _shown(before.at)
                echo(f"{log.store}: of the cluster before this one, times from {since} to {until}")


def _log(store: str, state: State, copy: Sent) -> Log:
    troubles = (state.trouble, copy.trouble, state.base_trouble, copy.base_trouble)
    return Log(
        store=store,
        since=state.bases[0].at if state.bases else "",
        until=state.at,
        size=state.size,
        bases=len(state.bases),
        gaps=len(state.gaps),
        copied=copy.at.get(store, ""),
        problem=next((t.what for t in troubles if t), ""),
    )


def _shown(at: str) -> str:
    return to_the_second(at) if at else "none"
