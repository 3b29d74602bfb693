"""A run of the watchdog."""

import threading
from pathlib import Path
from typing import Any

import pytest

from pushrod.engines.docker import (
    bring_up,
    gates,
    watch_checks,
    watch_repairs,
    watchdog,
)


@pytest.mark.slow
def test_a_slow_repair_of_one_app_does_not_delay_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The run keeps checking: another app that fails later is repaired while the first is still being repaired."""
    slow, quick = (
        watch_checks.Live(bring_up.App(str(tmp_path), n), {"number": 1}, (n,)) for n in ("slow", "quick")
    )
    turns, helped, release = iter([[slow], [quick], [quick]]), [], threading.Event()
    monkeypatch.setattr(watchdog, "apps_to_watch", lambda _root: [slow, quick])
    monkeypatch.setattr(watch_checks, "failing", lambda _apps, _memory: next(turns, []))
    monkeypatch.setattr(watchdog, "EVERY", 0.05)
    monkeypatch.setattr(gates, "GATES", tmp_path)

    def attend(one: Any, _memory: Any) -> bool:
        helped.append(one.app.name)
        if one.app.name == "slow":
            assert release.wait(60)
        elif helped.count("quick") == 2:
            release.set()
        return False

    monkeypatch.setattr(watch_repairs, "repair", attend)
    assert watchdog.main([str(tmp_path)]) == 0
    assert helped == ["slow", "quick", "quick"]
