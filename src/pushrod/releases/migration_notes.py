"""Notes on a commit's new SQL migrations: statements that block others, or break the release that still runs."""

from pathlib import Path

from pushrod.adapters import git, squawk
from pushrod.core.errors import HostError, RepositoryError
from pushrod.core.patterns import lazy

_PLACES = lazy(r"(?:^|/)(?:migrations?|migrate)/(?:.*/)?[^/-][^/]*\.sql$|(?:^|/)V[0-9][^/]*__[^/]*\.sql$")
_UNDONE = lazy(r"[._](?:down|undo|rollback)\.sql$|(?:^|/)U[0-9][^/]*__[^/]*\.sql$")
_MOST_FILES = 50
_MOST_NOTES = 8


def can() -> bool:
    """Whether migrations can be examined: squawk is installed."""
    return bool(squawk.program())


def of(repository: Path, live: str, commit: str, checkout: Path) -> list[str]:
    """The notes; none for a first deployment, whose tables are empty, and none without squawk. `live` is the commit
    that runs, empty for none.
    """
    if not live or live == commit or not can():
        return []
    try:
        changed = git.changed(repository, live, commit, "*.sql")
    except (RepositoryError, HostError):  # the live commit may be gone
        return []
    files = [f for f in changed if _PLACES.search(f) and not _UNDONE.search(f) and not f.startswith("-")]
    violations = squawk.violations(checkout, files[:_MOST_FILES])
    notes = [f"{f.file}:{f.line}: {f.message} ({f.rule})" for f in violations[:_MOST_NOTES]]
    more = len(violations) - len(notes)
    return [*notes, f"{more} more of the kind: `squawk` shows all"] if more > 0 else notes
