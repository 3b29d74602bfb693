"""Calls in the background: their output is kept, a secret's value is not, and only so many are remembered."""

import threading
from collections.abc import Callable

from pushrod.core.errors import HostError
from pushrod.system import waits
from pushrod.web import runs
from pushrod.web.calls import Call
from pushrod.web.runs import Run, Runs
from tests.unit.web.conftest import Answers

CALL = Call("token", ("restart", "--app", "shop"))


def ended(run: Run) -> Run:
    assert waits.wait_until(lambda: run.status is not None, 10)
    return run


def test_a_run_has_its_output_and_result() -> None:
    answers = Answers()
    answers.output, answers.status = "one\ntwo", 8
    run = ended(Runs(answers).start("shop", "ann", CALL))
    assert (list(run.lines), run.status, run.result) == (["one", "two"], 8, "failed")
    assert (run.words, run.by, run.seconds < 10) == (CALL.words, "ann", True)


def test_it_is_busy_as_long_as_one_is_under_way() -> None:
    go = threading.Event()

    class Waiting(Answers):
        def watched(self, call: Call, on_line: Callable[[str], None], *, stdin: str = "") -> int:
            go.wait(10)
            raise HostError("it did not end")

    all_runs = Runs(Waiting())
    run = all_runs.start("shop", "ann", CALL)
    assert (all_runs.busy(), run.result) == (True, "under way")
    go.set()
    assert (ended(run).result, list(run.lines), all_runs.busy()) == (
        "failed",
        ["pushrod: it did not end"],
        False,
    )


def test_a_value_goes_to_the_verb_and_stays_nowhere() -> None:
    answers = Answers()
    run = ended(Runs(answers).start("shop", "ann", CALL, stdin="hunter2"))
    assert answers.inputs == ["hunter2"]
    assert "hunter2" not in repr(vars(run))


def test_an_apps_runs_are_its_own_and_the_oldest_is_forgotten() -> None:
    all_runs = Runs(Answers())
    first = ended(all_runs.start("shop", "ann", CALL))
    assert (all_runs.find("shop", first.id), all_runs.find("blog", first.id)) == (first, None)
    for _ in range(runs.MOST):
        last = ended(all_runs.start("shop", "ann", CALL))
    assert (all_runs.find("shop", first.id), len(all_runs.of("shop"))) == (None, runs.MOST)
    assert all_runs.of("shop")[0] == last
