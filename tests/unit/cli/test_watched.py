"""The terminal and the copy have the same steps."""

import pytest

from pushrod.cli.watched import WatchedSteps
from pushrod.state import transcript
from pushrod.state.apps import App


def test_every_step_line_and_note_is_on_both(app: App, capsys: pytest.CaptureFixture[str]) -> None:
    steps = WatchedSteps(app)
    steps.note("a note")
    steps.begin("prepare", "release 1")
    steps.line("installing")
    steps.end("prepare", "release 1 from 0123456", 1.25)
    steps.begin("ready", "backend")
    steps.fail("ready", 2.0)
    copy, _ = transcript.read(app)
    assert [(o.kind, o.step, o.text, o.took) for o in copy] == [
        ("note", "", "a note", 0.0),
        ("begin", "prepare", "release 1", 0.0),
        ("line", "", "installing", 0.0),
        ("end", "prepare", "release 1 from 0123456", 1.25),
        ("begin", "ready", "backend", 0.0),
        ("fail", "ready", "failed", 2.0),
    ]
    shown = capsys.readouterr().err
    assert all(text in shown for text in ("a note", "installing", "release 1 from 0123456", "failed"))
