"""Memory that nginx's allocator would give back to the system after a request, and take again for the next. Pure.

An answer's headers have to fit into one piece of memory. musl, which static builds of nginx have, maps a piece of
more than 26,188 bytes for itself and unmaps it when it is free: two system calls and two page faults a request, a
third of its time. Pieces of 4k go the same way while few connections are open. A piece lies in a group of pieces of
its size, though, the larger the more of them are in use, and a group stays while one of its pieces does. So the
configuration holds some of each size: logs in memory, of a server that logs nothing. They cost what they touch, two
pages each, once for all workers.
"""

HEADERS = 36 << 10
"""Bytes for the headers of an answer: for 32k of them, in a size of which a group has several pieces."""

KEPT = 25 << 10
"""Bytes of the largest piece that musl keeps by itself."""

NAME = "memory.conf"
"""The file of `held` in its tree."""

_HELD = ((f"{HEADERS >> 10}k", 65), ("4k", 128))
"""Sizes, and how many of each: the last groups that they begin have 14 and 28 pieces, and are half empty."""

_HEAD = "# Holds pieces of memory. Rendered by pushrod; a change made here is lost at the next switch.\n"


def held() -> str:
    """The lines of a server that hold them."""
    return _HEAD + "".join(f"error_log memory:{size} emerg;\n" * count for size, count in _HELD)
