"""Settings of a running server in a container, by ALTER SYSTEM.

The image's own configuration stays as it is, and so does the container: a server takes most settings at once, and the
others when it starts next. What somebody else has set by ALTER SYSTEM, and options of the server's command, prevail.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from pushrod.adapters.postgres.figures import LIBRARY
from pushrod.adapters.postgres.server import Database, Row

Ours = dict[str, list[str]]
"""Every value that pushrod has set, by setting: another one is somebody else's."""

_KEPT = 5  # values of one setting that are remembered


class Difference(NamedTuple):
    """What must be set for a server to have its settings, what must be reset, and what will need a restart."""

    set: Mapping[str, str]
    reset: tuple[str, ...]
    waiting: tuple[str, ...]


def question() -> str:
    """The psql script whose rows `difference` compares with what a server should have."""
    return f"\\set library '{LIBRARY}'\n{_LOOK}{_LOADED}"


def difference(
    answer: Sequence[Row], settings: Mapping[str, str], ours: Mapping[str, list[str]]
) -> Difference:
    """How a server's settings, by its answer to `question`, differ from `settings`."""
    *rows, (available, loaded) = answer
    known = {name: (written, context, source, pending) for name, written, context, source, pending in rows}
    asked = dict(settings)
    if available and LIBRARY not in loaded.replace(" ", "").split(","):
        asked["shared_preload_libraries"] = ",".join(filter(None, (loaded, LIBRARY)))
    elif "shared_preload_libraries" in ours:
        asked["shared_preload_libraries"] = known["shared_preload_libraries"][0]
    changed, waiting = {}, {name for name, row in known.items() if row[3] == "t"}
    for name, value in asked.items():
        written, context, source, _ = known.get(name, ("", "internal", "", ""))
        free = (
            context != "internal"
            and source != "command line"
            and (not written or written in ours.get(name, []))
        )
        if free and written != value:
            changed[name] = value
            waiting |= {name} if context == "postmaster" else set()
    reset = [n for n, values in ours.items() if n not in asked and n in known and known[n][0] in values]
    waiting |= {n for n in reset if known[n][1] == "postmaster"}
    return Difference(changed, tuple(sorted(reset)), tuple(sorted(waiting)))


def remembered(ours: Mapping[str, list[str]], changed: Mapping[str, str]) -> Ours:
    """What to remember before these settings are changed."""
    return {
        name: [
            *(v for v in ours.get(name, []) if v != changed.get(name)),
            *([changed[name]] if name in changed else []),
        ][-_KEPT:]
        for name in {**ours, **changed}
    }


def apply(server: Database, change: Difference) -> None:
    """Change a server's settings; those that wait for a restart are written too. Raises StoreError for a value that
    PostgreSQL refuses.
    """
    lines = [f"alter system set {name} = {_quoted(name, value)};\n" for name, value in change.set.items()]
    lines += [f"alter system reset {name};\n" for name in change.reset]
    if lines:
        server.query("".join([*lines, "select pg_reload_conf();\n"]))


def _quoted(name: str, value: str) -> str:
    words = value.split(",") if name == "shared_preload_libraries" else [value]
    return ", ".join("'" + word.strip().replace("'", "''") + "'" for word in words)


_LOOK = """
select s.name, coalesce(f.setting, ''), s.context, s.source, s.pending_restart
  from pg_settings s
  left join (select distinct on (name) name, setting from pg_file_settings
              where sourcefile like '%postgresql.auto.conf' order by name, seqno desc) f using (name);
"""

_LOADED = """
select coalesce((select '1' from pg_available_extensions where name = :'library'), ''),
       current_setting('shared_preload_libraries');
"""
