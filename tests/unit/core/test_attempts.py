"""Steps tried one after another: failures are recorded with their reasons, unexpected exceptions propagate."""

import pytest

from pushrod.core.attempts import Attempts
from pushrod.core.errors import EdgeError


def test_what_fails_is_kept_and_the_next_thing_is_done() -> None:
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


def test_nothing_failed() -> None:
    assert str(Attempts()) == ""


@pytest.mark.parametrize("error", [KeyError("x"), KeyboardInterrupt()])
def test_a_defect_and_an_interruption_go_on(error: BaseException) -> None:
    tries = Attempts()
    with pytest.raises(type(error)), tries.of("anything"):
        raise error
    assert tries.failed == []
