"""What Docker's words mean."""

import pytest

from pushrod.adapters import docker


@pytest.mark.parametrize(
    ("message", "what"),
    [
        (
            "could not find an available, non-overlapping IPv4 address pool among the defaults to assign",
            "no addresses",
        ),
        ("all predefined address pools have been fully subnetted", "no addresses left for another network"),
        (
            "failed to create network x: Pool overlaps with other one on this address space",
            "another network of the",
        ),
        ("shop-r2-web-1: Address already in use", "another container has an address of this release's"),
    ],
)
def test_errors_of_the_host_are_recognized_in_dockers_messages(message: str, what: str) -> None:
    error = docker.known(message, "app shop")
    assert error
    assert what in error.what
    assert docker.known("OSError: [Errno 98] Address already in use", "app shop") is None
