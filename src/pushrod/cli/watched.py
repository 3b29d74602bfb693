"""The steps of a command on the terminal, and a copy of them for the web page."""

from pushrod.cli.output import Steps
from pushrod.state.apps import App
from pushrod.state.transcript import Transcript


class WatchedSteps(Steps):
    """`Steps` of one app that can also be watched from elsewhere (`state/transcript.py`)."""

    def __init__(self, app: App) -> None:
        super().__init__()
        self._transcript = Transcript(app)

    def begin(self, step: str, detail: str) -> None:
        """Start showing a step."""
        self._transcript.add("begin", detail, step)
        super().begin(step, detail)

    def end(self, step: str, detail: str, took: float) -> None:
        """Show a finished step."""
        self._transcript.add("end", detail, step, took)
        super().end(step, detail, took)

    def fail(self, step: str, took: float) -> None:
        """Show a failed step."""
        self._transcript.add("fail", "failed", step, took)
        super().fail(step, took)

    def line(self, text: str) -> None:
        """Show a line of output of a program within a step."""
        self._transcript.add("line", text)
        super().line(text)

    def note(self, text: str) -> None:
        """Show a remark."""
        self._transcript.add("note", text)
        super().note(text)
