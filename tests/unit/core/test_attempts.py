"""Steps tried one after another: failures are recorded with their reasons, unexpected exceptions propagate."""

import pytest

from pushrod.core.attempts import Attempts
from pushrod.core.errors import EdgeError


def test_a_failure_is_recorded_and_the_next_step_runs() -> None:
    tries = Attempts()
    done: list[str] = []
    with tries.of("the edge"):
        raise EdgeError("nginx does not answer", where="edge")
    with tries.of("the branch"):
        raise FileNotFoundError(2, "No such file or directory", "/srv/refs")
    with tries.of("the tag"):
        done.append("tag")
    assert done == ["tag"]
    assert str(tries) == (
        "the edge: nginx does not answer (edge); the branch: no such file or directory (/srv/refs)"
    )


def test_no_failure_is_an_empty_text() -> None:
    assert str(Attempts()) == ""


@pytest.mark.parametrize("error", [KeyError("x"), KeyboardInterrupt()])
def test_defects_and_interruptions_propagate(error: BaseException) -> None:
    tries = Attempts()
    with pytest.raises(type(error)), tries.of("anything"):
        raise error
    assert tries.failed == []
