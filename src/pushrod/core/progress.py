"""How a long command reports progress: steps with their duration, and lines in between."""

from typing import Protocol


class Progress(Protocol):
    """Called by the pipeline; the command line decides how it is displayed."""

    def begin(self, step: str, detail: str) -> None:
        """A step has started; displayed if it takes long."""

    def end(self, step: str, detail: str, took: float) -> None:
        """A step has finished after `took` seconds."""

    def fail(self, step: str, took: float) -> None:
        """A step has failed after `took` seconds; the error follows."""

    def line(self, text: str) -> None:
        """One line of output of a program that runs within a step."""

    def note(self, text: str) -> None:
        """A remark for the user, shown once."""
