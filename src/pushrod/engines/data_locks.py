"""Data that only one program may have open, while the instances of two releases run at the same time. Pure."""

import re
from collections.abc import Sequence

from pushrod.core.errors import PushrodError, ReadyError
from pushrod.core.patterns import lazy
from pushrod.core.values import Service

# As LevelDB, RocksDB, Badger, DuckDB, SQLite, H2, Lucene, OrientDB and others say it.
_HELD = lazy(
    r"\block\b.*temporarily unavailable|unable to lock|lock (?:is )?held (?:in|by)|already locked|locked by another"
    r"|database is locked|may be already in use|lock ?file\b.*\bexists|another process is using"
    r"|(?:could not|cannot|failed to|unable to) (?:acquire|obtain|set|take)\b.{0,60}\block\b",
    re.IGNORECASE,
)
_OF_ROWS = lazy(r"\bon (?:row|relation|tuple|table|advisory)\b", re.IGNORECASE)  # in a database server


def explain(error: PushrodError, services: Sequence[Service]) -> None:
    """Add to the hint of an instance's error that the old release may hold a lock that its log mentions."""
    if not isinstance(error, ReadyError) or all(s.stop_first for s in services):
        return
    if any(_HELD.search(line) and not _OF_ROWS.search(line) for line in error.log):
        hint = (
            "if an instance of the old release holds that lock, `deploy: {update_config: {order: stop-first}}` "
            "ends it before the new one starts"
        )
        error.hint = "; ".join(filter(None, (hint, error.hint)))
