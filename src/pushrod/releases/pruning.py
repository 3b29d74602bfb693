"""Remove what is no longer needed: old releases and old records."""

from collections.abc import Sequence

from pushrod.adapters import git
from pushrod.core.values import Release
from pushrod.releases.context import Context

HISTORY = 25
"""Releases that the journal keeps, changes that the state repository keeps, and tags: this many to twice as many."""


class Pruning:
    """Removes what one app no longer needs."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._app, self._engine = context.app, context.engine
        self._journal, self._releases = context.journal, context.releases

    def prune(self, release: Release) -> None:
        """Remove old records, and releases beyond the live one's `keep` and the app's share."""
        numbers = self._releases.numbers()
        older, drop = [n for n in numbers if n != release.number], max(0, len(numbers) - release.keep)
        whole, damaged = self._releases.whole()
        kept = [r for r in whole if r.number in older[drop:]]
        if excess := self._engine.resources.excess(self._app, kept, release):
            left = len(kept) - excess + 1
            self._context.progress.note(
                f"{left} releases are kept instead of {len(kept) + 1}: the app's share allows no more"
            )
        for number in (*older[:drop], *(r.number for r in kept[:excess])):
            self._context.sealing.discard(number)
        self._report_damaged([n for n in damaged if n in older[drop:]])
        self._engine.resources.remove_unused(self._app)
        self.shorten_records()

    def prune_without_live(self) -> None:
        """Remove what no kept release needs, if nothing records how many may stay."""
        self._report_damaged(self._releases.whole()[1])
        self._engine.resources.remove_unused(self._app)

    def shorten_records(self) -> None:
        """Shorten the records, so that the thousandth deployment finds no more of them than the fiftieth.

        These are the journal, the state repository's history, and the tags of releases that the journal no longer
        lists.
        """
        story, entries = self._journal.story(), self._journal.entries()
        first = min([story.last - HISTORY, story.live, *self._releases.numbers()])
        if entries and first - entries[0].release >= HISTORY:
            self._journal.shorten(first)
            git.shorten(self._app.state, HISTORY)
            git.drop_tags(self._app.repository, first)

    def _report_damaged(self, numbers: Sequence[int]) -> None:
        if numbers:
            named = ", ".join(map(str, numbers))
            self._context.progress.note(
                f"{self._app.name}: release {named} cannot be read, so all that it may need is kept; "
                "`pushrod doctor --repair` fixes it"
            )
