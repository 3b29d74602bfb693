"""The headers that the edge adds to answers and requests."""

import re

from pushrod.adapters.nginx import headers


def test_every_answer_has_the_shared_headers_also_an_error() -> None:
    lines = [line for line in headers.SHARED.splitlines() if not line.startswith("#")]
    assert all(re.fullmatch(r"add_header [A-Za-z-]+ \$\w+ always;", line) for line in lines)
    assert len(lines) == 4


def test_a_request_has_all_proxy_headers_or_none() -> None:
    """One `proxy_set_header` in an inner block removes all of the outer ones."""
    assert headers.passed("$scheme_shop") == headers.passed().replace("$client_scheme", "$scheme_shop")
    names = re.findall(r"(?m)^proxy_set_header (\S+)", headers.passed())
    assert names == [
        *[
            "Host",
            "X-Real-IP",
            "X-Forwarded-For",
            "X-Forwarded-Proto",
            "X-Request-Id",
            "Upgrade",
            "Connection",
        ]
    ]


def test_an_app_trusts_its_proxies_and_this_machine() -> None:
    text = headers.proxy_maps("my-shop", ("198.51.100.0/24",))
    assert "geo $realip_remote_addr $peer_my_shop {" in text
    assert re.findall(r"(?m)^    (\S+) near;", text) == ["127.0.0.0/8", "::1", "198.51.100.0/24"]
    assert f"{headers.scheme('my-shop')} {{" in text
    assert headers.clients(("198.51.100.0/24",)).count("set_real_ip_from") == 3


def test_an_auth_request_is_a_plain_request_without_a_body() -> None:
    text = headers.asked("$client_scheme")
    for name in ("Upgrade", "Connection", "Content-Length"):
        assert f'proxy_set_header {name} "";\n' in text
    assert "proxy_set_header X-Original-URI $request_uri;\n" in text
