"""Containers and apps as the watchdog sees them."""

from pathlib import Path
from typing import Any

import pytest

from pushrod.engines.docker import bring_up, gates, watch_checks
from tests.unit.engines.docker import places


def container(status: str = "running", **changes: Any) -> dict[str, Any]:
    state = {"Status": status, "ExitCode": 0, "StartedAt": "2026-01-01T00:00:00Z"}
    state |= {k: v for k, v in changes.items() if k in ("ExitCode", "StartedAt", "Health")}
    labels = {"pushrod.probe": changes["probe"]} if "probe" in changes else None
    policy = {"RestartPolicy": {"Name": changes.get("policy", "unless-stopped")}}
    return {"State": state, "HostConfig": policy, "Config": {"Labels": labels}}


def live(app: bring_up.App) -> watch_checks.Live:
    result = watch_checks.live(app)
    assert result is not None
    return result


def seen(root: Path, monkeypatch: pytest.MonkeyPatch, probe: str) -> Any:
    """A live app that the edge sends requests to, with one running container."""
    app = places.live(root)
    monkeypatch.setattr(
        watch_checks, "listed", lambda: {"shop-r7-backend-1": watch_checks.Listed("Up 2 hours", probe)}
    )
    monkeypatch.setattr(gates, "is_open", lambda _app, _number: True)
    return watch_checks.live(app)
