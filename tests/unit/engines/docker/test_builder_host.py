"""What a builder takes over from its host."""

from pathlib import Path

import pytest

from pushrod.engines.docker import builder_host


@pytest.mark.parametrize(
    ("resolved", "plain", "expected"),
    [
        ("", "nameserver 10.0.0.2\nsearch x\n", ["10.0.0.2"]),
        (
            "nameserver 192.0.2.1\nnameserver 2001:db8::1\n",
            "nameserver 127.0.0.53\n",
            ["192.0.2.1", "2001:db8::1"],
        ),
        ("", "nameserver 127.0.0.1\nnameserver ::1\n", []),
        ("", "nameserver\nnonsense\nnameserver x\n", []),
    ],
)
def test_name_servers_are_the_ones_that_containers_can_reach(
    tmp_path: Path, resolved: str, plain: str, expected: list[str]
) -> None:
    places = [tmp_path / "resolved", tmp_path / "plain"]
    for place, text in zip(places, (resolved, plain), strict=True):
        place.write_text(text)
    assert builder_host.name_servers([str(tmp_path / "none"), *map(str, places)]) == expected
