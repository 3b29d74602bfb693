"""What an nginx says of itself (`nginx -V`), and what may be asked of it. Pure."""

import re

from pushrod.adapters.nginx.sites import Known

_KEEPALIVE_MIN_SINCE = (1, 27, 4)
"""The first nginx that knows `keepalive_min_timeout` (nginx's own list of changes)."""

_HTTP2_SINCE = (1, 25, 1)
"""The first nginx that has `http2` as a directive (likewise)."""

_MUSL = ("(Alpine ", "--with-debug")
"""What a build says whose memory can be held: it is linked with musl, and may have logs in memory."""


def version(said: str) -> tuple[int, ...]:
    """Its version; empty where this is no nginx."""
    found = re.search(r"/(\d+)\.(\d+)\.(\d+)", said)
    return tuple(int(part) for part in found.groups()) if found else ()


def known(said: str) -> Known:
    """What it knows."""
    number = version(said)
    return Known(
        keepalive_min=number >= _KEEPALIVE_MIN_SINCE,
        http2=number >= _HTTP2_SINCE,
        gives_back=all(word in said for word in _MUSL),
    )
