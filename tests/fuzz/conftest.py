"""The number of examples: the usual one in a test run, and as many as the time allows with `make fuzz`.

With PUSHROD_FUZZ the tests of a run share that many seconds: when a test's share is over, it draws no more
examples. An example that takes longer than DEADLINE is a failure.
"""

import datetime
import functools
import os
import time
from collections.abc import Callable, Generator
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

FUZZED = os.environ.get("PUSHROD_FUZZ", "")
DEADLINE = datetime.timedelta(seconds=10)

if FUZZED:
    settings.register_profile(
        "fuzz",
        max_examples=2000,
        deadline=DEADLINE,
        suppress_health_check=[HealthCheck.too_slow],
        database=None,
    )
    settings.load_profile("fuzz")


class Share:
    """The time of a run, of which each test gets an equal part of what is left."""

    def __init__(self, seconds: float, tests: int) -> None:
        self._ends = time.monotonic() + seconds
        self._tests = tests

    def next(self) -> float:
        """When the next test has to end, by the monotonic clock."""
        begun = time.monotonic()
        part = max(0.0, self._ends - begun) / max(1, self._tests)
        self._tests -= 1
        return begun + part


def limited(test: Callable[..., Any], ends: float) -> Callable[..., Any]:
    """A test for Hypothesis that is skipped once its time is over. It then draws no more examples; but a failure is
    still made smaller, and reported.
    """
    failed = False

    @functools.wraps(test)
    def run(*arguments: Any, **named: Any) -> Any:
        nonlocal failed
        if not failed and time.monotonic() >= ends:
            pytest.skip("its time is over")
        try:
            return test(*arguments, **named)
        except Exception:
            failed = True
            raise

    return run


def pytest_collection_finish(session: pytest.Session) -> None:
    if FUZZED:
        generated = [item for item in session.items if _handle(item) is not None]
        session.config.stash[_SHARE] = Share(float(FUZZED), len(generated))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None]:
    handle = _handle(item)
    if handle is None or not FUZZED:
        return (yield)
    whole = handle.inner_test
    handle.inner_test = limited(whole, item.config.stash[_SHARE].next())
    try:
        return (yield)
    finally:
        handle.inner_test = whole


_SHARE = pytest.StashKey[Share]()


def _handle(item: pytest.Item) -> Any:
    """Where Hypothesis keeps the test that it calls with examples; None for a test without."""
    return getattr(getattr(item, "obj", None), "hypothesis", None)
