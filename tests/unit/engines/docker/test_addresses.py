"""Blocks of addresses: none overlaps another, and no fixed address is one that Docker gives out."""

import ipaddress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pushrod.core.errors import HostError, ManifestError
from pushrod.core.values import Health, Manifest, Route, Routing
from pushrod.engines.docker import addresses
from tests.unit.samples import service

POOL = "10.213.0.0/16"


@given(st.lists(st.integers(1, 300), min_size=1, max_size=12))
@pytest.mark.slow
def test_blocks_are_in_the_pool_and_never_overlap(counts: list[int]) -> None:
    used: list[str] = []
    for fixed in counts:
        block = addresses.choose(POOL, used, fixed)
        network = ipaddress.ip_network(block)
        assert network.subnet_of(ipaddress.ip_network(POOL))  # type: ignore[arg-type]
        assert not any(network.overlaps(ipaddress.ip_network(other)) for other in used)
        used.append(block)


@pytest.mark.slow
@given(st.integers(1, 1000))
def test_fixed_addresses_are_outside_the_dynamic_range_and_not_the_gateway(fixed: int) -> None:
    halves = addresses.halves(addresses.choose(POOL, [], fixed))
    seen = set()
    for half in halves:
        network, dynamic = ipaddress.ip_network(half.subnet), ipaddress.ip_network(half.dynamic)
        given_out = {half.address(n) for n in range(fixed)} | {half.gateway}
        assert len(given_out) == fixed + 1
        for address in map(ipaddress.ip_address, given_out):
            assert address in network
            assert address not in dynamic
            assert address != network.network_address
        seen |= given_out
    assert len(seen) == 2 * (fixed + 1)


def test_a_small_app_has_64_addresses_and_the_first_free_block() -> None:
    assert addresses.choose(POOL, [], 5) == "10.213.0.0/26"
    assert addresses.choose(POOL, ["10.213.0.0/26"], 14) == "10.213.0.64/26"
    assert addresses.choose(POOL, ["10.213.0.0/26"], 15) == "10.213.0.128/25"
    lower, upper = addresses.halves("10.213.0.64/26")
    assert lower == addresses.Subnet("10.213.0.64/27", "10.213.0.65", "10.213.0.80/28")
    assert upper.address(0) == "10.213.0.98"


def test_a_hundred_instances_fit() -> None:
    assert addresses.choose(POOL, [], 100) == "10.213.0.0/23"


@pytest.mark.parametrize(("pool", "share"), [(POOL, 8192), ("10.0.0.0/20", 512), ("10.0.0.0/23", 256)])
def test_a_share_is_an_eighth_or_four_small_blocks(pool: str, share: int) -> None:
    assert addresses.share(pool) == share


@pytest.mark.parametrize(("pool", "most"), [(POOL, 1022), ("10.0.0.0/20", 62), ("10.0.0.0/23", 30)])
def test_two_releases_with_all_their_replicas_fit_into_a_share(pool: str, most: int) -> None:
    addresses.check_share(pool, most)
    assert 2 * addresses.size(addresses.choose(pool, [], most)) <= addresses.share(pool)
    with pytest.raises(ManifestError, match=f"a release may have {addresses.share(pool) // 2}"):
        addresses.check_share(pool, most + 1)


def test_a_full_pool_is_an_error_with_a_hint() -> None:
    with pytest.raises(HostError, match="no 64 addresses") as caught:
        addresses.choose("10.0.0.0/25", ["10.0.0.0/26", "10.0.0.64/26"], 3, "shop holds all of it")
    assert caught.value.hint.startswith("shop holds all of it; ")
    assert "fewer releases" in caught.value.hint
    with pytest.raises(HostError):
        addresses.choose("10.0.0.0/26", [], 1)  # a block is smaller than the pool


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"role": "entry"}, 8000),
        ({"role": "worker", "command": ()}, 8000),
        ({"role": "worker"}, 0),
        ({"role": "worker", "command": (), "entrypoint": ("work",)}, 0),
        ({"role": "worker", "port": 9000}, 9000),
        ({"role": "worker", "health": Health(path="/healthz")}, 8000),
    ],
)
def test_an_image_exposes_the_port_of_its_own_command(changes: dict[str, Any], expected: int) -> None:
    result = service(**{"port": 0, **changes})
    assert addresses.port(result, 8000, Manifest((result,))) == expected


def test_a_worker_with_a_route_listens_on_the_port_of_its_image() -> None:
    admin = service("admin", role="worker", port=0)
    routing = Routing(routes=(Route("/admin/", service="admin"),))
    assert addresses.port(admin, 8000, Manifest((admin,), routing=routing)) == 8000
