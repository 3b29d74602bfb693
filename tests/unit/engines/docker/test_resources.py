"""The addresses that releases get, and how many an app keeps."""

import json
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace

import pytest

from pushrod.core.errors import ManifestError
from pushrod.core.values import (
    Auth,
    Diagnostic,
    Image,
    Instance,
    Manifest,
    Placement,
    Release,
    Route,
    Routing,
)
from pushrod.engines.docker import preflight, resources
from pushrod.engines.docker.context import Context
from pushrod.engines.docker.resources import Resources, _check_ports
from pushrod.state.apps import App, HostSettings, Root
from pushrod.state.releases import Releases
from pushrod.system import network
from tests.unit import samples

MANIFEST = Manifest(
    services=(
        samples.service(),
        *(samples.service(n, role="worker", port=0) for n in ("api", "judge", "job")),
    ),
    routing=Routing(routes=(Route("/api/", service="api", auth=Auth(service="judge", path="/")),)),
)


@pytest.mark.parametrize("without", ["backend", "api", "judge"])
def test_a_service_behind_the_edge_needs_a_port(without: str) -> None:
    instances = [Instance(f"{s.name}-1", s.name, 0 if s.name == without else 8080) for s in MANIFEST.services]
    with pytest.raises(ManifestError, match=f"the port of {without} is unknown") as refused:
        _check_ports(MANIFEST, instances)
    assert refused.value.where == f"services.{without}"


def test_a_worker_needs_no_port() -> None:
    instances = [Instance(f"{s.name}-1", s.name, 0 if s.name == "job" else 8080) for s in MANIFEST.services]
    _check_ports(MANIFEST, instances)


def host_of(root: Path, pool: str = "10.0.0.0/20") -> Resources:
    result = Context(Root(root))
    result.__dict__["settings"] = HostSettings(pool=pool)
    return Resources(result)


def older(*blocks: str) -> Sequence[Release]:
    return [samples.release(n, network=block) for n, block in enumerate(blocks, start=1)]


@pytest.mark.parametrize(
    ("blocks", "room", "gone"),
    [
        (["10.0.0.0/26"] * 5, "ok", 0),
        (["10.0.0.0/26"] * 6, "ok", 0),  # with the live one, and room for the next: 512 of 4096
        (["10.0.0.0/26"] * 7, "ok", 1),
        (["10.0.0.0/24", "10.0.1.0/26", "10.0.1.64/26", "10.0.1.128/26"], "ok", 1),
        (["10.0.0.0/26"] * 5, "warning", 4),
        ([], "warning", 0),
    ],
)
def test_an_app_keeps_no_more_addresses_than_its_share(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, blocks: list[str], room: str, gone: int
) -> None:
    monkeypatch.setattr(preflight, "space", lambda: Diagnostic("disk", room, ""))  # type: ignore[arg-type]
    live = samples.release(99, network="10.0.8.0/26")
    assert max(0, host_of(tmp_path).excess(App(Root(tmp_path), "shop"), older(*blocks), live)) == gone


def test_addresses_are_reserved_as_soon_as_they_are_chosen(tmp_path: Path) -> None:
    """No lock is held while a release is sealed, because that can take long."""
    app = App(Root(tmp_path), "shop")
    app.directory.mkdir(parents=True)
    (app.directory / "app.json").write_text("{}")
    sealed = app.state / "releases" / "1" / "release.json"
    sealed.parent.mkdir(parents=True)
    sealed.write_text(json.dumps({"network": "10.0.0.0/26"}))
    Releases(app).reserve(2, Placement((), "10.0.0.64/26"))
    assert host_of(tmp_path)._blocks() == {"shop": {"10.0.0.0/26", "10.0.0.64/26"}}
    assert Releases(app).numbers() == [1]
    assert resources._holders({"a": {"10.0.0.0/26"}, "b": {"10.0.1.0/25"}, "c": set()}) == (
        "b holds 128 addresses, a holds 64 addresses"
    )


def test_a_block_in_which_the_host_has_an_address_is_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such as the gateway of a network that outlived its release, in either half of a block."""
    monkeypatch.setattr(network, "own_addresses", lambda: {"10.0.0.1", "10.0.0.97", "192.0.2.2"})
    monkeypatch.setattr(resources, "parts", lambda name: SimpleNamespace(port=8080))
    manifest = Manifest(services=(samples.service(),))
    image = Image(id="sha256:1", location="pushrod/shop/backend:1")
    with host_of(tmp_path).place(App(Root(tmp_path), "shop"), 1, manifest, {"backend": image}) as placement:
        assert placement.network == "10.0.0.128/26"
