"""The classes of failure and their exit codes, which scripts rely on."""

import contextlib
from collections.abc import Callable
from contextlib import AbstractContextManager

import pytest

from pushrod.core import errors
from pushrod.core.attempts import Attempts
from pushrod.core.errors import Ending, Expired, Interrupted, PushrodError, Stopped, StoreError, contained


def test_every_class_of_failure_has_an_exit_code_and_a_kind_of_its_own() -> None:
    classes: list[type[Ending]] = [Interrupted]
    classes += [c for c in vars(errors).values() if isinstance(c, type) and issubclass(c, PushrodError)]
    assert len(classes) > 10
    assert len({c.exit_code for c in classes}) == len({c.kind for c in classes}) == len(classes)


def test_exit_codes_are_stable() -> None:
    """0 is success and 2 is click's usage error; none of them may be used here."""
    kinds: list[type[Ending]] = [PushrodError, Interrupted, *PushrodError.__subclasses__()]
    codes = {c.kind: c.exit_code for c in kinds}
    assert codes == {
        "internal": 1,
        "manifest": 3,
        "repository": 4,
        "build": 5,
        "store": 6,
        "release-command": 7,
        "ready": 8,
        "edge": 9,
        "host": 10,
        "state": 11,
        "name": 12,
        "busy": 13,
        "interrupted": 130,
    }


def test_an_error_has_a_place_a_hint_and_a_log() -> None:
    error = PushrodError("broken", where="here", hint="fix it", log=("a", "b"))
    assert str(error) == error.what == "broken"
    assert (error.where, error.hint, error.log) == ("here", "fix it", ("a", "b"))


def test_the_texts_of_an_error_are_cut() -> None:
    """They come from programs of apps, and are recorded in files that are read for all apps."""
    error = PushrodError("a" * 10**6, where="b" * 10**6, hint="c" * 10**6, log=("d" * 10**6,))
    assert all(len(text) < 5000 for text in (str(error), error.what, error.where, error.hint, *error.log))


@pytest.mark.parametrize(
    "raised", [ZeroDivisionError("x"), KeyError("x"), RecursionError("x"), UnicodeError("x")]
)
def test_what_nobody_expected_is_contained(raised: Exception) -> None:
    with pytest.raises(PushrodError, match=f"unexpected: {type(raised).__name__}"), contained():
        raise raised


@pytest.mark.parametrize("kind", [Interrupted, Expired])
@pytest.mark.parametrize(
    "handler",
    [
        lambda: contextlib.suppress(PushrodError),
        lambda: contextlib.suppress(Exception),
        contained,
        lambda: Attempts().of("a step"),
    ],
)
def test_what_handles_failures_does_not_swallow_a_signal_or_a_time_limit(
    kind: type[Stopped], handler: Callable[[], AbstractContextManager[None]]
) -> None:
    with pytest.raises(kind), handler():
        raise kind("stopped")


@pytest.mark.parametrize(
    "raised", [StoreError("x"), FileNotFoundError("x"), KeyboardInterrupt(), SystemExit(3)]
)
def test_expected_errors_and_signals_pass(raised: BaseException) -> None:
    with pytest.raises(type(raised)) as passed, contained():
        raise raised
    assert passed.value is raised
