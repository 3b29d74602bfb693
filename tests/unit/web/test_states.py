"""What runs on a host: asked with a member's rights, kept for seconds, never waited for twice."""

import threading

import msgspec
import pytest

from pushrod.core.values import ProcessState
from pushrod.observe import status
from pushrod.state.apps import App
from pushrod.system import waits
from pushrod.system.processes import Completed
from pushrod.web import states
from pushrod.web.calls import Call
from pushrod.web.states import HostProcesses
from tests.unit.web.conftest import Answers

CALL = Call("token", ("status", "--json"))
RUNS = [ProcessState("shop-r1", "backend-1", "running")]


def test_an_answer_is_kept_and_fetched_anew_in_the_background(
    app: App, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = Answers()
    monkeypatch.setattr(states, "PATIENCE", 10.0)
    answers.output = msgspec.json.encode([status.of(app, RUNS)]).decode()
    processes = HostProcesses(answers)
    assert processes([app], CALL) == {"shop": tuple(RUNS)}
    assert processes([app], CALL) == {"shop": tuple(RUNS)}
    assert answers.calls == [("status", "--json")]
    monkeypatch.setattr(states, "FRESH", -1.0)
    assert processes([app], CALL) == {"shop": tuple(RUNS)}
    assert waits.wait_until(lambda: len(answers.calls) == 2, 10)


def test_without_an_answer_nothing_is_known(app: App) -> None:
    answers = Answers()
    assert HostProcesses(answers)([app], CALL) == {}
    answers.output = "pushrod: no"
    assert HostProcesses(answers)([app], CALL) == {}
    assert HostProcesses(answers)([], CALL) == {}


@pytest.mark.slow
def test_a_slow_answer_is_not_waited_for_without_end(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    go = threading.Event()

    class Slow(Answers):
        def __call__(self, call: Call, *, stdin: str = "", timeout: float = 60.0) -> Completed:
            self.calls.append(call.words)
            go.wait(10)
            return Completed(0, "[]", "")

    monkeypatch.setattr(states, "PATIENCE", 0.05)
    answers = Slow()
    processes = HostProcesses(answers)
    assert [processes([app], CALL) for _ in range(3)] == [{}] * 3
    assert len(answers.calls) == 1
    go.set()
