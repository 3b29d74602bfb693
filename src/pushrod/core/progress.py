"""What a long command tells whoever is watching: steps with their time, and lines in between."""

from typing import Protocol


class Progress(Protocol):
    """The pipeline calls this; the command line decides how it looks."""

    def begin(self, step: str, detail: str) -> None:
        """A step has started; shown while it takes long."""

    def end(self, step: str, detail: str, took: float) -> None:
        """A step is done; `took` is in seconds."""

    def fail(self, step: str, took: float) -> None:
        """A step has failed; the error follows."""

    def line(self, text: str) -> None:
        """Output of something that runs within a step."""

    def note(self, text: str) -> None:
        """Something worth saying once."""
