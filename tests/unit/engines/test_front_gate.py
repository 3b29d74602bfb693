"""The edge as a front gate, as far as nginx need not run."""

from pathlib import Path

import msgspec
import pytest

from pushrod.adapters.nginx import Edge
from pushrod.core.errors import StateError
from pushrod.core.site import Site
from pushrod.engines.front_gate import EdgeIngress
from pushrod.state.apps import App

SHOP = Site("shop", 1, 8000, ("127.0.0.1:20001",), entry="web")


@pytest.fixture
def edge(app: App) -> Edge:
    return Edge(app.root.path / "no-nginx", app.root.edge, app.root.runtime)


def tree(edge: Edge, generation: str, sites: str) -> None:
    """A tree that is the current one, with a certificate named in it."""
    place = edge.trees / generation
    (place / "sites").mkdir(parents=True)
    (place / "sites.json").write_text(sites)
    (place / "nginx.conf").write_text("")
    (place / "sites" / "shop.conf").write_text(
        "ssl_certificate certificates/shop/aaaaaaaaaaaaaaaa/chain.pem;"
    )
    edge.current.unlink(missing_ok=True)
    edge.current.symlink_to(f"trees/{generation}")


def test_the_edge_is_looked_up_on_first_use(app: App) -> None:
    def missing() -> Edge:
        raise StateError("no edge here")

    gate = EdgeIngress(missing)
    assert gate.ready_marker(app, 1) == ""
    with pytest.raises(StateError, match="no edge here"):
        gate.site("shop")


def test_a_site_is_read_from_the_current_tree(edge: Edge) -> None:
    tree(edge, "1-00000000", msgspec.json.encode({"shop": SHOP}).decode())
    gate = EdgeIngress(lambda: edge)
    assert gate.site("shop") == SHOP
    assert gate.site("blog") is None


def test_certificates_that_a_tree_names_are_in_use(edge: Edge) -> None:
    tree(edge, "1-00000000", "{}")
    gate = EdgeIngress(lambda: edge)
    assert gate.certificates_in_use("shop", ["a" * 16, "b" * 16]) == ["a" * 16]
    assert gate.certificates_in_use("blog", ["a" * 16]) == []


def test_an_edge_that_has_no_tree_has_nothing_to_repair(edge: Edge) -> None:
    assert EdgeIngress(lambda: edge).repair_sites() is False


def test_unreadable_sites_are_rebuilt(edge: Edge, monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []
    monkeypatch.setattr(Edge, "rebuild", lambda _edge: done.append("anew"))
    tree(edge, "1-00000000", msgspec.json.encode({"shop": SHOP}).decode())
    gate = EdgeIngress(lambda: edge)
    assert (gate.repair_sites(), done) == (False, [])
    (edge.current / "sites.json").write_text("{")
    assert (gate.repair_sites(), done) == (True, ["anew"])


def test_closed_files_belong_to_the_account_of_the_edge(edge: Edge, tmp_path: Path) -> None:
    places = EdgeIngress(lambda: edge).places
    assert places.owner is None
    assert (places.static, places.passwords) == (edge.static, edge.passwords)
