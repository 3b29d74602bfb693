"""Which directories a front end's build makes. `tests/integration/test_node.py` builds one."""

import json
from pathlib import Path

import pytest

from pushrod.core.errors import BuildError
from pushrod.engines.embedded.builds import front_ends, node


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    kit = node.Kit(tmp_path / "node", tmp_path / "npm", "24.1.0", 24)
    monkeypatch.setattr(node, "kits", lambda: [kit])
    page = tmp_path / "checkout" / "page"
    page.mkdir(parents=True)
    (page / "package.json").write_text(json.dumps({"scripts": {"build": "vite build"}}))
    (page / "package-lock.json").write_text("{}")
    return tmp_path / "checkout"


def test_what_the_commit_lacks_below_a_project_with_a_build(checkout: Path) -> None:
    assert front_ends.makes("./page/dist", checkout)
    assert not front_ends.makes("other/dist", checkout)


def test_what_is_there_stays(checkout: Path) -> None:
    (checkout / "page" / "dist").mkdir()
    assert not front_ends.makes("page/dist", checkout)


def test_nothing_is_written_where_a_link_leads(checkout: Path, tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    (checkout / "page" / "link").symlink_to(tmp_path / "outside")
    (checkout / "page" / "dist").symlink_to(tmp_path / "nowhere")
    for directory in ("page/link/dist", "page/dist", "page/../../outside/dist"):
        assert not front_ends.makes(directory, checkout)
        front_ends.make(directory, checkout, tmp_path / "environments", print)
    assert list((tmp_path / "outside").iterdir()) == []


def test_without_node_it_is_refused(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(node, "kits", list)
    with pytest.raises(BuildError, match=r"page/dist needs Node\.js"):
        front_ends.makes("page/dist", checkout)
