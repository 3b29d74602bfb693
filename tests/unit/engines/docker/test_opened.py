"""Paths of the host that an app may mount: no link that a container may have made is followed below them."""

from pathlib import Path

import msgspec
import pytest

from pushrod.core.errors import ManifestError
from pushrod.engines.docker import opened
from pushrod.state.apps import App, Root, Settings


@pytest.fixture
def shop(tmp_path: Path) -> App:
    """An app to which `srv`, beside its root, is opened; another app has `srv/deep`."""
    root = Root(tmp_path / "root")
    for name, word in (("shop", "srv"), ("other", "srv/deep")):
        app = App(root, name)
        app.directory.mkdir(parents=True)
        settings = Settings(name, 80, "docker", "", allowed=(str(tmp_path / word), "privileged"))
        app.settings_path.write_bytes(msgspec.json.encode(settings))
    (tmp_path / "srv" / "deep" / "er").mkdir(parents=True)
    return App(root, "shop")


@pytest.mark.parametrize("source", ["srv", "srv/deep", "srv/deep/er", "srv/none/at/all", "elsewhere"])
def test_directories_without_links_are_unchanged(shop: App, tmp_path: Path, source: str) -> None:
    assert opened.path(shop, str(tmp_path / source)) == str(tmp_path / source)


@pytest.mark.parametrize(
    ("link", "source"),
    [("srv/out", "srv/out"), ("srv/out", "srv/out/etc"), ("srv/deep/out", "srv/deep/out/etc")],
)
@pytest.mark.parametrize("name", ["shop", "other"])
def test_links_below_a_path_opened_to_an_app_are_refused(
    shop: App, tmp_path: Path, link: str, source: str, name: str
) -> None:
    (tmp_path / link).symlink_to("/")
    with pytest.raises(ManifestError, match="leads through a link"):
        opened.path(App(shop.root, name), str(tmp_path / source))


def test_a_link_above_an_opened_path_is_followed(shop: App, tmp_path: Path) -> None:
    (tmp_path / "srv").rename(tmp_path / "real")
    (tmp_path / "srv").symlink_to("real")
    assert opened.path(shop, str(tmp_path / "srv" / "deep"))
