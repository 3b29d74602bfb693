"""The networks of stores as Compose makes them; tests/lab/test_manifests.py removes real ones."""

from pushrod.engines.docker import store_networks


def test_a_network_has_what_compose_gives_it() -> None:
    network = {
        "name": "shop_outside",
        "internal": True,
        "labels": {"pushrod.app": "shop"},
        "driver_opts": {"com.docker.network.bridge.name": "pout-1"},
        "ipam": {},
    }
    assert store_networks.creation("shop", "outside", network) == [
        *("docker", "network", "create", "--driver=bridge", "--internal"),
        *("--label=pushrod.app=shop", "--label=com.docker.compose.project=shop"),
        *("--label=com.docker.compose.network=outside", "--opt=com.docker.network.bridge.name=pout-1"),
        "shop_outside",
    ]


def test_nothing_is_done_without_containers() -> None:
    store_networks.reconnect({"name": "shop", "services": {}, "networks": {"default": {"name": "shop"}}})
