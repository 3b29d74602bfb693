"""Progress for nobody."""

import pytest

from pushrod.progress import Progress, Silent


def test_nobody_watching_hears_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    silent: Progress = Silent()
    silent.begin("step", "detail")
    silent.line("line")
    silent.note("note")
    silent.fail("step", 1.0)
    silent.end("step", "detail", 1.0)
    assert capfd.readouterr() == ("", "")
