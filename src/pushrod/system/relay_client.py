"""Takes a call of the page to the door of a Docker host, and brings back what it prints and how it ends.

Run as a program with the path of the door's socket, it stands for the verb: standard input, output and error, and the
exit status, are the verb's. Standard library only, so that it starts at once.

A frame is a letter (`o`: output, `e`: errors, `x`: the exit status), its length in four bytes, and its content.
"""

import contextlib
import os
import socket
import struct
import sys
import threading

HEAD = struct.Struct("!cI")
_BLOCK = 1 << 16


def frame(kind: bytes, content: bytes) -> bytes:
    """One frame."""
    return HEAD.pack(kind, len(content)) + content


def main(path: str) -> int:
    """Take the call there; returns its exit status, 10 if the door cannot be reached or breaks off."""
    door = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        door.connect(path)
    except OSError as e:
        sys.stderr.write(f"pushrod: the page's door does not open: {e.strerror}\n")
        return 10
    threading.Thread(target=_send, args=(door,), daemon=True).start()
    reader = door.makefile("rb")
    with contextlib.suppress(ConnectionError):
        while len(head := reader.read(HEAD.size)) == HEAD.size:
            kind, length = HEAD.unpack(head)
            content = reader.read(length)
            if kind == b"x":
                return int(content)
            os.write(2 if kind == b"e" else 1, content)
    sys.stderr.write("pushrod: the call broke off\n")
    return 10


def _send(door: socket.socket) -> None:
    with contextlib.suppress(OSError):  # the door has gone: the reader says so
        while block := os.read(0, _BLOCK):
            door.sendall(block)
        door.shutdown(socket.SHUT_WR)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
