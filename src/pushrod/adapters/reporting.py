"""Git's `proc-receive` hook: tells Git where each ref is after `pre-receive` moved it when the release went live.

 python -P -m pushrod.adapters.reporting        in the repository, called by Git

A push waits for it at the end, so it imports very little.
"""

import os
import sys
from typing import BinaryIO

from pushrod.adapters.refs import BRANCH, loose

_DEPLOYED = f"refs/heads/{BRANCH}"


def report(repository: str, source: BinaryIO, target: BinaryIO) -> None:
    """Answer Git's list of updates.

    The protocol is that of githooks(5), `proc-receive`: both sides name version 1, Git lists the updates, and each is
    answered by `ok REF`, with `option new-oid` if the ref is not at what was pushed: a tag leads to a commit.
    """
    read_packets(source)
    _write_packets(target, ["version=1"])
    answers = []
    for packet in read_packets(source):
        _, new, ref = packet.split(" ", 2)
        answers.append(f"ok {ref}")
        at = _deployed(repository) if ref == _DEPLOYED else ""
        if at not in ("", new):
            answers.append(f"option new-oid {at}")
    _write_packets(target, answers)


def _deployed(repository: str) -> str:
    if at := loose(repository, _DEPLOYED):
        return at
    from pathlib import Path

    from pushrod.adapters import git

    return git.branch_commit(Path(repository))


def read_packets(source: BinaryIO) -> list[str]:
    """The packets up to the next flush (gitprotocol-common(5)), without their newlines."""
    packets = []
    while (length := int(source.read(4) or b"0", 16)) > 4:
        packets.append(source.read(length - 4).decode().rstrip("\n"))
    return packets


def _write_packets(target: BinaryIO, packets: list[str]) -> None:
    for packet in packets:
        raw = packet.encode() + b"\n"
        target.write(f"{len(raw) + 4:04x}".encode() + raw)
    target.write(b"0000")
    target.flush()


if __name__ == "__main__":
    report(os.getcwd(), sys.stdin.buffer, sys.stdout.buffer)  # noqa: PTH109  likewise
