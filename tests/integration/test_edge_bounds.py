"""Limits on what one app may make nginx read, because each switch of every app waits for it."""

from collections.abc import Iterator

import pytest

from devtools import fullest
from devtools.servers import free_port
from pushrod import manifest
from pushrod.adapters.nginx import trial
from pushrod.core.errors import EdgeError, ManifestError
from pushrod.core.site import Site
from pushrod.core.values import Routing
from tests.integration.edges import Started, a_started_edge, ask

pytestmark = pytest.mark.integration

# Eight names with the same nginx hash, too many for one bucket: nginx tries every size up to the largest.
COLLIDING = " ".join(a + b + c for a in ("a~", "b_") for b in ("a~", "b_") for c in ("a~", "b_"))
SLOW = f"location /t/ {{ types {{ text/x {COLLIDING}; }} types_hash_max_size 700000; }}\n"
LARGE = "location /t/ { types { text/x a; } types_hash_max_size 800000000; }\n"  # two bytes each, at once


@pytest.fixture
def started(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Started]:
    with a_started_edge(tmp_path_factory.mktemp("edge")) as made:
        yield made


def shop(release: int = 1, own: str = "") -> Site:
    lines = {"docker/nginx/own.conf": own} if own else {}
    return Site("shop", release, PORT, ("127.0.0.1:9",), entry="web", routing=Routing(snippets=lines))


PORT = free_port()


def test_an_app_at_its_limits_is_served_and_one_above_them_is_refused(started: Started) -> None:
    assert fullest._passes(fullest.own_lines())
    with pytest.raises(ManifestError, match="201 routes, of at most 200"):
        manifest.read(fullest.document(201), engine="docker")
    full = fullest.site("full", free_port(), ["127.0.0.1:9"])
    started.edge.switch({"full": full, "shop": shop()})
    assert ask(full.port, "/x1/a/7", Host="n7.full.test").status == 204
    started.edge.switch({"shop": shop(2)})
    assert started.edge.sites()["shop"].release == 2


@pytest.mark.parametrize(
    ("own", "why"), [(SLOW, "takes nginx more than 1 s"), (LARGE, "refuses the new configuration")]
)
def test_the_configuration_test_has_a_time_limit_and_leaves_the_edge_unchanged(
    started: Started, monkeypatch: pytest.MonkeyPatch, own: str, why: str
) -> None:
    """The host's owner may allow any lines; other apps must not pay for their cost."""
    monkeypatch.setattr(trial, "TEST_SECONDS", 1)
    started.edge.switch({"shop": shop()})
    with pytest.raises(EdgeError, match=why):
        started.edge.switch({"shop": shop(2, own)})
    assert started.edge.sites()["shop"].release == 1
    started.edge.switch({"shop": shop(3)})
    assert started.edge.sites()["shop"].release == 3
