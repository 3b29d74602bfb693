"""A host's directories are closed and owned by the account, and root moves data of an older pushrod."""

import os
from pathlib import Path

import pytest

from pushrod.adapters import docker, systemd
from pushrod.engines.docker import rendering
from pushrod.provisioning import account, places
from pushrod.state.apps import App, HostSettings, Root, Settings


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Root:
    """A host's root as `host init` leaves it, whose account is the user who runs the tests."""
    monkeypatch.setattr(account, "owner", lambda: (os.geteuid(), os.getegid()))
    monkeypatch.setattr(systemd, "RUNTIME", tmp_path / "gates")
    monkeypatch.setattr(places, "SOCKET", tmp_path / "docker.sock")
    monkeypatch.setattr(places, "_honours_setuid", lambda _: False)  # mounts are tested in the lab
    monkeypatch.setattr(docker, "info", lambda: {"DockerRootDir": str(tmp_path / "images")})
    for name, mode in (("gates", 0o700), ("images", 0o710), ("docker.sock", 0o660)):
        (tmp_path / name).mkdir()
        (tmp_path / name).chmod(mode)
    root = Root(tmp_path / "root")
    root.path.mkdir(mode=0o755)  # as an older pushrod left it
    for work in places.plan(root, HostSettings()):
        if work.change.pending:
            work.carry_out()
    return root


def test_directories_left_open_by_an_older_version_are_closed(root: Root) -> None:
    assert list(places.problems(root)) == []
    assert {path.stat().st_mode & 0o777 for path in places._closed(root)} == {0o700}
    assert not any(work.change.pending for work in places.plan(root, HostSettings()))


@pytest.mark.parametrize(
    "name", ["root", "root/apps", "root/edge", "root/run", "root/.ssh", "gates", "images", "docker.sock"]
)
def test_an_open_directory_is_reported(root: Root, tmp_path: Path, name: str) -> None:
    (tmp_path / name).chmod(0o755 if name != "docker.sock" else 0o666)
    (result,) = places.problems(root)
    assert str(tmp_path / name) in result


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to make a file that another user owns")
def test_a_directory_of_another_owner_is_reported(root: Root) -> None:
    os.chown(root.edge, 65534, -1)
    assert list(places.problems(root)) == [f"{root.edge} is open to other accounts"]


def test_nested_data_directories_are_moved_once(root: Root) -> None:
    app = App(root, "shop")
    app.directory.mkdir()
    app.save(Settings("shop", 80, "docker", ""))
    data = app.directory / "data"
    (data / "media" / "photos").mkdir(parents=True)
    (data / "media" / "photos" / "one.jpg").write_text("photo")
    (data / "other" / "deep").mkdir(parents=True)
    sources = ("media/photos", "uploads", "none/there", "../secrets")
    volumes = [{"type": "bind", "source": f"{data}/{source}", "target": "/x"} for source in sources]
    release = app.state / "releases" / "7" / "compose.yaml"
    release.parent.mkdir(parents=True)
    release.write_text(rendering.dump({"services": {"web-1": {"volumes": [*volumes, "v:/v"]}, "plain": {}}}))
    (work,) = places.data_left(root)
    assert work.change.what == "data/media/photos of shop"
    work.carry_out()
    assert (data / "media%2Fphotos" / "one.jpg").read_text() == "photo"
    assert (data / "media" / "photos" / "one.jpg").read_text() == "photo"
    assert places.data_left(root) == []
