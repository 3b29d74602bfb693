"""What the terminal shows, copied for those who watch."""

import pytest

from pushrod.state import transcript
from pushrod.state.apps import App
from pushrod.state.transcript import Transcript


def texts(app: App) -> list[tuple[str, str]]:
    return [(one.kind, one.text) for one in transcript.read(app)[0]]


def test_a_command_is_shown_from_its_first_step_on(app: App) -> None:
    first, second = Transcript(app), Transcript(app)
    first.add("begin", "release 1", "prepare")
    second.add("note", "waiting: another command is deploying")
    first.add("line", "installing")
    assert texts(app) == [("begin", "release 1"), ("line", "installing")]
    second.add("begin", "release 2", "prepare")
    assert texts(app) == [
        ("note", "waiting: another command is deploying"),
        ("begin", "release 2"),
    ]


def test_it_is_read_on_from_a_position(app: App) -> None:
    shown = Transcript(app)
    shown.add("begin", "a", "prepare")
    _, offset = transcript.read(app)
    shown.add("end", "b", "prepare", 1.25)
    with shown.path.open("ab") as file:
        file.write(b'{"torn')
    rows, after = transcript.read(app, offset)
    assert [(o.kind, o.step, o.text, o.took) for o in rows] == [("end", "prepare", "b", 1.25)]
    assert transcript.read(app, after) == ([], after)
    assert len(transcript.read(app, 10**9)[0]) == 2
    assert transcript.read(App(app.root, "nothing")) == ([], 0)


def test_output_without_end_is_cut_and_steps_are_not(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transcript, "MOST", 1000)
    shown = Transcript(app)
    shown.add("begin", "a", "release")
    for _ in range(100):
        shown.add("line", "x" * 50)
    shown.add("end", "a", "release", 1.0)
    assert shown.path.stat().st_size < 1200
    assert texts(app)[-1] == ("end", "a")


def test_a_file_that_cannot_be_written_or_read_stops_nothing(app: App) -> None:
    shown = Transcript(app)
    shown.path.mkdir()
    shown.add("begin", "a", "prepare")
    shown.add("end", "a", "prepare")
    shown.path.rmdir()
    shown.path.write_bytes(b'\xff\n{"at":"","kind":"other","text":""}\n{"at":"","kind":"line","text":"ok"}\n')
    assert texts(app) == [("line", "ok")]
