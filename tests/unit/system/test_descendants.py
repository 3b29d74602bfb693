"""The family of real processes."""

import os
import signal
import subprocess
import sys

import psutil
import pytest

from devtools.apps import eventually
from pushrod.system import descendants


def test_a_process_and_all_below_it_are_its_family_as_psutil_finds_it() -> None:
    with subprocess.Popen(["sh", "-c", "sh -c 'sleep 60; true'; true"], start_new_session=True) as top:
        try:
            eventually(lambda: len(descendants.family(top.pid)) == 3, "both shells and the sleep run")
            family = {p.pid for p in descendants.family(top.pid)}
            assert family == {top.pid, *(p.pid for p in psutil.Process(top.pid).children(recursive=True))}
        finally:
            os.killpg(top.pid, signal.SIGKILL)


@pytest.mark.slow
def test_of_two_programs_that_share_a_processor_one_waits_for_it() -> None:
    """Nobody else has to be busy: each of them always wants it."""
    code = (
        f"import os\nos.sched_setaffinity(0, {{{min(os.sched_getaffinity(0))}}})\nos.fork()\nwhile True: pass"
    )
    with subprocess.Popen([sys.executable, "-c", code], start_new_session=True) as top:
        try:
            eventually(lambda: descendants.queued(top.pid) > 0.2, "one of them has waited")
        finally:
            os.killpg(top.pid, signal.SIGKILL)
    assert descendants.queued(top.pid) == 0.0, "it has ended"


def test_a_process_that_has_ended_has_no_family() -> None:
    with subprocess.Popen(["true"]) as ended:
        ended.wait()
    with pytest.raises(psutil.NoSuchProcess):
        descendants.family(ended.pid)
