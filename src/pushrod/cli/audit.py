"""audit: who did what, when, from which key and address, with which result."""

import datetime
import os
import re
from collections.abc import Iterator

import click

from pushrod.adapters import systemd
from pushrod.cli.context import find_root, with_app, with_json
from pushrod.cli.host_context import caller, permitted
from pushrod.cli.output import print_json, print_table
from pushrod.cli.terminal import echo
from pushrod.core.errors import StateError
from pushrod.engines import registry
from pushrod.manifest.document import duration
from pushrod.provisioning import account
from pushrod.state import audit
from pushrod.state.audit import Act, Audit, Filter


def _since(_context: click.Context, _parameter: click.Parameter, given: str) -> str:
    if given and re.fullmatch(r"\d{4}-\d\d-\d\d(T\d\d:\d\d)?", given):
        return given
    if given and (seconds := duration(given)) is not None:
        then = datetime.datetime.now(datetime.UTC) - datetime.timedelta(seconds=seconds)
        return then.isoformat(timespec="milliseconds")
    if given:
        raise click.BadParameter(f"`{given}` is neither a duration such as 24h nor a date such as 2026-01-31")
    return ""


@click.command("audit")
@click.argument("what", type=click.Choice(["list", "verify"]), default="list", metavar="[list|verify]")
@click.option("--key", "by", default="", help="Only one key or account: its name, or the key's fingerprint.")
@click.option("--verb", default="", help="Only one verb: push, rollback, `secret set`, secret.")
@click.option(
    "--result",
    type=click.Choice(["done", "failed", "refused", "unfinished"]),
    help="Only calls with this result.",
)
@click.option("--since", default="", callback=_since, help="Only since this time: 24h, 7d, 2026-01-31.")
@click.option("-n", "--lines", default=50, show_default=True, help="Number of entries, newest last.")
@with_app
@with_json
def audit_command(
    what: str,
    by: str,
    verb: str,
    result: str | None,
    since: str,
    lines: int,
    app_name: str | None,
    root: str | None,
    as_json: bool,
) -> None:
    """Show who did what, including refused calls.

    It covers pushes, verbs, keys, names of secrets, restores and changes of the host. `verify` detects lines that
    were changed, removed or moved.
    """
    log = Audit(find_root(root))
    if what == "verify":
        _verify(log, as_json)
        return
    who = caller()
    apps = (permitted(app_name),) if app_name else who.reach.apps if who else ()
    acts = log.last(max(0, lines), Filter(apps, by, verb, result or "", since))
    if as_json:
        print_json(acts)
    elif not acts:
        echo("no entries yet" if not any((apps, by, verb, result, since)) else "no matching entries")
    else:
        print_table(("WHEN", "WHO", "FROM", "APP", "WHAT", "RESULT", ""), [_row(act) for act in acts])


def _row(act: Act) -> tuple[str, ...]:
    when = act.at[:19].replace("T", " ")
    result = act.result if act.code == 0 else f"{act.result} ({act.code})"
    detail = "; ".join(part for part in (act.words, act.detail) if part)
    who = act.by if act.key else f"{act.by}, here"  # a key and a local account may share a name
    return when, who, act.address or "-", act.app or "-", act.what or "-", result, detail


def _verify(log: Audit, as_json: bool) -> None:
    hosted, may = registry.traits(log.root).hosted, os.geteuid() == 0
    heads = _heads() if hosted and may else []
    verdict = log.verify(heads)
    if as_json:
        print_json(verdict._asdict())
    else:
        for line in _report(verdict, heads=bool(heads), hosted=hosted, may=may):
            echo(line)
    if verdict.problems:
        more = len(verdict.problems) - 1
        raise StateError(
            verdict.problems[0] + (f", and {more} more" if more else ""),
            where=str(log.log),
            hint=f"journalctl --identifier={audit.IDENTIFIER} shows each line's head as it was written",
            log=verdict.problems[:20],
        )


def _report(verdict: audit.Verdict, *, heads: bool, hosted: bool, may: bool) -> Iterator[str]:
    """The lines of a report on what was checked; the problems follow it."""
    if not verdict.last:
        yield "the log is empty"
    else:
        yield f"lines {verdict.first} to {verdict.last}" + ("" if verdict.problems else ": unchanged")
    if verdict.first > 1:
        yield f"lines 1 to {verdict.first - 1} are missing: their files were removed"
    if heads:
        yield f"{verdict.heads} heads in the system's journal match"
    elif hosted and not may:
        yield "not compared with the system's journal, which only root can read"
    elif hosted and verdict.last:
        yield "the system's journal no longer has a head of this log: a truncated end cannot be detected"
    if verdict.gone:
        yield f"{verdict.gone} heads in the journal belong to missing lines"


def _heads() -> list[tuple[str, int, str]]:
    """The heads in the system's journal from root or the account; entries of other users prove nothing."""
    entry = account.entry()
    users = {0, *([entry.pw_uid] if entry else [])}
    heads = []
    for user, text in systemd.journal_entries(audit.IDENTIFIER):
        words = re.fullmatch(r"chain (\w+) line (\d+) sha256 ([0-9a-f]{64})", text)
        if words and user in users:
            heads.append((words[1], int(words[2]), words[3]))
    return heads
