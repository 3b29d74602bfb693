"""The repeated runs of generated tests, `tools/fuzz.py`, with real pytest and Hypothesis on tests that pass, fail, or
do not end."""

import shutil
import time
from pathlib import Path

import pytest

from tools import fuzz

pytestmark = pytest.mark.slow

PASSING = """
import datetime
import time
from hypothesis import given, settings, strategies as st

@given(st.integers())
def test_first(number):
    time.sleep(0.01)

@given(st.integers())
def test_second(number):
    with open("{log}", "a") as log:
        log.write("x")
    time.sleep(0.01)

def test_the_deadline_is_generous():
    assert settings.default.deadline == datetime.timedelta(seconds=10)
"""
FAILING = """
import time
from hypothesis import given, strategies as st

BEGUN = []

@given(st.integers())
def test_fails_towards_its_end(number):
    BEGUN.append(time.monotonic())
    time.sleep(0.05)
    assert number < 5 or time.monotonic() < BEGUN[0] + 1.4
"""
HANGING = """
import time

def test_hangs():
    time.sleep(60)
"""


def file(directory: Path, text: str) -> Path:
    (directory / "pytest.ini").write_text("[pytest]\n")
    shutil.copy(fuzz.TESTS / "fuzz" / "conftest.py", directory)
    path = directory / "test_some.py"
    path.write_text(text)
    return path


def test_a_run_that_hangs_is_a_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(fuzz, "_ENDS", 3.0)
    assert not fuzz._run(file(tmp_path, HANGING), 0.1)
    assert "test_some has not ended after 3 s, with seed " in capsys.readouterr().out


def test_each_test_of_a_file_ends_with_its_share_of_the_time(tmp_path: Path) -> None:
    """2000 examples of each would take 40 seconds."""
    log = tmp_path / "log"
    begun = time.monotonic()
    assert fuzz._run(file(tmp_path, PASSING.format(log=log)), 1.0)
    assert time.monotonic() - begun < 25
    assert 2 <= len(log.read_text()) < 200


def test_a_failure_is_reported_although_its_time_is_over(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert not fuzz._run(file(tmp_path, FAILING), 2.0)
    out = capsys.readouterr().out
    assert "number=5" in out
    assert "test_some failed with seed " in out
