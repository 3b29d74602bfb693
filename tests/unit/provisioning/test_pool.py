"""Blocks of addresses that nothing else uses."""

import sys
from ipaddress import IPv4Network

import pytest

from pushrod.core.errors import HostError
from pushrod.provisioning import pool

TABLE = """\
Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT
eth0\t00000000\t010011AC\t0003\t0\t0\t0\t00000000\t0\t0\t0
eth0\t000011AC\t00000000\t0001\t0\t0\t0\t0000FFFF\t0\t0\t0
wg0\t0000D50A\t00000000\t0001\t0\t0\t0\t0000FFFF\t0\t0\t0
wg0\t0500D60A\t00000000\t0001\t0\t0\t0\tFFFFFFFF\t0\t0\t0
"""


@pytest.mark.skipif(sys.byteorder != "little", reason="the table is from a little-endian machine")
def test_a_routing_table_is_read() -> None:
    assert list(map(str, pool.parse(TABLE))) == ["172.17.0.0/16", "10.213.0.0/16", "10.214.0.5/32"]


def test_the_first_free_block_is_taken() -> None:
    assert str(pool.choose([])) == "10.213.0.0/16"
    assert str(pool.choose(pool.parse(TABLE))) == "10.215.0.0/16"


def test_a_route_to_all_blocks_leaves_no_free_block() -> None:
    with pytest.raises(HostError, match="no free block") as refused:
        pool.choose([IPv4Network("10.0.0.0/8")])
    assert "host.json" in refused.value.hint


def test_the_routes_of_this_machine_are_readable() -> None:
    assert all(network.prefixlen for network in pool.routes())
