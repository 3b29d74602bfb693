"""The version and features of an nginx, from `nginx -V`. Pure."""

import re

from pushrod.adapters.nginx.sites import Known

_KEEPALIVE_MIN_SINCE = (1, 27, 4)
"""The first nginx with `keepalive_min_timeout` (nginx's list of changes)."""

_HTTP2_SINCE = (1, 25, 1)
"""The first nginx with `http2` as a directive (likewise)."""

_MUSL = ("(Alpine ", "--with-debug")
"""Parts of `nginx -V` for a build whose memory can be held: linked with musl, with logs in memory."""


def version(output: str) -> tuple[int, ...]:
    """The version; empty if this is not nginx."""
    match = re.search(r"/(\d+)\.(\d+)\.(\d+)", output)
    return tuple(int(part) for part in match.groups()) if match else ()


def known(output: str) -> Known:
    """The features."""
    number = version(output)
    return Known(
        keepalive_min=number >= _KEEPALIVE_MIN_SINCE,
        http2=number >= _HTTP2_SINCE,
        gives_back=all(word in output for word in _MUSL),
        counts="--with-http_stub_status_module" in output,
    )
