"""Git's plumbing on a developer's machine, and its protocol spoken without Git's client."""

import os
import subprocess
from collections.abc import Iterable

from pushrod.system.processes import Completed
from tests.attacks.town import Attacker


def plumb(attacker: Attacker, *argv: str, stdin: bytes = b"") -> str:
    """Run a plumbing command in the attacker's work tree, and return its output."""
    done = subprocess.run(
        ["git", "-C", attacker.tree.path, *argv],
        input=stdin,
        capture_output=True,
        check=True,
        timeout=120,
        env=attacker.tree.env,
    )
    return done.stdout.decode().strip()


def packet(text: bytes) -> bytes:
    """A pkt-line of the protocol (gitprotocol-common(5)); an empty one ends a list."""
    return b"%04x" % (len(text) + 4) + text


def pack_of(attacker: Attacker, commit: str, *, alone: bool = False) -> bytes:
    """A pack with a commit and everything it needs, or with the commit alone."""
    argv = [
        "git",
        "-C",
        str(attacker.tree.path),
        "pack-objects",
        "--quiet",
        "--stdout",
        *([] if alone else ["--revs"]),
    ]
    env, names = attacker.tree.env, f"{commit}\n".encode()
    done = subprocess.run(argv, input=names, capture_output=True, check=True, timeout=60, env=env)
    return done.stdout


def send(attacker: Attacker, commands: bytes | Iterable[bytes], pack: bytes, *options: str) -> Completed:
    """Send these commands and a pack; returns the server's answer. `options` are for ssh."""
    ssh = attacker.tree.env["GIT_SSH_COMMAND"].split()
    lines = [commands] if isinstance(commands, bytes) else commands
    raw = b"".join(map(packet, lines)) + b"0000" + pack
    done = subprocess.run(
        [*ssh, *options, f"pushrod@{attacker.box.address}", "git-receive-pack 'attacker'"],
        input=raw, capture_output=True, timeout=120, check=False, env={**os.environ, **attacker.tree.env},
    )  # fmt: skip
    return Completed(
        done.returncode, done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace")
    )
