"""No container can write above another one's mount."""

from pathlib import Path
from typing import Any

import pytest

from pushrod.engines.docker import bring_up, calls, mounts, names
from pushrod.engines.docker.calls import Trouble


def holding(*mounts: tuple[str, bool]) -> dict[str, Any]:
    """A container with bind mounts of these sources; True for one that it may write into."""
    return {"Mounts": [{"Type": "bind", "Source": source, "RW": written} for source, written in mounts]}


@pytest.mark.parametrize(
    ("new", "running", "trouble"),
    [
        (("data/a", True), ("data/b", True), False),
        (("data/a", True), ("data/a", True), False),
        (("data/ab", True), ("data/a", True), False),
        (("data/a/x", True), ("data/a", False), False),
        (("data/a/x", False), ("data/a", True), True),
        (("data/a/x/y", True), ("data/a", True), True),
        (("data/a", True), ("data/a/x", False), True),
        (("data/alias/x", True), ("data/a", True), True),
        (("data/a/gone", True), ("data/a", True), True),
        (("data/old/b", True), ("data/a", True), False),
    ],
)
def test_a_mount_below_a_writable_mount_is_refused(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    new: tuple[str, bool],
    running: tuple[str, bool],
    trouble: bool,
) -> None:
    app = bring_up.App(str(tmp_path), "shop")
    (app.directory / "data" / "a" / "x").mkdir(parents=True)
    (app.directory / "data" / "alias").symlink_to("a")
    (app.directory / "data" / "a" / "gone").symlink_to("/")
    (app.directory / "data" / "old").mkdir()
    (app.directory / "data" / "old" / "b").symlink_to("../old%2Fb")
    gate = (str(names.GATES / "shop"), False)
    containers = {
        name: holding((str(app.directory / source), written), gate)
        for name, (source, written) in (("new", new), ("running", running))
    }
    monkeypatch.setattr(calls, "inspect", lambda requested: {n: containers[n] for n in requested})
    monkeypatch.setattr(calls, "run", lambda _: "new running")
    if trouble:
        with pytest.raises(Trouble, match="may write above that path"):
            bring_up.apart(app, ["new"])
    else:
        bring_up.apart(app, ["new"])


@pytest.mark.parametrize(
    ("device", "trouble"), [("/srv/media/x", True), ("/srv/media", False), ("/srv/other", False)]
)
def test_a_volume_that_binds_a_path_below_a_writable_mount_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, device: str, trouble: bool
) -> None:
    app = bring_up.App(str(tmp_path), "shop")
    place = "/var/lib/docker/volumes/shop_v/_data"
    volume = {"Type": "volume", "Name": "shop_v", "Source": place, "Driver": "local", "RW": True}
    containers = {"new": {"Mounts": [volume]}, "running": holding(("/srv/media", True))}
    monkeypatch.setattr(calls, "inspect", lambda requested: {n: containers[n] for n in requested})
    monkeypatch.setattr(calls, "run", lambda _: "new running")
    monkeypatch.setattr(mounts, "bound", lambda result: dict.fromkeys(result, device))
    if trouble:
        with pytest.raises(Trouble, match="new mounts /srv/media/x, and running may write above that path"):
            bring_up.apart(app, ["new"])
    else:
        bring_up.apart(app, ["new"])


def test_mounts_of_other_apps_are_checked_if_a_host_path_is_mounted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = bring_up.App(str(tmp_path), "shop")
    commands: list[list[str]] = []
    containers: dict[str, Any] = {}
    monkeypatch.setattr(calls, "inspect", lambda requested: {n: containers[n] for n in requested})
    monkeypatch.setattr(calls, "run", lambda argv: commands.append(argv) or "new")
    for source, narrow in ((str(app.directory / "data" / "a"), True), ("/srv/media", False)):
        containers = {"new": holding((source, True))}
        bring_up.apart(app, ["new"])
        assert ("--filter=label=pushrod.app=shop" in commands[-1]) is narrow
