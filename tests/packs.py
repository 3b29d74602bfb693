"""Packs that Git's own programs would not write."""

import struct
import zlib
from hashlib import sha1


def delta_bomb(claimed: int) -> bytes:
    """A pack with one object that expands to `claimed` bytes when its delta is applied: three bytes for each
    65,535."""
    base = b"\0" * (1 << 16)
    oid = sha1(b"blob %d\0" % len(base) + base).digest()  # noqa: S324  Git's own
    copy = bytes([0x80 | 0x10 | 0x20, 0xFF, 0xFF])  # copy 65,535 bytes from the base's beginning
    times, rest = divmod(claimed, 0xFFFF)
    delta = _number(len(base)) + _number(claimed) + copy * times
    delta += bytes([0x80 | 0x10 | 0x20, rest & 0xFF, rest >> 8]) if rest else b""
    body = _entry(3, len(base), base) + _entry(7, len(delta), delta, oid)
    pack = b"PACK" + struct.pack(">II", 2, 2) + body
    return pack + sha1(pack).digest()  # noqa: S324


def _number(value: int) -> bytes:
    """A size in the format of Git's deltas: seven bits per byte, lowest first (gitformat-pack(5))."""
    result = b""
    while value > 127:
        result += bytes([value & 127 | 128])
        value >>= 7
    return result + bytes([value])


def _entry(kind: int, size: int, body: bytes, base: bytes = b"") -> bytes:
    """An object of a pack: its kind and size, with four bits of the size in the first byte, then zlib data."""
    head = [kind << 4 | size & 15]
    size >>= 4
    while size:
        head[-1] |= 128
        head.append(size & 127)
        size >>= 7
    return bytes(head) + base + zlib.compress(body)
