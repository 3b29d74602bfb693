"""The shop in Java on a Docker host, deployed, rolled back and killed under load and while people buy.

`make soak STACK=spring ENGINE=docker` does more of it.
"""

from pathlib import Path

import pytest

from devtools import shop_soak
from devtools.lab import images
from devtools.lab.shop import a_server
from tests.conftest import needs_lab

pytestmark = [pytest.mark.lab, pytest.mark.long]


def test_no_request_is_dropped_and_no_order_lost_whatever_happens(tmp_path: Path) -> None:
    needs_lab(images.java_problem(), "python -m tools.lab java")
    with a_server(tmp_path, "spring", workers=1) as shop:
        orders, wrong = shop_soak.soak(shop, deployments=2, requests=1000, rate=40)
    assert wrong == []
    assert len(orders) > 0
