"""Turning metrics on: nothing has changed if the edge cannot serve them."""

from pathlib import Path

import pytest

from pushrod.adapters import systemd
from pushrod.core.errors import EdgeError
from pushrod.provisioning import metrics, units
from pushrod.state.apps import Root


def test_nothing_is_written_unless_the_edge_follows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root, drop_in = Root(tmp_path), tmp_path / "units/watch.d/metrics.conf"
    root.host_settings_path.write_text("{}")
    calls: list[str] = []
    monkeypatch.setattr(metrics, "_DROP_IN", drop_in)
    monkeypatch.setattr(systemd, "call", lambda *argv: calls.append(" ".join(argv)))

    def refuse(_root: Root) -> None:
        raise EdgeError("nginx refuses the new configuration")

    monkeypatch.setattr(units, "prepare_edge", refuse)
    with pytest.raises(EdgeError, match="refuses"):
        metrics.turn_on(root, 59180)
    assert root.host_settings is not None
    assert root.host_settings.metrics == 0
    assert not drop_in.parent.exists()
    assert calls == []
