"""What a builder takes over from its host: name servers, and the proxies and registries of the host's engine."""

import contextlib
import ipaddress
from collections.abc import Sequence
from pathlib import Path

from pushrod.adapters import docker


def name_servers(
    places: Sequence[str] = ("/run/systemd/resolve/resolv.conf", "/etc/resolv.conf"),
) -> list[str]:
    """The host's name servers that can be reached without the host's loopback."""
    for place in map(Path, places):
        if not place.exists():
            continue
        words = [line.split() for line in place.read_text(errors="replace").splitlines()]
        servers = [w[1] for w in words if w[:1] == ["nameserver"] and len(w) > 1]
        reachable = []
        for server in servers:
            with contextlib.suppress(ValueError):
                if not ipaddress.ip_address(server).is_loopback:
                    reachable.append(server)
        if reachable:
            return reachable
    return []


def proxies() -> dict[str, str]:
    """The proxies of the host's engine; the builder fetches images through them too."""
    proxies = {
        n: str(docker.info().get(key) or "")
        for n, key in (("HTTP_PROXY", "HttpProxy"), ("HTTPS_PROXY", "HttpsProxy"), ("NO_PROXY", "NoProxy"))
    }
    return {name: value for name, value in proxies.items() if value}


def registries() -> list[str]:
    """The host engine's mirrors, and its registries without TLS, as options of an engine."""
    config = docker.info().get("RegistryConfig") or {}
    indexes = (config.get("IndexConfigs") or {}).values()
    plain = [i["Name"] for i in indexes if not i.get("Secure", True)]
    return [
        *(f"--registry-mirror={m}" for m in config.get("Mirrors") or ()),
        *(f"--insecure-registry={p}" for p in plain),
    ]
