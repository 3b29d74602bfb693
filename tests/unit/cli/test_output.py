"""Output for people and programs: on a terminal, in a log, and when the reader has gone."""

import json
import os
import select
import subprocess
import sys

import pytest

from pushrod.cli.output import Steps, conclude, print_error, print_json, print_table
from pushrod.core.errors import HostError, PushrodError, ReadyError, StateError
from pushrod.state.journal import Entry


def test_an_error_ends_with_the_cause_the_place_and_the_remedy(capsys: pytest.CaptureFixture[str]) -> None:
    print_error(ReadyError("it ended", where="instance web-1", hint="fix it", log=("Traceback", "Error")))
    assert capsys.readouterr() == (
        "",
        "  | Traceback\n  | Error\npushrod: it ended\n  where:  instance web-1\n  to do:  fix it\n",
    )


def test_an_error_without_a_place_or_remedy_has_no_empty_lines(capsys: pytest.CaptureFixture[str]) -> None:
    print_error(ReadyError("it ended"))
    assert capsys.readouterr().err == "pushrod: it ended\n"


def test_a_round_over_several_apps_ends_with_the_names_of_failed_apps(
    capsys: pytest.CaptureFixture[str],
) -> None:
    conclude([])
    one = StateError("damaged", where="journal").of("shop")
    with pytest.raises(StateError) as alone:
        conclude([one])
    assert alone.value is one
    assert alone.value.where == "app shop: journal"
    assert capsys.readouterr().err == ""  # the caller prints it
    with pytest.raises(PushrodError, match=r"^failed for shop, blog, the engine$") as several:
        conclude([one, HostError("full").of("blog"), HostError("away")])
    assert several.value.exit_code == 11
    expected_text = capsys.readouterr().err
    assert all(
        words in expected_text for words in ("damaged", "app shop: journal", "full", "app blog", "away")
    )


def test_values_are_printed_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    print_json([Entry("now", "done", 1), {"größe": (1, None)}])
    printed = capsys.readouterr().out
    assert json.loads(printed) == [{"at": "now", "event": "done", "release": 1}, {"größe": [1, None]}]
    assert "größe" in printed


def test_a_table_has_columns_and_no_spaces_at_the_end(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(("APP", "STATE", ""), [("shop", "live", ""), ("a", "degraded", "x")])
    assert capsys.readouterr().out == "APP   STATE\nshop  live\na     degraded  x\n"
    print_table(("APP",), [])
    assert capsys.readouterr().out == "APP\n"


# ---- steps ----------------------------------------------------------------------------------------------------


def test_a_log_has_one_line_for_each_step(capsys: pytest.CaptureFixture[str]) -> None:
    steps = Steps()
    steps.begin("prepare", "release 1")
    steps.line("built")
    steps.end("prepare", "release 1 from abc", 1.25)
    steps.note("by the way")
    steps.begin("ready", "")
    steps.fail("ready", 0.5)
    out, err = capsys.readouterr()
    assert out == ""
    assert [line.split() for line in err.splitlines()] == [
        ["|", "built"],
        ["prepare", "release", "1", "from", "abc", "1.25", "s"],
        ["note", "by", "the", "way"],
        ["ready", "failed", "0.50", "s"],
    ]
    assert "\x1b" not in err
    assert "\r" not in err


SLOW = """
import sys
from pushrod.cli import output
output._SLOW = 0.05
steps = output.Steps()
steps.begin("build", "the image")
sys.stdin.readline()
steps.end("build", "the image", 3.0)
"""


@pytest.mark.slow
def test_a_log_reports_a_slow_step_once() -> None:
    """The step ends only once that line has been read."""
    program = subprocess.Popen(
        [sys.executable, "-c", SLOW], stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert program.stderr is not None
    assert program.stderr.readline() == "  build    the image …\n"
    _, rest = program.communicate("go\n", timeout=30)
    assert rest.split() == ["build", "the", "image", "3.00", "s"]


@pytest.mark.slow
def test_a_terminal_shows_a_clock_that_the_finished_step_replaces() -> None:
    ours, theirs = os.openpty()
    program = subprocess.Popen([sys.executable, "-c", SLOW], stdin=subprocess.PIPE, stderr=theirs, text=True)
    os.close(theirs)
    seen = b""
    while b"the image \xe2\x80\xa6 " not in seen:
        assert select.select([ours], [], [], 30)[0], seen
        seen += os.read(ours, 1000)
    program.communicate("go\n", timeout=30)
    while select.select([ours], [], [], 0)[0]:
        try:
            seen += os.read(ours, 1000)
        except OSError:  # the other side has closed it
            break
    os.close(ours)
    assert seen.startswith(b"\r\x1b[K  build")
    last = seen.rpartition(b"\r\x1b[K")[2]
    assert last.split()[-2:] == [b"3.00", b"s"]


LEFT_ALONE = """
import sys
from pushrod.cli.output import Steps
from pushrod.core.errors import PushrodError
sys.stdin.readline()
steps = Steps()
steps.begin("ready", "")
for n in range(3):
    steps.line("x" * 100_000)
steps.end("ready", "", 0.0)
print("went on")
"""


@pytest.mark.slow
def test_a_client_that_hung_up_does_not_end_a_deployment() -> None:
    read, write = os.pipe()
    program = subprocess.Popen(
        [sys.executable, "-c", LEFT_ALONE],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=write,
        text=True,
    )
    os.close(write)
    os.close(read)
    out, _ = program.communicate("go\n", timeout=30)
    assert (out, program.returncode) == ("went on\n", 0)


@pytest.mark.slow
def test_a_command_without_standard_error_goes_on() -> None:
    closed = ["sh", "-c", 'exec "$@" 2>&-', "sh", sys.executable, "-c", LEFT_ALONE]
    done = subprocess.run(closed, input="go\n", stdout=subprocess.PIPE, text=True, timeout=30, check=False)
    assert (done.stdout, done.returncode) == ("went on\n", 0)
