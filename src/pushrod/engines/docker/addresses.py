"""The addresses of a release: its own block, fixed when it is sealed, so that a reboot restores the same map.

The block's lower half is the release's network, its upper half the network that connects its instances to the app's
stores. In each half the first address is the gateway's; fixed addresses follow it; the half's own upper half is left
to one-off containers (`pushrod run`, release commands). Pure.
"""

import ipaddress
from collections.abc import Iterable

from pushrod.core.errors import HostError, ManifestError
from pushrod.core.values import Manifest, Service, Value

_SMALLEST = 32  # addresses of a half: 14 fixed ones, enough for most apps


class Subnet(Value, frozen=True):
    """One network: its addresses, the gateway, and the range that Docker may assign."""

    subnet: str
    gateway: str
    dynamic: str

    def address(self, index: int) -> str:
        """The fixed address at this index, from 0."""
        return str(ipaddress.ip_address(self.gateway) + 1 + index)


def port(service: Service, exposed: int, manifest: Manifest) -> int:
    """Where instances of a service listen: the manifest's port, else the one its image exposes; 0 for none.

    An image exposes the port of its own command. A worker that runs another command (a queue's, in the API's image)
    does not have to listen there, unless requests are sent to it.
    """
    asked = service.role == "entry" or service.health.path or service.name in manifest.routing.services
    if service.port or asked or not (service.command or service.entrypoint):
        return service.port or exposed
    return 0


def share(pool: str) -> int:
    """How many addresses of the pool one app's releases may have, including the next one: an eighth, or four blocks
    of the smallest size if that is more.
    """
    return max(ipaddress.ip_network(pool).num_addresses // 8, 4 * 2 * _SMALLEST)


def check_share(pool: str, fixed: int) -> None:
    """Raise ManifestError for more fixed addresses than one release may have: the live one and the next have to fit
    into the app's share together.
    """
    if 2 * (needed := 2 * _half(fixed)) > (most := share(pool)):
        raise ManifestError(
            f"{fixed} instances and stores need {needed} addresses, and a release may have {most // 2}",
            where="services",
            hint=f"fewer replicas, or a larger pool than {pool}, which is the whole host's",
        )


def _half(fixed: int) -> int:
    """How many addresses each half of a block needs for so many fixed ones."""
    half = _SMALLEST
    while half // 2 - 2 < fixed:
        half *= 2
    return half


def size(block: str) -> int:
    """The number of addresses in a block; 0 for no block."""
    return ipaddress.ip_network(block).num_addresses if block else 0


def choose(pool: str, used: Iterable[str], fixed: int, holders: str = "") -> str:
    """The first free block of the pool with room for `fixed` addresses in each half. `used` are blocks and addresses.

    Raises HostError if the pool is full; `holders` names the apps that use most of it.
    """
    half = _half(fixed)
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
    """The network of a release, and the network that connects it to the stores."""
    lower, upper = ipaddress.ip_network(block).subnets()
    return _subnet(str(lower)), _subnet(str(upper))


def _subnet(text: str) -> Subnet:
    network = ipaddress.ip_network(text)
    *_, upper = network.subnets()
    return Subnet(text, str(network.network_address + 1), str(upper))
