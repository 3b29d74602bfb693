"""The memory that is held."""

from collections import Counter

from pushrod.adapters.nginx import memory
from pushrod.adapters.nginx.sites import Known, Listening
from pushrod.adapters.nginx.tree import render_tree
from tests.unit.adapters.nginx.samples import EDGE, SHOP, SOCKET

INCLUDED = f"        include {memory.NAME};\n"


def test_memory_is_held_for_response_headers_and_requests() -> None:
    lines = Counter(memory.held().splitlines()[1:])
    assert lines == {"error_log memory:36k emerg;": 65, "error_log memory:4k emerg;": 128}


def test_memory_is_held_only_for_an_nginx_that_returns_it() -> None:
    for gives_back in (True, False):
        known = Known(gives_back=gives_back)
        files = render_tree(
            "1", {"shop": SHOP}, listening=Listening(), directory=EDGE, socket=SOCKET, known=known
        )
        assert (memory.NAME in files) is (INCLUDED in files["nginx.conf"]) is gives_back
