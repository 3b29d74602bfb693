"""What the embedded engine does not do, by the path of each key."""

from typing import Any

import pytest

from pushrod.manifest import omissions
from pushrod.manifest.document import Key


@pytest.mark.parametrize(
    ("service", "words"),
    [
        ({}, ()),
        ({"post_start": [{"command": ["a"]}], "tty": True}, ("tty", "post_start")),
        ({"deploy": {"resources": {"limits": {"cpus": 1, "memory": "1"}}}}, ("deploy.resources",)),
        ({"build": {"context": ".", "ssh": ["default"]}, "cpuset": "0"}, ("cpuset", "build.ssh")),
        ({"build": "."}, ()),
        ({"networks": {"a": None, "b": {"ipv4_address": "10.0.0.1"}}}, ("networks.ipv4_address",)),
        ({"volumes": ["a:/b", {"type": "volume", "volume": {"nocopy": True}}]}, ("volumes.volume.nocopy",)),
        ({"restart": "always", "user": "1000", "stop_signal": "SIGTERM", "runtime": "runc"}, ()),
        (
            {"restart": "on-failure:3", "user": "0:0", "stop_signal": "INT"},
            ("restart", "stop_signal", "user"),
        ),
        ({"build": {"context": ".", "additional_contexts": {"base": "service:base"}}}, ()),
        ({"logging": {"driver": "json-file", "options": {"max-size": "1m"}}}, ()),
        ({"logging": {"driver": "gelf"}}, ("logging.driver",)),
        ({"deploy": {"mode": "replicated", "restart_policy": {"condition": "any"}}}, ()),
        ({"deploy": {"restart_policy": {"condition": "none"}}}, ("deploy.restart_policy",)),
    ],
)
def test_noted_keys_of_a_service(service: dict[str, Any], words: tuple[str, ...]) -> None:
    assert omissions.of_service(Key("services.web", service), java=False) == words


def test_the_memory_of_a_jvm_is_left_out() -> None:
    service = Key("services.web", {"mem_limit": "1", "deploy": {"resources": {"limits": {"memory": "1"}}}})
    assert omissions.of_service(service, java=True) == ()
    assert omissions.of_service(service, java=False) == ("mem_limit", "deploy.resources")


@pytest.mark.parametrize(
    ("volume", "words"),
    [
        (None, ""),
        ({"name": "shop_data"}, ""),
        ({"name": "data", "external": True}, "`external`"),
        ({"name": "theirs", "external": True}, "`external`, `name`"),
        ({"name": "theirs"}, "`name`"),
        ({"name": "shop_data", "driver": "local", "driver_opts": {"type": "nfs"}}, "`driver_opts`"),
        ({"name": "shop_data", "driver": "rclone", "labels": {"a": "b"}}, "`driver`"),
    ],
)
def test_volumes_of_elsewhere(volume: dict[str, Any] | None, words: str) -> None:
    volumes = Key("volumes", {"data": volume, "unused": {"external": True}})
    notes = [*omissions.of_volumes(volumes, {"data"}, "shop")]
    assert notes == [
        f"volume data: {words} not applied on the embedded engine: it is a directory of the app, without the "
        "data that are elsewhere"
    ] * bool(words)
