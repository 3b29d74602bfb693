"""What the terminal shows, copied for those who watch."""

from pathlib import Path

import pytest

from pushrod.state import told
from pushrod.state.apps import App
from pushrod.state.told import Telling


def texts(path: Path) -> list[tuple[str, str]]:
    return [(one.kind, one.text) for one in told.read(path)[0]]


def test_a_command_is_told_from_its_first_step_on(app: App) -> None:
    first, second = Telling(app), Telling(app)
    first.tell("begin", "release 1", "prepare")
    second.tell("note", "waiting: another command is deploying")
    first.tell("line", "installing")
    assert texts(first.path) == [("begin", "release 1"), ("line", "installing")]
    second.tell("begin", "release 2", "prepare")
    assert texts(first.path) == [
        ("note", "waiting: another command is deploying"),
        ("begin", "release 2"),
    ]


def test_it_is_read_on_from_a_position(app: App) -> None:
    telling = Telling(app)
    telling.tell("begin", "a", "prepare")
    _, offset = told.read(telling.path)
    telling.tell("end", "b", "prepare", 1.25)
    with telling.path.open("ab") as file:
        file.write(b'{"torn')
    found, after = told.read(telling.path, offset)
    assert [(o.kind, o.step, o.text, o.took) for o in found] == [("end", "prepare", "b", 1.25)]
    assert told.read(telling.path, after) == ([], after)
    assert len(told.read(telling.path, 10**9)[0]) == 2
    assert told.read(app.directory / "nothing") == ([], 0)


def test_output_without_end_is_cut_and_steps_are_not(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(told, "MOST", 1000)
    telling = Telling(app)
    telling.tell("begin", "a", "release")
    for _ in range(100):
        telling.tell("line", "x" * 50)
    telling.tell("end", "a", "release", 1.0)
    assert telling.path.stat().st_size < 1200
    assert texts(telling.path)[-1] == ("end", "a")


def test_a_file_that_cannot_be_written_or_read_stops_nothing(app: App) -> None:
    telling = Telling(app)
    telling.path.mkdir()
    telling.tell("begin", "a", "prepare")
    telling.tell("end", "a", "prepare")
    telling.path.rmdir()
    telling.path.write_bytes(
        b'\xff\n{"at":"","kind":"other","text":""}\n{"at":"","kind":"line","text":"ok"}\n'
    )
    assert texts(telling.path) == [("line", "ok")]
