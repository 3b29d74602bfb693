"""Environments: built once, waited for, pruned."""

import os
from pathlib import Path

from pushrod.engines.embedded.builds import environments


class TestPrune:
    def complete(self, place: Path, days_ago: float) -> Path:
        place.mkdir(parents=True)
        marker = place / environments.MARKER
        marker.write_text("")
        then = marker.stat().st_mtime - days_ago * 86400
        os.utime(marker, (then, then))
        return place

    def test_what_nothing_uses_any_more(self, tmp_path: Path) -> None:
        kept = [self.complete(tmp_path / "used", 9), self.complete(tmp_path / "young", 0.5)]
        old = self.complete(tmp_path / "old", 2)
        building = tmp_path / "building"
        building.mkdir()
        assert environments.remove_unused(tmp_path, {"used"}) == ["old"]
        assert not old.exists()
        assert all(place.exists() for place in [*kept, building])

    def test_one_that_a_checkout_uses_stays_as_long_as_that_is_there(self, tmp_path: Path) -> None:
        place, checkout = self.complete(tmp_path / "places" / "front", 2), tmp_path / "checkouts" / "7"
        checkout.mkdir(parents=True)
        environments.use(place, checkout)
        environments.use(place, tmp_path / "checkouts" / "gone")
        assert environments.remove_unused(place.parent, set()) == []
        checkout.rmdir()
        assert environments.remove_unused(place.parent, set()) == ["front"]

    def test_nothing_there(self, tmp_path: Path) -> None:
        assert environments.remove_unused(tmp_path / "none", set()) == []
