"""A challenge is ours, for one purpose, for minutes, and good once."""

import time

import pytest

from pushrod.web.challenges import SECONDS, Challenges, decoded


def test_a_challenge_is_good_for_its_purpose_alone() -> None:
    ours = Challenges()
    made = ours.make("enter")
    assert ours.good(made, "enter") == decoded(made)
    assert ours.good(made, "add") == b""
    assert Challenges().good(made, "enter") == b""  # another process
    assert made != ours.make("enter")


@pytest.mark.parametrize("text", ["", "x", "é", "AAAA", "=", "A" * 75, "A" * 74, "A" * 100_000])
def test_what_was_not_made_here_is_not_good(text: str) -> None:
    assert Challenges().good(text, "enter") == b""


def test_a_changed_challenge_is_not_good() -> None:
    ours = Challenges()
    made = ours.make("enter")
    for place in range(0, len(made) - 1, 7):
        other = "A" if made[place] != "A" else "B"
        assert ours.good(made[:place] + other + made[place + 1 :], "enter") == b""


def test_it_is_used_up_once() -> None:
    ours = Challenges()
    made = ours.make("enter")
    assert [ours.use(made), ours.use(made)] == [True, False]
    assert ours.good(made, "enter") == b""


def test_it_ends_and_is_then_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    ours, at = Challenges(), time.time()
    made = ours.make("enter")
    ours.use(made)
    monkeypatch.setattr(time, "time", lambda: at + SECONDS + 2)
    assert ours.good(ours.make("enter"), "enter")
    assert ours.good(made, "enter") == b""
    ours.use("another")
    assert [*ours._used] == ["another"]


def test_those_that_are_asked_for_take_no_memory() -> None:
    ours = Challenges()
    for _ in range(100):
        ours.make("enter")
    assert ours._used == {}
