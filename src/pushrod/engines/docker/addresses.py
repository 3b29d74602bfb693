"""The addresses of a release: a block of its own, fixed when it is sealed, so that a reboot restores the same map.

The block's lower half is the network of the release, its upper half the network on which its instances meet the
app's stores. In each half the first address is the gateway's; fixed addresses follow it, and the half's own upper
half is left to containers that run once (`pushrod run`, release commands). Pure.
"""

import ipaddress
from collections.abc import Iterable

from pushrod.core.errors import HostError
from pushrod.core.values import Manifest, Service, Value

_SMALLEST = 32  # addresses of a half: 14 fixed ones, which is enough for most apps


class Subnet(Value, frozen=True):
    """One network: its addresses, the gateway, and the part that Docker may give out by itself."""

    subnet: str
    gateway: str
    dynamic: str

    def address(self, index: int) -> str:
        """The fixed address of that index, from 0."""
        return str(ipaddress.ip_address(self.gateway) + 1 + index)


def port(service: Service, exposed: int, manifest: Manifest) -> int:
    """Where instances of a service listen: the manifest's port, else what its image exposes; 0 for nowhere.

    An image exposes the port of its own command. A worker that runs another one (a queue's, in the image of the API)
    need not listen there, unless requests are sent to it.
    """
    asked = service.role == "entry" or service.health.path or service.name in manifest.routing.services
    if service.port or asked or not (service.command or service.entrypoint):
        return service.port or exposed
    return 0


def share(pool: str) -> int:
    """How many addresses of the pool one app's releases may have, the next one among them: an eighth, or four blocks
    of the smallest size where that is more."""
    return max(ipaddress.ip_network(pool).num_addresses // 8, 4 * 2 * _SMALLEST)


def size(block: str) -> int:
    """How many addresses a block has; none for no block."""
    return ipaddress.ip_network(block).num_addresses if block else 0


def choose(pool: str, used: Iterable[str], fixed: int, holders: str = "") -> str:
    """The first block of the pool that overlaps none in use and has room for `fixed` addresses in each half.

    Raises HostError when the pool is full; it says who the `holders` are.
    """
    half = _SMALLEST
    while half // 2 - 2 < fixed:
        half *= 2
    prefix = 32 - (2 * half - 1).bit_length()
    taken = [ipaddress.ip_network(block) for block in used]
    blocks = ipaddress.ip_network(pool)
    if prefix > blocks.prefixlen:
        for block in blocks.subnets(new_prefix=prefix):
            if not any(block.overlaps(other) for other in taken):
                return str(block)
    raise HostError(
        f"no {2 * half} addresses in a row are free for a release",
        where=f"the pool {pool}, in host.json",
        hint=f"{holders}{'; ' if holders else ''}"
        "keep fewer releases (x-pushrod.keep), or destroy an app that is not used",
    )


def halves(block: str) -> tuple[Subnet, Subnet]:
    """The network of a release, and the one on which it meets the stores."""
    lower, upper = ipaddress.ip_network(block).subnets()
    return _subnet(str(lower)), _subnet(str(upper))


def _subnet(text: str) -> Subnet:
    network = ipaddress.ip_network(text)
    *_, upper = network.subnets()
    return Subnet(text, str(network.network_address + 1), str(upper))
