"""The second run of failed tests, `tools/flaky.py`, with real pytest on tests that fail once or always."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tools import flaky

CHECKOUT = Path(__file__).resolve().parents[2]

pytestmark = pytest.mark.slow

TESTS = """
from pathlib import Path
import pytest

@pytest.mark.parametrize("number", range({flaky}))
def test_flaky(number):
    mark = Path(f"failed-{{number}}")
    first = not mark.exists()
    mark.touch()
    assert not first

@pytest.mark.parametrize("number", range({broken}))
def test_broken(number):
    assert False

def test_sound():
    pass
"""


def again(directory: Path, flaky: int, broken: int) -> tuple[int, list[str]]:
    """The status and the report of a run after one in which tests failed."""
    alone = os.environ | {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    (directory / "pytest.ini").write_text("[pytest]\n")
    (directory / "test_some.py").write_text(TESTS.format(flaky=flaky, broken=broken))
    first, second = ["-m", "pytest", "-q"], [str(CHECKOUT / "tools" / "flaky.py")]
    for argv in (first, second):
        done = subprocess.run(
            [sys.executable, *argv], cwd=directory, env=alone, capture_output=True, text=True, check=False
        )
    return done.returncode, [line for line in done.stdout.splitlines() if line.startswith("flaky:")]


def test_up_to_the_accepted_number_of_flaky_tests_passes_and_is_listed(tmp_path: Path) -> None:
    status, lines = again(tmp_path, flaky=2, broken=0)
    assert (status, lines[1:]) == (0, [f"flaky: test_some.py::test_flaky[{n}]" for n in range(2)])


def test_one_flaky_test_more_fails(tmp_path: Path) -> None:
    status, lines = again(tmp_path, flaky=3, broken=0)
    assert (status, len(lines)) == (1, 5)
    assert lines[-1] == f"flaky: more than {flaky.MOST}: fix them"


def test_a_test_that_fails_again_fails_the_run_and_is_not_called_flaky(tmp_path: Path) -> None:
    status, lines = again(tmp_path, flaky=1, broken=1)
    assert (status, lines[1:]) == (1, ["flaky: test_some.py::test_flaky[0]"])


def test_a_failed_run_without_a_failed_test_stays_failed(tmp_path: Path) -> None:
    """What failed was then something else: collecting, or the linters."""
    assert again(tmp_path, flaky=0, broken=0)[0] == 1
