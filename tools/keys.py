"""The generated parts of pages: the tables of Compose keys in docs/manifest.md, from `pushrod.manifest.keys`,
the lists of verbs that work over SSH in docs/cli.md, from `pushrod.provisioning.verbs` and the commands, the
table of limits in docs/host.md, from `pushrod.core.limits`, and the tables of docs/cluster.md, also from
`pushrod.engines.kubernetes.keys`.

python -m tools.keys     write them into the pages, between their markers
"""

import inspect
import re
import textwrap
from collections.abc import Iterator
from pathlib import Path

import click

from pushrod.cli import cli, remote
from pushrod.core.limits import LIMITS
from pushrod.engines.kubernetes import keys as kubernetes_keys
from pushrod.manifest import keys
from pushrod.provisioning import gate

DOCS = Path(__file__).resolve().parents[1] / "docs"
_TITLES = {"": "top level", "networks": "`networks`"}
_WORD = {"word": "needs a grant"}


def page() -> str:
    """All tables, after a legend."""
    return "\n".join(_lines()) + "\n"


def _lines() -> Iterator[str]:
    for fate, meaning in keys.FATES.items():
        yield f"- **{_WORD.get(fate, fate)}**: {meaning}."
    for place, rows in keys.SECTIONS.items():
        title = _TITLES.get(place, f"`{place.replace('*', '<name>')}`")
        yield from ("", f"| {title} | Docker | embedded | details |", "|---|---|---|---|")
        for row in rows:
            fates = (_WORD.get(fate, fate) for fate in (row.docker, row.embedded))
            yield f"| {'all' if row.path == '*' else f'`{row.path}`'} | {' | '.join(fates)} | {row.details} |"


def cluster() -> str:
    """The tables of docs/cluster.md: each key on each engine, and in exported Kubernetes objects."""
    lines = ["| key of Compose | embedded | Docker | Kubernetes | on Kubernetes |", "|---|---|---|---|---|"]
    known = {
        f"services.*.{path}": row for path, row in kubernetes_keys.SERVICE.items()
    } | kubernetes_keys.OTHERS
    for row in keys.rows():
        its = known.get(row.path)
        fates = (_WORD.get(fate, fate) for fate in (row.embedded, row.docker))
        last = its.fate if its else row.docker
        details = its.details if its else ""
        name = row.path.replace("*", "<name>")
        lines.append(f"| `{name}` | {' | '.join(fates)} | {last} | {details} |")
    lines += ["", "| `x-pushrod` key | Kubernetes | on Kubernetes |", "|---|---|---|"]
    lines += [f"| `{key}` | {row.fate} | {row.details} |" for key, row in kubernetes_keys.OURS.items()]
    return "\n".join(lines) + "\n"


def limits() -> str:
    """The table of docs/host.md: each limit, and what it bounds."""
    rows = (f"| `{name.replace('_', '-')}` | {limit.meaning} |" for name, limit in LIMITS.items())
    return "\n".join(("| limit | what it bounds |", "|---|---|", *rows)) + "\n"


def over_ssh() -> str:
    """Which verbs a key may run, and which are sent to the server of a repository's remote."""
    every = {path: command for path, command in commands(cli) if not command.hidden}
    one, whole = (
        [path for path in every if path in gate.VERBS and gate.VERBS[path].all_apps is all_apps]
        for all_apps in (False, True)
    )
    sent = [path for path, command in every.items() if path in gate.VERBS and _is_sent(command)]
    lines = (
        ("A key may run", one),
        ("A key for all apps may also run", whole),
        ("In a repository whose remote `pushrod` uses SSH, these run on the server", sent),
    )
    items = (f"- {what}: {', '.join(f'`{path}`' for path in paths)}." for what, paths in lines)
    return "".join(f"{_wrapped(item)}\n" for item in items)


def _wrapped(item: str) -> str:
    """An item of a list in lines of 120 characters, none of which breaks a verb's path."""
    together = re.sub(r"`[^`]+`", lambda match: match[0].replace(" ", "\0"), item)
    return textwrap.fill(together, 120, subsequent_indent="  ", break_long_words=False).replace("\0", " ")


def _is_sent(command: click.Command) -> bool:
    return isinstance(command, remote.Verb) or (
        command.callback is not None and "remote.find(" in inspect.getsource(command.callback)
    )


def commands(group: click.Group, above: str = "") -> Iterator[tuple[str, click.Command]]:
    """Every verb with its path, in the order of `--help`."""
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if isinstance(command, click.Group):
            yield from commands(command, f"{above}{name} ")
        elif command is not None:
            yield f"{above}{name}", command


def main() -> None:
    """Write each part into its page."""
    parts = (
        ("manifest.md", "keys", page()),
        ("cli.md", "verbs", over_ssh()),
        ("host.md", "limits", limits()),
        ("cluster.md", "keys", cluster()),
    )
    for name, what, text in parts:
        path, begin, end = DOCS / name, f"<!-- {what} -->\n", f"<!-- end of {what} -->\n"
        before, _, rest = path.read_text().partition(begin)
        path.write_text(f"{before}{begin}{text}{end}{rest.partition(end)[2]}")


if __name__ == "__main__":
    main()
