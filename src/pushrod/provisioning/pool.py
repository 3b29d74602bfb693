"""Blocks of private addresses that nothing else on the host uses. Pure, except for reading the routes."""

import ipaddress
import struct
from collections.abc import Iterable
from ipaddress import IPv4Network
from pathlib import Path

from pushrod.core.errors import HostError

CANDIDATES = tuple(IPv4Network(f"10.{n}.0.0/16") for n in range(213, 251))
_ROUTES = Path("/proc/net/route")


def parse(text: str) -> list[IPv4Network]:
    """The networks of a routing table in the format of proc(5) (/proc/net/route), without the default route."""
    networks = []
    for line in text.splitlines()[1:]:
        words = line.split()
        address, mask = (_address(words[n]) for n in (1, 7))
        if mask != "0.0.0.0":
            networks.append(IPv4Network(f"{address}/{mask}", strict=False))
    return networks


def _address(word: str) -> str:
    """An address as the kernel prints it: hexadecimal, in the machine's byte order."""
    return str(ipaddress.IPv4Address(struct.pack("=I", int(word, 16))))


def routes() -> list[IPv4Network]:
    """The networks this host has a specific route to, including those of its interfaces."""
    return parse(_ROUTES.read_text())


def collision(block: IPv4Network, taken: Iterable[IPv4Network]) -> IPv4Network | None:
    """The network that a block overlaps, if any."""
    return next((network for network in taken if network.overlaps(block)), None)


def choose(taken: Iterable[IPv4Network]) -> IPv4Network:
    """The first block that overlaps none of `taken`; HostError if there is none."""
    networks = list(taken)
    for block in CANDIDATES:
        if collision(block, networks) is None:
            return block
    raise HostError(
        "no free block of private addresses: every /16 from 10.213 to 10.250 overlaps a route of this host",
        where=str(_ROUTES),
        hint='choose one by hand: write {"pool": "172.30.0.0/16"} to ROOT/host.json, '
        "and default-address-pools to /etc/docker/daemon.json",
    )
